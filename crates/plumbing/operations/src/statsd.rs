use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use ripstop_transport::{DatagramTarget, Endpoint};
use tokio::io::AsyncWriteExt;

use crate::{Metrics, catalogue};

const LOG: &str = "operations.runner";
/// How many observations wait for the next push; more are counted, but not sent.
const MAX_SAMPLES: usize = 100_000;
/// How many bytes one datagram holds at most: what crosses an Ethernet without being cut.
const DATAGRAM: usize = 1400;

/// Single observations on their way to statsd, which counts and sorts them itself. Nothing is kept unless a pusher wants
/// them. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Arc<SamplesInner>);

#[derive(Debug, Default)]
struct SamplesInner {
    wanted: AtomicBool,
    waiting: Mutex<Vec<(String, f64)>>,
    lost: AtomicU64,
}

impl Samples {
    pub(crate) fn are_wanted(&self) -> bool {
        self.0.wanted.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bucket: &str, value: f64) {
        let mut waiting = self.0.waiting.lock();
        if waiting.len() < MAX_SAMPLES {
            waiting.push((bucket.to_owned(), value));
        } else {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(&self) -> Vec<(String, f64)> {
        std::mem::take(&mut *self.0.waiting.lock())
    }
}

/// How statsd is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsdTarget {
    /// By datagrams to `host:port`.
    Udp(String),
    /// By a connection to `host:port`.
    Tcp(String),
}

/// Pushes metrics to a statsd daemon, in the form in which Fabric's nodes do: counters as what was added since the last
/// push, gauges as they are, and every observation of a histogram as a timing (Fabric gives it in seconds).
#[derive(Debug)]
pub struct StatsdPusher {
    metrics: Metrics,
    target: StatsdTarget,
    interval: Duration,
    /// Ends with a dot unless it is empty.
    prefix: String,
    /// The counters as they were pushed last, by their name for statsd.
    pushed: HashMap<String, f64>,
}

impl StatsdPusher {
    /// Begins to keep what has to be pushed. Make it before the metrics are in use.
    pub fn new(metrics: &Metrics, target: StatsdTarget, interval: Duration, prefix: &str) -> Self {
        metrics.samples.0.wanted.store(true, Ordering::Relaxed);
        let dot = if prefix.is_empty() || prefix.ends_with('.') { "" } else { "." };
        Self { metrics: metrics.clone(), target, interval, prefix: format!("{prefix}{dot}"), pushed: HashMap::new() }
    }

    /// Pushes until it is dropped. A daemon that cannot be reached is tried again at the next push; what would have been
    /// pushed meanwhile is lost.
    pub async fn run(mut self) {
        let mut connection = None;
        let mut failing = false;
        loop {
            tokio::time::sleep(self.interval).await;
            let lines = self.lines();
            let pushed = match &self.target {
                StatsdTarget::Udp(address) => push_datagrams(address, &lines).await,
                StatsdTarget::Tcp(address) => push_stream(&mut connection, address, &lines).await,
            };
            match pushed {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(target: LOG, "Metrics cannot be pushed to statsd, and are tried again every {:?}: {error}", self.interval);
                }
                Err(_) => {}
            }
        }
    }

    /// What there is to push now.
    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for family in self.metrics.gather() {
            for metric in family.get_metric() {
                self.add_line(&family, metric, &mut lines);
            }
        }
        for (name, value) in go_runtime() {
            lines.push(format!("{}{name}:{value:.6}|g", self.prefix));
        }
        for (bucket, value) in self.metrics.samples.take() {
            lines.push(format!("{}{bucket}:{value:.6}|ms", self.prefix));
        }
        let lost = self.metrics.samples.0.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(target: LOG, "{lost} observations were not pushed to statsd: more than {MAX_SAMPLES} within {:?}", self.interval);
        }
        lines
    }

    fn add_line(&mut self, family: &MetricFamily, metric: &Metric, lines: &mut Vec<String>) {
        let Some(fabric) = catalogue::find(family.name()) else { return };
        let value = |label: &str| {
            let pair = metric.get_label().iter().find(|pair| pair.name() == label);
            pair.map_or("unknown", |pair| pair.value())
        };
        let name = format!("{}{}", self.prefix, fabric.statsd_name(value));
        match family.get_field_type() {
            MetricType::COUNTER => {
                let count = metric.get_counter().get_value();
                let added = count - self.pushed.insert(name.clone(), count).unwrap_or_default();
                if added > 0.0 {
                    lines.push(format!("{name}:{added:.6}|c"));
                }
            }
            MetricType::GAUGE => lines.push(format!("{name}:{:.6}|g", metric.get_gauge().get_value())),
            _ => {}
        }
    }
}

/// What Fabric pushes about its Go runtime, as far as there is something true to say: no memory is collected here.
fn go_runtime() -> [(&'static str, f64); 5] {
    let tasks = tokio::runtime::Handle::try_current().map_or(0, |handle| handle.metrics().num_alive_tasks());
    [
        ("go.goroutine_count", tasks as f64),
        ("go.mem.gc_completed_count", 0.0),
        ("go.mem.gc_forced_count", 0.0),
        ("go.mem.gc_pause_total_ns", 0.0),
        ("go.mem.gc_pause_last_ns", 0.0),
    ]
}

async fn push_datagrams(address: &str, lines: &[String]) -> std::io::Result<()> {
    let target = DatagramTarget::open(address).await?;
    let mut datagram = String::new();
    for line in lines {
        if !datagram.is_empty() && datagram.len() + line.len() + 1 > DATAGRAM {
            target.send(datagram.as_bytes()).await?;
            datagram.clear();
        }
        writeln!(datagram, "{line}").ok();
    }
    if datagram.is_empty() { Ok(()) } else { target.send(datagram.as_bytes()).await }
}

/// Writes to the connection of before, or to a new one where there is none or it was closed.
async fn push_stream(
    connection: &mut Option<ripstop_transport::Connection>,
    address: &str,
    lines: &[String],
) -> std::io::Result<()> {
    let mut stream = match connection.take() {
        Some(stream) => stream,
        None => {
            let endpoint = Endpoint::new(address).map_err(std::io::Error::other)?;
            endpoint.connect().await.map_err(std::io::Error::other)?
        }
    };
    let mut text = lines.join("\n");
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await?;
    *connection = Some(stream);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_pushed_reads_as_fabrics_nodes_push_it() {
        let metrics = Metrics::new();
        let target = StatsdTarget::Udp("127.0.0.1:8125".to_owned());
        let mut pusher = StatsdPusher::new(&metrics, target, Duration::from_secs(5), "org1_peer0");
        let proposals = metrics.counter("endorser_proposals_received", "The number of proposals received.", &[]);
        let height = metrics.gauge("ledger_blockchain_height", "Height of the chain in blocks.", &["channel"]);
        let labels = ["channel", "chaincode", "success"];
        let duration = metrics.histogram("endorser_proposal_duration", "The time to complete a proposal.", &labels);
        let none: [&str; 0] = [];
        proposals.with_label_values(&none).inc_by(3);
        height.with_label_values(&["my.channel"]).set(7);
        duration.with_label_values(&["ch", "basic:1.0", "true"]).observe(0.0125);
        let lines = pusher.lines();
        for line in [
            "org1_peer0.endorser.proposals_received:3.000000|c",
            "org1_peer0.ledger.blockchain_height.my_channel:7.000000|g",
            "org1_peer0.endorser.proposal_duration.ch.basic_1_0.true:0.012500|ms",
            "org1_peer0.go.mem.gc_completed_count:0.000000|g",
        ] {
            assert!(lines.iter().any(|pushed| pushed == line), "{line} in {lines:?}");
        }
        proposals.with_label_values(&none).inc();
        let lines = pusher.lines();
        assert!(lines.contains(&"org1_peer0.endorser.proposals_received:1.000000|c".to_owned()), "{lines:?}");
        let again = pusher.lines();
        assert!(!again.iter().any(|line| line.contains("proposals_received") || line.contains("|ms")), "{again:?}");
    }

    #[tokio::test]
    async fn a_daemon_gets_the_lines_by_tcp() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut connection = None;
        let lines = ["a:1.000000|c".to_owned(), "b:2.000000|g".to_owned()];
        push_stream(&mut connection, &address, &lines).await.unwrap();
        push_stream(&mut connection, &address, &lines[..1]).await.unwrap();
        drop(connection);
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
        assert_eq!(text, "a:1.000000|c\nb:2.000000|g\na:1.000000|c\n");
    }
}
