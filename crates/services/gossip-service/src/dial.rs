//! Streams that this peer opens.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_gossip::handshake::{Purpose, offer};
use ripstop_gossip::{Contact, PkiId, SelfDescription};
use ripstop_ledger::Ledgers;

use ripstop_proto::gossip::gossip_client::GossipClient;
use ripstop_proto::gossip::{Empty, Envelope};
use ripstop_transport::{ClientTls, Endpoint, Keepalive, MessageLimits, ReceiveGate, describe_failure};
use ripstop_types::{ChannelId, MspId};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::config::GossipTls;
use crate::conversation::{Conversations, MAX_HANDSHAKE};
use crate::stream::{LeavingMessages, Outbox, Stream};

/// How other peers are dialled.
pub(crate) struct Dialler {
    pub(crate) me: SelfDescription,
    pub(crate) ledgers: Arc<Ledgers>,
    pub(crate) tls: Option<GossipTls>,
    pub(crate) dial_timeout: Duration,
    pub(crate) conn_timeout: Duration,
    pub(crate) outbox: usize,
    pub(crate) messages: MessageLimits,
    pub(crate) keepalive: Keepalive,
    pub(crate) trusted: Mutex<Option<TrustedServers>>,
}

/// Opens a stream at a peer that answers.
async fn open(
    channel: Channel,
    gate: &ReceiveGate,
    limits: MessageLimits,
    leaving: LeavingMessages,
) -> Result<Streaming<Envelope>, Status> {
    GossipClient::new(channel.clone()).ping(Empty {}).await?;
    gate.limit_first(MAX_HANDSHAKE);
    let client = GossipClient::new(gate.around(channel));
    let mut client = client.max_decoding_message_size(limits.receive).max_encoding_message_size(limits.send);
    Ok(client.gossip_stream(leaving).await?.into_inner())
}

/// The TLS under some configurations.
pub(crate) struct TrustedServers {
    under: Vec<(ChannelId, u64)>,
    tls: ClientTls,
}

/// A peer that must be at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) pki_id: PkiId,
    /// Its organization, if that is known: another peer of it may have taken its place.
    pub(crate) organization: Option<MspId>,
}

impl Dialler {
    /// Opens a stream to whoever is at an endpoint. Where someone is wanted, another organization's peer is not talked to.
    pub(crate) async fn dial(
        &self,
        conversations: &Arc<Conversations>,
        address: &str,
        wanted: Option<&Wanted>,
    ) -> Result<Contact, String> {
        let endpoint = self.endpoint(address)?;
        let (channel, peer) = endpoint.dial().await.map_err(|error| error.to_string())?;
        let gate = ReceiveGate::default();
        let hash = self.tls.as_ref().map(|tls| tls.client.leaf_hash().to_bytes()).unwrap_or_default();
        let hello = offer(&self.me, hash, Purpose::Talk, &conversations.router.trust);
        let (outbox, leaving) = Outbox::new(self.outbox, &hello, &conversations.metrics);
        let opening =
            tokio::time::timeout(self.conn_timeout, open(channel, &gate, self.messages, leaving.without_status()));
        let mut incoming = match opening.await {
            Ok(opened) => opened.map_err(|status| describe_failure(&status))?,
            Err(_) => return Err(format!("{address} did not answer within {:?}", self.conn_timeout)),
        };
        let contact = match conversations.establish(&mut incoming, &peer).await {
            Ok((contact, _)) => contact,
            Err(why) => {
                conversations.turn_away(&outbox, address, &why);
                return Err(why.to_string());
            }
        };
        if let Some(why) = wanted.and_then(|wanted| wanted.is_not(&contact, address)) {
            outbox.close();
            return Err(why);
        }
        gate.share(conversations.events.share_of(&contact.organization).arriving.clone());
        let stream = Stream::new(contact.clone(), address.to_owned(), outbox);
        if conversations.begin(&stream, Some(address.to_owned())).await {
            let talking = Arc::clone(conversations).talk(incoming, stream);
            conversations.spawn("stream to another peer", talking);
        }
        Ok(contact)
    }

    fn endpoint(&self, address: &str) -> Result<Endpoint, String> {
        let endpoint = Endpoint::new(address)
            .map_err(|error| error.to_string())?
            .connect_timeout(self.dial_timeout)
            .keepalive(self.keepalive)
            .messages(self.messages);
        Ok(match &self.tls {
            Some(tls) => endpoint.tls(self.client_tls(tls)?),
            None => endpoint,
        })
    }

    /// Servers of all organizations of all channels are trusted. Read anew when a configuration changed.
    fn client_tls(&self, tls: &GossipTls) -> Result<ClientTls, String> {
        let configs: Vec<_> = self
            .ledgers
            .list()
            .into_iter()
            .filter_map(|channel| self.ledgers.get(&channel).map(|ledger| (channel, ledger.config())))
            .collect();
        let under: Vec<_> = configs.iter().map(|(channel, config)| (channel.clone(), config.sequence())).collect();
        let mut trusted = self.trusted.lock();
        if let Some(known) = trusted.as_ref().filter(|known| known.under == under) {
            return Ok(known.tls.clone());
        }
        let mut roots: Vec<Bytes> = tls.configured_roots.clone();
        roots.extend(configs.iter().flat_map(|(_, config)| config.tls_roots()));
        let made = ClientTls::to_others(roots.iter().map(AsRef::as_ref), tls.client.clone())
            .map_err(|error| format!("the TLS certificates of the channels cannot be used: {error}"))?;
        *trusted = Some(TrustedServers { under, tls: made.clone() });
        Ok(made)
    }
}

impl Wanted {
    /// Why somebody is not who is wanted; `None` when he is, or when he takes that one's place.
    fn is_not(&self, found: &Contact, address: &str) -> Option<String> {
        if found.pki_id == self.pki_id {
            return None;
        }
        if self.organization.as_ref() == Some(&found.organization) {
            tracing::info!(target: "gossip.comm", "Peer {address} changed its PKI-ID from {} to {}", self.pki_id, found.pki_id);
            return None;
        }
        tracing::warn!(target: "gossip.comm", "Remote endpoint claims to be a different peer, expected {} but got {}", self.pki_id, found.pki_id);
        Some("authentication failure".to_owned())
    }
}
