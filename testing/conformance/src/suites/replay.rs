//! A chain as a peer takes it from an orderer: verified, checked, validated, committed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_channel_config::ChannelConfig;
use ripstop_ledger::{CreateError, Ledger, LedgerOptions, Ledgers, PrivateData};
use ripstop_rwset::{StateView, TxPrivateRwSet};
use ripstop_types::{Block, BlockNumber, MspId, ValidationCode};
use ripstop_validation::VerifiedBlock;
use tempfile::TempDir;

/// The ledger of one channel in a temporary directory.
pub(crate) struct Replay {
    ledger: Arc<Ledger>,
    ledgers: Arc<Ledgers>,
    directory: TempDir,
    /// Private writes that the peer has when a block comes.
    pub(crate) private: PrivateWrites,
    /// Every public key that a block changed, by namespace.
    pub(crate) public_keys: BTreeMap<String, BTreeSet<String>>,
    /// The hash of every private key that a block changed, by namespace and collection.
    pub(crate) hashed_keys: BTreeMap<(String, String), BTreeSet<Bytes>>,
}

/// Private writes by block and place in it.
pub(crate) type PrivateWrites = BTreeMap<BlockNumber, BTreeMap<u64, TxPrivateRwSet>>;

/// What became of a block.
pub(crate) struct Replayed {
    /// The block with its metadata filled in.
    pub(crate) block: Block,
    /// One verdict a transaction.
    pub(crate) codes: Vec<ValidationCode>,
    /// Why a transaction is invalid; empty for a valid one.
    pub(crate) reasons: Vec<String>,
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn open(directory: &TempDir) -> Result<Arc<Ledgers>, String> {
    let options = LedgerOptions { snapshots: Some(directory.path().join("snapshots")), ..LedgerOptions::default() };
    Ok(Arc::new(Ledgers::open(&directory.path().join("ledgers"), options).map_err(text)?))
}

impl Replay {
    /// Begins a chain.
    pub(crate) fn begin(genesis: Block) -> Result<Self, String> {
        Self::from(|ledgers| ledgers.create(genesis))
    }

    /// Begins with a snapshot, as a peer of `Org1MSP`.
    pub(crate) fn join(snapshot: &Path) -> Result<Self, String> {
        Self::from(|ledgers| ledgers.create_from_snapshot(snapshot, &MspId::new("Org1MSP")))
    }

    fn from(create: impl FnOnce(&Ledgers) -> Result<Arc<Ledger>, CreateError>) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(text)?;
        let ledgers = open(&directory)?;
        let ledger = create(&ledgers).map_err(text)?;
        let (private, public_keys, hashed_keys) = Default::default();
        Ok(Self { ledger, ledgers, directory, private, public_keys, hashed_keys })
    }

    /// Verifies, checks, validates and commits the next block.
    pub(crate) fn commit(&mut self, block: Block) -> Result<Replayed, String> {
        let (config, before, info) = (self.ledger.config(), self.ledger.snapshot(), self.ledger.info());
        let verified = VerifiedBlock::verify(block, &config, BlockNumber::new(info.height), &info.current_hash)
            .map_err(|refusal| format!("the block was refused: {refusal}"))?;
        let checked = verified.check(&config, &*before).map_err(|undecided| format!("undecided: {undecided}"))?;
        let validated = checked.validate(&*before, &self.ledger.commit_hash()).map_err(text)?;
        for (namespace, key, _) in validated.updates().public_updates() {
            self.public_keys.entry(namespace.to_owned()).or_default().insert(key.to_owned());
        }
        for (namespace, collection, key_hash, _) in validated.updates().hashed_updates() {
            let collection = (namespace.to_owned(), collection.to_owned());
            self.hashed_keys.entry(collection).or_default().insert(key_hash.clone());
        }
        let replayed = Replayed {
            block: validated.block().clone(),
            codes: validated.codes().as_slice().to_vec(),
            reasons: validated
                .transactions()
                .iter()
                .map(|transaction| transaction.refusal.as_ref().map(ToString::to_string).unwrap_or_default())
                .collect(),
        };
        let private = self.private.get(&validated.block().number()).cloned().unwrap_or_default();
        self.ledger.commit(validated, PrivateData::from(private)).map_err(text)?;
        Ok(replayed)
    }

    /// Closes the ledger, throws its state away, and opens it again: all of it must come back out of the blocks.
    pub(crate) fn rebuild(self) -> Result<Self, String> {
        let Self { ledger, ledgers, directory, private, public_keys, hashed_keys } = self;
        let channel = ledger.channel_id().clone();
        let state: PathBuf = directory.path().join("ledgers").join(channel.as_str()).join("state");
        drop((ledger, ledgers));
        std::fs::remove_dir_all(&state).map_err(text)?;
        let ledgers = open(&directory)?;
        let ledger = ledgers.get(&channel).ok_or("the channel is gone")?;
        Ok(Self { ledger, ledgers, directory, private, public_keys, hashed_keys })
    }

    /// Makes a snapshot of the state as it is, and says where it lies.
    pub(crate) fn snapshot(&self) -> Result<PathBuf, String> {
        self.ledger.request_snapshot(BlockNumber::GENESIS).map_err(text)?;
        self.ledger.wait_for_snapshots();
        let last = self.ledger.height() - 1;
        let completed = self.directory.path().join("snapshots").join("completed");
        Ok(completed.join(self.ledger.channel_id().as_str()).join(last.to_string()))
    }

    /// All ledgers: this one.
    pub(crate) fn ledgers(&self) -> &Arc<Ledgers> {
        &self.ledgers
    }

    /// The ledger itself.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ledger for someone else who commits.
    pub(crate) fn shared_ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// The configuration after the last block.
    pub(crate) fn config(&self) -> Arc<ChannelConfig> {
        self.ledger.config()
    }

    /// The state after the last block.
    pub(crate) fn state(&self) -> Arc<dyn StateView> {
        self.ledger.snapshot()
    }
}
