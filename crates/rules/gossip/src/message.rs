use std::fmt;

use bytes::Bytes;
use ripstop_proto::{gossip as wire, protos};
use ripstop_types::ChannelId;

use crate::{AnnouncedChaincode, PkiId, SignedMessage};

/// Whom a message is for (Fabric: `GossipMessage.Tag`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// Nothing is said: acknowledgements of Fabric's peers.
    Unset,
    /// Everybody.
    Everybody,
    /// Peers of the sender's organization.
    Organization,
    /// Members of the channel.
    Channel,
    /// Members of the channel that are of the sender's organization.
    ChannelAndOrganization,
    /// Members of the channel, or of the sender's organization.
    ChannelOrOrganization,
}

/// What a pull is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    /// Blocks of a channel.
    Blocks,
    /// Identities.
    Identities,
}

/// Orders what one peer says: first by its process's begin, then by a number that only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PeerTime {
    /// When the process began, in nanoseconds since 1970.
    pub incarnation: u64,
    /// A number that grows.
    pub sequence: u64,
}

/// One message of gossip, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Joins a question and its answer; 0 where there is none.
    pub nonce: u64,
    /// The channel, where the message belongs to one.
    pub channel: Option<ChannelId>,
    /// Whom it is for.
    pub tag: Tag,
    /// What it says.
    pub content: Content,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A peer lives.
    Alive(Alive),
    /// Who is there?
    MembershipRequest {
        /// The sender's own alive message.
        about_me: Box<SignedMessage>,
        /// Not used any more.
        known: Vec<Bytes>,
    },
    /// Alive messages of peers, unparsed: their signers may be unknown yet.
    MembershipResponse {
        /// Of peers that live.
        alive: Vec<wire::Envelope>,
        /// Of peers that do not.
        dead: Vec<wire::Envelope>,
    },
    /// A block.
    Block(StatePayload),
    /// Pull, step 1: what do you have?
    Hello {
        /// Joins the steps of a pull.
        nonce: u64,
        /// Fabric's peers say nothing here.
        metadata: Bytes,
        /// What the pull is about.
        kind: DataKind,
    },
    /// Pull, step 2: this.
    Digest {
        /// Joins the steps of a pull.
        nonce: u64,
        /// Names of items: numbers of blocks in decimal digits, or PKI-IDs.
        digests: Vec<Bytes>,
        /// What the pull is about.
        kind: DataKind,
    },
    /// Pull, step 3: give me these.
    Request {
        /// Joins the steps of a pull.
        nonce: u64,
        /// Names of items: numbers of blocks in decimal digits, or PKI-IDs.
        digests: Vec<Bytes>,
        /// What the pull is about.
        kind: DataKind,
    },
    /// Pull, step 4: here they are.
    Update {
        /// Joins the steps of a pull.
        nonce: u64,
        /// The items, unparsed.
        data: Vec<wire::Envelope>,
        /// What the pull is about.
        kind: DataKind,
    },
    /// Nothing; opens a stream.
    Empty,
    /// Who I am; the first message of a stream each way.
    Establish {
        /// Which peer.
        pki_id: PkiId,
        /// Its identity as it travels.
        identity: Bytes,
        /// SHA-256 of the certificate the sender shows in TLS.
        tls_certificate_hash: Bytes,
        /// Whether the stream ends behind the handshake.
        probe: bool,
    },
    /// What a peer has of a channel.
    StateInfo(StateInfo),
    /// State infos that the sender has.
    StateInfoSnapshot(Vec<wire::Envelope>),
    /// Tell me the state infos you have.
    StateInfoRequest {
        /// The channel's name, hidden with the sender's PKI-ID.
        channel_mac: Bytes,
    },
    /// Give me blocks, both ends included.
    StateRequest {
        /// The first block.
        start: u64,
        /// The last block.
        end: u64,
    },
    /// Blocks.
    StateResponse(Vec<StatePayload>),
    /// Who leads, or wants to.
    Leadership(Leadership),
    /// A peer's identity.
    Identity {
        /// Which peer.
        pki_id: PkiId,
        /// Its identity as it travels.
        identity: Bytes,
        /// Fabric's peers say nothing here.
        metadata: Bytes,
    },
    /// Answers a message that wanted an acknowledgement.
    Acknowledgement {
        /// What went wrong; empty when nothing did.
        error: String,
    },
    /// Give me private data.
    PrivateRequest(Vec<PrivateDigest>),
    /// Private data.
    PrivateResponse(Vec<PrivateElement>),
    /// Private data of a transaction that was endorsed just now.
    PrivateData(PrivatePayload),
}

/// A peer lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// Which peer.
    pub pki_id: PkiId,
    /// Its external endpoint, possibly empty.
    pub endpoint: String,
    /// Fabric's peers say nothing here.
    pub metadata: Bytes,
    /// When.
    pub time: PeerTime,
    /// Its identity; only in the first seconds of a process's life, else empty.
    pub identity: Bytes,
}

/// What a peer has of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateInfo {
    /// Which peer.
    pub pki_id: PkiId,
    /// The channel's name, hidden from who is not in it: the SHA-256 of PKI-ID and name.
    pub channel_mac: Bytes,
    /// When.
    pub time: PeerTime,
    /// The height of its ledger.
    pub height: u64,
    /// Whether it left the channel.
    pub left_channel: bool,
    /// What it can execute.
    pub chaincodes: Vec<AnnouncedChaincode>,
}

/// Who leads, or wants to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leadership {
    /// Which peer.
    pub pki_id: PkiId,
    /// When.
    pub time: PeerTime,
    /// Whether it leads; else it proposes itself.
    pub is_declaration: bool,
}

/// A block on its way, with private data where the receiver may have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePayload {
    /// Its number.
    pub number: u64,
    /// The encoded block.
    pub block: Bytes,
    /// Encoded `PvtDataPayload`s.
    pub private_data: Vec<Bytes>,
}

/// Names private data of one collection of one transaction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrivateDigest {
    /// The transaction.
    pub tx_id: String,
    /// The chaincode.
    pub namespace: String,
    /// The collection.
    pub collection: String,
    /// The block's number.
    pub block: u64,
    /// The transaction's place in it.
    pub tx: u64,
}

/// Private data of one collection of one transaction.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateElement {
    /// Which.
    pub digest: PrivateDigest,
    /// Encoded `KVRWSet`s.
    pub payload: Vec<Bytes>,
}

/// Private data of a transaction that was endorsed just now.
#[derive(Clone, PartialEq)]
pub struct PrivatePayload {
    /// The collection.
    pub collection: String,
    /// The chaincode.
    pub namespace: String,
    /// The transaction.
    pub tx_id: String,
    /// The encoded `KVRWSet`.
    pub writes: Bytes,
    /// The height of the ledger that the endorser had.
    pub endorsed_at: u64,
    /// The collection's definition at the endorser.
    pub collection_configs: Option<protos::CollectionConfigPackage>,
}

impl Eq for PrivatePayload {}

// Values of collections never reach a log line.
impl fmt::Debug for PrivateElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private data of {:?}", self.digest)
    }
}

impl fmt::Debug for PrivatePayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private data of {} in {}/{}", self.tx_id, self.namespace, self.collection)
    }
}
