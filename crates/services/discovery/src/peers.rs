use std::sync::Arc;

use ripstop_gossip::{AnnouncedChaincode, KnownPeer, SignedMessage, View};
use ripstop_proto::gossip::Envelope;
use ripstop_types::{ChannelId, MspId};

use crate::Candidate;

/// Who is told of peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Applications: of peers that have an external endpoint.
    Applications,
    /// This peer of this organization: also of its own organization's peers that have none.
    ThisPeer,
}

/// A peer of a channel, and what it can run there.
#[derive(Debug, Clone)]
pub(crate) struct ChannelPeer {
    pub(crate) candidate: Arc<Candidate>,
    pub(crate) chaincodes: Vec<AnnouncedChaincode>,
}

impl ChannelPeer {
    pub(crate) fn runs(&self, name: &str, version: &str) -> bool {
        self.chaincodes.iter().any(|chaincode| chaincode.name == name && chaincode.version == version)
    }
}

/// The peers of a channel, this one among them, that the audience may be told of.
pub(crate) fn channel_peers(view: &View, channel: &ChannelId, own: &MspId, audience: Audience) -> Vec<ChannelPeer> {
    let members = view.channels.get(channel).into_iter().flat_map(|members| members.values());
    let told = members.filter_map(|member| {
        let candidate = Candidate {
            organization: member.peer.organization.clone(),
            endpoint: endpoint(&member.peer, own, audience)?.to_owned(),
            identity: member.peer.identity.clone(),
            height: member.height,
            alive: public(&member.peer.alive),
            state_info: public(&member.state_info),
        };
        Some(ChannelPeer { candidate: Arc::new(candidate), chaincodes: member.chaincodes.clone() })
    });
    told.collect()
}

/// All peers that are alive, this one among them, that applications may be told of.
pub(crate) fn live_peers(view: &View) -> impl Iterator<Item = &Arc<KnownPeer>> {
    view.me.iter().chain(view.alive.values()).filter(|peer| !peer.member.endpoint.is_empty())
}

/// Where the audience reaches a peer; none where it does not.
fn endpoint<'a>(peer: &'a KnownPeer, own: &MspId, audience: Audience) -> Option<&'a str> {
    let external = Some(peer.member.endpoint.as_str()).filter(|endpoint| !endpoint.is_empty());
    match audience {
        Audience::ThisPeer if peer.organization == *own => {
            external.or(Some(peer.member.internal_endpoint.as_str())).filter(|endpoint| !endpoint.is_empty())
        }
        Audience::ThisPeer | Audience::Applications => external,
    }
}

/// What was signed, without the part that only the peer's own organization may see.
pub(crate) fn public(signed: &SignedMessage) -> Envelope {
    signed.without_secret().envelope().clone()
}
