use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_proto::discovery;
use ripstop_proto::gossip::Envelope;
use ripstop_types::MspId;

/// Peers that satisfy one and the same principal. Displays as on the wire: `G0`, `G1`. The number means something inside
/// one [`Descriptor`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(pub u32);

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "G{}", self.0)
    }
}

/// One way to satisfy all policies of a call: how many different peers of each group endorse. A peer may belong to several
/// groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Layout {
    /// How many endorsements of each group, at least one each.
    pub quantities_by_group: BTreeMap<Group, u32>,
}

/// A peer that can endorse: it is alive, has joined the channel, and runs the committed definition of every chaincode that
/// the call touches.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its organization.
    pub organization: MspId,
    /// Where others reach it, `host:port` (`peer.gossip.externalEndpoint`).
    pub endpoint: String,
    /// Who it is: the bytes of a `SerializedIdentity`.
    pub identity: Bytes,
    /// How many blocks of the channel it has.
    pub height: u64,
    /// What it signed to say that it is alive, without the secret part.
    pub alive: Envelope,
    /// What it signed to say what it holds of the channel.
    pub state_info: Envelope,
}

/// Whom to ask for an endorsement: any one of the layouts, filled with peers of its groups, satisfies every policy that the
/// call touches (`discovery.EndorsementDescriptor`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Descriptor {
    /// The first chaincode of the interest.
    pub chaincode: String,
    /// The ways to satisfy the policies, never empty, those with the fewest endorsements first. The peers in `groups`
    /// suffice for each group of each of them.
    pub layouts: Vec<Layout>,
    /// The peers of each group that a layout names, those with the highest ledger first.
    pub groups: BTreeMap<Group, Vec<Arc<Candidate>>>,
}

impl From<&Candidate> for discovery::Peer {
    fn from(candidate: &Candidate) -> Self {
        Self {
            state_info: Some(candidate.state_info.clone()),
            membership_info: Some(candidate.alive.clone()),
            identity: candidate.identity.clone(),
        }
    }
}

impl From<Descriptor> for discovery::EndorsementDescriptor {
    fn from(descriptor: Descriptor) -> Self {
        let peers = |candidates: &[Arc<Candidate>]| discovery::Peers {
            peers: candidates.iter().map(|candidate| candidate.as_ref().into()).collect(),
        };
        let layout = |layout: Layout| discovery::Layout {
            quantities_by_group: layout
                .quantities_by_group
                .into_iter()
                .map(|(group, quantity)| (group.to_string(), quantity))
                .collect(),
        };
        Self {
            chaincode: descriptor.chaincode,
            endorsers_by_groups: descriptor
                .groups
                .iter()
                .map(|(group, candidates)| (group.to_string(), peers(candidates)))
                .collect(),
            layouts: descriptor.layouts.into_iter().map(layout).collect(),
        }
    }
}
