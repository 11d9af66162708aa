use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ripstop_runtime::TaskGroup;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::channel::Shared;
use crate::consensus::{Consensus, Input, Order, Outcome};
use crate::error::Fault;
use crate::metrics::ParticipationMetrics;

/// How many messages one step takes in; they share a sync of the log.
const ORDERS_A_STEP: usize = 512;

/// Drives a channel's consensus until the group stops or consensus fails.
pub(crate) struct Loop {
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: mpsc::Receiver<Order>,
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
        loop {
            batch_deadline = self.batch_deadline(&outcome, batch_deadline);
            let mut inputs = Vec::new();
            tokio::select! {
                biased;
                () = self.group.cancelled() => return Ok(()),
                _ = ticks.tick() => inputs.push(Input::Tick),
                () = sleep_until(batch_deadline.unwrap_or_else(Instant::now)), if batch_deadline.is_some() => {
                    batch_deadline = None;
                    inputs.push(Input::BatchTimeout);
                }
                order = self.orders.recv(), if outcome.accepting => match order {
                    Some(order) => self.take_orders(order, &mut inputs),
                    None => return Ok(()),
                },
            }
            (consensus, outcome) = step(consensus, inputs).await?;
            if !outcome.outbox.is_empty() {
                tracing::debug!(target: "orderer.consensus.etcdraft", "Dropped {} messages to other consenters: there are no links to them yet", outcome.outbox.len());
            }
        }
    }

    /// The timer runs while a batch is under way, from its first message on.
    fn batch_deadline(&self, outcome: &Outcome, running: Option<Instant>) -> Option<Instant> {
        let timeout = || {
            let config = self.shared.config.load();
            Instant::now() + config.orderer().map_or(Duration::ZERO, |orderer| orderer.batch_timeout)
        };
        outcome.batch_under_way.then(|| running.unwrap_or_else(timeout))
    }

    /// Takes whatever else is there already, so that one sync serves all.
    fn take_orders(&mut self, first: Order, inputs: &mut Vec<Input>) {
        inputs.push(Input::Order(first));
        while inputs.len() < ORDERS_A_STEP {
            match self.orders.try_recv() {
                Ok(order) => inputs.push(Input::Order(order)),
                Err(_) => return,
            }
        }
    }
}

/// One step, away from the async threads, because it waits for the disk.
async fn step(mut consensus: Consensus, inputs: Vec<Input>) -> Result<(Consensus, Outcome), Fault> {
    let now = unix_now();
    let done = tokio::task::spawn_blocking(move || consensus.step(inputs, now).map(|outcome| (consensus, outcome)));
    done.await.unwrap_or_else(|error| Err(Fault::Interrupted(error.to_string())))
}
