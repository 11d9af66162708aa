//! Somebody with identities of one organization who keeps to no rule.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_gossip::handshake::{Purpose, offer};
use ripstop_gossip::{
    Alive, Content, DataKind, Distrust, Message, Moment, PeerTime, PkiId, PrivateDigest, PrivatePayload,
    SelfDescription, SignedMessage, Standing, StateInfo, StatePayload, Tag, Trust,
};
use ripstop_interop::{CHANNEL, Site};
use ripstop_proto::gossip::Envelope;
use ripstop_proto::gossip::gossip_client::GossipClient;
use ripstop_transport::KeyPair;
use ripstop_types::{ChannelId, Digest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// The organization that is hostile.
pub(crate) const HOSTILE: usize = 2;

/// How long it waits before it tries again.
const RETRY: Duration = Duration::from_millis(100);

/// One of its identities, and what it shows in TLS.
pub(crate) struct Evil {
    pub(crate) signer: SigningIdentity,
    pub(crate) pair: KeyPair,
}

/// A stream to a peer.
pub(crate) struct Line {
    pub(crate) say: mpsc::Sender<Envelope>,
    pub(crate) heard: Streaming<Envelope>,
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
        self.signer.sign(message).expect("it has a key")
    }
}

pub(crate) fn channel() -> ChannelId {
    ChannelId::new(CHANNEL).expect("it is a channel")
}

pub(crate) fn in_channel(tag: Tag, nonce: u64, content: Content) -> Envelope {
    SignedMessage::unsigned(Message { nonce, channel: Some(channel()), tag, content }).envelope().clone()
}

impl Evil {
    pub(crate) fn new(site: &Site, name: &str) -> Arc<Self> {
        Arc::new(Self { signer: site.new_peer(HOSTILE, name), pair: site.client_pair(HOSTILE) })
    }

    pub(crate) fn id(&self) -> PkiId {
        PkiId::of(self.signer.identity())
    }

    pub(crate) fn handshake(&self, hash: Bytes) -> Envelope {
        let identity = self.signer.identity();
        let me = SelfDescription {
            pki_id: self.id(),
            identity: identity.raw.clone(),
            organization: identity.msp_id.clone(),
            endpoint: String::new(),
            external_endpoint: String::new(),
        };
        offer(&me, hash, Purpose::Talk, self).envelope().clone()
    }

    /// A stream without a handshake; `None` when the peer does not want one.
    pub(crate) async fn dial(&self, site: &Site) -> Option<Line> {
        let (channel, _) = site.peer_for(1, self.pair.clone()).dial().await.ok()?;
        let (say, saying) = mpsc::channel(16);
        let heard = GossipClient::new(channel).gossip_stream(ReceiverStream::new(saying)).await.ok()?;
        Some(Line { say, heard: heard.into_inner() })
    }

    /// A stream on which the peer believes who this is.
    pub(crate) async fn talk(&self, site: &Site) -> Option<Line> {
        let mut line = self.dial(site).await?;
        line.say.send(self.handshake(self.pair.leaf_hash().to_bytes())).await.ok()?;
        line.heard.message().await.ok()??;
        Some(line)
    }

    /// The same, as often as it takes: other attackers may have all places of this address for a moment.
    pub(crate) async fn insist(&self, site: &Site) -> Line {
        loop {
            match self.talk(site).await {
                Some(line) => return line,
                None => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// What it says of its life: at the end of all times, where it likes.
    pub(crate) fn alive(&self, endpoint: &str, sequence: u64) -> Envelope {
        let alive = Alive {
            pki_id: self.id(),
            endpoint: endpoint.to_owned(),
            metadata: Bytes::from_static(&[0; 4000]),
            time: PeerTime { incarnation: u64::MAX - 1, sequence },
            identity: self.signer.identity().raw.clone(),
        };
        let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Alive(alive) };
        SignedMessage::signed(message, self).envelope().clone()
    }

    /// What it says of the channel: it has all blocks that will ever be.
    pub(crate) fn state_info(&self) -> Envelope {
        let id = self.id();
        let info = StateInfo {
            channel_mac: Digest::of_parts([&id.as_bytes()[..], CHANNEL.as_bytes()]).to_bytes(),
            pki_id: id,
            time: PeerTime { incarnation: u64::MAX - 1, sequence: 1 },
            height: u64::MAX,
            left_channel: false,
            chaincodes: Vec::new(),
        };
        let content = Content::StateInfo(info);
        let message = Message { nonce: 0, channel: None, tag: Tag::ChannelOrOrganization, content };
        SignedMessage::signed(message, self).envelope().clone()
    }
}

/// Everything else that may be said, each several times.
pub(crate) fn phrases(number: u64) -> Vec<Envelope> {
    let digest = |block| PrivateDigest {
        tx_id: "ab".repeat(32),
        namespace: "asset-transfer".into(),
        collection: "_implicit_org_Org1MSP".into(),
        block,
        tx: 0,
    };
    let block = |number| StatePayload { number, block: vec![7; 200_000].into(), private_data: vec![Bytes::new(); 100] };
    let private = |collection: &str, writes: Vec<u8>| {
        Content::PrivateData(PrivatePayload {
            collection: collection.into(),
            namespace: "asset-transfer".into(),
            tx_id: format!("{number:064x}"),
            writes: writes.into(),
            endorsed_at: u64::MAX,
            collection_configs: None,
        })
    };
    let unasked = vec![Bytes::from_static(&[1; 32]); 60_000];
    let everybody = |content| {
        SignedMessage::unsigned(Message { nonce: 1, channel: None, tag: Tag::Everybody, content }).envelope().clone()
    };
    let (ours, both) = (Tag::ChannelAndOrganization, Tag::ChannelOrOrganization);
    let mut large = vec![0x1a, 0xa3, 0x8d, 0x06, 0x0a, 0x01, b'k', 0x1a, 0x9c, 0x8d, 0x06];
    large.resize(large.len() + 99_996, number as u8);
    vec![
        in_channel(ours, 0, Content::Block(block(number % 50))),
        in_channel(ours, 0, Content::Block(block(u64::MAX))),
        in_channel(both, number, Content::StateResponse((0..10).map(block).collect())),
        in_channel(both, number, Content::StateRequest { start: 0, end: u64::MAX }),
        in_channel(both, number, Content::StateRequest { start: 0, end: 9 }),
        in_channel(both, number, Content::StateRequest { start: u64::MAX, end: u64::MAX }),
        in_channel(ours, 0, Content::Hello { nonce: number, metadata: Bytes::new(), kind: DataKind::Blocks }),
        in_channel(Tag::Channel, number, private("_implicit_org_Org1MSP", large)),
        in_channel(Tag::Channel, number, private("no such collection", vec![0xff])),
        in_channel(Tag::Channel, number, private("_implicit_org_Org1MSP", [0x1a, 0].repeat(3 << 20))),
        in_channel(Tag::Channel, number, Content::PrivateRequest((0..10_000).map(digest).collect())),
        in_channel(Tag::Channel, number, Content::Acknowledgement { error: "no".repeat(1000) }),
        everybody(Content::Hello { nonce: number, metadata: Bytes::new(), kind: DataKind::Identities }),
        everybody(Content::Digest { nonce: number, digests: unasked.clone(), kind: DataKind::Identities }),
        everybody(Content::Request { nonce: number, digests: unasked, kind: DataKind::Identities }),
        everybody(Content::MembershipResponse { alive: vec![Envelope::default(); 60_000], dead: Vec::new() }),
    ]
}

/// Messages that take two bytes for each of so many values, and a hundred times as many in memory.
pub(crate) fn bombs(values: usize) -> Vec<Envelope> {
    let length = |mut length: usize| {
        let mut bytes = Vec::new();
        while length > 0x7f {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes
    };
    // The lists of membership answers, digests, answers with blocks and with private data, and of a request in a request.
    let lists: [(&[u8], u8); 4] = [(&[0x3a], 0x0a), (&[0x52], 0x12), (&[0x9a, 0x01], 0x0a), (&[0xba, 0x01], 0x0a)];
    let bomb = |(field, item): (&[u8], u8)| {
        let content = [item, 0].repeat(values);
        let payload = [&[0x18, 1][..], field, &length(content.len()), &content].concat();
        Envelope { payload: payload.into(), ..Envelope::default() }
    };
    let deep = Envelope { payload: vec![0x3b; 200_000].into(), ..Envelope::default() };
    lists.map(bomb).into_iter().chain([deep]).collect()
}
