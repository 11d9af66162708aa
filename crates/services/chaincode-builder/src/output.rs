//! What programs print: line by line into the log, with bounds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The longest line, in bytes; what is longer becomes several.
const MAX_LINE: usize = 8 * 1024;
/// How many lines a program may print in one second. One that prints more has to wait: its pipe is not read meanwhile.
const LINES_PER_SECOND: usize = 5000;
/// How many of the last lines are kept to explain a failure.
const LAST_LINES: usize = 20;
/// How long to wait for what a program printed after it ended: what it left running may hold its pipes open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Under which name a program speaks in the log.
#[derive(Debug, Clone)]
pub(crate) enum Voice {
    /// A program of an external builder.
    Builder {
        /// The builder.
        name: String,
        /// The program.
        command: String,
    },
    /// A tool of a language.
    Platform {
        /// The language, as packages name it.
        language: &'static str,
        /// The tool.
        command: String,
    },
    /// A chaincode, by the id it registers with.
    Chaincode(String),
}

impl Voice {
    fn say(&self, line: &str) {
        match self {
            Self::Builder { name, command } => {
                tracing::info!(target: "chaincode.externalbuilder", logger = %format_args!("chaincode.externalbuilder.{name}"), command, "{line}");
            }
            Self::Platform { language, command } => {
                tracing::info!(target: "chaincode.platform", logger = %format_args!("chaincode.platform.{language}"), command, "{line}");
            }
            Self::Chaincode(id) => {
                tracing::info!(target: "peer.chaincode", logger = %format_args!("peer.chaincode.{id}"), "{line}");
            }
        }
    }
}

/// Reads what a program prints until it ends.
pub(crate) struct Listener {
    voice: Arc<Voice>,
    last: Arc<Mutex<VecDeque<String>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Listener {
    pub(crate) fn new(voice: Voice) -> Self {
        Self { voice: Arc::new(voice), last: Arc::default(), tasks: Vec::new() }
    }

    pub(crate) fn listen(&mut self, pipe: impl AsyncRead + Unpin + Send + 'static) {
        let (voice, last) = (self.voice.clone(), self.last.clone());
        self.tasks.push(tokio::spawn(async move {
            let hear = |line: &str| {
                voice.say(line);
                let mut last = last.lock();
                if last.len() == LAST_LINES {
                    last.pop_front();
                }
                last.push_back(line.to_owned());
            };
            read_lines(pipe, hear).await;
        }));
    }

    /// The last lines, when the program has ended.
    pub(crate) async fn last_lines(self) -> Vec<String> {
        let deadline = Instant::now() + LAST_WORDS;
        for mut task in self.tasks {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.last.lock().drain(..).collect()
    }
}

async fn read_lines(mut pipe: impl AsyncRead + Unpin, mut hear: impl FnMut(&str)) {
    let mut line = Vec::new();
    let mut chunk = vec![0; MAX_LINE];
    let mut pace = Pace::new(Instant::now());
    while let Ok(count) = pipe.read(&mut chunk).await
        && count > 0
    {
        for piece in chunk[..count].split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if line.ends_with(b"\n") || line.len() >= MAX_LINE {
                hear(String::from_utf8_lossy(&line).trim_end());
                line.clear();
                if let Some(until) = pace.heard(Instant::now()) {
                    tokio::time::sleep_until(until).await;
                }
            }
        }
    }
    if !line.is_empty() {
        hear(String::from_utf8_lossy(&line).trim_end());
    }
}

/// How many lines were heard in the second that began then.
struct Pace {
    heard: usize,
    since: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { heard: 0, since: now }
    }

    /// Counts a line. When there were too many, says until when to hear no more.
    fn heard(&mut self, now: Instant) -> Option<Instant> {
        let end = self.since + Duration::from_secs(1);
        if now >= end {
            *self = Self::new(now);
        }
        self.heard += 1;
        (self.heard > LINES_PER_SECOND).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(printed: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        read_lines(printed, |line| lines.push(line.to_owned())).await;
        lines
    }

    #[tokio::test]
    async fn output_becomes_lines_of_bounded_length() {
        assert_eq!(lines(b"a\n\nb\r\nlast").await, ["a", "", "b", "last"]);
        let long = vec![b'x'; MAX_LINE * 2 + 1];
        assert_eq!(lines(&long).await.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE, 1]);
        assert_eq!(lines(b"\xff\n").await, ["\u{fffd}"]);
    }

    #[test]
    fn who_prints_too_much_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert!((0..LINES_PER_SECOND).all(|_| pace.heard(now).is_none()));
        let end = now + Duration::from_secs(1);
        assert_eq!(pace.heard(now), Some(end));
        assert_eq!(pace.heard(end), None);
    }
}
