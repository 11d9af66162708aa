//! Streams that others open: the service `gossip.Gossip` on the peer's listener.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_gossip::SelfDescription;
use ripstop_gossip::handshake::{Purpose, offer};
use ripstop_proto::gossip::gossip_server::{Gossip as Service, GossipServer};
use ripstop_proto::gossip::{Empty, Envelope};
use ripstop_transport::{KeyPair, MessageLimits, PeerInfo};
use tonic::{Request, Response, Status, Streaming};

use crate::conversation::Conversations;
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
    pub(crate) doorway: Doorway<IpAddr>,
    /// Streams, by connection.
    pub(crate) rooms: Doorway<SocketAddr>,
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

/// How many there are of something, by where they come from. Clones are the same.
#[derive(Debug)]
pub(crate) struct Doorway<K: Eq + Hash>(Arc<Mutex<Counts<K>>>);

#[derive(Debug)]
struct Counts<K> {
    each: HashMap<K, usize>,
    all: usize,
}

/// One of those that are counted, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entering<K: Eq + Hash> {
    doorway: Doorway<K>,
    from: K,
}

impl<K: Eq + Hash> Clone for Doorway<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash> Default for Doorway<K> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Counts { each: HashMap::new(), all: 0 })))
    }
}

impl<K: Eq + Hash + Copy> Doorway<K> {
    /// Counts one more, if there is room.
    pub(crate) fn enter(&self, from: K, each: usize, all: usize) -> Option<Entering<K>> {
        let mut counts = self.0.lock();
        let own = counts.each.get(&from).copied().unwrap_or_default();
        if counts.all >= all || own >= each {
            return None;
        }
        counts.all += 1;
        counts.each.insert(from, own + 1);
        Some(Entering { doorway: self.clone(), from })
    }
}

impl<K: Eq + Hash> Drop for Entering<K> {
    fn drop(&mut self) {
        let mut counts = self.doorway.0.lock();
        counts.all -= 1;
        match counts.each.get_mut(&self.from) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.each.remove(&self.from)),
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
        let mut entering: Vec<_> =
            (0..HANDSHAKES_EACH).map(|_| doorway.enter(loud, HANDSHAKES_EACH, HANDSHAKES).unwrap()).collect();
        assert!(doorway.enter(loud, HANDSHAKES_EACH, HANDSHAKES).is_none());
        assert!(doorway.enter(quiet, HANDSHAKES_EACH, HANDSHAKES).is_some());
        entering.pop();
        assert!(doorway.enter(loud, HANDSHAKES_EACH, HANDSHAKES).is_some());
        entering.clear();
        assert!(doorway.0.lock().each.is_empty() && doorway.0.lock().all == 0);
    }
}
