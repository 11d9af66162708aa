//! A peer among strangers and liars, on loopback.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod world;

use bytes::Bytes;
use ripstop_gossip::handshake::{Purpose, offer};
use ripstop_gossip::{
    Alive, Content, Distrust, Message, Moment, PeerTime, PkiId, SelfDescription, SignedMessage, Standing, StatePayload,
    Tag, Trust,
};
use ripstop_proto::Message as _;
use ripstop_proto::gossip::gossip_client::GossipClient;
use ripstop_proto::gossip::{Envelope, GossipMessage, MembershipResponse, SecretEnvelope, gossip_message};
use ripstop_transport::{ClientTls, Endpoint, KeyPair};
use ripstop_types::ChannelId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::Streaming;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use crate::world::{Peer, Place, channel, genesis_of, lives};
use ripstop_keys::SigningIdentity;
use ripstop_testkit::{Organization, in_time, until};

/// Someone with a certificate who keeps to no rule.
struct Evil {
    signer: SigningIdentity,
    pair: KeyPair,
    tls_root: String,
}

/// It trusts nobody and only signs.
impl Trust for Evil {
    fn identify(&self, _: Moment, _: &Bytes) -> Result<Standing, Distrust> {
        Err(Distrust("never".into()))
    }

    fn verify(&self, _: &Bytes, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn verify_reader(&self, _: &ChannelId, _: &Bytes, _: &[u8], _: &[u8]) -> bool {
        false
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        self.signer.sign(message).unwrap()
    }
}

/// A stream to a peer before any handshake.
struct Line {
    say: mpsc::Sender<Envelope>,
    heard: Streaming<Envelope>,
}

impl Evil {
    fn of(organization: &Organization) -> Self {
        let credentials = organization.tls("evil", &["127.0.0.1"]);
        let pair = KeyPair::from_pem(credentials.certificate.as_bytes(), credentials.key.as_bytes()).unwrap();
        Self { signer: organization.peer("evil"), pair, tls_root: organization.tls_root() }
    }

    async fn dial(&self, peer: &Peer) -> Line {
        let tls = ClientTls::new([self.tls_root.as_bytes()], Some(self.pair.clone())).unwrap();
        let (channel, _) = Endpoint::new(&peer.address).unwrap().tls(tls).dial().await.unwrap();
        let (say, saying) = mpsc::channel(16);
        let mut client = GossipClient::new(channel);
        let heard = client.gossip_stream(ReceiverStream::new(saying)).await.unwrap().into_inner();
        Line { say, heard }
    }

    fn me(&self) -> SelfDescription {
        let identity = self.signer.identity();
        SelfDescription {
            pki_id: PkiId::of(identity),
            identity: identity.raw.clone(),
            organization: identity.msp_id.clone(),
            endpoint: "127.0.0.1:1".into(),
            external_endpoint: "127.0.0.1:1".into(),
        }
    }

    fn handshake(&self, hash: Bytes) -> Envelope {
        offer(&self.me(), hash, Purpose::Talk, self).envelope().clone()
    }

    /// A stream of which the peer knows who is at the other end.
    async fn talk(&self, peer: &Peer) -> Line {
        let mut line = self.dial(peer).await;
        line.say.send(self.handshake(self.pair.leaf_hash().to_bytes())).await.unwrap();
        line.heard.message().await.unwrap().unwrap();
        line
    }
}

impl Line {
    /// What the peer says at the end, when it ends the stream.
    async fn end(mut self) -> String {
        let waiting = async {
            loop {
                match self.heard.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return String::new(),
                    Err(status) => return status.message().to_owned(),
                }
            }
        };
        in_time("the peer hangs up", waiting).await
    }
}

async fn alone() -> (Organization, Peer) {
    let [orderer, org1] = ["OrdererMSP", "Org1MSP"].map(Organization::new);
    let place = Place::find().await;
    let genesis = genesis_of(&orderer, &[(&org1, &place.address)]);
    let peer = Peer::start(&org1, place, &genesis, &[]).await;
    (org1, peer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_say_who_he_is_is_hung_up_on() {
    let (org1, peer) = alone().await;
    let evil = Evil::of(&org1);
    let silent = evil.dial(&peer).await;

    let chatting = evil.dial(&peer).await;
    chatting.say.send(GossipMessage { tag: 1, ..Default::default() }.encode_to_vec().into_envelope()).await.unwrap();
    assert_eq!(chatting.end().await, "malformed gossip message: it says nothing");

    let relayed = evil.dial(&peer).await;
    relayed.say.send(evil.handshake(Bytes::from_static(&[7; 32]))).await.unwrap();
    let refusal = relayed.end().await;
    assert!(refusal.starts_with("Expected ") && refusal.contains("in remote hash of TLS cert"), "{refusal}");

    let mut forged = evil.handshake(evil.pair.leaf_hash().to_bytes());
    forged.signature = Bytes::from_static(b"forged");
    let line = evil.dial(&peer).await;
    line.say.send(forged).await.unwrap();
    let refusal = line.end().await;
    assert!(refusal.starts_with("Failed verifying signature"), "{refusal}");

    let stranger = Evil { signer: Organization::new("StrangeMSP").peer("evil"), ..Evil::of(&org1) };
    let line = stranger.dial(&peer).await;
    line.say.send(stranger.handshake(stranger.pair.leaf_hash().to_bytes())).await.unwrap();
    let refusal = line.end().await;
    assert!(refusal.contains("no channel of this peer has an organisation StrangeMSP"), "{refusal}");
    assert!(peer.gossip.contact(&stranger.me().pki_id).is_none());

    let refusal = silent.end().await;
    assert!(refusal.starts_with("timed out waiting for connection message from"), "{refusal}");
    assert!(peer.gossip.contact(&evil.me().pki_id).is_none());
    peer.stop().await;
}

trait IntoEnvelope {
    fn into_envelope(self) -> Envelope;
}

impl IntoEnvelope for Vec<u8> {
    fn into_envelope(self) -> Envelope {
        Envelope { payload: self.into(), ..Default::default() }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loud_peer_and_a_deaf_one_cost_others_nothing() {
    let (org1, peer) = alone().await;
    let evil = Evil::of(&org1);
    let line = evil.talk(&peer).await;
    let id = evil.me().pki_id;
    // It floods the peer with blocks that nobody asked for, and never reads.
    let flood = line.say.clone();
    let flooding = tokio::spawn(async move {
        let block = StatePayload { number: 9_000, block: vec![0; 10_000].into(), private_data: Vec::new() };
        let content = Content::Block(block);
        let message = Message { nonce: 0, channel: Some(channel()), tag: Tag::ChannelAndOrganization, content };
        let message = SignedMessage::unsigned(message);
        while flood.send(message.envelope().clone()).await.is_ok() {}
    });
    // What it does not take is dropped, and whoever sends is told.
    until("its stream is known", || peer.gossip.contact(&id).is_some()).await;
    let large = Content::StateResponse(vec![StatePayload {
        number: 1,
        block: vec![0; 1 << 20].into(),
        private_data: Vec::new(),
    }]);
    until("its stream is full", || peer.gossip.send(&id, &channel(), large.clone()).is_err()).await;
    assert!(!peer.metrics.text().contains("gossip_comm_overflow_count 0\n"));
    // Meanwhile others find it.
    let bootstrap = peer.address.clone();
    let genesis = peer.genesis.clone();
    let other = Peer::start(&org1, Place::find().await, &genesis, &[&bootstrap]).await;
    other.knows("another lives", |view| lives(view, &peer)).await;
    peer.knows("another lives", |view| lives(view, &other)).await;
    // A second stream of the same peer replaces the first.
    let again = evil.talk(&peer).await;
    flooding.abort();
    drop(line);
    again.say.send(vec![0xff; 10].into_envelope()).await.unwrap();
    again.end().await;
    other.stop().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_far_too_large_or_far_larger_in_memory_is_hung_up_on() {
    let (org1, peer) = alone().await;
    let evil = Evil::of(&org1);
    let mut hello = evil.handshake(evil.pair.leaf_hash().to_bytes());
    hello.secret_envelope = Some(SecretEnvelope { payload: vec![0; 1 << 20].into(), ..Default::default() });
    let line = evil.dial(&peer).await;
    line.say.send(hello).await.unwrap();
    let refusal = line.end().await;
    assert!(refusal.contains("received message larger than max") && refusal.contains("vs. 65536"), "{refusal}");

    // Two bytes each on the wire.
    let alive = vec![Envelope::default(); 1 << 20];
    let content = Some(gossip_message::Content::MemRes(MembershipResponse { alive, dead: Vec::new() }));
    let bomb = GossipMessage { tag: 1, content, ..Default::default() }.encode_to_vec();
    let line = evil.talk(&peer).await;
    line.say.send(bomb.into_envelope()).await.unwrap();
    line.end().await;
    let again = evil.talk(&peer).await;
    drop(again);
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_say_they_are_where_nobody_answers_are_dialled_few_at_a_time() {
    let [orderer, org1, org2] = ["OrdererMSP", "Org1MSP", "Org2MSP"].map(Organization::new);
    let place = Place::find().await;
    let genesis = genesis_of(&orderer, &[(&org1, &place.address), (&org2, "127.0.0.1:1")]);
    let peer = Peer::start(&org1, place, &genesis, &[]).await;
    // Somebody whom no gossip concerns takes connections, and says nothing.
    let victim = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = victim.local_addr().unwrap().to_string();
    let evil = Evil { tls_root: org1.tls_root(), ..Evil::of(&org2) };
    let line = evil.talk(&peer).await;
    let time = PeerTime { incarnation: 1, sequence: 1 };
    for number in 0..60 {
        let signer = org2.peer(&format!("made up {number}"));
        let identity = signer.identity();
        let alive = Alive {
            pki_id: PkiId::of(identity),
            endpoint: address.clone(),
            metadata: Bytes::new(),
            time,
            identity: identity.raw.clone(),
        };
        let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Alive(alive) };
        let made_up = Evil { signer, pair: evil.pair.clone(), tls_root: String::new() };
        line.say.send(SignedMessage::signed(message, &made_up).envelope().clone()).await.unwrap();
    }
    let (mut open, mut most, mut all) = (JoinSet::new(), 0, 0);
    let watching = async {
        while all < 40 {
            tokio::select! {
                accepted = victim.accept() => {
                    let (mut stream, _) = accepted.unwrap();
                    open.spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
                    (most, all) = (most.max(open.len()), all + 1);
                }
                Some(_) = open.join_next() => {}
            }
        }
    };
    in_time("many connections come to where nobody answers", watching).await;
    // Those that have just ended may be counted once more.
    assert!(most <= 2 * 16, "{most} connections at once");
    // Meanwhile its own organization's peers find it.
    let bootstrap = peer.address.clone();
    let other = Peer::start(&org1, Place::find().await, &genesis, &[&bootstrap]).await;
    other.knows("another lives", |view| lives(view, &peer)).await;
    peer.knows("another lives", |view| lives(view, &other)).await;
    other.stop().await;
    peer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_passes_on_what_is_too_large_is_heard_on() {
    let (org1, peer) = alone().await;
    let evil = Evil::of(&org1);
    let line = evil.talk(&peer).await;
    let me = evil.me();
    let alive = |metadata: usize, sequence: u64| {
        let alive = Alive {
            pki_id: me.pki_id.clone(),
            endpoint: me.endpoint.clone(),
            metadata: vec![0; metadata].into(),
            time: PeerTime { incarnation: 1, sequence },
            identity: me.identity.clone(),
        };
        let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Alive(alive) };
        SignedMessage::signed(message, &evil).envelope().clone()
    };
    line.say.send(alive(1 << 20, 1)).await.unwrap();
    line.say.send(alive(0, 2)).await.unwrap();
    peer.knows("the other lives", |view| view.alive.contains_key(&me.pki_id)).await;
    peer.stop().await;
}
