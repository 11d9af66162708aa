use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message;
use rand::seq::IndexedRandom;
use ripstop_channel_config::OrdererEndpoint;
use ripstop_keys::{EnvelopeHeader, SigningIdentity, sign_envelope};
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::{common, orderer};
use ripstop_transport::{ClientTls, Endpoint, Keepalive, KeyPair, MessageLimits, describe_failure};
use ripstop_types::{Block, BlockError, BlockNumber, ChannelId, Digest, HeaderType, Timestamp};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The first pause after a failure unless said otherwise (Fabric: `InitialRetryInterval`).
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Each pause is this much longer than the one before (Fabric: `backoffExponentBase`).
const PAUSE_GROWTH: f64 = 1.2;
/// No pause is longer than this, whatever the configuration allows: an ordering service that comes back is found soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a connection's orderer is looked up in the configuration, which may have dropped it.
const RECHECK: Duration = Duration::from_secs(10);

/// The chain that wants blocks: a peer's ledger, or an orderer that follows a channel.
pub trait PullTarget: Send + Sync + 'static {
    /// The channel.
    fn channel(&self) -> &ChannelId;

    /// The first block it does not have.
    fn next_block(&self) -> BlockNumber;

    /// The orderers of its newest configuration, with overrides of addresses applied.
    fn orderers(&self) -> Vec<OrdererEndpoint>;
}

/// How blocks are pulled.
#[derive(Debug, Clone)]
pub struct PullConfig {
    /// Signs requests.
    pub signer: SigningIdentity,
    /// Whether orderers are spoken to with TLS, and with which certificate.
    pub tls: Option<KeyPair>,
    /// How long connecting may take (`peer.deliveryclient.connTimeout`).
    pub connect_timeout: Duration,
    /// When silent orderers are pinged (`peer.keepalive.deliveryClient`).
    pub keepalive: Keepalive,
    /// How large messages may be: blocks above it cannot be pulled.
    pub messages: MessageLimits,
    /// The longest pause between attempts (`peer.deliveryclient.reConnectBackoffThreshold`).
    pub max_pause: Duration,
    /// How long an orderer may be silent before another one is asked. None for whoever waits for blocks that do not exist
    /// yet; some limit for one who knows that they do.
    pub silence: Option<Duration>,
    /// Orderers' certificates are judged as if it were this much earlier (`TLSHandshakeTimeShift` of an orderer).
    pub time_shift: Duration,
}

/// What is asked of an orderer that has no leader (`SeekInfo.SeekErrorResponse`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorResponse {
    /// To refuse, because it may stay behind (peers).
    Strict,
    /// To send what it has (orderers among themselves).
    BestEffort,
}

/// A block as an orderer or another peer sent it: nobody has verified it.
pub struct PulledBlock {
    /// The block.
    pub block: Block,
    /// Encoded `gossip.PvtDataPayload`s that another peer sent along with it. Orderers send none.
    pub private_data: Vec<Bytes>,
    origin: BlockOrigin,
}

/// A connection to an orderer, as those see it who take the blocks.
#[derive(Debug, Clone)]
pub struct BlockOrigin {
    orderer: Arc<str>,
    refused: CancellationToken,
    /// The first block that was refused.
    refused_block: Arc<OnceLock<BlockNumber>>,
}

impl BlockOrigin {
    /// A new connection to an orderer.
    pub fn new(orderer: &str) -> Self {
        Self { orderer: orderer.into(), refused: CancellationToken::new(), refused_block: Arc::default() }
    }

    /// A block that came through this connection.
    pub fn pulled(&self, block: Block) -> PulledBlock {
        PulledBlock { block, private_data: Vec::new(), origin: self.clone() }
    }

    /// Whether one of its blocks was refused. Nothing of it is taken any more.
    pub fn is_refused(&self) -> bool {
        self.refused.is_cancelled()
    }

    /// Waits until one of its blocks is refused, and says which.
    pub async fn refused(&self) -> BlockNumber {
        self.refused.cancelled().await;
        // It is set before the token is cancelled.
        self.refused_block.get().copied().unwrap_or(BlockNumber::new(0))
    }
}

// Values of collections never reach a log line.
impl fmt::Debug for PulledBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} from {}", self.block.number(), self.origin.orderer)
    }
}

impl PulledBlock {
    /// The same with private data that came along.
    #[must_use]
    pub fn with_private_data(self, private_data: Vec<Bytes>) -> Self {
        Self { private_data, ..self }
    }

    /// Who sent it.
    pub fn orderer(&self) -> &str {
        &self.origin.orderer
    }

    /// Says that the block is not what it should be: the puller leaves this orderer and asks another one, from the first
    /// block the target does not have. Blocks that are still on the way from this orderer count as refused too.
    pub fn refuse(&self) {
        self.origin.refused_block.set(self.block.number()).ok();
        self.origin.refused.cancel();
    }

    /// Whether this block or another one of the same connection was refused. Drop it then.
    pub fn is_refused(&self) -> bool {
        self.origin.is_refused()
    }
}

/// Why an attempt to pull ended.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The configuration names no orderer.
    #[error("could not get orderer endpoints: the configuration of channel {0} names none")]
    NoOrderers(ChannelId),
    /// An endpoint of the configuration cannot be used.
    #[error("could not dial endpoint '{address}': {reason}")]
    Endpoint {
        /// The orderer.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The request cannot be signed.
    #[error("could not create a signed Deliver SeekInfo message: {0}")]
    Sign(String),
    /// The stream broke.
    #[error("could not read from orderer `{address}`: {status}")]
    Stream {
        /// The orderer.
        address: String,
        /// What happened.
        status: String,
    },
    /// The orderer sends nothing.
    #[error("orderer `{address}` does not send block [{number}]")]
    Silent {
        /// The orderer.
        address: String,
        /// The block it was asked for.
        number: BlockNumber,
    },
    /// The orderer refused.
    #[error("received bad status {status} from orderer `{address}`")]
    Status {
        /// The orderer.
        address: String,
        /// Its status.
        status: &'static str,
    },
    /// The orderer sent what is no block, or not the next one.
    #[error("orderer `{address}` sent {what}")]
    Nonsense {
        /// The orderer.
        address: String,
        /// What it sent.
        what: String,
    },
    /// Who receives the blocks refused one.
    #[error("block [{number}] from orderer [{address}] could not be verified")]
    Refused {
        /// The orderer.
        address: String,
        /// The last block it sent.
        number: BlockNumber,
    },
}

/// How an attempt ended without a failure.
enum Ended {
    /// Nobody wants blocks any more.
    Stopped,
    /// The configuration does not name this orderer any more.
    Dropped,
}

/// Keeps a channel supplied with blocks until it is dropped.
pub struct BlockPuller {
    target: Arc<dyn PullTarget>,
    config: PullConfig,
    blocks: mpsc::Sender<PulledBlock>,
    patience: Option<(Duration, WhenOutlasted)>,
    first_pause: Duration,
    error_response: ErrorResponse,
}

/// What a puller does when it has waited for too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenOutlasted {
    /// It says so in the log and goes on.
    GoOn,
    /// It ends, so that another peer may try.
    End,
}

/// Why a puller ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullEnd {
    /// Nobody takes blocks any more.
    Unwanted,
    /// It has waited for too long.
    Outlasted,
}

impl fmt::Debug for BlockPuller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "puller of channel {}", self.target.channel())
    }
}

impl BlockPuller {
    /// Pulls blocks for `target` and hands them over through `blocks`, whose bound says how far it may run ahead.
    pub fn new(target: Arc<dyn PullTarget>, config: PullConfig, blocks: mpsc::Sender<PulledBlock>) -> Self {
        let error_response = ErrorResponse::Strict;
        Self { target, config, blocks, patience: None, first_pause: FIRST_PAUSE, error_response }
    }

    /// Tells orderers that have no leader what to do; unless said otherwise, they refuse.
    #[must_use]
    pub const fn with_error_response(mut self, error_response: ErrorResponse) -> Self {
        self.error_response = error_response;
        self
    }

    /// Does this when the pauses without a block between them add up to more than so much
    /// (`peer.deliveryclient.reconnectTotalTimeThreshold`).
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration, then: WhenOutlasted) -> Self {
        self.patience = Some((patience, then));
        self
    }

    /// Pauses for this long after a first failure (`peer.deliveryclient.minimalReconnectInterval`).
    #[must_use]
    pub const fn with_first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// Runs until it is dropped, nobody takes blocks any more, or its patience ends. Every failure is logged and followed
    /// by another attempt
    /// with an orderer chosen at random, after a pause that grows up to the configured limit.
    pub async fn run(self) -> PullEnd {
        let mut outage = Outage::default();
        loop {
            let progress = self.target.next_block();
            let ended = self.attempt().await;
            if self.target.next_block() > progress {
                outage = Outage::default();
            }
            let error = match ended {
                Ok(Ended::Stopped) => return PullEnd::Unwanted,
                Ok(Ended::Dropped) => {
                    tracing::info!(target: "deliveryClient", channel = %self.target.channel(), "Ordering endpoints have been refreshed, disconnecting from deliver to reconnect using updated endpoints");
                    continue;
                }
                Err(error) => error,
            };
            let pause = outage.next_pause(self.first_pause, self.config.max_pause);
            if let Some((patience, then)) = self.patience
                && outage.outlasts(patience)
            {
                if then == WhenOutlasted::End {
                    tracing::warn!(target: "deliveryClient", channel = %self.target.channel(), "Disconnected from ordering service: {error}. Attempted to retry block delivery for more than peer.deliveryclient.reconnectTotalTimeThreshold duration {patience:?}, giving up");
                    return PullEnd::Outlasted;
                }
                tracing::warn!(
                    target: "deliveryClient",
                    channel = %self.target.channel(),
                    "peer is a static leader, ignoring peer.deliveryclient.reconnectTotalTimeThreshold"
                );
            }
            tracing::warn!(
                target: "deliveryClient",
                channel = %self.target.channel(),
                "Disconnected from ordering service: {error}. Attempt to re-connect in {pause:?}"
            );
            tokio::time::sleep(pause).await;
        }
    }

    fn choose(&self) -> Result<OrdererEndpoint, PullError> {
        let orderers = self.target.orderers();
        orderers.choose(&mut rand::rng()).cloned().ok_or_else(|| PullError::NoOrderers(self.target.channel().clone()))
    }

    fn endpoint(&self, orderer: &OrdererEndpoint) -> Result<Endpoint, PullError> {
        let fail = |reason: String| PullError::Endpoint { address: orderer.address.clone(), reason };
        let endpoint = Endpoint::new(&orderer.address)
            .map_err(|error| fail(error.to_string()))?
            .connect_timeout(self.config.connect_timeout)
            .keepalive(self.config.keepalive);
        let Some(key_pair) = &self.config.tls else { return Ok(endpoint) };
        let roots = orderer.tls_roots.iter().map(AsRef::as_ref);
        let tls = ClientTls::to_others(roots, key_pair.clone()).map_err(|error| fail(error.to_string()))?;
        let tls = tls.time_shift(self.config.time_shift);
        Ok(endpoint.tls(tls))
    }

    /// Connects to one orderer and passes its blocks on until something fails.
    async fn attempt(&self) -> Result<Ended, PullError> {
        let orderer = self.choose()?;
        let address = orderer.address.clone();
        let mut client = AtomicBroadcastClient::new(self.endpoint(&orderer)?.channel())
            .max_decoding_message_size(self.config.messages.receive)
            .max_encoding_message_size(self.config.messages.send);
        let mut next = self.target.next_block();
        let request = self.request(next)?;
        // The requests end behind the only one: requests that go on for ever would keep stream and connection open after
        // the answers were dropped.
        let requests = tokio_stream::once(request);
        let broken =
            |status: tonic::Status| PullError::Stream { address: address.clone(), status: describe_failure(&status) };
        tracing::info!(target: "deliveryClient", channel = %self.target.channel(), orderer = address, "Pulling next blocks from ordering service, starting with block {next}");
        let origin = BlockOrigin::new(&address);
        let dropped = self.dropped(&orderer);
        tokio::pin!(dropped);
        // Orderers answer nothing before there is a block to send, not even that they accepted the request.
        let mut answers = tokio::select! {
            answers = client.deliver(requests) => answers.map_err(broken)?.into_inner(),
            () = &mut dropped => return Ok(Ended::Dropped),
            () = silent(self.config.silence) => return Err(PullError::Silent { address, number: next }),
        };
        loop {
            let answer = tokio::select! {
                answer = answers.message() => answer.map_err(broken)?,
                () = silent(self.config.silence) => return Err(PullError::Silent { address, number: next }),
                () = origin.refused.cancelled() => return Err(PullError::Refused { address, number: next }),
                () = &mut dropped => return Ok(Ended::Dropped),
            };
            let block = block_of(answer, &address)?;
            if block.number() != next {
                let what = format!("block [{}] when asked for block [{next}]", block.number());
                return Err(PullError::Nonsense { address, what });
            }
            next = next.next();
            let pulled = origin.pulled(block);
            tokio::select! {
                sent = self.blocks.send(pulled) => if sent.is_err() { return Ok(Ended::Stopped) },
                () = origin.refused.cancelled() => return Err(PullError::Refused { address, number: next }),
            }
        }
    }

    /// Completes when the configuration no longer names this orderer.
    async fn dropped(&self, orderer: &OrdererEndpoint) {
        let mut recheck = tokio::time::interval(RECHECK);
        loop {
            recheck.tick().await;
            if !self.target.orderers().contains(orderer) {
                return;
            }
        }
    }

    /// A signed request for all blocks from `start` on, for ever.
    fn request(&self, start: BlockNumber) -> Result<common::Envelope, PullError> {
        let at = |number| orderer::SeekPosition {
            r#type: Some(orderer::seek_position::Type::Specified(orderer::SeekSpecified { number })),
        };
        let mut info =
            orderer::SeekInfo { start: Some(at(start.get())), stop: Some(at(u64::MAX)), ..Default::default() };
        info.set_error_response(match self.error_response {
            ErrorResponse::Strict => orderer::seek_info::SeekErrorResponse::Strict,
            ErrorResponse::BestEffort => orderer::seek_info::SeekErrorResponse::BestEffort,
        });
        let tls_cert_hash = self.config.tls.as_ref().map(KeyPair::leaf_hash);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = Timestamp { seconds: now.as_secs() as i64, nanos: now.subsec_nanos() as i32 };
        let header = EnvelopeHeader {
            kind: HeaderType::DeliverSeekInfo,
            channel_id: Some(self.target.channel()),
            tx_id: None,
            extension: Bytes::new(),
            tls_cert_hash: tls_cert_hash.map(Digest::to_bytes).unwrap_or_default(),
            timestamp,
        };
        sign_envelope(&self.config.signer, &header, info.encode_to_vec().into())
            .map_err(|error| PullError::Sign(error.to_string()))
    }
}

fn block_of(answer: Option<orderer::DeliverResponse>, address: &str) -> Result<Block, PullError> {
    use orderer::deliver_response::Type;
    let nonsense = |what: String| PullError::Nonsense { address: address.to_owned(), what };
    match answer.map(|answer| answer.r#type) {
        Some(Some(Type::Block(block))) => {
            Block::from_proto(block).map_err(|error: BlockError| nonsense(format!("a malformed block: {error}")))
        }
        Some(Some(Type::Status(status))) => {
            let status = common::Status::try_from(status).unwrap_or(common::Status::Unknown).as_str_name();
            Err(PullError::Status { address: address.to_owned(), status })
        }
        Some(None) => Err(nonsense("an answer without content".to_owned())),
        None => Err(nonsense("no status before it hung up".to_owned())),
    }
}

/// Failures in a row.
#[derive(Default)]
struct Outage {
    failures: u32,
    paused: Duration,
    outlasted: bool,
}

impl Outage {
    fn next_pause(&mut self, first: Duration, longest: Duration) -> Duration {
        let pause = pause_after(self.failures, first, longest);
        self.failures = self.failures.saturating_add(1);
        self.paused += pause;
        pause
    }

    /// Whether the pauses have come to more than this; true once an outage.
    fn outlasts(&mut self, patience: Duration) -> bool {
        let outlasts = !self.outlasted && self.paused > patience;
        self.outlasted |= outlasts;
        outlasts
    }
}

/// Completes after the limit; never without one.
async fn silent(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// The pause after `failures` failures in a row.
fn pause_after(failures: u32, first: Duration, longest: Duration) -> Duration {
    let factor = PAUSE_GROWTH.powi(failures.min(100) as i32);
    first.min(LONGEST_PAUSE).mul_f64(factor).min(longest).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Target(ChannelId);

    impl PullTarget for Target {
        fn channel(&self) -> &ChannelId {
            &self.0
        }

        fn next_block(&self) -> BlockNumber {
            BlockNumber::GENESIS
        }

        fn orderers(&self) -> Vec<OrdererEndpoint> {
            Vec::new()
        }
    }

    #[test]
    fn orderers_among_themselves_ask_for_whatever_is_there() {
        let config = PullConfig {
            signer: ripstop_testkit::Organization::new("OrdererMSP").orderer("osn"),
            tls: None,
            connect_timeout: Duration::ZERO,
            keepalive: Keepalive::default(),
            messages: MessageLimits::default(),
            max_pause: Duration::ZERO,
            silence: None,
            time_shift: Duration::ZERO,
        };
        let target = Arc::new(Target(ChannelId::new("mychannel").unwrap()));
        let asked = |puller: BlockPuller| {
            let request = puller.request(BlockNumber::GENESIS).unwrap();
            let content = ripstop_types::Envelope::from_proto(request).unwrap().data;
            orderer::SeekInfo::decode(content).unwrap().error_response()
        };
        let puller = || BlockPuller::new(target.clone(), config.clone(), mpsc::channel(1).0);
        assert_eq!(asked(puller()), orderer::seek_info::SeekErrorResponse::Strict);
        let puller = puller().with_error_response(ErrorResponse::BestEffort);
        assert_eq!(asked(puller), orderer::seek_info::SeekErrorResponse::BestEffort);
    }

    #[test]
    fn pauses_grow_to_the_limit() {
        let longest = Duration::from_secs(3600);
        assert_eq!(pause_after(0, FIRST_PAUSE, longest), Duration::from_millis(100));
        assert_eq!(pause_after(1, FIRST_PAUSE, longest), Duration::from_millis(120));
        assert_eq!(pause_after(u32::MAX, Duration::MAX, longest), LONGEST_PAUSE);
        assert_eq!(pause_after(5, FIRST_PAUSE, Duration::from_millis(110)), Duration::from_millis(110));
    }

    #[test]
    fn an_outage_outlasts_patience_once() {
        let mut outage = Outage::default();
        let said = |outage: &mut Outage| {
            outage.next_pause(FIRST_PAUSE, Duration::from_secs(3600));
            outage.outlasts(Duration::from_millis(300))
        };
        // 100, 120 and 144 ms.
        assert_eq!([(); 5].map(|()| said(&mut outage)), [false, false, true, false, false]);
    }
}
