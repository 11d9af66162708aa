use std::collections::VecDeque;
use std::sync::OnceLock;

use ripstop_deliver::PulledBlock;
use ripstop_private_data::Prefetched;
use ripstop_validation::{BlockRefusal, VerifiedBlock};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::commit::Tip;
use crate::line::{Line, Ready};
use crate::parallel::{on_all_cores, on_this_thread};
use crate::writing::Decided;
use crate::{Committer, CommitterError};

/// How many pulled blocks may wait for the committer. When it is full the puller waits.
pub const BLOCK_QUEUE: usize = 16;

impl Committer {
    /// Commits blocks until there are no more, or until the channel cannot go on. While some are written, the signatures of the
    /// next ones are checked; all that are ready by then are written together. Dropping it loses nothing: a block that is being
    /// written is either written or pulled again.
    pub async fn run(self, mut blocks: mpsc::Receiver<PulledBlock>) -> Result<(), CommitterError> {
        let mut line = Line::new(self.tip());
        let (mut verifying, mut writing): (Job<Verdicts>, Job<()>) = (Job(None), Job(None));
        let mut more = true;
        loop {
            if !writing.runs() && !line.ready.is_empty() {
                writing.0 = Some(tokio::spawn(self.clone().write_all(line.take_ready())));
            }
            if !verifying.runs() && !line.waits_for_config {
                let (received, tip) = (line.take_received(), line.tip.clone());
                if !received.is_empty() {
                    verifying.0 = Some(tokio::spawn(self.clone().verify_all(received, tip)));
                }
            }
            if !more && line.is_empty() && !writing.runs() && !verifying.runs() {
                return Ok(());
            }
            tokio::select! {
                biased;
                written = writing.end() => {
                    written.map_err(|failed| self.stopped(failed))?;
                    line.written();
                }
                verdicts = verifying.end() => {
                    let verdicts = verdicts.map_err(|failed| self.stopped(failed))?;
                    self.take_in(&mut line, verdicts);
                }
                pulled = blocks.recv(), if more && line.has_room() => match pulled {
                    Some(pulled) => line.receive(pulled, &mut blocks),
                    None => more = false,
                },
            }
        }
    }

    /// Takes verified blocks up, and leaves the connection of one that is not what it should be.
    fn take_in(&self, line: &mut Line, verdicts: Verdicts) {
        let Verdicts { verified, refused, left } = verdicts;
        if let Some((pulled, refusal)) = refused {
            tracing::error!(
                target: "deliveryClient",
                "[{}] Got error while verifying block [{}] from orderer {}: {refusal}",
                self.ledger.channel_id(), pulled.block.number(), pulled.orderer()
            );
            pulled.refuse();
        }
        line.verified(verified, left);
    }

    /// Checks all that needs no state of blocks that follow each other, up to one that is refused, or to a configuration block:
    /// past that nothing can be said about signers until it is committed.
    async fn verify_all(self, blocks: VecDeque<PulledBlock>, tip: Tip) -> Result<Verdicts, Failed> {
        let verify = move || self.verify_in_order(blocks, tip);
        tokio::task::spawn_blocking(verify).await.map_err(Failed::Panicked)
    }

    fn verify_in_order(&self, mut blocks: VecDeque<PulledBlock>, tip: Tip) -> Verdicts {
        let channel = self.ledger.channel_id();
        for pulled in &blocks {
            let number = pulled.block.number();
            tracing::debug!(target: "gossip.privdata", "[{channel}] Received block [{number}] from {}", pulled.orderer());
        }
        let last = blocks.iter().position(|pulled| pulled.block.config_envelope().is_some());
        let count = last.map_or(blocks.len(), |last| last + 1);
        let tips: Vec<Tip> =
            std::iter::once(tip).chain(blocks.iter().map(|pulled| Tip::behind(&pulled.block))).collect();
        let verdicts: Vec<OnceLock<Result<VerifiedBlock, BlockRefusal>>> =
            (0..count).map(|_| OnceLock::new()).collect();
        // Of a single block, the transactions are spread over the cores; of several, the blocks.
        let within = if count > 1 { on_this_thread } else { on_all_cores };
        on_all_cores(count, &|place| {
            let verdict = self.verify(blocks[place].block.clone(), &tips[place], within);
            verdicts[place].set(verdict).ok();
        });
        let mut verified = Vec::with_capacity(count);
        for verdict in verdicts.into_iter().filter_map(OnceLock::into_inner) {
            let Some(pulled) = blocks.pop_front() else { break };
            match verdict {
                Ok(block) => {
                    verified.push(Ready { verified: block, prefetched: Prefetched::parse(&pulled.private_data) });
                }
                Err(refusal) => return Verdicts { verified, refused: Some((pulled, refusal)), left: blocks },
            }
        }
        Verdicts { verified, refused: None, left: blocks }
    }

    /// Commits blocks in order, as many together as may be. While other peers are asked for private data no thread waits.
    async fn write_all(self, mut blocks: VecDeque<Ready>) -> Result<(), Failed> {
        let mut completed = None;
        loop {
            let committer = self.clone();
            let write = move || committer.write_some(completed, blocks);
            let written = tokio::task::spawn_blocking(write).await.map_err(Failed::Panicked)?;
            let (lacking, left) = written.map_err(Failed::Stage)?;
            let Some(lacking) = lacking else { return Ok(()) };
            completed = Some(self.complete(lacking).await.map_err(Failed::Stage)?);
            blocks = left;
        }
    }

    /// Commits blocks up to one whose private data other peers may have, and gives that and those behind it.
    fn write_some(
        &self,
        completed: Option<Decided>,
        mut blocks: VecDeque<Ready>,
    ) -> Result<(Option<Decided>, VecDeque<Ready>), CommitterError> {
        let mut writing = self.begin()?;
        if let Some(completed) = completed {
            writing.add(completed)?;
        }
        while let Some(Ready { verified, prefetched }) = blocks.pop_front() {
            match writing.decide(verified, &prefetched) {
                Ok(decided) if self.can_ask() && decided.lacks_something() => {
                    writing.finish()?;
                    return Ok((Some(decided), blocks));
                }
                Ok(decided) => writing.add(decided)?,
                // Those before it count.
                Err(error) => return writing.finish().and(Err(error)),
            }
        }
        writing.finish()?;
        Ok((None, blocks))
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

/// What came out of verifying blocks that follow each other.
struct Verdicts {
    verified: Vec<Ready>,
    /// The one behind them, if it is not what it should be.
    refused: Option<(PulledBlock, BlockRefusal)>,
    /// Those that were not looked at.
    left: VecDeque<PulledBlock>,
}

/// Work that is done elsewhere, one piece at a time. When it is dropped while other peers are asked for private data, the block
/// that lacks them is not written.
struct Job<T>(Option<JoinHandle<Result<T, Failed>>>);

impl<T> Drop for Job<T> {
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

impl<T> Job<T> {
    const fn runs(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until it has ended; for ever while nothing is done.
    async fn end(&mut self) -> Result<T, Failed> {
        let Some(running) = self.0.as_mut() else { return std::future::pending().await };
        let result = running.await;
        self.0 = None;
        result.map_err(Failed::Panicked)?
    }
}
