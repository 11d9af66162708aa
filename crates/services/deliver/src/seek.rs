use std::sync::Arc;

use ripstop_proto::{common, orderer};
use ripstop_types::{Block, BlockNumber};
use tokio::sync::watch;

use crate::source::BlockSource;

/// What to do at the end of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until the next block is there.
    ForBlocks,
    /// Not at all: end the request.
    Not,
}

/// Why a request's positions are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SeekRefusal {
    #[error("Received seekInfo message with missing start or stop")]
    Incomplete,
    #[error("Received invalid seekInfo message: start number {start} greater than stop number {stop}")]
    StopBeforeStart { start: u64, stop: u64 },
    #[error("Error reading from channel, cause was: NOT_FOUND")]
    NotFound,
}

impl SeekRefusal {
    pub(crate) const fn status(self) -> common::Status {
        match self {
            Self::Incomplete | Self::StopBeforeStart { .. } => common::Status::BadRequest,
            Self::NotFound => common::Status::NotFound,
        }
    }
}

/// Where to read, resolved against the height of the chain at the time of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seek {
    pub(crate) start: BlockNumber,
    /// The request ends after this block.
    pub(crate) stop: BlockNumber,
    pub(crate) wait: Wait,
    headers_only: bool,
}

impl Seek {
    /// Resolves positions as Fabric does (`common/deliver`, `fileledger.Iterator`): a start beyond the height is not found,
    /// a start at the height waits.
    pub(crate) fn new(info: &orderer::SeekInfo, reader: &Reader) -> Result<Self, SeekRefusal> {
        use orderer::seek_position::Type;
        let (Some(start), Some(stop)) = (&info.start, &info.stop) else { return Err(SeekRefusal::Incomplete) };
        let height = reader.height();
        let newest = height.saturating_sub(1).max(reader.source.first_block().get());
        let first = match &start.r#type {
            Some(Type::Oldest(_)) => 0,
            Some(Type::Newest(_)) => newest,
            Some(Type::Specified(specified)) if specified.number <= height => specified.number,
            Some(Type::NextCommit(_)) => height,
            Some(Type::Specified(_)) | None => return Err(SeekRefusal::NotFound),
        };
        let last = match &stop.r#type {
            Some(Type::Oldest(_)) => first,
            Some(Type::Newest(_)) if start == stop => first,
            Some(Type::Newest(_)) => height.saturating_sub(1),
            Some(Type::Specified(specified)) if specified.number < first => {
                return Err(SeekRefusal::StopBeforeStart { start: first, stop: specified.number });
            }
            Some(Type::Specified(specified)) => specified.number,
            // Block 0 is the last one: unless the stream starts there it never ends by itself.
            Some(Type::NextCommit(_)) | None => 0,
        };
        if first < reader.source.first_block().get() {
            return Err(SeekRefusal::NotFound);
        }
        let wait = match info.behavior() {
            orderer::seek_info::SeekBehavior::BlockUntilReady => Wait::ForBlocks,
            orderer::seek_info::SeekBehavior::FailIfNotReady => Wait::Not,
        };
        let headers_only = info.content_type() == orderer::seek_info::SeekContentType::HeaderWithSig;
        Ok(Self { start: BlockNumber::new(first), stop: BlockNumber::new(last), wait, headers_only })
    }

    /// The block as the client wants it: configuration blocks always come whole.
    pub(crate) fn content_of(&self, block: &Block) -> common::Block {
        let mut content = block.to_proto();
        if self.headers_only && block.config_envelope().is_none() {
            content.data = None;
        }
        content
    }
}

/// What reading the next block came to.
#[derive(Debug)]
pub(crate) enum Next {
    Block(Arc<Block>),
    NotReady,
    Errored,
    Unreadable(String),
}

/// Reads a channel's blocks one after the other.
pub(crate) struct Reader {
    source: Arc<dyn BlockSource>,
    heights: watch::Receiver<u64>,
    errored: Option<watch::Receiver<bool>>,
}

impl Reader {
    pub(crate) fn new(source: Arc<dyn BlockSource>) -> Self {
        let heights = source.heights();
        let errored = source.errored();
        Self { source, heights, errored }
    }

    pub(crate) const fn source(&self) -> &Arc<dyn BlockSource> {
        &self.source
    }

    pub(crate) fn ignore_consensus_errors(&mut self) {
        self.errored = None;
    }

    pub(crate) fn is_errored(&self) -> bool {
        self.errored.as_ref().is_some_and(|errored| *errored.borrow())
    }

    pub(crate) fn height(&self) -> u64 {
        *self.heights.borrow()
    }

    /// Reads block `number`, waiting for it where told.
    pub(crate) async fn next(&mut self, number: BlockNumber, wait: Wait) -> Next {
        if wait == Wait::Not && number.get() >= self.height() {
            return Next::NotReady;
        }
        let errored = self.errored.as_mut();
        let failing = async move {
            match errored {
                Some(errored) => drop(errored.wait_for(|errored| *errored).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = failing => return Next::Errored,
            reached = self.heights.wait_for(|height| *height > number.get()) => {
                if reached.is_err() {
                    return Next::Unreadable("the channel was closed".to_owned());
                }
            }
        }
        let source = Arc::clone(&self.source);
        match tokio::task::spawn_blocking(move || source.block(number)).await {
            Ok(Ok(block)) => Next::Block(block),
            Ok(Err(error)) => Next::Unreadable(error.to_string()),
            Err(error) => Next::Unreadable(error.to_string()),
        }
    }
}
