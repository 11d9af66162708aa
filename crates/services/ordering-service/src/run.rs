use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ripstop_channel_config::OrdererEndpoint;
use ripstop_deliver::{BlockPuller, ErrorResponse, PullConfig, PullEnd, PullTarget, PulledBlock};
use ripstop_raft::NodeId;
use ripstop_runtime::TaskGroup;
use ripstop_types::{BlockNumber, ChannelId};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::channel::Shared;
use crate::consensus::{Arrival, Consensus, Input, Order, Outcome};
use crate::error::Fault;
use crate::links::{LinkReport, Links};
use crate::metrics::ParticipationMetrics;

/// How many messages one step takes in; they share a sync of the log.
const ORDERS_A_STEP: usize = 512;
/// How many messages of other consenters one step takes in.
const ARRIVALS_A_STEP: usize = 64;
/// After how many bytes of such messages a step takes no more.
const ARRIVAL_BYTES_A_STEP: usize = 64 << 20;
/// How many fetched blocks may wait to be stored.
const PULLED_QUEUE: usize = 8;
/// The longest that a batch waits where clients are answered when their block is agreed on: below the time that they
/// wait for an answer (Fabric: `peer.gateway.broadcastTimeout`, 30 s), whatever the channel's batch timeout is.
const LONGEST_BATCH: Duration = Duration::from_secs(10);

/// Drives a channel's consensus until the group stops or consensus fails.
pub(crate) struct Loop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) arrivals: mpsc::Receiver<Arrival>,
    pub(crate) links: Links,
    pub(crate) reports: mpsc::Receiver<LinkReport>,
    /// How blocks are fetched from other orderers.
    pub(crate) pull: PullConfig,
    pub(crate) tick: Duration,
    pub(crate) group: TaskGroup,
    pub(crate) participation: ParticipationMetrics,
}

/// Seconds since the Unix epoch, by this node's clock.
pub(crate) fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

impl Loop {
    pub(crate) async fn run(self, consensus: Consensus) -> Result<(), Fault> {
        let shared = Arc::clone(&self.shared);
        let participation = self.participation.clone();
        let outcome = self.drive(consensus).await;
        if outcome.is_err() {
            shared.failed.store(true, Ordering::Relaxed);
            shared.errored.send_replace(true);
            participation.failed(shared.id.as_str());
        }
        outcome
    }

    async fn drive(mut self, consensus: Consensus) -> Result<(), Fault> {
        let (mut consensus, mut outcome) = step(consensus, Vec::new()).await?;
        let mut ticks = interval(self.tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch_deadline: Option<Instant> = None;
        let mut catch_up: Option<CatchUp> = None;
        loop {
            let mut inputs = self.pass_on(&mut outcome);
            self.follow_catch_up(&outcome, &mut catch_up);
            batch_deadline = self.batch_deadline(&outcome, batch_deadline);
            tokio::select! {
                biased;
                () = self.group.cancelled() => {
                    tracing::info!(target: "orderer.consensus.etcdraft", "Raft node stopped channel={} node={}", self.shared.id, self.links.own());
                    return Ok(());
                }
                _ = ticks.tick() => inputs.push(Input::Tick),
                () = sleep_until(batch_deadline.unwrap_or_else(Instant::now)), if batch_deadline.is_some() => {
                    batch_deadline = None;
                    inputs.push(Input::BatchTimeout);
                }
                Some(report) = self.reports.recv() => inputs.push(Input::Link(report)),
                Some(block) = pulled(&mut catch_up) => inputs.push(Input::Pulled(block)),
                Some(arrival) = self.arrivals.recv() => inputs.push(Input::Arrival(arrival)),
                order = self.orders.recv(), if outcome.accepting => match order {
                    Some(order) => inputs.push(Input::Order(order)),
                    None => return Ok(()),
                },
            }
            self.take_what_is_there(&outcome, &mut catch_up, &mut inputs);
            (consensus, outcome) = step(consensus, inputs).await?;
        }
    }

    /// Hands over what is for other consenters; returns what raft must know of it.
    fn pass_on(&mut self, outcome: &mut Outcome) -> Vec<Input> {
        self.links.configure();
        let messages = outcome.outbox.drain(..).filter_map(|message| self.links.send(message));
        let forwards = outcome.forwards.drain(..).filter_map(|forward| self.links.forward(forward));
        messages.chain(forwards).map(Input::Link).collect()
    }

    /// Fetches blocks while consensus waits for them.
    fn follow_catch_up(&self, outcome: &Outcome, catch_up: &mut Option<CatchUp>) {
        if outcome.catching_up && catch_up.is_none() {
            let target = Target { shared: Arc::clone(&self.shared), own: self.links.own() };
            *catch_up = Some(CatchUp::begin(target, self.pull.clone()));
        } else if !outcome.catching_up {
            *catch_up = None;
        }
    }

    /// The timer runs while a batch is under way, from its first message on.
    fn batch_deadline(&self, outcome: &Outcome, running: Option<Instant>) -> Option<Instant> {
        let timeout = || {
            let timeout = self.shared.config.load().orderer().map_or(Duration::ZERO, |orderer| orderer.batch_timeout);
            let alone = self.shared.consenters.load().len() == 1;
            Instant::now() + if alone { timeout } else { timeout.min(LONGEST_BATCH) }
        };
        outcome.batch_under_way.then(|| running.unwrap_or_else(timeout))
    }

    /// Takes whatever else is there already, so that one sync serves all.
    fn take_what_is_there(&mut self, outcome: &Outcome, catch_up: &mut Option<CatchUp>, inputs: &mut Vec<Input>) {
        let mut bytes = 0;
        let more = || {
            let arrival = if bytes < ARRIVAL_BYTES_A_STEP { self.arrivals.try_recv().ok() } else { None }?;
            bytes += arrival.payload.len();
            Some(Input::Arrival(arrival))
        };
        inputs.extend(std::iter::from_fn(more).take(ARRIVALS_A_STEP));
        if let Some(catch_up) = catch_up {
            inputs.extend(std::iter::from_fn(|| catch_up.blocks.try_recv().ok()).take(PULLED_QUEUE).map(Input::Pulled));
        }
        if outcome.accepting {
            let orders = std::iter::from_fn(|| self.orders.try_recv().ok()).take(ORDERS_A_STEP);
            inputs.extend(orders.map(Input::Order));
        }
    }
}

/// Fetching blocks from other orderers; ends when dropped.
struct CatchUp {
    blocks: mpsc::Receiver<PulledBlock>,
    puller: tokio::task::JoinHandle<PullEnd>,
}

impl CatchUp {
    fn begin(target: Target, config: PullConfig) -> Self {
        let (sender, blocks) = mpsc::channel(PULLED_QUEUE);
        // Those that could help may have no leader either, as long as this orderer does not vote for one.
        let puller = BlockPuller::new(Arc::new(target), config, sender).with_error_response(ErrorResponse::BestEffort);
        Self { blocks, puller: tokio::spawn(puller.run()) }
    }
}

impl Drop for CatchUp {
    fn drop(&mut self) {
        self.puller.abort();
    }
}

/// The next fetched block; never one while none are fetched.
async fn pulled(catch_up: &mut Option<CatchUp>) -> Option<PulledBlock> {
    match catch_up {
        Some(catch_up) => catch_up.blocks.recv().await,
        None => std::future::pending().await,
    }
}

/// A chain that lacks blocks.
struct Target {
    shared: Arc<Shared>,
    /// This orderer's number among the consenters.
    own: NodeId,
}

impl PullTarget for Target {
    fn channel(&self) -> &ChannelId {
        &self.shared.id
    }

    fn next_block(&self) -> BlockNumber {
        BlockNumber::new(self.shared.store.height())
    }

    /// All but this one, as far as it can be told by its address as a consenter.
    fn orderers(&self) -> Vec<OrdererEndpoint> {
        let own = self.shared.members.load().address(self.own).map(str::to_owned);
        let endpoints = self.shared.config.load().orderer_endpoints();
        endpoints.into_iter().filter(|endpoint| Some(&endpoint.address) != own.as_ref()).collect()
    }
}

/// One step, away from the async threads, because it waits for the disk.
async fn step(mut consensus: Consensus, inputs: Vec<Input>) -> Result<(Consensus, Outcome), Fault> {
    let now = unix_now();
    let done = tokio::task::spawn_blocking(move || consensus.step(inputs, now).map(|outcome| (consensus, outcome)));
    done.await.unwrap_or_else(|error| Err(Fault::Interrupted(error.to_string())))
}
