use std::path::PathBuf;
use std::time::Duration;

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
    /// The PEM of this node's TLS certificate: a channel's consenter with the same public key is this node.
    pub tls_certificate: Vec<u8>,
}

/// What becomes of messages whose sender's certificate has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiredClients {
    /// They are refused.
    Refused,
    /// They are taken (`General.Authentication.NoExpirationChecks`).
    Taken,
}
