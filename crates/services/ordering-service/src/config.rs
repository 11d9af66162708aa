use std::path::PathBuf;
use std::time::Duration;

use ripstop_transport::{ClientRoots, KeyPair, MessageLimits};

/// How this node orders, on all channels.
#[derive(Debug, Clone)]
pub struct OrderingConfig {
    /// Directory of the ledgers (`FileLedger.Location`); block files are in `chains/<channel>` below.
    pub ledger_directory: PathBuf,
    /// Directory of raft logs, one directory a channel (`Consensus.WALDir`).
    pub wal_directory: PathBuf,
    /// Directory of raft snapshots, one directory a channel (`Consensus.SnapDir`).
    pub snapshot_directory: PathBuf,
    /// Replaces the tick interval of all channels (`Consensus.TickIntervalOverride`).
    pub tick_interval: Option<Duration>,
    /// Whether clients with expired certificates may write.
    pub expiration: ExpiredClients,
    /// What this node shows to other orderers as a server: a channel's consenter with the same public key is this node.
    pub server: KeyPair,
    /// How this node speaks to other orderers.
    pub cluster: ClusterConfig,
}

/// How a node speaks to other orderers (`General.Cluster`).
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// What it shows to them as a client (`ClientCertificate`, `ClientPrivateKey`).
    pub key_pair: KeyPair,
    /// Authorities of their certificates are, beside those in channel configurations, the configured ones of these (`RootCAs`).
    pub roots: ClientRoots,
    /// How long connecting may take (`DialTimeout`).
    pub dial_timeout: Duration,
    /// How long handing over a message may take (`RPCTimeout`).
    pub rpc_timeout: Duration,
    /// How many consensus messages may wait for a slow orderer before further ones are dropped (`SendBufferSize`).
    pub send_buffer: usize,
    /// How long an orderer may take to send a block that is asked for (`ReplicationPullTimeout`).
    pub pull_timeout: Duration,
    /// The longest pause between attempts to fetch blocks (`ReplicationRetryTimeout`).
    pub retry_pause: Duration,
    /// How far the clock is turned back when certificates of orderers are judged (`TLSHandshakeTimeShift`).
    pub time_shift: Duration,
    /// How large messages to and from other orderers may be (`General.MaxRecvMsgSize`, `MaxSendMsgSize`).
    pub messages: MessageLimits,
}

/// What becomes of messages whose sender's certificate has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiredClients {
    /// They are refused.
    Refused,
    /// They are taken (`General.Authentication.NoExpirationChecks`).
    Taken,
}
