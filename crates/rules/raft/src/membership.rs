use ripstop_proto::etcdraft::{BlockMetadata, Consenter};
use ripstop_types::Digest;

use crate::{MembershipChange, NodeId};

/// The consenters of a channel, in the order of its configuration, each with its number in the raft group.
#[derive(Debug, Clone, PartialEq)]
pub struct Consenters {
    numbered: Vec<(NodeId, Consenter)>,
    next: u64,
}

/// Why consenters and numbers do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsentersError {
    /// A block's metadata numbers another count of consenters than the configuration lists.
    #[error("the block metadata numbers {numbered} consenters, the channel configuration lists {listed}")]
    Count {
        /// Numbers in the metadata.
        numbered: usize,
        /// Consenters in the configuration.
        listed: usize,
    },
    /// A consenter with number 0.
    #[error("the block metadata gives a consenter the number 0")]
    Zero,
    /// An update may add one consenter, remove one, or replace one.
    #[error(
        "update of more than one consenter at a time is not supported, requested changes: add {added} node(s), remove {removed} node(s)"
    )]
    TooMany {
        /// Consenters added.
        added: usize,
        /// Consenters removed.
        removed: usize,
    },
}

/// Why a running group does not take a new list of consenters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// No group can change like this.
    #[error(transparent)]
    Consenters(#[from] ConsentersError),
    /// Too few of the consenters afterwards would be alive.
    #[error("{active} out of {all} nodes are alive, configuration will result in quorum loss")]
    QuorumLoss {
        /// Consenters known to be alive.
        active: usize,
        /// Consenters in force.
        all: usize,
    },
    /// Members are neither added nor removed yet.
    #[error("this orderer cannot add or remove consenters yet: name them all in the genesis block")]
    Membership,
}

/// What a new list of consenters means for the raft group.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsenterChange {
    /// The consenters afterwards.
    pub consenters: Consenters,
    /// The change of the raft group, if its members change.
    pub membership: Option<MembershipChange>,
    /// The consenter whose certificate was replaced, if one was.
    pub rotated: Option<NodeId>,
    /// The consenter that is new or has a new certificate.
    pub added: Option<Consenter>,
}

impl Consenters {
    /// The consenters of a new channel: numbered from 1.
    pub fn initial(listed: Vec<Consenter>) -> Self {
        let numbered: Vec<_> = (1..).filter_map(NodeId::new).zip(listed).collect();
        let next = numbered.len() as u64 + 1;
        Self { numbered, next }
    }

    /// The consenters as numbered by the metadata of the last block.
    pub fn restore(metadata: &BlockMetadata, listed: Vec<Consenter>) -> Result<Self, ConsentersError> {
        if metadata.consenter_ids.len() != listed.len() {
            return Err(ConsentersError::Count { numbered: metadata.consenter_ids.len(), listed: listed.len() });
        }
        let numbers: Option<Vec<_>> = metadata.consenter_ids.iter().map(|id| NodeId::new(*id)).collect();
        let numbers = numbers.ok_or(ConsentersError::Zero)?;
        Ok(Self { numbered: numbers.into_iter().zip(listed).collect(), next: metadata.next_consenter_id })
    }

    /// Consenters and their numbers, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Consenter)> {
        self.numbered.iter().map(|(id, consenter)| (*id, consenter))
    }

    /// The numbers, in the order of the configuration.
    pub fn ids(&self) -> Vec<NodeId> {
        self.numbered.iter().map(|(id, _)| *id).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.numbered.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbered.is_empty()
    }

    /// The consenter that asks for votes in a new channel before the others would, so that they need not wait for an
    /// election timeout: chosen by the channel's name (Fabric: `node.start`).
    pub fn first_campaigner(&self, channel: &str) -> Option<NodeId> {
        let digest = Digest::of(channel.as_bytes());
        let chosen = varint(&digest.as_bytes()[24..]).checked_rem(self.len() as u64)?;
        NodeId::new(chosen + 1)
    }

    /// What every block records about them.
    pub fn block_metadata(&self, raft_index: u64) -> BlockMetadata {
        BlockMetadata {
            consenter_ids: self.numbered.iter().map(|(id, _)| id.get()).collect(),
            next_consenter_id: self.next,
            raft_index,
        }
    }

    /// Compares with the list of a new configuration. Consenters are the same when their client TLS certificates are
    /// (Fabric: `ComputeMembershipChanges`).
    pub fn change_to(&self, listed: &[Consenter]) -> Result<ConsenterChange, ConsentersError> {
        let known = |consenter: &Consenter| {
            self.iter().find(|(_, old)| old.client_tls_cert == consenter.client_tls_cert).map(|(id, _)| id)
        };
        let remains = |old: &Consenter| listed.iter().any(|new| new.client_tls_cert == old.client_tls_cert);
        let added: Vec<&Consenter> = listed.iter().filter(|consenter| known(consenter).is_none()).collect();
        let removed: Vec<NodeId> = self.iter().filter(|(_, old)| !remains(old)).map(|(id, _)| id).collect();
        let too_many = || ConsentersError::TooMany { added: added.len(), removed: removed.len() };
        let mut next = self.next;
        let (number_of_added, membership, rotated) = match (added.len(), removed.as_slice()) {
            (0, []) => (None, None, None),
            (1, []) => {
                let node = NodeId::new(next).ok_or(ConsentersError::Zero)?;
                next += 1;
                (Some(node), Some(MembershipChange::Add(node)), None)
            }
            (0, [node]) => (None, Some(MembershipChange::Remove(*node)), None),
            (1, [node]) => (Some(*node), None, Some(*node)),
            _ => return Err(too_many()),
        };
        let numbered: Option<Vec<_>> =
            listed.iter().map(|consenter| Some((known(consenter).or(number_of_added)?, consenter.clone()))).collect();
        Ok(ConsenterChange {
            consenters: Self { numbered: numbered.ok_or_else(too_many)?, next },
            membership,
            rotated,
            added: added.first().map(|consenter| (*consenter).clone()),
        })
    }

    /// Checks that a running group, of which `active` are known to be alive, can change to the list of a new configuration
    /// (Fabric: `Chain.ValidateConsensusMetadata`).
    pub fn check_change(&self, listed: &[Consenter], active: &[NodeId]) -> Result<(), ChangeRefused> {
        let change = self.change_to(listed)?;
        if change.loses_quorum(active) {
            return Err(ChangeRefused::QuorumLoss { active: active.len(), all: self.len() });
        }
        if change.membership.is_some() { Err(ChangeRefused::Membership) } else { Ok(()) }
    }

    /// The membership change that a crashed leader left undone: `members` are those of the raft group.
    pub fn unfinished(&self, members: &[NodeId]) -> Option<MembershipChange> {
        if members.len() == self.len() {
            return None;
        }
        let ids = self.ids();
        let missing = ids.iter().find(|id| !members.contains(id)).copied().map(MembershipChange::Add);
        missing.or_else(|| members.iter().find(|id| !ids.contains(id)).copied().map(MembershipChange::Remove))
    }
}

/// The protobuf varint with which bytes begin; 0 if there is none.
fn varint(bytes: &[u8]) -> u64 {
    let Some(last) = bytes.iter().position(|byte| byte & 0x80 == 0) else { return 0 };
    bytes.iter().take(last + 1).rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}

impl ConsenterChange {
    /// Whether the change would cost a quorum that could be kept by starting consenters first
    /// (Fabric: `UnacceptableQuorumLoss`). `active` are the consenters known to be alive.
    pub fn loses_quorum(&self, active: &[NodeId]) -> bool {
        let quorum = self.consenters.len() / 2 + 1;
        let tolerates_faults = self.consenters.len() > 2;
        let active_without = |gone: NodeId| active.iter().filter(|id| **id != gone).count();
        match (self.membership, self.rotated) {
            (Some(MembershipChange::Add(_)), _) => tolerates_faults && active.len() < quorum,
            (Some(MembershipChange::Remove(node)), _) => active_without(node) < quorum,
            (None, Some(node)) => tolerates_faults && active_without(node) < quorum,
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consenter(name: &str) -> Consenter {
        let certificate = bytes::Bytes::from(name.to_owned());
        Consenter { host: name.into(), port: 7050, client_tls_cert: certificate.clone(), server_tls_cert: certificate }
    }

    fn list(names: &[&str]) -> Vec<Consenter> {
        names.iter().map(|name| consenter(name)).collect()
    }

    fn id(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn numbers(consenters: &Consenters) -> (Vec<u64>, u64) {
        let metadata = consenters.block_metadata(0);
        (metadata.consenter_ids, metadata.next_consenter_id)
    }

    #[test]
    fn numbers_follow_the_configuration_and_are_never_used_again() {
        let three = Consenters::initial(list(&["a", "b", "c"]));
        assert_eq!(numbers(&three), (vec![1, 2, 3], 4));

        let four = three.change_to(&list(&["d", "a", "b", "c"])).unwrap();
        assert_eq!(numbers(&four.consenters), (vec![4, 1, 2, 3], 5));
        assert_eq!(four.membership, Some(MembershipChange::Add(id(4))));

        let without = four.consenters.change_to(&list(&["a", "b", "c"])).unwrap();
        assert_eq!(numbers(&without.consenters), (vec![1, 2, 3], 5));
        assert_eq!(without.membership, Some(MembershipChange::Remove(id(4))));

        let again = without.consenters.change_to(&list(&["a", "b", "c", "d"])).unwrap();
        assert_eq!(numbers(&again.consenters), (vec![1, 2, 3, 5], 6));
    }

    #[test]
    fn a_replaced_certificate_keeps_its_number() {
        let change = Consenters::initial(list(&["a", "b"])).change_to(&list(&["a", "x"])).unwrap();
        assert_eq!(numbers(&change.consenters), (vec![1, 2], 3));
        assert_eq!((change.membership, change.rotated), (None, Some(id(2))));
        assert_eq!(change.added, Some(consenter("x")));
    }

    #[test]
    fn two_changes_at_once_are_refused() {
        let error = Consenters::initial(list(&["a"])).change_to(&list(&["a", "b", "c"])).unwrap_err();
        assert!(
            error.to_string().starts_with("update of more than one consenter at a time is not supported"),
            "{error}"
        );
    }

    #[test]
    fn the_metadata_of_a_block_restores_the_numbers() {
        let metadata = BlockMetadata { consenter_ids: vec![7, 2], next_consenter_id: 9, raft_index: 5 };
        let restored = Consenters::restore(&metadata, list(&["a", "b"])).unwrap();
        assert_eq!(numbers(&restored), (vec![7, 2], 9));
        assert!(Consenters::restore(&metadata, list(&["a"])).is_err());
        assert_eq!(restored.unfinished(&[id(2)]), Some(MembershipChange::Add(id(7))));
        assert_eq!(restored.unfinished(&[id(2), id(7), id(3)]), Some(MembershipChange::Remove(id(3))));
        assert_eq!(restored.unfinished(&[id(2), id(7)]), None);
    }

    /// As Fabric's `protowire.ConsumeVarint(sha256(channel)[24:]) % n + 1`.
    #[test]
    fn the_first_campaigner_follows_from_the_name_of_the_channel() {
        let three = Consenters::initial(list(&["a", "b", "c"]));
        let chosen = ["mychannel", "testchannel", "foo"].map(|name| three.first_campaigner(name).map(NodeId::get));
        assert_eq!(chosen, [Some(2), Some(2), Some(2)]);
        assert_eq!(Consenters::initial(Vec::new()).first_campaigner("mychannel"), None);
        assert_eq!(varint(&[0xac, 0x02, 0xff]), 300);
        assert_eq!(varint(&[0xff; 8]), 0);
    }

    #[test]
    fn a_running_group_takes_another_certificate_and_no_other_change() {
        let three = Consenters::initial(list(&["a", "b", "c"]));
        let check = |names: &[&str], active: &[u64]| {
            three.check_change(&list(names), &active.iter().copied().map(id).collect::<Vec<_>>())
        };
        assert_eq!(check(&["a", "b", "c"], &[]), Ok(()));
        assert_eq!(check(&["a", "b", "x"], &[1, 2, 3]), Ok(()));
        assert_eq!(check(&["a", "b", "x"], &[1, 3]), Err(ChangeRefused::QuorumLoss { active: 2, all: 3 }));
        assert_eq!(check(&["a", "b", "c", "d"], &[1, 2, 3]), Err(ChangeRefused::Membership));
        assert_eq!(check(&["a", "b"], &[1, 2, 3]), Err(ChangeRefused::Membership));
        let error = ConsentersError::TooMany { added: 2, removed: 2 };
        assert_eq!(check(&["a", "x", "y"], &[1, 2, 3]), Err(error.into()));
    }

    #[test]
    fn a_change_that_stops_the_cluster_is_recognised() {
        let three = Consenters::initial(list(&["a", "b", "c"]));
        let grown = three.change_to(&list(&["a", "b", "c", "d"])).unwrap();
        assert!(grown.loses_quorum(&[id(1), id(2)]));
        assert!(!grown.loses_quorum(&[id(1), id(2), id(3)]));
        let shrunk = three.change_to(&list(&["a", "b"])).unwrap();
        assert!(shrunk.loses_quorum(&[id(1), id(3)]));
        assert!(!Consenters::initial(list(&["a"])).change_to(&list(&["a", "b"])).unwrap().loses_quorum(&[id(1)]));
    }
}
