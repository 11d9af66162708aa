use std::collections::BTreeMap;
use std::path::PathBuf;

use ripstop_proto::orderer::smartbft;
use ripstop_types::{GoDuration, MspId};

/// What `configtx.yaml` holds, as far as something is made of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ConfigTx {
    /// The file.
    pub file: PathBuf,
    /// The organizations that the file lists.
    pub organizations: Vec<Organization>,
    /// The profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Sets of capabilities by name, for the profiles to refer to.
    pub capabilities: BTreeMap<String, BTreeMap<String, bool>>,
}

/// A channel to be made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    /// A name without use since there is no system channel; empty for none.
    pub consortium: String,
    /// The consortiums of a system channel, which no longer exists; `None` for an ordinary channel.
    pub consortiums: Option<BTreeMap<String, Vec<Organization>>>,
    /// The channel's capabilities and whether each is required.
    pub capabilities: BTreeMap<String, bool>,
    /// The channel's policies; `Readers`, `Writers` and `Admins` must be there.
    pub policies: BTreeMap<String, Policy>,
    /// Ordering.
    pub orderer: Option<Orderer>,
    /// The peers' side.
    pub application: Option<Application>,
}

/// A policy in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Of the policies of child groups, such as `MAJORITY Admins`.
    ImplicitMeta(String),
    /// Of signatures, such as `OR('Org1MSP.admin')`.
    Signature(String),
    /// Of a type that does not exist; no channel is made with it.
    Other(String),
}

impl Policy {
    /// A policy of the policies of child groups.
    pub fn implicit_meta(rule: &str) -> Self {
        Self::ImplicitMeta(rule.to_owned())
    }

    /// A policy of signatures.
    pub fn signature(rule: &str) -> Self {
        Self::Signature(rule.to_owned())
    }
}

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// The name of its groups.
    pub name: String,
    /// The id of its MSP.
    pub msp_id: MspId,
    /// The kind of its MSP; channels are made of `bccsp` only.
    pub msp_type: String,
    /// The folder of its MSP; nothing secret is read from it.
    pub msp_directory: PathBuf,
    /// Its policies; `Readers`, `Writers` and `Admins` must be there.
    pub policies: BTreeMap<String, Policy>,
    /// Peers that other organizations may know of.
    pub anchor_peers: Vec<AnchorPeer>,
    /// Addresses of its orderers, host and port.
    pub orderer_endpoints: Vec<String>,
    /// Whether its groups are left empty, because another network defines it.
    pub skip_as_foreign: bool,
}

/// A peer that other organizations may know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorPeer {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// The peers' side of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Application {
    /// The organizations.
    pub organizations: Vec<Organization>,
    /// Its capabilities and whether each is required.
    pub capabilities: BTreeMap<String, bool>,
    /// Its policies; `Readers`, `Writers` and `Admins` must be there.
    pub policies: BTreeMap<String, Policy>,
    /// Policies of resources.
    pub acls: BTreeMap<String, String>,
}

/// The ordering of a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Orderer {
    /// How orderers agree.
    pub consensus: Consensus,
    /// Addresses of orderers that belong to no organization; for old clients.
    pub addresses: Vec<String>,
    /// How long messages wait for a block.
    pub batch_timeout: GoDuration,
    /// When a block is full.
    pub batch_size: BatchSize,
    /// The organizations.
    pub organizations: Vec<Organization>,
    /// A limit without meaning any more.
    pub max_channels: u64,
    /// Its capabilities and whether each is required.
    pub capabilities: BTreeMap<String, bool>,
    /// Its policies; `Readers`, `Writers`, `Admins` and `BlockValidation` must be there.
    pub policies: BTreeMap<String, Policy>,
}

/// When a block is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// The most messages in a block.
    pub max_message_count: u32,
    /// The largest message, in bytes.
    pub absolute_max_bytes: u32,
    /// The size of a block that only a single message exceeds, in bytes.
    pub preferred_max_bytes: u32,
}

impl Default for BatchSize {
    fn default() -> Self {
        Self { max_message_count: 500, absolute_max_bytes: 10 * 1024 * 1024, preferred_max_bytes: 2 * 1024 * 1024 }
    }
}

/// The kind of MSP unless told otherwise: X.509 certificates.
pub(crate) const DEFAULT_MSP_TYPE: &str = "bccsp";

/// The timeout of a batch unless told otherwise.
pub(crate) const DEFAULT_BATCH_TIMEOUT: GoDuration = GoDuration::from_nanos(2_000_000_000);

/// How orderers agree.
#[derive(Debug, Clone, PartialEq)]
pub enum Consensus {
    /// Not at all: a single orderer. Fabric 3 makes such blocks and runs none.
    Solo,
    /// Raft; `None` where the file says nothing about it.
    EtcdRaft(Option<EtcdRaft>),
    /// SmartBFT.
    Bft {
        /// The orderers.
        consenters: Vec<BftConsenter>,
        /// Its clockwork.
        options: smartbft::Options,
    },
    /// In a way that does not exist; no channel is made with it.
    Other(String),
}

impl Consensus {
    /// Its name in `configtx.yaml` and in channels.
    pub fn name(&self) -> &str {
        match self {
            Self::Solo => "solo",
            Self::EtcdRaft(_) => "etcdraft",
            Self::Bft { .. } => "BFT",
            Self::Other(name) => name,
        }
    }
}

/// Raft: the orderers and the clockwork.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdRaft {
    /// The orderers.
    pub consenters: Vec<RaftConsenter>,
    /// The clockwork.
    pub options: EtcdRaftOptions,
}

/// An orderer under Raft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftConsenter {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u32,
    /// The file of its TLS certificate as a client.
    pub client_tls_cert: PathBuf,
    /// The file of its TLS certificate as a server.
    pub server_tls_cert: PathBuf,
}

/// The clockwork of Raft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdRaftOptions {
    /// The length of a tick, in Go's notation.
    pub tick_interval: String,
    /// After how many ticks without a leader an election begins.
    pub election_tick: u32,
    /// After how many ticks a leader shows that it lives.
    pub heartbeat_tick: u32,
    /// How many blocks may be proposed and not agreed on.
    pub max_inflight_blocks: u32,
    /// After how many bytes of blocks a snapshot is taken.
    pub snapshot_interval_size: u32,
}

impl Default for EtcdRaftOptions {
    fn default() -> Self {
        Self {
            tick_interval: "500ms".into(),
            election_tick: 10,
            heartbeat_tick: 1,
            max_inflight_blocks: 5,
            snapshot_interval_size: 16 * 1024 * 1024,
        }
    }
}

/// An orderer under byzantine consensus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BftConsenter {
    /// Its number.
    pub id: u32,
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u32,
    /// Its MSP.
    pub msp_id: MspId,
    /// The file of its certificate.
    pub identity: PathBuf,
    /// The file of its TLS certificate as a client.
    pub client_tls_cert: PathBuf,
    /// The file of its TLS certificate as a server.
    pub server_tls_cert: PathBuf,
}

/// The clockwork of byzantine consensus where a file has no section for it (SmartBFT's defaults).
pub(crate) fn default_bft_options() -> smartbft::Options {
    smartbft::Options {
        request_batch_max_count: 100,
        request_batch_max_bytes: 10 * 1024 * 1024,
        request_batch_max_interval: "50ms".into(),
        incoming_message_buffer_size: 200,
        request_pool_size: 400,
        request_forward_timeout: "2s".into(),
        request_complain_timeout: "20s".into(),
        request_auto_remove_timeout: "3m0s".into(),
        view_change_resend_interval: "5s".into(),
        view_change_timeout: "20s".into(),
        leader_heartbeat_timeout: "1m0s".into(),
        leader_heartbeat_count: 10,
        collect_timeout: "1s".into(),
        ..Default::default()
    }
}
