use bytes::Bytes;
use ripstop_proto::gossip::{self as wire, gossip_message};
use ripstop_proto::wire::Fields;
use ripstop_proto::{BoundedReadError, Message as _, read_bounded};
use ripstop_types::ChannelId;

use crate::{
    Alive, AnnouncedChaincode, Content, DataKind, Leadership, Message, PeerTime, PkiId, PrivateDigest, PrivateElement,
    PrivatePayload, SignedMessage, StateInfo, StatePayload, Tag,
};

/// The longest endpoint, in bytes: a name of DNS and a port, with room to spare.
pub(crate) const MAX_ENDPOINT: usize = 512;
/// The longest identity, in bytes: more than ten times what certificates have.
pub(crate) const MAX_IDENTITY: usize = 16 << 10;
/// The most bytes that a peer may say of itself and everybody keeps, apart from its identity.
const MAX_METADATA: usize = 4 << 10;
/// The largest state info, in bytes. It names chaincodes.
const MAX_STATE_INFO: usize = 64 << 10;
/// How many bytes of a message may be what nobody here knows.
const MAX_UNKNOWN: usize = 16 << 10;
/// The same of one that a peer says of itself: it is kept for long, and passed on.
const MAX_UNKNOWN_KEPT: usize = 1 << 10;
/// The most values that the lists of a message have together, those inside of other values included.
const MAX_VALUES: usize = 1 << 17;
/// The longest signature, in bytes.
const MAX_SIGNATURE: usize = 4 << 10;
/// The largest secret of an envelope, in bytes: it holds an endpoint.
const MAX_SECRET: usize = 1 << 10;
/// The longest name of an item of a pull, in bytes: a PKI-ID, or a number in decimal digits.
const MAX_DIGEST: usize = 64;
/// The most items of a digest, a request, an update, a membership response or a snapshot of state infos.
const MAX_ITEMS: usize = 1 << 16;
/// The most blocks of one answer.
const MAX_BLOCKS: usize = 1 << 10;
/// The length of channel MACs, in bytes.
const HASH: usize = 32;

/// An envelope that holds no message a peer of Fabric would send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed gossip message: {reason}")]
pub struct Malformed {
    /// What is wrong.
    pub reason: String,
    /// Whose doing it is.
    pub culprit: Culprit,
}

/// Whose doing a message is that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Culprit {
    /// Whoever sent it made it, or passes on what nobody who means well passes on.
    Sender,
    /// Whoever signed it. Peers of Fabric have fewer bounds, and pass it on in good faith.
    Author,
}

fn malformed(reason: impl Into<String>) -> Malformed {
    Malformed { reason: reason.into(), culprit: Culprit::Sender }
}

/// Refuses what is not so.
fn must(holds: bool, reason: &str) -> Result<(), Malformed> {
    holds.then_some(()).ok_or_else(|| malformed(reason))
}

/// Reads the message of an envelope.
pub(crate) fn message(envelope: &wire::Envelope) -> Result<Message, Malformed> {
    let read = gossip_message(envelope, "the payload cannot be decoded")?;
    let culprit = read.content.as_ref().map_or(Culprit::Sender, culprit);
    meaning(envelope, read).map_err(|malformed| Malformed { culprit, ..malformed })
}

fn gossip_message(envelope: &wire::Envelope, what: &str) -> Result<wire::GossipMessage, Malformed> {
    read_bounded(envelope.payload.clone(), MAX_VALUES).map_err(|error| {
        let is_passed_on = matches!(error, BoundedReadError::TooMany(_)) && holds_state_info(&envelope.payload);
        let culprit = if is_passed_on { Culprit::Author } else { Culprit::Sender };
        Malformed { reason: format!("{what}: {error}"), culprit }
    })
}

/// The field of a message that holds a state info: of what is passed on, it alone has a list.
const STATE_INFO: u32 = 15;

fn holds_state_info(message: &[u8]) -> bool {
    Fields::of(message).map_while(Result::ok).any(|field| field.number == STATE_INFO)
}

/// Who has to answer for what a message says: peers pass on what others say of themselves, and blocks.
const fn culprit(content: &gossip_message::Content) -> Culprit {
    use gossip_message::Content as Wire;
    match content {
        Wire::AliveMsg(_) | Wire::StateInfo(_) | Wire::LeadershipMsg(_) | Wire::PeerIdentity(_) | Wire::DataMsg(_) => {
            Culprit::Author
        }
        _ => Culprit::Sender,
    }
}

fn meaning(envelope: &wire::Envelope, read: wire::GossipMessage) -> Result<Message, Malformed> {
    must(envelope.signature.len() <= MAX_SIGNATURE, "its signature is too long")?;
    must(envelope.secret_envelope.as_ref().is_none_or(is_small), "its secret is too large")?;
    let unknown = envelope.payload.len().saturating_sub(read.encoded_len());
    let content = content(read.content.ok_or_else(|| malformed("it says nothing"))?)?;
    must(unknown <= most_unknown(&content), "too much of it is unknown")?;
    let is_small = !matches!(content, Content::StateInfo(_)) || envelope.payload.len() <= MAX_STATE_INFO;
    must(is_small, "it is too large to be kept")?;
    let tag = tag(read.tag)?;
    tag_is_legal(tag, &content)?;
    Ok(Message { nonce: read.nonce, channel: channel(&read.channel)?, tag, content })
}

fn is_small(secret: &wire::SecretEnvelope) -> bool {
    secret.payload.len() <= MAX_SECRET && secret.signature.len() <= MAX_SIGNATURE
}

const fn most_unknown(content: &Content) -> usize {
    match content {
        Content::Alive(_)
        | Content::Leadership(_)
        | Content::StateInfo(_)
        | Content::Establish { .. }
        | Content::Identity { .. } => MAX_UNKNOWN_KEPT,
        _ => MAX_UNKNOWN,
    }
}

fn channel(name: &Bytes) -> Result<Option<ChannelId>, Malformed> {
    if name.is_empty() {
        return Ok(None);
    }
    let name = std::str::from_utf8(name).map_err(|_| malformed("the channel's name is no text"))?;
    ChannelId::new(name).map(Some).map_err(|error| malformed(error.to_string()))
}

fn tag(tag: i32) -> Result<Tag, Malformed> {
    match gossip_message::Tag::try_from(tag) {
        Ok(gossip_message::Tag::Undefined) => Ok(Tag::Unset),
        Ok(gossip_message::Tag::Empty) => Ok(Tag::Everybody),
        Ok(gossip_message::Tag::OrgOnly) => Ok(Tag::Organization),
        Ok(gossip_message::Tag::ChanOnly) => Ok(Tag::Channel),
        Ok(gossip_message::Tag::ChanAndOrg) => Ok(Tag::ChannelAndOrganization),
        Ok(gossip_message::Tag::ChanOrOrg) => Ok(Tag::ChannelOrOrganization),
        Err(_) => Err(malformed(format!("tag {tag} is unknown"))),
    }
}

/// Fabric: `IsTagLegal`. Handshakes, acknowledgements and private data it does not look at; Go peers send acknowledgements
/// without a tag. Identities travel inside of updates, where it does not look at them either.
fn tag_is_legal(tag: Tag, content: &Content) -> Result<(), Malformed> {
    let legal = match content {
        Content::Block(_)
        | Content::Leadership(_)
        | Content::Hello { kind: DataKind::Blocks, .. }
        | Content::Digest { kind: DataKind::Blocks, .. }
        | Content::Request { kind: DataKind::Blocks, .. }
        | Content::Update { kind: DataKind::Blocks, .. } => tag == Tag::ChannelAndOrganization,
        Content::Alive(_)
        | Content::MembershipRequest { .. }
        | Content::MembershipResponse { .. }
        | Content::Hello { kind: DataKind::Identities, .. }
        | Content::Digest { kind: DataKind::Identities, .. }
        | Content::Request { kind: DataKind::Identities, .. }
        | Content::Update { kind: DataKind::Identities, .. } => tag == Tag::Everybody,
        Content::StateInfo(_)
        | Content::StateInfoSnapshot(_)
        | Content::StateInfoRequest { .. }
        | Content::StateRequest { .. }
        | Content::StateResponse(_) => tag == Tag::ChannelOrOrganization,
        Content::Identity { .. } => matches!(tag, Tag::Everybody | Tag::Organization),
        Content::Empty
        | Content::Establish { .. }
        | Content::Acknowledgement { .. }
        | Content::PrivateRequest(_)
        | Content::PrivateResponse(_)
        | Content::PrivateData(_) => true,
    };
    must(legal, "its tag does not fit what it says")
}

fn content(content: gossip_message::Content) -> Result<Content, Malformed> {
    use gossip_message::Content as Wire;
    Ok(match content {
        Wire::AliveMsg(alive) => Content::Alive(alive_message(alive)?),
        Wire::MemReq(request) => {
            let about_me = request.self_information.ok_or_else(|| malformed("a membership request of nobody"))?;
            // A request in a request would make this descend as deep as the sender likes.
            let inner = message_of_alive(&about_me)?;
            must(request.known.len() <= MAX_ITEMS, "too many known peers")?;
            Content::MembershipRequest { about_me: Box::new(inner), known: request.known }
        }
        Wire::MemRes(response) => {
            must(response.alive.len() + response.dead.len() <= MAX_ITEMS, "too many peers")?;
            Content::MembershipResponse { alive: response.alive, dead: response.dead }
        }
        Wire::DataMsg(block) => Content::Block(block.payload.map(payload).ok_or_else(|| malformed("no block"))?),
        Wire::Hello(hello) => {
            must(hello.metadata.len() <= MAX_METADATA, "its metadata is too long")?;
            Content::Hello { nonce: hello.nonce, metadata: hello.metadata, kind: kind(hello.msg_type)? }
        }
        Wire::DataDig(digest) => {
            Content::Digest { nonce: digest.nonce, digests: digests(digest.digests)?, kind: kind(digest.msg_type)? }
        }
        Wire::DataReq(request) => {
            Content::Request { nonce: request.nonce, digests: digests(request.digests)?, kind: kind(request.msg_type)? }
        }
        Wire::DataUpdate(update) => {
            must(update.data.len() <= MAX_ITEMS, "too many items")?;
            Content::Update { nonce: update.nonce, data: update.data, kind: kind(update.msg_type)? }
        }
        Wire::Empty(wire::Empty {}) => Content::Empty,
        Wire::Conn(establish) => establish_message(establish)?,
        Wire::StateInfo(info) => Content::StateInfo(state_info(info)?),
        Wire::StateSnapshot(snapshot) => {
            must(snapshot.elements.len() <= MAX_ITEMS, "too many state infos")?;
            Content::StateInfoSnapshot(snapshot.elements)
        }
        Wire::StateInfoPullReq(request) => Content::StateInfoRequest { channel_mac: mac(request.channel_mac)? },
        Wire::StateRequest(request) => Content::StateRequest { start: request.start_seq_num, end: request.end_seq_num },
        Wire::StateResponse(response) => {
            must(response.payloads.len() <= MAX_BLOCKS, "too many blocks")?;
            Content::StateResponse(response.payloads.into_iter().map(payload).map(apart).collect())
        }
        Wire::LeadershipMsg(leadership) => Content::Leadership(Leadership {
            pki_id: pki_id(leadership.pki_id)?,
            time: peer_time(leadership.timestamp)?,
            is_declaration: leadership.is_declaration,
        }),
        Wire::PeerIdentity(identity) => identity_message(identity)?,
        Wire::Ack(acknowledgement) => {
            must(acknowledgement.error.len() <= MAX_METADATA, "its text is too long")?;
            Content::Acknowledgement { error: acknowledgement.error }
        }
        Wire::PrivateReq(request) => {
            must(request.digests.len() <= MAX_ITEMS, "too many digests")?;
            Content::PrivateRequest(request.digests.into_iter().map(private_digest).collect())
        }
        Wire::PrivateRes(response) => private_response(response)?,
        Wire::PrivateData(private) => {
            Content::PrivateData(private.payload.map(private_payload).ok_or_else(|| malformed("no private data"))?)
        }
    })
}

fn message_of_alive(envelope: &wire::Envelope) -> Result<SignedMessage, Malformed> {
    match gossip_message(envelope, "a membership request whose sender cannot be decoded")?.content {
        Some(gossip_message::Content::AliveMsg(_)) => SignedMessage::parse(envelope.clone()),
        _ => Err(malformed("a membership request whose sender says something else than that it lives")),
    }
}

fn kind(kind: i32) -> Result<DataKind, Malformed> {
    match wire::PullMsgType::try_from(kind) {
        Ok(wire::PullMsgType::BlockMsg) => Ok(DataKind::Blocks),
        Ok(wire::PullMsgType::IdentityMsg) => Ok(DataKind::Identities),
        Ok(wire::PullMsgType::Undefined) | Err(_) => Err(malformed(format!("pull of kind {kind}"))),
    }
}

fn digests(digests: Vec<Bytes>) -> Result<Vec<Bytes>, Malformed> {
    must(digests.len() <= MAX_ITEMS, "too many digests")?;
    must(digests.iter().all(|digest| digest.len() <= MAX_DIGEST), "a digest is too long")?;
    Ok(digests)
}

fn pki_id(bytes: Bytes) -> Result<PkiId, Malformed> {
    PkiId::parse(bytes).ok_or_else(|| malformed("a PKI-ID is not 32 bytes long"))
}

fn mac(bytes: Bytes) -> Result<Bytes, Malformed> {
    must(bytes.len() == HASH, "a channel's MAC is not 32 bytes long")?;
    Ok(bytes)
}

fn identity(identity: Bytes) -> Result<Bytes, Malformed> {
    must(identity.len() <= MAX_IDENTITY, "an identity is too long")?;
    Ok(identity)
}

fn peer_time(time: Option<wire::PeerTime>) -> Result<PeerTime, Malformed> {
    let time = time.ok_or_else(|| malformed("it has no time"))?;
    Ok(PeerTime { incarnation: time.inc_num, sequence: time.seq_num })
}

fn alive_message(alive: wire::AliveMessage) -> Result<Alive, Malformed> {
    let member = alive.membership.ok_or_else(|| malformed("an alive message of nobody"))?;
    must(member.endpoint.len() <= MAX_ENDPOINT, "an endpoint is too long")?;
    must(member.metadata.len() <= MAX_METADATA, "its metadata is too long")?;
    Ok(Alive {
        pki_id: pki_id(member.pki_id)?,
        endpoint: member.endpoint,
        metadata: member.metadata,
        time: peer_time(alive.timestamp)?,
        identity: identity(alive.identity)?,
    })
}

fn establish_message(establish: wire::ConnEstablish) -> Result<Content, Malformed> {
    must(establish.tls_cert_hash.len() <= MAX_DIGEST, "the hash of a certificate is too long")?;
    Ok(Content::Establish {
        pki_id: pki_id(establish.pki_id)?,
        identity: identity(establish.identity)?,
        tls_certificate_hash: establish.tls_cert_hash,
        probe: establish.probe,
    })
}

fn state_info(info: wire::StateInfo) -> Result<StateInfo, Malformed> {
    let properties = info.properties.ok_or_else(|| malformed("a state info that says nothing"))?;
    Ok(StateInfo {
        pki_id: pki_id(info.pki_id)?,
        channel_mac: mac(info.channel_mac)?,
        time: peer_time(info.timestamp)?,
        height: properties.ledger_height,
        left_channel: properties.left_channel,
        chaincodes: properties
            .chaincodes
            .into_iter()
            .map(|chaincode| AnnouncedChaincode {
                name: chaincode.name,
                version: chaincode.version,
                metadata: chaincode.metadata,
            })
            .collect(),
    })
}

fn identity_message(message: wire::PeerIdentity) -> Result<Content, Malformed> {
    must(message.metadata.len() <= MAX_METADATA, "its metadata is too long")?;
    Ok(Content::Identity {
        pki_id: pki_id(message.pki_id)?,
        identity: identity(message.cert)?,
        metadata: message.metadata,
    })
}

fn payload(payload: wire::Payload) -> StatePayload {
    StatePayload { number: payload.seq_num, block: payload.data, private_data: payload.private_data }
}

/// The same in memory of its own: of an answer that holds several, one may be kept and the others not.
fn apart(payload: StatePayload) -> StatePayload {
    StatePayload {
        number: payload.number,
        block: Bytes::copy_from_slice(&payload.block),
        private_data: payload.private_data.iter().map(|data| Bytes::copy_from_slice(data)).collect(),
    }
}

fn private_digest(digest: wire::PvtDataDigest) -> PrivateDigest {
    PrivateDigest {
        tx_id: digest.tx_id,
        namespace: digest.namespace,
        collection: digest.collection,
        block: digest.block_seq,
        tx: digest.seq_in_block,
    }
}

fn private_response(response: wire::RemotePvtDataResponse) -> Result<Content, Malformed> {
    must(response.elements.len() <= MAX_ITEMS, "too many pieces of private data")?;
    let element = |element: wire::PvtDataElement| {
        let digest = element.digest.ok_or_else(|| malformed("private data without its name"))?;
        // In memory of its own, as with blocks.
        let payload = element.payload.iter().map(|writes| Bytes::copy_from_slice(writes)).collect();
        Ok(PrivateElement { digest: private_digest(digest), payload })
    };
    Ok(Content::PrivateResponse(response.elements.into_iter().map(element).collect::<Result<_, _>>()?))
}

fn private_payload(private: wire::PrivatePayload) -> PrivatePayload {
    PrivatePayload {
        collection: private.collection_name,
        namespace: private.namespace,
        tx_id: private.tx_id,
        writes: private.private_rwset,
        endorsed_at: private.private_sim_height,
        collection_configs: private.collection_configs,
    }
}
