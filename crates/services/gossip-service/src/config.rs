use std::sync::Arc;

use ripstop_gossip::{Endpoint, Options};
use ripstop_keys::SigningIdentity;
use ripstop_ledger::Ledgers;
use ripstop_msp::LocalMsp;
use ripstop_operations::Metrics;
use ripstop_runtime::TaskGroup;
use ripstop_transport::{Keepalive, KeyPair, MessageLimits};

use bytes::Bytes;

/// How a peer takes part.
#[derive(Debug, Clone)]
pub struct GossipConfig {
    /// Everything below `peer.gossip` but the endpoints.
    pub options: Options,
    /// Where peers of its organization reach it, as `host:port`.
    pub endpoint: Endpoint,
    /// Where peers of other organizations reach it; empty when they shall not.
    pub external_endpoint: Endpoint,
    /// `None` where the peer speaks without TLS: then nobody knows whether who speaks is who he says he is.
    pub tls: Option<GossipTls>,
    /// How large messages may be.
    pub messages: MessageLimits,
    /// How other peers are pinged.
    pub keepalive: Keepalive,
    /// Whether blocks that come from the orderers are sent on to other peers (`peer.deliveryclient.blockGossipEnabled`).
    pub spreading: Spreading,
}

/// Whether blocks that come from the orderers are sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spreading {
    /// A leading peer sends them to others.
    Spread,
    /// Everybody pulls for himself, as Fabric 3 has it unless told otherwise.
    Keep,
}

/// With which certificates a peer shows itself.
#[derive(Debug, Clone)]
pub struct GossipTls {
    /// As a client.
    pub client: KeyPair,
    /// On its listener.
    pub server: KeyPair,
    /// Certificates that others' certificates may come from, whatever channels say, as PEM.
    pub configured_roots: Vec<Bytes>,
}

/// What gossip stands on.
#[derive(Clone)]
pub struct GossipParts {
    /// The channels: their configurations say who may speak.
    pub ledgers: Arc<Ledgers>,
    /// The peer's organization.
    pub local_msp: Arc<LocalMsp>,
    /// Who the peer is.
    pub signer: SigningIdentity,
    /// Where is counted.
    pub metrics: Metrics,
    /// The group of all tasks of gossip.
    pub tasks: TaskGroup,
}

impl std::fmt::Debug for GossipParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GossipParts").field("signer", &self.signer).finish_non_exhaustive()
    }
}
