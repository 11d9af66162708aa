//! The ways to other consenters: for each of them one stream for raft and one for clients' messages, so that neither waits
//! for the other. Raft never waits: what a slow or dead consenter does not take is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{Either, select};
use ripstop_proto::orderer::cluster_client::ClusterClient;
use ripstop_proto::orderer::step_request::Payload;
use ripstop_proto::orderer::{ConsensusRequest, StepRequest, SubmitRequest};
use ripstop_raft::NodeId;
use ripstop_runtime::{TaskGroup, TaskKind};
use ripstop_transport::{ClientTls, Endpoint, describe_failure};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::channel::Shared;
use crate::config::ClusterConfig;
use crate::consensus::{Forward, MAX_WAITING, Outgoing};
use crate::members::Member;
use crate::metrics::ClusterMetrics;

const LOG: &str = "orderer.consensus.etcdraft";
const COMM_LOG: &str = "orderer.common.cluster";

/// How many reports may wait for the channel's consensus.
const REPORT_QUEUE: usize = 256;
/// The first pause after a stream broke.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// No pause is longer: a consenter that comes back is found soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What consensus must know of the ways to other consenters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkReport {
    /// A message to this consenter was dropped.
    Unreachable(NodeId),
    /// A snapshot was handed over to the way to this consenter, or dropped.
    Snapshot {
        /// Whom it is for.
        to: NodeId,
        /// Which of both.
        outcome: Result<(), ()>,
    },
    /// Clients' messages to this consenter may be lost.
    ForwardingFailed(NodeId),
}

/// The ways from one channel's consensus to the other consenters.
pub(crate) struct Links {
    shared: Arc<Shared>,
    own: NodeId,
    config: Arc<ClusterConfig>,
    metrics: ClusterMetrics,
    group: TaskGroup,
    links: BTreeMap<NodeId, Link>,
    reports: mpsc::Sender<LinkReport>,
}

struct Link {
    member: Member,
    consensus: mpsc::Sender<StepRequest>,
    submit: mpsc::Sender<StepRequest>,
}

impl Links {
    /// No ways yet; reports come out of the receiver.
    pub(crate) fn new(
        shared: Arc<Shared>,
        own: NodeId,
        config: Arc<ClusterConfig>,
        metrics: ClusterMetrics,
        group: TaskGroup,
    ) -> (Self, mpsc::Receiver<LinkReport>) {
        let (reports, receiver) = mpsc::channel(REPORT_QUEUE);
        (Self { shared, own, config, metrics, group, links: BTreeMap::new(), reports }, receiver)
    }

    /// This consenter's number.
    pub(crate) const fn own(&self) -> NodeId {
        self.own
    }

    /// Follows the channel's configuration: ways to consenters that are gone or have changed end.
    pub(crate) fn configure(&mut self) {
        let members = self.shared.members.load_full();
        let unchanged = |link: &Link| members.others(self.own).any(|member| *member == link.member);
        self.links.retain(|_, link| unchanged(link));
        for member in members.others(self.own) {
            if !self.links.contains_key(&member.id) {
                let link = self.begin(member);
                self.links.insert(member.id, link);
            }
        }
    }

    fn begin(&self, member: &Member) -> Link {
        let channel = self.shared.id.as_str();
        tracing::info!(target: COMM_LOG, "Allocating a new stub for node {} with endpoint of {} for channel {channel}", member.id, member.address);
        let start = |operation: Operation, capacity: usize| {
            let (sender, queue) = mpsc::channel(capacity);
            let labels = [member.address.as_str(), operation.label(), channel];
            self.metrics.queue_capacity.with_label_values(&labels).set(capacity as i64);
            let way = Way {
                shared: Arc::clone(&self.shared),
                member: member.clone(),
                operation,
                config: Arc::clone(&self.config),
                metrics: self.metrics.clone(),
                queue,
                reports: self.reports.clone(),
                log_suffix: format!("channel={channel} node={}", self.own),
            };
            let stopped = self.group.cancelled();
            self.group.spawn(TaskKind::Isolated, "link to another orderer", async move {
                let way = std::pin::pin!(way.run());
                select(way, std::pin::pin!(stopped)).await;
                Ok::<_, std::convert::Infallible>(())
            });
            sender
        };
        Link {
            member: member.clone(),
            consensus: start(Operation::Consensus, self.config.send_buffer),
            submit: start(Operation::Submit, MAX_WAITING),
        }
    }

    /// Hands a raft message over to its way, or drops it; what raft must know is returned.
    pub(crate) fn send(&self, outgoing: Outgoing) -> Option<LinkReport> {
        let Outgoing { message, metadata } = outgoing;
        let (to, is_snapshot) = (message.to, message.is_snapshot);
        let sent = self.links.get(&to).is_some_and(|link| {
            let channel = self.shared.id.as_str().to_owned();
            let request = ConsensusRequest { channel, payload: message.bytes, metadata };
            self.hand_over(link, &link.consensus, Operation::Consensus, Payload::ConsensusRequest(request))
        });
        match (sent, is_snapshot) {
            (true, false) => None,
            (false, false) => Some(LinkReport::Unreachable(to)),
            (sent, true) => Some(LinkReport::Snapshot { to, outcome: sent.then_some(()).ok_or(()) }),
        }
    }

    /// Hands a client's message over to the way to the leader.
    pub(crate) fn forward(&self, forward: Forward) -> Option<LinkReport> {
        let Forward { to, request } = forward;
        let sent = self
            .links
            .get(&to)
            .is_some_and(|link| self.hand_over(link, &link.submit, Operation::Submit, Payload::SubmitRequest(request)));
        (!sent).then_some(LinkReport::ForwardingFailed(to))
    }

    fn hand_over(
        &self,
        link: &Link,
        queue: &mpsc::Sender<StepRequest>,
        operation: Operation,
        payload: Payload,
    ) -> bool {
        let (address, channel) = (link.member.address.as_str(), self.shared.id.as_str());
        let waiting = queue.max_capacity() - queue.capacity();
        self.metrics.queue_length.with_label_values(&[address, operation.label(), channel]).set(waiting as i64);
        let sent = queue.try_send(StepRequest { payload: Some(payload) }).is_ok();
        if !sent {
            self.metrics.dropped.with_label_values(&[address, channel]).inc();
        }
        sent
    }
}

/// How the attempt before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Well, or there was none.
    Untroubled,
    /// The stream broke.
    Failed,
}

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Consensus,
    Submit,
}

impl Operation {
    /// As Fabric's metrics have it.
    const fn label(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Submit => "transaction",
        }
    }
}

/// One stream to another consenter, made anew whenever it breaks.
struct Way {
    shared: Arc<Shared>,
    member: Member,
    operation: Operation,
    config: Arc<ClusterConfig>,
    metrics: ClusterMetrics,
    queue: mpsc::Receiver<StepRequest>,
    reports: mpsc::Sender<LinkReport>,
    log_suffix: String,
}

impl Way {
    /// Runs until nobody has anything to send any more.
    async fn run(mut self) {
        let mut failures = 0u32;
        loop {
            let Some(first) = self.queue.recv().await else { return };
            let mut sent = 0u64;
            let before = if failures > 0 { Before::Failed } else { Before::Untroubled };
            let Err(reason) = self.converse(first, &mut sent, before).await else { return };
            failures = if sent > 1 { 1 } else { failures.saturating_add(1) };
            self.failed(&reason, failures).await;
            let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_PAUSE);
            // What was meant to be sent meanwhile is too old to matter.
            let drain = async {
                while let Some(request) = self.queue.recv().await {
                    self.drop_request(&request);
                }
            };
            if timeout(pause, drain).await.is_ok() {
                return;
            }
        }
    }

    /// Sends until the stream breaks; ends well when there is nothing more to send.
    async fn converse(&mut self, first: StepRequest, sent: &mut u64, before: Before) -> Result<(), String> {
        let channel = self.endpoint()?.channel();
        let mut client = ClusterClient::new(channel)
            .max_decoding_message_size(self.config.messages.receive)
            .max_encoding_message_size(self.config.messages.send);
        let (sender, receiver) = mpsc::channel(1);
        let answers = async {
            // Fabric's orderers answer nothing, not even that they accept the stream.
            let mut answers = client.step(ReceiverStream::new(receiver)).await?.into_inner();
            while answers.message().await?.is_some() {}
            Err::<std::convert::Infallible, _>(tonic::Status::unavailable("the stream was ended"))
        };
        let channel_label = [self.shared.id.as_str()];
        let _stream = Counted::new(self.metrics.egress_streams.with_label_values(&channel_label));
        let _worker = Counted::new(self.metrics.queue_workers.with_label_values(&channel_label));
        let _connection = Counted::new(self.metrics.connections.with_label_values::<&str>(&[]));
        let send = self.send(first, sender, sent, before);
        match select(std::pin::pin!(answers), std::pin::pin!(send)).await {
            Either::Left((Err(status), _)) => Err(describe_failure(&status)),
            Either::Right((ended, _)) => ended,
        }
    }

    /// Feeds a stream.
    async fn send(
        &mut self,
        first: StepRequest,
        stream: mpsc::Sender<StepRequest>,
        sent: &mut u64,
        before: Before,
    ) -> Result<(), String> {
        let limit = self.config.rpc_timeout;
        let labels = [self.member.address.clone(), self.shared.id.as_str().to_owned()];
        let time = self.metrics.send_time.with_label_values(&labels);
        let mut next = Some(first);
        while let Some(request) = next {
            let begun = Instant::now();
            match timeout(limit, stream.send(request)).await {
                Ok(Ok(())) => time.observe(begun.elapsed().as_secs_f64()),
                // The other side of the stream says why.
                Ok(Err(_)) => std::future::pending().await,
                Err(_) => return Err(format!("rpc timeout expired: nothing was taken within {limit:?}")),
            }
            *sent += 1;
            // The second message fits only when the first one is on its way.
            if *sent == 2 && before == Before::Failed {
                tracing::info!(target: LOG, "Successfully sent StepRequest to {} after failed attempt(s) {}", self.member.id, self.log_suffix);
            }
            next = self.queue.recv().await;
        }
        Ok(())
    }

    fn endpoint(&self) -> Result<Endpoint, String> {
        let roots = self.shared.config.load().tls_roots();
        let configured = self.config.roots.configured();
        let roots = roots.iter().chain(&configured).map(Bytes::as_ref);
        let tls = ClientTls::pinned(roots, self.config.key_pair.clone(), &self.member.server_key)
            .map_err(|error| error.to_string())?;
        let endpoint = Endpoint::new(&self.member.address).map_err(|error| error.to_string())?;
        Ok(endpoint.tls(tls.time_shift(self.config.time_shift)).connect_timeout(self.config.dial_timeout))
    }

    /// Says once in the log that a consenter cannot be reached, and each time to consensus.
    async fn failed(&self, reason: &str, failures: u32) {
        let (id, suffix) = (self.member.id, &self.log_suffix);
        let text = format!("Failed to send StepRequest to {id}, because: {reason} {suffix}");
        if failures == 1 {
            tracing::error!(target: LOG, "{text}");
        } else {
            tracing::debug!(target: LOG, "{text}");
        }
        let report = match self.operation {
            Operation::Consensus => LinkReport::Unreachable(id),
            Operation::Submit => LinkReport::ForwardingFailed(id),
        };
        // Consensus takes reports all the time; when it has stopped nobody cares.
        let _ = self.reports.send(report).await;
    }

    fn drop_request(&self, request: &StepRequest) {
        self.metrics.dropped.with_label_values(&[self.member.address.as_str(), self.shared.id.as_str()]).inc();
        if let Some(Payload::SubmitRequest(SubmitRequest { .. })) = request.payload {
            let _ = self.reports.try_send(LinkReport::ForwardingFailed(self.member.id));
        }
    }
}

/// Counts in a gauge as long as it lives.
pub(crate) struct Counted(prometheus::IntGauge);

impl Counted {
    pub(crate) fn new(gauge: prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
