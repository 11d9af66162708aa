//! Streams that others open: the service `gossip.Gossip` on the peer's listener.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_gossip::SelfDescription;
use ripstop_gossip::handshake::{Purpose, offer};
use ripstop_proto::gossip::gossip_server::{Gossip as Service, GossipServer};
use ripstop_proto::gossip::{Empty, Envelope};
use ripstop_transport::{KeyPair, MessageLimits, PeerInfo};
use tonic::{Request, Response, Status, Streaming};

use crate::conversation::{Begun, Conversations};
use crate::stream::{Leaving, Opener, Outbox, Stream};

/// How many handshakes of one address may be under way at once. Who opens more is refused; so a stranger that opens streams
/// and says nothing keeps nobody else out.
const HANDSHAKES_EACH: usize = 16;
/// How many handshakes may be under way at once.
const HANDSHAKES: usize = 1024;

/// The service for other peers.
#[derive(Clone)]
pub struct GossipService {
    pub(crate) conversations: Arc<Conversations>,
    pub(crate) me: SelfDescription,
    pub(crate) tls: Option<KeyPair>,
    pub(crate) outbox: usize,
    pub(crate) messages: MessageLimits,
    pub(crate) doorway: Doorway,
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
        let peer = PeerInfo::of(&request).cloned().ok_or_else(|| Status::internal("the connection is not known"))?;
        let entering = self
            .doorway
            .enter(peer.address().ip())
            .ok_or_else(|| Status::resource_exhausted("too many handshakes of this address are under way"))?;
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
                    let stream = Stream::new(contact, address, outbox);
                    if conversations.begin(&stream, Opener::They, None).await == Begun::Talk {
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
        Ok(Response::new(leaving))
    }

    async fn ping(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }
}

/// How many handshakes are under way, by address. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doorway(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A handshake under way.
#[derive(Debug)]
pub(crate) struct Entering {
    doorway: Doorway,
    address: IpAddr,
}

impl Doorway {
    /// Counts one more, if there is room.
    pub(crate) fn enter(&self, address: IpAddr) -> Option<Entering> {
        let mut counts = self.0.lock();
        let all: usize = counts.values().sum();
        let own = counts.get(&address).copied().unwrap_or_default();
        if all >= HANDSHAKES || own >= HANDSHAKES_EACH {
            return None;
        }
        counts.insert(address, own + 1);
        Some(Entering { doorway: self.clone(), address })
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        let mut counts = self.doorway.0.lock();
        match counts.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_strangers_of_one_address_keep_out_only_themselves() {
        let doorway = Doorway::default();
        let [loud, quiet]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let mut entering: Vec<_> = (0..HANDSHAKES_EACH).map(|_| doorway.enter(loud).unwrap()).collect();
        assert!(doorway.enter(loud).is_none());
        assert!(doorway.enter(quiet).is_some());
        entering.pop();
        assert!(doorway.enter(loud).is_some());
        entering.clear();
        assert!(doorway.0.lock().is_empty());
    }
}
