//! Streams that others open: the service `gossip.Gossip` on the peer's listener.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ripstop_gossip::SelfDescription;
use ripstop_gossip::handshake::{Purpose, offer};
use ripstop_proto::gossip::gossip_server::{Gossip as Service, GossipServer};
use ripstop_proto::gossip::{Empty, Envelope};
use ripstop_transport::{Crowd, KeyPair, MessageLimits, PeerInfo, ReceiveGate};
use tonic::{Request, Response, Status, Streaming};

use crate::conversation::{Conversations, MAX_HANDSHAKE};
use crate::stream::{Leaving, Outbox, Stream};

/// How many handshakes of one address may be under way at once. Who opens more is refused; so a stranger that opens streams
/// and says nothing keeps nobody else out.
const HANDSHAKES_EACH: usize = 16;
/// How many handshakes may be under way at once.
const HANDSHAKES: usize = 1024;
/// How many streams of one connection there may be, those included that are closed and whose last messages the other side
/// does not take. Peers need one.
const STREAMS_EACH: usize = 4;
/// How many streams there may be in all.
const STREAMS: usize = 40_000;

/// The service for other peers.
#[derive(Clone)]
pub struct GossipService {
    pub(crate) conversations: Arc<Conversations>,
    pub(crate) me: SelfDescription,
    pub(crate) tls: Option<KeyPair>,
    pub(crate) outbox: usize,
    pub(crate) messages: MessageLimits,
    /// Handshakes under way.
    pub(crate) doorway: Crowd<IpAddr>,
    /// Streams, by connection.
    pub(crate) rooms: Crowd<SocketAddr>,
}

impl std::fmt::Debug for GossipService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GossipService").finish_non_exhaustive()
    }
}

impl GossipService {
    /// The gRPC service.
    pub fn into_server(self) -> GossipServer<Self> {
        let MessageLimits { receive, send } = self.messages;
        GossipServer::new(self).max_decoding_message_size(receive).max_encoding_message_size(send)
    }
}

#[tonic::async_trait]
impl Service for GossipService {
    type GossipStreamStream = Leaving;

    async fn gossip_stream(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::GossipStreamStream>, Status> {
        let unknown = || Status::internal("the connection is not known");
        let peer = PeerInfo::of(&request).cloned().ok_or_else(unknown)?;
        let gate = ReceiveGate::of(&request).cloned().ok_or_else(unknown)?;
        gate.limit_first(MAX_HANDSHAKE);
        let full = |what| Status::resource_exhausted(format!("too many {what}; close some, or come later"));
        let address = peer.address();
        let entering = self.doorway.enter(address.ip(), HANDSHAKES_EACH, HANDSHAKES);
        let entering = entering.ok_or_else(|| full("handshakes of this address are under way"))?;
        let room = self.rooms.enter(address, STREAMS_EACH, STREAMS);
        let room = room.ok_or_else(|| full("streams of this connection are open"))?;
        let conversations = Arc::clone(&self.conversations);
        let hash = self.tls.as_ref().map(|tls| tls.leaf_hash().to_bytes()).unwrap_or_default();
        let hello = offer(&self.me, hash, Purpose::Talk, &conversations.router.trust);
        let (outbox, leaving) = Outbox::new(self.outbox, &hello, &conversations.metrics);
        let mut incoming = request.into_inner();
        let accepting = async move {
            let address = peer.address().to_string();
            let established = conversations.establish(&mut incoming, &peer).await;
            drop(entering);
            match established {
                Ok((contact, Purpose::Talk)) => {
                    gate.share(conversations.events.share_of(&contact.organization).arriving.clone());
                    let stream = Stream::new(contact, address, outbox);
                    if conversations.begin(&stream, None).await {
                        conversations.talk(incoming, stream).await;
                    }
                }
                Ok((contact, Purpose::Probe)) => {
                    tracing::info!(target: "gossip.comm", "Peer {} ({address}) probed us", contact.pki_id);
                    outbox.close();
                }
                Err(why) => conversations.turn_away(&outbox, &address, &why),
            }
        };
        self.conversations.spawn("stream of another peer", accepting);
        Ok(Response::new(leaving.occupying(room)))
    }

    async fn ping(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }
}
