use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use ripstop_kv::Batch;
use ripstop_proto::protos::CollectionConfigPackage;
use ripstop_proto::transientstore::TxPvtReadWriteSetWithConfigInfo;
use ripstop_rwset::TxPrivateRwSet;
use ripstop_types::{BlockNumber, MspId, TxId};

use crate::PrivateStoreError;
use crate::keys::{self, ENDORSED, TRANSIENT};
use crate::store::LazyStore;

/// How many entries a clean-up removes at once.
const PURGE_BATCH: usize = 10_000;

/// The private writes of one endorsement.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TransientSet {
    /// The ledger's height when it was endorsed.
    pub endorsed_at: u64,
    /// The writes.
    pub writes: TxPrivateRwSet,
    /// The collections as whoever endorsed it knew them, by namespace: newer, perhaps, than this peer's ledger.
    pub definitions: BTreeMap<String, CollectionConfigPackage>,
}

/// Where a set is kept in a [`TransientStore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransientKey {
    key: Vec<u8>,
    endorsed_at: u64,
}

/// A set that another peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The transaction that it is said to belong to.
    pub tx_id: TxId,
    /// Whose peer sent it.
    pub organization: MspId,
    /// How many bytes it takes.
    pub bytes: u64,
    /// Where it is kept.
    pub key: TransientKey,
}

/// Private writes by transaction, between endorsement and commit. Shared by endorsers and the committer.
pub struct TransientStore(Arc<LazyStore>);

impl TransientStore {
    pub(crate) fn new(store: Arc<LazyStore>) -> Self {
        Self(store)
    }

    /// Keeps the private writes of an endorsed proposal. Returns after they are safe on disk. The same proposal may be
    /// endorsed several times, with different results; all are kept.
    pub fn put(&self, tx_id: &TxId, set: &TransientSet) -> Result<(), PrivateStoreError> {
        self.put_all([(tx_id, set, None)]).map(drop)
    }

    /// Keeps private writes that peers of these organizations sent, all of them or none. Says for each where it is kept and
    /// what it takes; `None` where it was before.
    pub fn put_received<'a>(
        &self,
        sets: impl IntoIterator<Item = (&'a TxId, &'a TransientSet, &'a MspId)>,
    ) -> Result<Vec<Option<Received>>, PrivateStoreError> {
        self.put_all(sets.into_iter().map(|(tx_id, set, from)| (tx_id, set, Some(from))))
    }

    /// All that other peers sent and is still here, that of the oldest endorsements first.
    pub fn received(&self) -> Result<Vec<Received>, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(vec![]) };
        let mut received = Vec::new();
        for entry in snapshot.range(&ENDORSED, &[], None)? {
            let (key, sender) = entry?;
            received.extend(keys::read_endorsed(&key).zip(keys::read_sender(&sender)).map(
                |(at, (bytes, organization))| {
                    let (endorsed_at, tx_id, key) = at;
                    Received { tx_id, organization, bytes, key: TransientKey { key: key.to_vec(), endorsed_at } }
                },
            ));
        }
        Ok(received)
    }

    fn put_all<'a>(
        &self,
        sets: impl IntoIterator<Item = (&'a TxId, &'a TransientSet, Option<&'a MspId>)>,
    ) -> Result<Vec<Option<Received>>, PrivateStoreError> {
        let snapshot = self.0.snapshot();
        let (mut batch, mut kept) = (Batch::new(), Vec::new());
        for (tx_id, set, from) in sets {
            let message = TxPvtReadWriteSetWithConfigInfo {
                endorsed_at: set.endorsed_at,
                pvt_rwset: Some(set.writes.to_proto()),
                collection_configs: set.definitions.clone(),
            };
            let value = message.encode_to_vec();
            let key = keys::transient(tx_id, &value);
            let known = match &snapshot {
                Some(snapshot) => snapshot.get(&TRANSIENT, &key)?.is_some(),
                None => false,
            };
            let bytes = value.len() as u64;
            let received = from.filter(|_| !known).map(|from| Received {
                tx_id: tx_id.clone(),
                organization: from.clone(),
                bytes,
                key: TransientKey { key: key.clone(), endorsed_at: set.endorsed_at },
            });
            kept.push(received);
            // What this peer endorsed itself is not another's any more.
            let sender = from.map(|from| keys::sender(bytes, from)).unwrap_or_default();
            if !known || from.is_none() {
                batch.put(&ENDORSED, keys::endorsed(set.endorsed_at, &key), sender);
            }
            batch.put(&TRANSIENT, key, value);
        }
        self.0.write(batch)?;
        Ok(kept)
    }

    /// Forgets single sets.
    pub fn remove(&self, keys: &[TransientKey]) -> Result<(), PrivateStoreError> {
        let mut batch = Batch::new();
        for TransientKey { key, endorsed_at } in keys {
            batch.delete(&ENDORSED, keys::endorsed(*endorsed_at, key));
            batch.delete(&TRANSIENT, key.clone());
        }
        self.0.forget(batch)
    }

    /// All writes kept for a transaction.
    pub fn get(&self, tx_id: &TxId) -> Result<Vec<TransientSet>, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(vec![]) };
        snapshot
            .prefix(&TRANSIENT, &keys::transient_prefix(tx_id))?
            .map(|entry| {
                let message = TxPvtReadWriteSetWithConfigInfo::decode(entry?.1)?;
                let writes = TxPrivateRwSet::from_proto(message.pvt_rwset.unwrap_or_default())?;
                let definitions = message.collection_configs;
                Ok(TransientSet { endorsed_at: message.endorsed_at, writes, definitions })
            })
            .collect()
    }

    /// Forgets transactions that are committed.
    pub fn purge(&self, tx_ids: &[TxId]) -> Result<(), PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(()) };
        let mut batch = Batch::new();
        for tx_id in tx_ids {
            for entry in snapshot.prefix(&TRANSIENT, &keys::transient_prefix(tx_id))? {
                let (key, value) = entry?;
                let height = TxPvtReadWriteSetWithConfigInfo::decode(value)?.endorsed_at;
                batch.delete(&ENDORSED, keys::endorsed(height, &key));
                batch.delete(&TRANSIENT, key);
            }
        }
        self.0.forget(batch)
    }

    /// Forgets all that was endorsed below a height and is not committed by now.
    pub fn purge_below(&self, height: BlockNumber) -> Result<(), PrivateStoreError> {
        while self.purge_some_below(height)? == PURGE_BATCH {}
        Ok(())
    }

    /// Forgets the oldest of them, and says how many.
    fn purge_some_below(&self, height: BlockNumber) -> Result<usize, PrivateStoreError> {
        let Some(snapshot) = self.0.snapshot() else { return Ok(0) };
        let (mut batch, mut count) = (Batch::new(), 0);
        for entry in snapshot.range(&ENDORSED, &[], Some(&height.get().to_be_bytes()))?.take(PURGE_BATCH) {
            let (key, _) = entry?;
            if let Some(transient_key) = key.get(8..) {
                batch.delete(&TRANSIENT, transient_key);
            }
            batch.delete(&ENDORSED, key);
            count += 1;
        }
        self.0.forget(batch)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PrivateStore;

    #[test]
    fn single_sets_are_forgotten_and_what_was_there_before_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let store = PrivateStore::open(&directory.path().join("private")).unwrap();
        let transient = store.transient();
        let tx_id = TxId::new("tx");
        let set = |endorsed_at| TransientSet { endorsed_at, ..TransientSet::default() };
        transient.put(&tx_id, &set(1)).unwrap();
        let other = MspId::new("Org2MSP");
        let kept = transient.put_received([(&tx_id, &set(1), &other), (&tx_id, &set(2), &other)]).unwrap();
        let [None, Some(second)] = kept.as_slice() else { panic!("{kept:?}") };
        assert_eq!(transient.received().unwrap(), std::slice::from_ref(second));
        transient.remove(std::slice::from_ref(&second.key)).unwrap();
        assert_eq!(transient.get(&tx_id).unwrap(), [set(1)]);
        assert_eq!(transient.received().unwrap(), []);
        transient.purge_below(BlockNumber::new(9)).unwrap();
        assert!(transient.get(&tx_id).unwrap().is_empty());
    }

    #[test]
    fn what_others_sent_is_known_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let set = |endorsed_at| TransientSet { endorsed_at, ..TransientSet::default() };
        let [one, two] = ["Org1MSP", "Org2MSP"].map(MspId::new);
        let [a, b, c] = ["a", "b", "c"].map(TxId::new);
        let kept = {
            let store = PrivateStore::open(&directory.path().join("private")).unwrap();
            let transient = store.transient();
            transient.put(&a, &set(1)).unwrap();
            let kept = transient.put_received([(&b, &set(9), &one), (&a, &set(2), &two), (&c, &set(2), &one)]).unwrap();
            // What this peer endorsed as well is its own.
            transient.put(&c, &set(2)).unwrap();
            kept
        };
        let store = PrivateStore::open(&directory.path().join("private")).unwrap();
        let received = store.transient().received().unwrap();
        assert_eq!(received, [kept[1].clone().unwrap(), kept[0].clone().unwrap()]);
        assert_eq!((&received[1].tx_id, &received[1].organization), (&b, &one));
        store.transient().purge(&[a, b]).unwrap();
        assert_eq!(store.transient().received().unwrap(), []);
    }

    #[test]
    fn all_that_is_old_goes_at_once_however_much_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = PrivateStore::open(&directory.path().join("private")).unwrap();
        let transient = store.transient();
        let mut batch = Batch::new();
        for number in 0..=2 * PURGE_BATCH {
            let tx_id = TxId::new(&number.to_string());
            let key = keys::transient(&tx_id, b"");
            batch.put(&ENDORSED, keys::endorsed(number as u64 % 7, &key), "");
            batch.put(&TRANSIENT, key, "");
        }
        transient.0.write(batch).unwrap();
        let left = || {
            let snapshot = transient.0.snapshot().unwrap();
            [&ENDORSED, &TRANSIENT].map(|keyspace| snapshot.range(keyspace, &[], None).unwrap().count())
        };
        assert_eq!(left(), [2 * PURGE_BATCH + 1; 2]);
        transient.purge_below(BlockNumber::new(6)).unwrap();
        let newest = (0..=2 * PURGE_BATCH).filter(|number| number % 7 == 6).count();
        assert_eq!(left(), [newest; 2]);
        transient.purge_below(BlockNumber::new(7)).unwrap();
        assert_eq!(left(), [0; 2]);
    }
}
