//! Configurations of the simulated channel: who is in it, by whom an organization is met, whose identities are revoked.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ripstop_gossip::{AnchorPeer, ChannelOrganizations, Moment};
use ripstop_msp::MspSet;
use ripstop_types::MspId;

use crate::authority::{Authority, Issued};

/// What a configuration says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    /// The organizations that are in the channel.
    pub(crate) members: BTreeSet<usize>,
    /// Endpoints of anchor peers, by organization.
    pub(crate) anchors: BTreeMap<usize, Vec<String>>,
    /// Revoked identities, by organization.
    pub(crate) revoked: BTreeMap<usize, Vec<Issued>>,
}

/// A configuration.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// What it says.
    pub(crate) draft: Draft,
    /// Its organizations, as gossip gets them.
    pub(crate) organizations: ChannelOrganizations,
    /// Who is whom in it.
    pub(crate) msps: MspSet,
}

impl Configuration {
    /// The configuration of a number.
    pub(crate) fn new(sequence: u64, draft: &Draft, names: &[MspId], authorities: &[Authority]) -> Self {
        let anchors = draft.members.iter().map(|member| {
            let endpoints = draft.anchors.get(member).into_iter().flatten();
            (names[*member].clone(), endpoints.map(|endpoint| anchor(endpoint)).collect())
        });
        let organizations = ChannelOrganizations { sequence, anchors: anchors.collect() };
        let msps = draft.members.iter().map(|member| authorities[*member].msp(draft.revoked_of(*member)));
        Self { organizations, msps: MspSet::new(msps), draft: draft.clone() }
    }

    /// Whether an organization is in the channel.
    pub(crate) fn has(&self, organization: usize) -> bool {
        self.draft.members.contains(&organization)
    }

    /// Whether the holder of an identity may read the channel at a moment.
    pub(crate) fn admits(&self, now: Moment, issued: &Issued) -> bool {
        now <= issued.ends && self.msps.identify(&issued.identity).is_ok_and(|identity| identity.validate().is_ok())
    }
}

impl Draft {
    /// The revoked identities of an organization.
    pub(crate) fn revoked_of(&self, organization: usize) -> &[Issued] {
        self.revoked.get(&organization).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether an identity is revoked.
    pub(crate) fn revokes(&self, identity: &Bytes) -> bool {
        self.revoked.values().flatten().any(|revoked| revoked.identity == *identity)
    }
}

fn anchor(endpoint: &str) -> AnchorPeer {
    let (host, port) = endpoint.split_once(':').expect("anchors can be reached");
    AnchorPeer { host: host.to_owned(), port: port.parse().expect("it is a port") }
}
