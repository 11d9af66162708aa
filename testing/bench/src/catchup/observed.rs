//! What catching up costs, and what those see who ask meanwhile.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ripstop_interop::CHANNEL;
use ripstop_keys::SigningIdentity;
use ripstop_peer::client::{Invocation, Peer};
use tokio::task::JoinSet;

use super::stage::{self, Stage};
use crate::{cpu_of, status_megabytes};

/// How many clients read an asset again and again.
const CLIENTS: usize = 4;
/// How long each rests between two questions.
const REST: Duration = Duration::from_millis(20);
/// How often it is looked how far the peer is.
const LOOK: Duration = Duration::from_millis(50);
/// A peer that gains nothing for so long has got stuck.
const STUCK: Duration = Duration::from_secs(60);
/// An asset that every peer has that has the contract.
const ASSET: &str = "asset1";

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// The answers to those who ask a peer.
pub(crate) struct Answers {
    clients: JoinSet<()>,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    /// Failures after the first answer, and why the last one.
    failures: usize,
    last_failure: String,
}

impl Seen {
    /// What fails before the first answer comes from a peer that is not ready yet, and does not count.
    fn note(&mut self, answer: Result<(), String>, took: Duration) {
        match answer {
            Ok(()) => self.latencies.push(took),
            Err(_) if self.latencies.is_empty() => {}
            Err(why) => {
                self.failures += 1;
                self.last_failure = why;
            }
        }
    }
}

/// Has clients read an asset at a peer until they are told to stop.
pub(crate) fn ask(stage: &Stage, name: &str) -> Fallible<Answers> {
    let mut answers = Answers::nobody_asks();
    for _ in 0..CLIENTS {
        let (peer, user) = (stage.peer(name)?, stage.user());
        let (stop, seen) = (Arc::clone(&answers.stop), Arc::clone(&answers.seen));
        answers.clients.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let answer = read(&peer, &user).await;
                seen.lock().unwrap_or_else(PoisonError::into_inner).note(answer, asked.elapsed());
                tokio::time::sleep(REST).await;
            }
        });
    }
    Ok(answers)
}

async fn read(peer: &Peer, user: &SigningIdentity) -> Result<(), String> {
    let call = Invocation::new(CHANNEL, "asset-transfer", "ReadAsset", [Bytes::from_static(ASSET.as_bytes())]);
    let answer = peer.query(&call, user).await.map_err(|error| error.to_string())?.response.unwrap_or_default();
    if answer.status == 200 { Ok(()) } else { Err(answer.message) }
}

impl Answers {
    pub(crate) fn nobody_asks() -> Self {
        Self { clients: JoinSet::new(), stop: Arc::default(), seen: Arc::default() }
    }

    async fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Looks at a peer that is about to catch up.
pub(crate) struct Observer {
    name: String,
    bytes_before: u64,
    /// Those that give it the blocks, and their CPU time before.
    sources: Vec<(String, u32, Duration)>,
}

impl Observer {
    /// `sources` are those of which the CPU time counts as the cost of giving; they run.
    pub(crate) fn new(stage: &Stage, name: &str, sources: &[&str]) -> Self {
        let running = sources.iter().map(|source| {
            let id = stage.processes.id(source);
            ((*source).to_owned(), id, cpu_of(id))
        });
        Self { name: name.to_owned(), bytes_before: block_bytes(&stage.data(name)), sources: running.collect() }
    }

    /// Waits until the peer, which was started at a moment, has so many blocks.
    pub(crate) async fn until(
        &mut self,
        stage: &Stage,
        target: u64,
        started: Instant,
        answers: Answers,
    ) -> Fallible<Course> {
        let (peer, user, id) = (stage.peer(&self.name)?, stage.user(), stage.processes.id(&self.name));
        let (mut first, mut last, mut looks) = (None, (0, Instant::now()), Vec::new());
        while last.0 < target {
            let asked = Instant::now();
            if let Ok(height) = stage::height(&peer, &user).await {
                looks.push(asked.elapsed());
                first.get_or_insert((height, started.elapsed()));
                if height > last.0 {
                    last = (height, Instant::now());
                }
            }
            if last.1.elapsed() > STUCK {
                return Err(format!("{} stays at height {} of {target}", self.name, last.0).into());
            }
            tokio::time::sleep(LOOK).await;
        }
        let (seconds, cpu) = (started.elapsed(), cpu_of(id));
        let (from, ready) = first.ok_or("the peer never said how many blocks it has")?;
        let sources = self.sources.iter();
        let sources = sources.map(|(name, id, before)| (name.clone(), cpu_of(*id).saturating_sub(*before)));
        Ok(Course {
            blocks: target - from,
            seconds,
            ready,
            cpu,
            bytes: block_bytes(&stage.data(&self.name)).saturating_sub(self.bytes_before),
            peak_megabytes: status_megabytes(id, "VmHWM:"),
            sources: sources.collect(),
            reads: answers.end().await,
            looks,
        })
    }
}

/// How a peer caught up.
pub(crate) struct Course {
    blocks: u64,
    seconds: Duration,
    ready: Duration,
    cpu: Duration,
    bytes: u64,
    peak_megabytes: f64,
    sources: Vec<(String, Duration)>,
    reads: Seen,
    looks: Vec<Duration>,
}

impl Course {
    pub(crate) fn print_header() {
        println!(
            "{:<44} {:>8} {:>8} {:>9} {:>6} {:>8} {:>12} {:>8}",
            "catching up", "blocks", "seconds", "blocks/s", "MB/s", "CPU s", "CPU µs/block", "peak MB"
        );
    }

    pub(crate) fn print(self, title: &str) {
        if self.blocks == 0 {
            println!("{title:<44} {:>8}", "in step");
            return;
        }
        let (seconds, cpu, blocks) = (self.seconds.as_secs_f64(), self.cpu.as_secs_f64(), self.blocks as f64);
        println!(
            "{title:<44} {:>8} {seconds:>8.1} {:>9.0} {:>6.1} {cpu:>8.1} {:>12.0} {:>8.1}",
            self.blocks,
            blocks / seconds,
            self.bytes as f64 / seconds / 1e6,
            cpu * 1e6 / blocks,
            self.peak_megabytes
        );
        println!("  answers {:.2} s after its start", self.ready.as_secs_f64());
        for (name, cpu) in &self.sources {
            println!("  {name} spent {:.1} CPU s on it", cpu.as_secs_f64());
        }
        let Seen { latencies, failures, last_failure } = self.reads;
        print_latencies("  an asset read", latencies, failures);
        if failures > 0 {
            println!("    the last failure: {last_failure}");
        }
        print_latencies("  its height asked (qscc)", self.looks, 0);
    }
}

fn print_latencies(what: &str, mut latencies: Vec<Duration>, failures: usize) {
    if latencies.is_empty() && failures == 0 {
        return;
    }
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = (latencies.len() as f64 * share) as usize;
        latencies.get(place.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    println!(
        "{what} {} times: median {:.1} ms, 99 % within {:.1} ms, worst {:.1} ms, {failures} failures",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// The bytes of all block files below a directory.
fn block_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => block_bytes(&entry.path()),
        Ok(found) if entry.file_name().to_string_lossy().starts_with("blockfile_") => found.len(),
        _ => 0,
    });
    bytes.sum()
}
