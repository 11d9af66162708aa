use std::collections::BTreeMap;

use ripstop_gossip::PkiId;
use ripstop_proto::protos::StaticCollectionConfig;
use ripstop_types::MspId;

/// A peer that may be given the values of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which peer.
    pub peer: PkiId,
    /// Its organization.
    pub organization: MspId,
}

/// How many other peers get the values of a collection before an endorsement is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCounts {
    /// So many must acknowledge (`requiredPeerCount`).
    pub required: usize,
    /// So many are sent to (`maximumPeerCount`).
    pub maximum: usize,
}

impl PeerCounts {
    /// As the configuration of a collection says. No definition has negative numbers; they count as none.
    pub fn of(config: &StaticCollectionConfig) -> Self {
        let count = |count: i32| usize::try_from(count).unwrap_or_default();
        Self { required: count(config.required_peer_count), maximum: count(config.maximum_peer_count) }
    }
}

/// The values of a collection were not spread as widely as it demands: no endorsement is given. The texts are Fabric's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDisseminated {
    /// There are not so many peers that may have them.
    #[error(
        "could not build private data dissemination plan for chaincode {chaincode} and collection {collection}: required to disseminate to at least {required} peers, but know of only {eligible} eligible peers"
    )]
    TooFewPeers {
        /// The chaincode.
        chaincode: String,
        /// The collection.
        collection: String,
        /// How many other peers must have the values.
        required: usize,
        /// How many may.
        eligible: usize,
    },
    /// Too few acknowledged in time.
    #[error("Failed disseminating {failed} out of {sent} private dissemination plans")]
    NotAcknowledged {
        /// How many did not acknowledge.
        failed: usize,
        /// To how many the values were sent.
        sent: usize,
    },
}

/// Chooses who gets the values of a collection: one peer of each organization, then any others, all at random. `None` when
/// there are fewer eligible peers than required (Fabric: `disseminationPlanForMsg`).
pub fn choose(counts: PeerCounts, eligible: Vec<Candidate>, random: &mut fastrand::Rng) -> Option<Vec<PkiId>> {
    if eligible.len() < counts.required {
        return None;
    }
    let mut organizations: BTreeMap<MspId, Vec<PkiId>> = BTreeMap::new();
    for Candidate { peer, organization } in eligible {
        organizations.entry(organization).or_default().push(peer);
    }
    let mut organizations: Vec<Vec<PkiId>> = organizations.into_values().collect();
    random.shuffle(&mut organizations);
    let (mut chosen, mut others) = (Vec::new(), Vec::new());
    for mut peers in organizations {
        random.shuffle(&mut peers);
        chosen.extend(peers.pop());
        others.append(&mut peers);
    }
    random.shuffle(&mut others);
    chosen.append(&mut others);
    chosen.truncate(counts.maximum);
    Some(chosen)
}

/// Counts who acknowledged the values of one collection.
///
/// Fabric settles beforehand which peers must acknowledge. Here any of those that got the values count: a collection demands
/// a number of peers, not certain ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    required: usize,
    acknowledged: usize,
    open: usize,
}

/// How far the acknowledgements of a collection have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// More are needed, and may come.
    Open,
    /// There are enough.
    Enough,
    /// Too many failed.
    Failed,
}

impl Tally {
    /// Of values that go to so many peers, of which so many must acknowledge.
    pub const fn new(required: usize, sent: usize) -> Self {
        Self { required, acknowledged: 0, open: sent }
    }

    /// A peer has the values.
    pub const fn acknowledged(&mut self) {
        self.open = self.open.saturating_sub(1);
        self.acknowledged += 1;
    }

    /// A peer will not say that it has them.
    pub const fn failed(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// How far it has come.
    pub const fn standing(&self) -> Standing {
        if self.acknowledged >= self.required {
            Standing::Enough
        } else if self.acknowledged + self.open >= self.required {
            Standing::Open
        } else {
            Standing::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;

    fn peers(of: &[(&str, u8)]) -> Vec<Candidate> {
        let candidate = |(organization, count): &(&'static str, u8)| {
            let organization = MspId::new(organization);
            (0..*count)
                .map(|number| Candidate {
                    peer: PkiId::claimed(Bytes::from(format!("{organization}{number}"))),
                    organization: organization.clone(),
                })
                .collect::<Vec<_>>()
        };
        let of: Vec<(&'static str, u8)> = of
            .iter()
            .map(|(name, count)| (*["Org1", "Org2", "Org3"].iter().find(|n| *n == name).unwrap(), *count))
            .collect();
        of.iter().flat_map(candidate).collect()
    }

    fn organizations(chosen: &[PkiId]) -> BTreeSet<&[u8]> {
        chosen.iter().map(|peer| &peer.as_bytes()[..4]).collect()
    }

    #[test]
    fn one_peer_of_each_organization_comes_first_then_any() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let eligible = peers(&[("Org1", 4), ("Org2", 1), ("Org3", 3)]);
            for maximum in 0..=9 {
                let counts = PeerCounts { required: 0, maximum };
                let chosen = choose(counts, eligible.clone(), &mut random).unwrap();
                assert_eq!(chosen.len(), maximum.min(8), "seed {seed}");
                assert_eq!(organizations(&chosen).len(), maximum.min(3), "seed {seed}");
                assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len(), "seed {seed}");
            }
        }
    }

    #[test]
    fn every_peer_is_chosen_at_times() {
        let mut random = fastrand::Rng::with_seed(7);
        let counts = PeerCounts { required: 1, maximum: 1 };
        let chosen: BTreeSet<PkiId> =
            (0..500).flat_map(|_| choose(counts, peers(&[("Org1", 3), ("Org2", 2)]), &mut random).unwrap()).collect();
        assert_eq!(chosen.len(), 5);
    }

    #[test]
    fn fewer_eligible_peers_than_required_are_not_enough() {
        let counts = PeerCounts { required: 2, maximum: 3 };
        assert_eq!(choose(counts, peers(&[("Org1", 1)]), &mut fastrand::Rng::with_seed(1)), None);
        let error = NotDisseminated::TooFewPeers {
            chaincode: "cc".to_owned(),
            collection: "coll".to_owned(),
            required: 2,
            eligible: 1,
        };
        assert_eq!(
            error.to_string(),
            "could not build private data dissemination plan for chaincode cc and collection coll: required to disseminate to \
             at least 2 peers, but know of only 1 eligible peers"
        );
    }

    #[test]
    fn any_of_the_chosen_may_acknowledge() {
        let mut tally = Tally::new(1, 3);
        assert_eq!(tally.standing(), Standing::Open);
        tally.failed();
        tally.failed();
        assert_eq!(tally.standing(), Standing::Open);
        let mut failed = tally.clone();
        failed.failed();
        assert_eq!(failed.standing(), Standing::Failed);
        tally.acknowledged();
        assert_eq!(tally.standing(), Standing::Enough);
        assert_eq!(Tally::new(0, 2).standing(), Standing::Enough);
        let error = NotDisseminated::NotAcknowledged { failed: 3, sent: 3 };
        assert_eq!(error.to_string(), "Failed disseminating 3 out of 3 private dissemination plans");
    }
}
