use ripstop_deliver::PulledBlock;
use ripstop_private_data::Prefetched;
use ripstop_types::BlockNumber;
use ripstop_validation::{BlockRefusal, VerifiedBlock};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::commit::Tip;
use crate::{Committer, CommitterError};

/// How many pulled blocks may wait for the committer. When it is full the puller waits.
pub const BLOCK_QUEUE: usize = 16;

impl Committer {
    /// Commits blocks until there are no more, or until the channel cannot go on. Dropping it loses nothing: a block that
    /// is being written is either written or pulled again.
    pub async fn run(self, mut blocks: mpsc::Receiver<PulledBlock>) -> Result<(), CommitterError> {
        let mut tip = self.tip();
        let mut writing = Writing(None);
        loop {
            let pulled = tokio::select! {
                biased;
                failed = writing.failure() => return Err(self.stopped(failed)),
                pulled = blocks.recv() => match pulled {
                    Some(pulled) => pulled,
                    None => break,
                },
            };
            // A new connection begins at the end of the ledger, which lags behind by the block that is being written.
            if pulled.is_refused() || pulled.block.number() < tip.next {
                continue;
            }
            let prefetched = Prefetched::parse(&pulled.private_data);
            let Some(verified) = self.verify_pulled(pulled, &tip).await? else { continue };
            tip = Tip { next: verified.block().number().next(), hash: verified.block().header.hash() };
            writing.finish().await.map_err(|failed| self.stopped(failed))?;
            // Past a configuration block nothing can be said about signers until it is committed.
            let barrier = verified.is_config();
            writing.0 = Some(tokio::spawn(self.clone().write_verified(verified, prefetched)));
            if barrier {
                writing.finish().await.map_err(|failed| self.stopped(failed))?;
            }
        }
        writing.finish().await.map_err(|failed| self.stopped(failed))
    }

    /// Commits a block. While other peers are asked for private data no thread waits.
    async fn write_verified(self, verified: VerifiedBlock, prefetched: Prefetched) -> Result<(), Failed> {
        let committer = self.clone();
        let decide = move || committer.decide(verified, &prefetched);
        let decided = tokio::task::spawn_blocking(decide).await.map_err(Failed::Panicked)?.map_err(Failed::Stage)?;
        let decided = self.complete(decided).await.map_err(Failed::Stage)?;
        let write = move || self.write(decided);
        tokio::task::spawn_blocking(write).await.map_err(Failed::Panicked)?.map_err(Failed::Stage)
    }

    /// `None` when the block was refused.
    async fn verify_pulled(&self, pulled: PulledBlock, tip: &Tip) -> Result<Option<VerifiedBlock>, CommitterError> {
        let channel = self.ledger.channel_id().clone();
        let number = pulled.block.number();
        tracing::debug!(target: "gossip.privdata", "[{channel}] Received block [{number}] from {}", pulled.orderer());
        let (committer, tip, block) = (self.clone(), tip.clone(), pulled.block.clone());
        let verified = tokio::task::spawn_blocking(move || committer.verify(block, &tip))
            .await
            .map_err(|error| self.stopped(Failed::Panicked(error)))?;
        match verified {
            Ok(verified) => Ok(Some(verified)),
            Err(refusal) => {
                self.log_refused(&pulled, number, &refusal);
                pulled.refuse();
                Ok(None)
            }
        }
    }

    fn log_refused(&self, pulled: &PulledBlock, number: BlockNumber, refusal: &BlockRefusal) {
        tracing::error!(
            target: "deliveryClient",
            "[{}] Got error while verifying block [{number}] from orderer {}: {refusal}",
            self.ledger.channel_id(), pulled.orderer()
        );
    }

    fn stopped(&self, failed: Failed) -> CommitterError {
        match failed {
            Failed::Stage(error) => error,
            Failed::Panicked(error) => {
                CommitterError::Panicked { channel: self.ledger.channel_id().to_string(), message: error.to_string() }
            }
        }
    }
}

/// The block that is being written, if any. When it is dropped while other peers are asked for private data, the block is not
/// written.
struct Writing(Option<JoinHandle<Result<(), Failed>>>);

impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(running) = &self.0 {
            running.abort();
        }
    }
}

enum Failed {
    Stage(CommitterError),
    Panicked(JoinError),
}

impl Writing {
    /// Waits until nothing is being written.
    async fn finish(&mut self) -> Result<(), Failed> {
        let Some(running) = self.0.as_mut() else { return Ok(()) };
        let result = running.await;
        self.0 = None;
        match result {
            Ok(result) => result,
            Err(error) => Err(Failed::Panicked(error)),
        }
    }

    /// Completes when writing fails, and only then.
    async fn failure(&mut self) -> Failed {
        match self.finish().await {
            Err(failed) => failed,
            Ok(()) => std::future::pending().await,
        }
    }
}
