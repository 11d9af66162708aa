use std::collections::{BTreeMap, HashMap};

use ripstop_types::{MspId, TxId};

/// How many sets of private writes that the peers of one organization sent may wait for their transactions. When there are
/// more, the oldest goes: whoever floods a peer loses his own.
pub const MAX_WAITING_SETS: usize = 20_000;

/// How many bytes of them.
pub const MAX_WAITING_BYTES: u64 = 256 << 20;

/// Private writes that wait for their transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<K> {
    /// The transaction that they are said to belong to.
    pub tx_id: TxId,
    /// Where they are stored.
    pub key: K,
    /// How many bytes they take.
    pub bytes: u64,
}

/// More than all that an organization may have waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "private data of {bytes} bytes is more than a peer keeps for a transaction that is not committed ({MAX_WAITING_BYTES})"
)]
pub struct TooLarge {
    /// Its size.
    pub bytes: u64,
}

/// What other peers sent for transactions that are not committed yet, counted by the organization that sent it: whoever makes
/// identities at will has no more room than one peer.
#[derive(Debug)]
pub struct Inbox<K> {
    organizations: HashMap<MspId, Waiting<K>>,
    transactions: HashMap<TxId, Vec<(MspId, u64)>>,
    next: u64,
}

#[derive(Debug)]
struct Waiting<K> {
    entries: BTreeMap<u64, Entry<K>>,
    bytes: u64,
}

impl<K> Default for Waiting<K> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), bytes: 0 }
    }
}

impl<K> Default for Inbox<K> {
    fn default() -> Self {
        Self { organizations: HashMap::new(), transactions: HashMap::new(), next: 0 }
    }
}

impl<K> Inbox<K> {
    /// Counts what an organization's peer sent, after it was stored for the first time. Gives what must go for it.
    pub fn admit(&mut self, organization: &MspId, entry: Entry<K>) -> Result<Vec<Entry<K>>, TooLarge> {
        if entry.bytes > MAX_WAITING_BYTES {
            return Err(TooLarge { bytes: entry.bytes });
        }
        let number = self.next;
        self.next += 1;
        self.transactions.entry(entry.tx_id.clone()).or_default().push((organization.clone(), number));
        let waiting = self.organizations.entry(organization.clone()).or_default();
        waiting.bytes += entry.bytes;
        waiting.entries.insert(number, entry);
        let mut gone = Vec::new();
        while waiting.entries.len() > MAX_WAITING_SETS || waiting.bytes > MAX_WAITING_BYTES {
            let Some((number, oldest)) = waiting.entries.pop_first() else { break };
            waiting.bytes = waiting.bytes.saturating_sub(oldest.bytes);
            if let Some(places) = self.transactions.get_mut(&oldest.tx_id) {
                places.retain(|place| place.1 != number);
                if places.is_empty() {
                    self.transactions.remove(&oldest.tx_id);
                }
            }
            gone.push(oldest);
        }
        Ok(gone)
    }

    /// A transaction is committed, or given up: nothing waits for it any more.
    pub fn forget(&mut self, tx_id: &TxId) {
        for (organization, number) in self.transactions.remove(tx_id).unwrap_or_default() {
            let Some(waiting) = self.organizations.get_mut(&organization) else { continue };
            if let Some(entry) = waiting.entries.remove(&number) {
                waiting.bytes = waiting.bytes.saturating_sub(entry.bytes);
            }
            if waiting.entries.is_empty() {
                self.organizations.remove(&organization);
            }
        }
    }

    /// How many sets an organization's peers have waiting.
    pub fn waiting(&self, organization: &MspId) -> usize {
        self.organizations.get(organization).map_or(0, |waiting| waiting.entries.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize, bytes: u64) -> Entry<usize> {
        Entry { tx_id: TxId::new(&format!("{}", number / 2)), key: number, bytes }
    }

    #[test]
    fn who_floods_a_peer_loses_his_own_and_nobody_elses() {
        let (flooding, honest) = (MspId::new("Flooding"), MspId::new("Honest"));
        let mut inbox = Inbox::default();
        assert_eq!(inbox.admit(&honest, entry(0, 10)), Ok(vec![]));
        for number in 0..MAX_WAITING_SETS {
            assert_eq!(inbox.admit(&flooding, entry(number, 1)), Ok(vec![]));
        }
        assert_eq!(inbox.admit(&flooding, entry(MAX_WAITING_SETS, 1)), Ok(vec![entry(0, 1)]));
        assert_eq!((inbox.waiting(&flooding), inbox.waiting(&honest)), (MAX_WAITING_SETS, 1));
        let gone = inbox.admit(&flooding, entry(9, MAX_WAITING_BYTES)).unwrap();
        assert_eq!((gone.len(), inbox.waiting(&flooding)), (MAX_WAITING_SETS, 1));
        let refused = inbox.admit(&flooding, entry(9, MAX_WAITING_BYTES + 1)).unwrap_err();
        assert_eq!(refused, TooLarge { bytes: MAX_WAITING_BYTES + 1 });
        assert_eq!((inbox.waiting(&flooding), inbox.waiting(&honest)), (1, 1));
    }

    #[test]
    fn a_committed_transaction_makes_room() {
        let org = MspId::new("Org1");
        let mut inbox = Inbox::default();
        for number in 0..4 {
            inbox.admit(&org, entry(number, 7)).unwrap();
        }
        inbox.forget(&TxId::new("0"));
        inbox.forget(&TxId::new("7"));
        assert_eq!(inbox.waiting(&org), 2);
        inbox.forget(&TxId::new("1"));
        assert!(inbox.organizations.is_empty() && inbox.transactions.is_empty());
    }
}
