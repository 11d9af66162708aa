use bytes::Bytes;
use ripstop_proto::Message as _;
use ripstop_proto::gossip::{self as wire, gossip_message};

use crate::{
    Alive, Content, DataKind, Leadership, Message, PeerTime, PrivateDigest, PrivatePayload, StateInfo, StatePayload,
    Tag,
};

impl Message {
    /// The bytes that Fabric's peers would write for this message.
    pub fn encode(&self) -> Bytes {
        let message = wire::GossipMessage {
            nonce: self.nonce,
            channel: self
                .channel
                .as_ref()
                .map(|channel| Bytes::copy_from_slice(channel.as_str().as_bytes()))
                .unwrap_or_default(),
            tag: tag(self.tag) as i32,
            content: Some(content(&self.content)),
        };
        message.encode_to_vec().into()
    }
}

const fn tag(tag: Tag) -> gossip_message::Tag {
    match tag {
        Tag::Unset => gossip_message::Tag::Undefined,
        Tag::Everybody => gossip_message::Tag::Empty,
        Tag::Organization => gossip_message::Tag::OrgOnly,
        Tag::Channel => gossip_message::Tag::ChanOnly,
        Tag::ChannelAndOrganization => gossip_message::Tag::ChanAndOrg,
        Tag::ChannelOrOrganization => gossip_message::Tag::ChanOrOrg,
    }
}

const fn kind(kind: DataKind) -> i32 {
    match kind {
        DataKind::Blocks => wire::PullMsgType::BlockMsg as i32,
        DataKind::Identities => wire::PullMsgType::IdentityMsg as i32,
    }
}

fn content(content: &Content) -> gossip_message::Content {
    use gossip_message::Content as Wire;
    match content {
        Content::Alive(alive) => Wire::AliveMsg(alive_message(alive)),
        Content::MembershipRequest { about_me, known } => Wire::MemReq(wire::MembershipRequest {
            self_information: Some(about_me.envelope().clone()),
            known: known.clone(),
        }),
        Content::MembershipResponse { alive, dead } => {
            Wire::MemRes(wire::MembershipResponse { alive: alive.clone(), dead: dead.clone() })
        }
        Content::Block(block) => Wire::DataMsg(wire::DataMessage { payload: Some(payload(block)) }),
        Content::Hello { nonce, metadata, kind: about } => {
            Wire::Hello(wire::GossipHello { nonce: *nonce, metadata: metadata.clone(), msg_type: kind(*about) })
        }
        Content::Digest { nonce, digests, kind: about } => {
            Wire::DataDig(wire::DataDigest { nonce: *nonce, digests: digests.clone(), msg_type: kind(*about) })
        }
        Content::Request { nonce, digests, kind: about } => {
            Wire::DataReq(wire::DataRequest { nonce: *nonce, digests: digests.clone(), msg_type: kind(*about) })
        }
        Content::Update { nonce, data, kind: about } => {
            Wire::DataUpdate(wire::DataUpdate { nonce: *nonce, data: data.clone(), msg_type: kind(*about) })
        }
        Content::Empty => Wire::Empty(wire::Empty {}),
        Content::Establish { pki_id, identity, tls_certificate_hash, probe } => Wire::Conn(wire::ConnEstablish {
            pki_id: pki_id.as_bytes().clone(),
            identity: identity.clone(),
            tls_cert_hash: tls_certificate_hash.clone(),
            probe: *probe,
        }),
        Content::StateInfo(info) => Wire::StateInfo(state_info(info)),
        Content::StateInfoSnapshot(elements) => {
            Wire::StateSnapshot(wire::StateInfoSnapshot { elements: elements.clone() })
        }
        Content::StateInfoRequest { channel_mac } => {
            Wire::StateInfoPullReq(wire::StateInfoPullRequest { channel_mac: channel_mac.clone() })
        }
        Content::StateRequest { start, end } => {
            Wire::StateRequest(wire::RemoteStateRequest { start_seq_num: *start, end_seq_num: *end })
        }
        Content::StateResponse(payloads) => {
            Wire::StateResponse(wire::RemoteStateResponse { payloads: payloads.iter().map(payload).collect() })
        }
        Content::Leadership(leadership) => Wire::LeadershipMsg(leadership_message(leadership)),
        Content::Identity { pki_id, identity, metadata } => Wire::PeerIdentity(wire::PeerIdentity {
            pki_id: pki_id.as_bytes().clone(),
            cert: identity.clone(),
            metadata: metadata.clone(),
        }),
        Content::Acknowledgement { error } => Wire::Ack(wire::Acknowledgement { error: error.clone() }),
        Content::PrivateRequest(digests) => {
            Wire::PrivateReq(wire::RemotePvtDataRequest { digests: digests.iter().map(private_digest).collect() })
        }
        Content::PrivateResponse(elements) => Wire::PrivateRes(wire::RemotePvtDataResponse {
            elements: elements
                .iter()
                .map(|element| wire::PvtDataElement {
                    digest: Some(private_digest(&element.digest)),
                    payload: element.payload.clone(),
                })
                .collect(),
        }),
        Content::PrivateData(private) => {
            Wire::PrivateData(wire::PrivateDataMessage { payload: Some(private_payload(private)) })
        }
    }
}

const fn peer_time(time: PeerTime) -> Option<wire::PeerTime> {
    Some(wire::PeerTime { inc_num: time.incarnation, seq_num: time.sequence })
}

fn alive_message(alive: &Alive) -> wire::AliveMessage {
    wire::AliveMessage {
        membership: Some(wire::Member {
            endpoint: alive.endpoint.clone(),
            metadata: alive.metadata.clone(),
            pki_id: alive.pki_id.as_bytes().clone(),
        }),
        timestamp: peer_time(alive.time),
        identity: alive.identity.clone(),
    }
}

fn state_info(info: &StateInfo) -> wire::StateInfo {
    wire::StateInfo {
        timestamp: peer_time(info.time),
        pki_id: info.pki_id.as_bytes().clone(),
        channel_mac: info.channel_mac.clone(),
        properties: Some(wire::Properties {
            ledger_height: info.height,
            left_channel: info.left_channel,
            chaincodes: info
                .chaincodes
                .iter()
                .map(|chaincode| wire::Chaincode {
                    name: chaincode.name.clone(),
                    version: chaincode.version.clone(),
                    metadata: chaincode.metadata.clone(),
                })
                .collect(),
        }),
    }
}

fn leadership_message(leadership: &Leadership) -> wire::LeadershipMessage {
    wire::LeadershipMessage {
        pki_id: leadership.pki_id.as_bytes().clone(),
        timestamp: peer_time(leadership.time),
        is_declaration: leadership.is_declaration,
    }
}

fn payload(block: &StatePayload) -> wire::Payload {
    wire::Payload { seq_num: block.number, data: block.block.clone(), private_data: block.private_data.clone() }
}

fn private_digest(digest: &PrivateDigest) -> wire::PvtDataDigest {
    wire::PvtDataDigest {
        tx_id: digest.tx_id.clone(),
        namespace: digest.namespace.clone(),
        collection: digest.collection.clone(),
        block_seq: digest.block,
        seq_in_block: digest.tx,
    }
}

fn private_payload(private: &PrivatePayload) -> wire::PrivatePayload {
    wire::PrivatePayload {
        collection_name: private.collection.clone(),
        namespace: private.namespace.clone(),
        tx_id: private.tx_id.clone(),
        private_rwset: private.writes.clone(),
        private_sim_height: private.endorsed_at,
        collection_configs: private.collection_configs.clone(),
    }
}
