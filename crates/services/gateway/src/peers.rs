use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_channel_config::{AddressOverride, ChannelConfig};
use ripstop_proto::gateway::ErrorDetail;
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::protos::endorser_server::{self, EndorserServer};
use ripstop_transport::{Keepalive, KeyPair, MessageLimits};
use ripstop_types::MspId;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::util::BoxCloneSyncService;

use crate::connections::{Connections, Novelty};
use crate::endorser::{Endorser, Location};

/// A connection failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ConnectionError(#[source] tonic::transport::Error);

/// Any transport of the generated endorser client: a connection, or the service itself in this process.
pub(crate) type EndorserTransport = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, ConnectionError>;

/// The peer the gateway runs in.
#[derive(Clone)]
pub struct LocalPeer {
    org: MspId,
    address: String,
    client: EndorserClient<EndorserTransport>,
}

impl LocalPeer {
    /// The peer of organization `org` that others know as `address`, with its endorser.
    pub fn new<E: endorser_server::Endorser>(org: MspId, address: String, endorser: EndorserServer<E>) -> Self {
        let never = |never: Infallible| -> ConnectionError { match never {} };
        let service = tower::ServiceExt::<http::Request<Body>>::map_err(endorser, never);
        let client = client(BoxCloneSyncService::new(service), IN_THIS_PROCESS);
        Self { org, address, client }
    }
}

/// What the peer says to itself was bounded when it came in.
const IN_THIS_PROCESS: MessageLimits = MessageLimits { receive: usize::MAX, send: usize::MAX };

fn client(transport: EndorserTransport, messages: MessageLimits) -> EndorserClient<EndorserTransport> {
    EndorserClient::new(transport).max_decoding_message_size(messages.receive).max_encoding_message_size(messages.send)
}

/// An orderer that can be handed a transaction.
pub(crate) struct Orderer {
    org: String,
    /// As errors name it.
    pub(crate) address: String,
    pub(crate) client: AtomicBroadcastClient<Channel>,
}

impl Orderer {
    pub(crate) fn detail(&self, message: &str) -> ErrorDetail {
        ErrorDetail { address: self.address.clone(), msp_id: self.org.clone(), message: message.to_owned() }
    }
}

/// Reaches peers and the orderers of channel configurations.
pub struct PeerDirectory {
    local: LocalPeer,
    overrides: Vec<AddressOverride>,
    connections: Connections,
    messages: MessageLimits,
}

impl PeerDirectory {
    /// Knows `local`, and connects to others with this certificate (or without TLS); silent ones are pinged.
    pub fn new(
        local: LocalPeer,
        tls: Option<KeyPair>,
        dial_timeout: Duration,
        keepalive: Keepalive,
        overrides: Vec<AddressOverride>,
    ) -> Self {
        let (connections, messages) = (Connections::new(tls, dial_timeout, keepalive), MessageLimits::default());
        Self { local, overrides, connections, messages }
    }

    /// Says how large the messages to and from others may be.
    pub const fn messages(mut self, limits: MessageLimits) -> Self {
        self.messages = limits;
        self
    }

    pub(crate) const fn local_org(&self) -> &MspId {
        &self.local.org
    }

    /// Under which address others know the gateway's own peer.
    pub(crate) fn local_address(&self) -> &str {
        &self.local.address
    }

    /// Where to send a proposal for a peer. `config` tells by which certificates its organization's servers are known.
    ///
    /// # Errors
    /// When nobody could be connected to by its address or certificates.
    pub(crate) fn client(
        &self,
        endorser: &Endorser,
        config: &ChannelConfig,
    ) -> Result<EndorserClient<EndorserTransport>, String> {
        if endorser.location == Location::Local {
            return Ok(self.local.client.clone());
        }
        let org = config.application().and_then(|application| application.organization_of(&endorser.org));
        let (_, org) = org.ok_or_else(|| format!("{} is no organisation of the channel", endorser.org))?;
        let (channel, novelty) = self.connections.to(&endorser.address, &org.tls_roots)?;
        if novelty == Novelty::New {
            tracing::info!(target: "gateway", "Added peer to registry: {}", endorser.address);
        }
        let channel = tower::ServiceExt::<http::Request<Body>>::map_err(channel, ConnectionError);
        Ok(client(BoxCloneSyncService::new(channel), self.messages))
    }

    /// The orderers of a channel: those that can be tried, and how many there are.
    pub(crate) fn orderers(&self, config: &ChannelConfig) -> (Vec<Orderer>, usize) {
        let endpoints = config.orderer_endpoints();
        let orderers = endpoints.iter().filter_map(|endpoint| {
            let target = endpoint.overridden(&self.overrides);
            let address = match target.address == endpoint.address {
                false => format!("{} (mapped from {})", target.address, endpoint.address),
                true => endpoint.address.clone(),
            };
            match self.connections.to(&target.address, &target.tls_roots) {
                Ok((channel, novelty)) => {
                    if novelty == Novelty::New {
                        tracing::info!(target: "gateway", address, "Added orderer to registry");
                    }
                    let client = AtomicBroadcastClient::new(channel)
                        .max_decoding_message_size(self.messages.receive)
                        .max_encoding_message_size(self.messages.send);
                    Some(Orderer { org: org_of_orderer(config, &endpoint.address), address, client })
                }
                Err(error) => {
                    tracing::warn!(target: "gateway", address, err = error, "Failed to connect to orderer");
                    None
                }
            }
        });
        (orderers.collect(), endpoints.len())
    }

    /// Gives up the connections to a peer that failed; the next request makes a new one.
    pub(crate) fn disconnect(&self, endorser: &Endorser) {
        let Endorser { address, org, .. } = endorser;
        tracing::info!(target: "gateway", address, mspid = %org, "Closing connection to remote endorser");
        self.connections.close(address);
    }

    /// Whether nothing is connected to.
    pub(crate) fn is_idle(&self) -> bool {
        self.connections.is_empty()
    }

    /// Gives up connections to peers that are gone, to orderers that a configuration no longer names, and those under
    /// certificates that are no longer an organization's. `channels` are all there are, each with its peers' organizations and
    /// addresses.
    pub(crate) fn close_stale(&self, channels: impl IntoIterator<Item = (Arc<ChannelConfig>, Vec<(MspId, String)>)>) {
        let mut needed: HashMap<String, Vec<Arc<[Bytes]>>> = HashMap::new();
        for (config, peers) in channels {
            for (org, address) in peers {
                let org = config.application().and_then(|application| application.organization_of(&org));
                needed.entry(address).or_default().extend(org.map(|(_, org)| Arc::clone(&org.tls_roots)));
            }
            for endpoint in config.orderer_endpoints() {
                let target = endpoint.overridden(&self.overrides);
                needed.entry(target.address).or_default().push(target.tls_roots);
            }
        }
        let closed = self.connections.retain(|address, roots| {
            needed.get(address).is_some_and(|known| known.iter().any(|known| **known == *roots))
        });
        for address in closed {
            tracing::info!(target: "gateway", address, "Closing connection that is no longer needed");
        }
    }
}

/// The organization that names an address as its orderer's; empty for addresses of the channel as a whole.
fn org_of_orderer(config: &ChannelConfig, address: &str) -> String {
    let organizations = config.orderer().map(|orderer| orderer.organizations.values());
    let named = organizations.into_iter().flatten().find(|org| org.endpoints.iter().any(|known| known == address));
    named.map(|org| org.msp_id.as_str().to_owned()).unwrap_or_default()
}

impl fmt::Debug for PeerDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peers known to {} ({})", self.local.address, self.local.org)
    }
}

/// Shared by all calls.
pub(crate) type Peers = Arc<PeerDirectory>;

#[cfg(test)]
mod tests {
    use ripstop_testkit::{Channel as TestChannel, Organization};
    use ripstop_types::ChannelId;

    use super::*;

    struct Nobody;

    #[tonic::async_trait]
    impl endorser_server::Endorser for Nobody {
        async fn process_proposal(
            &self,
            _: tonic::Request<ripstop_proto::protos::SignedProposal>,
        ) -> Result<tonic::Response<ripstop_proto::protos::ProposalResponse>, tonic::Status> {
            Err(tonic::Status::unavailable("nobody"))
        }
    }

    fn config(peers: &Organization, orderers: &Organization) -> Arc<ChannelConfig> {
        let config = TestChannel::new(orderers, [peers]).config();
        Arc::new(ChannelConfig::new(ChannelId::new("mychannel").unwrap(), config).unwrap())
    }

    fn endorser(address: &str) -> Endorser {
        Endorser {
            org: MspId::new("Org2MSP"),
            address: address.to_owned(),
            name: address.to_owned(),
            identity: Bytes::new(),
            height: 1,
            location: Location::Remote,
        }
    }

    #[tokio::test]
    async fn connections_end_with_the_peers_and_certificates_they_were_made_for() {
        let (org, orderers) = (Organization::new("Org2MSP"), Organization::new("OrdererMSP"));
        let before = config(&org, &orderers);
        let local = LocalPeer::new(MspId::new("Org1MSP"), "localhost:7051".to_owned(), EndorserServer::new(Nobody));
        let peers = PeerDirectory::new(local, None, Duration::from_secs(1), Keepalive::default(), Vec::new());
        let (stays, goes) = (endorser("stays:7051"), endorser("goes:7051"));
        let connect = |config: &ChannelConfig| {
            peers.client(&stays, config).unwrap();
            peers.client(&goes, config).unwrap();
            assert_eq!(peers.orderers(config).0.len(), 1);
        };
        connect(&before);
        assert_eq!(peers.connections.count(), 3);

        let present = || vec![(stays.org.clone(), stays.address.clone())];
        peers.close_stale([(Arc::clone(&before), present())]);
        assert_eq!(peers.connections.count(), 2, "the peer is gone");
        connect(&before);

        let after = config(&Organization::new("Org2MSP"), &orderers);
        peers.close_stale([(Arc::clone(&after), present())]);
        assert_eq!(peers.connections.count(), 1, "the organisation has other certificates; the orderers have not");
        peers.close_stale([]);
        assert!(peers.is_idle());
    }

    #[test]
    fn a_peer_of_no_organisation_of_the_channel_cannot_be_reached() {
        let (org, orderers) = (Organization::new("Org3MSP"), Organization::new("OrdererMSP"));
        let local = LocalPeer::new(MspId::new("Org1MSP"), "localhost:7051".to_owned(), EndorserServer::new(Nobody));
        let peers = PeerDirectory::new(local, None, Duration::from_secs(1), Keepalive::default(), Vec::new());
        let refused = peers.client(&endorser("peer:7051"), &config(&org, &orderers)).map(drop);
        assert_eq!(refused, Err("Org2MSP is no organisation of the channel".to_owned()));
    }
}
