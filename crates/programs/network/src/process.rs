use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a process may take to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// How many of a log's last lines a failure shows.
const TAIL: usize = 12;

/// Says to a process that it belongs to the process of this id, and ends with it. Read by `bin/ripstop`.
pub const SUPERVISOR_VARIABLE: &str = "RIPSTOP_SUPERVISOR";

/// A process of the network, killed when dropped.
pub(crate) struct Process {
    /// What it is called in messages, and its log.
    pub(crate) name: String,
    pub(crate) log: PathBuf,
    kind: Kind,
    child: Child,
    started: Instant,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Orderer,
    Other,
}

impl Process {
    /// Starts this very program with other arguments; its output goes to `log`. In a process group of its own, so that
    /// Ctrl-C reaches only the one that stops everything in order.
    pub(crate) fn start(
        name: &str,
        kind: Kind,
        arguments: &[&str],
        variables: &[(&str, OsString)],
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's file")?;
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(&program);
        // The network's files say everything; what the terminal is set up for must not leak in.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if ["CORE_", "ORDERER_", "CHAINCODE_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&variable);
            }
        }
        let child = command
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env(SUPERVISOR_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share the log")?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {} {}", program.display(), arguments.join(" ")))?;
        Ok(Self { name: name.to_owned(), log, kind, child, started: Instant::now() })
    }

    /// Waits until it ends, which it should not.
    pub(crate) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// How long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it orders.
    pub(crate) fn is_orderer(&self) -> bool {
        self.kind == Kind::Orderer
    }

    /// Asks it to stop, waits for that, and kills it if it takes too long.
    pub(crate) async fn stop(mut self) {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self) -> Vec<String> {
        tail(&self.log)
    }
}

fn tail(log: &Path) -> Vec<String> {
    let Ok(file) = File::open(log) else { return Vec::new() };
    let mut lines = VecDeque::with_capacity(TAIL);
    for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
        if lines.len() == TAIL {
            lines.pop_front();
        }
        lines.push_back(String::from_utf8_lossy(&line).into_owned());
    }
    lines.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text: String = (0..30).map(|n| format!("line {n}\n")).collect();
        std::fs::write(file.path(), text).unwrap();
        let lines = tail(file.path());
        assert_eq!((lines.len(), lines[0].as_str(), lines[11].as_str()), (12, "line 18", "line 29"));
        assert!(tail(Path::new("/nowhere")).is_empty());
    }
}
