use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_committer::Committer;
use ripstop_crypto::SigningIdentity;
use ripstop_interop::{CHANNEL, Site};
use ripstop_ledger::{Ledger, LedgerOptions, Ledgers, TransientSet};
use ripstop_peer::client::{BlockRequest, Orderer, Patience, Seek};
use ripstop_private_store::{PrivateStore, by_transaction};
use ripstop_rwset::TxPrivateRwSet;
use ripstop_types::{Block, BlockNumber, ChannelId, Envelope, MspId, TxId, ValidationCode};
use tempfile::TempDir;

use crate::work::APPROVAL;

/// What a peer reported: a transaction, its verdict, and what it is about.
pub(crate) type Report = (TxId, ValidationCode, String);

/// What a killed peer left on disk, in a copy.
pub(crate) struct Remains(TempDir);

impl Remains {
    /// Copies the ledgers of a peer that does not run.
    pub(crate) fn of(ledgers: &Path) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary folder can be made");
        copy(ledgers, scratch.path());
        Self(scratch)
    }

    /// The clear private writes of blocks, by block and place in it.
    fn private_writes(&self, from: u64) -> BTreeMap<u64, BTreeMap<u64, TxPrivateRwSet>> {
        let store = PrivateStore::open(&self.0.path().join(CHANNEL).join("private")).expect("private data is whole");
        let of_block =
            |number| by_transaction(store.committed().get(BlockNumber::new(number)).expect("private data is whole"));
        // One block further than any that may be there.
        let blocks = (from..).map(|number| (number, of_block(number)));
        blocks.take(AHEAD).filter(|(_, sets)| !sets.is_empty()).collect()
    }

    fn open(&self) -> (Ledgers, Arc<Ledger>) {
        let ledgers = Ledgers::open(self.0.path(), LedgerOptions::default()).expect("the ledger opens");
        let ledger = ledgers.get(&channel()).expect("the channel is there");
        (ledgers, ledger)
    }
}

/// More blocks than can be committed between two looks.
const AHEAD: usize = 1000;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be read").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

fn channel() -> ChannelId {
    ChannelId::new(CHANNEL).expect("it is a channel")
}

/// A ledger that takes every block from the orderer through the whole validation, and has no accidents.
pub(crate) struct Reference {
    orderer: Orderer,
    user: SigningIdentity,
    ledger: Arc<Ledger>,
    committer: Committer,
    _ledgers: Ledgers,
    _scratch: TempDir,
}

impl Reference {
    /// Begins with the channel's first block.
    pub(crate) fn begin(site: &Site, organisation: usize) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary folder can be made");
        let ledgers = Ledgers::open(scratch.path(), LedgerOptions::default()).expect("an empty folder is no ledger");
        let genesis = Block::parse(site.genesis_block()).expect("the first block is whole");
        let ledger = ledgers.create(genesis).expect("the first block begins a channel");
        let organization = MspId::new(&format!("Org{organisation}MSP"));
        Self {
            orderer: Orderer::new(&site.orderer(), None),
            user: site.user(organisation, "User1"),
            committer: Committer::new(Arc::clone(&ledger)).of_organization(organization),
            ledger,
            _ledgers: ledgers,
            _scratch: scratch,
        }
    }

    /// Brings the reference to the height of what a peer left, and compares all there is. Returns the height.
    pub(crate) async fn compare(&mut self, remains: Remains, told: &[Report], when: &str) -> u64 {
        let private = remains.private_writes(self.ledger.height());
        let (ledgers, left) = remains.open();
        let found = left.contents().expect("the ledger can be read");
        all_there(&left, told, when);
        drop((left, ledgers));
        self.advance(found.height(), &private).await;
        let mut expected = self.ledger.contents().expect("the reference can be read");
        if found.private != expected.private {
            // Private data is written before its block, which may not have come to be.
            self.advance(found.height() + 1, &private).await;
            expected.private = self.ledger.contents().expect("the reference can be read").private;
        }
        let differences = expected.differences(&found);
        assert!(differences.is_empty(), "{when}: the ledgers differ\n{}", differences.join("\n"));
        assert_eq!(expected, found, "{when}");
        found.height()
    }

    async fn advance(&self, height: u64, private: &BTreeMap<u64, BTreeMap<u64, TxPrivateRwSet>>) {
        for number in self.ledger.height()..height {
            let seek = Seek::Number(number);
            let request = BlockRequest { channel: &channel(), seek, patience: Patience::Strict };
            let block: Block = self.orderer.block(request, &self.user).await.expect("the orderer has every block");
            for (place, writes) in private.get(&number).into_iter().flatten() {
                let raw = block.data.get(*place as usize).expect("private data belongs to a transaction").clone();
                let tx_id = tx_id(&raw).expect("it is a transaction");
                let set = TransientSet { endorsed_at: number, writes: writes.clone(), ..TransientSet::default() };
                self.ledger.transient().put(&tx_id, &set).expect("the reference can be written");
            }
            let taken = self.committer.commit(block).expect("the block can be decided");
            taken.expect("the block is what it should be");
        }
    }
}

fn tx_id(raw: &Bytes) -> Option<TxId> {
    Some(Envelope::parse(raw.clone()).ok()?.channel_header.tx_id)
}

/// Nothing that the peer reported is missing, and every approval stands with its own private data: the reference has that from
/// this peer only, and would not miss it.
fn all_there(ledger: &Ledger, told: &[Report], when: &str) {
    for (tx_id, code, subject) in told {
        let found = ledger.validation_code(tx_id).expect("the index can be read");
        let Some((recorded, block)) = found else { panic!("{when}: {tx_id}, which was reported as {code}, is lost") };
        assert_eq!(recorded, *code, "{when}: {tx_id}");
        let kept = subject != APPROVAL || *code != ValidationCode::Valid || has_private_data(ledger, tx_id, block);
        assert!(kept, "{when}: the private data of {tx_id} in block {block} is lost");
    }
}

/// Whether clear private writes are kept for the place of a transaction in its block.
fn has_private_data(ledger: &Ledger, wanted: &TxId, block: BlockNumber) -> bool {
    let kept = ledger.private_data(block, |_, _| true).expect("private data is whole");
    let block = ledger.block(block).expect("the block can be read").expect("the block is there");
    let mut places = (0u64..).zip(&block.data);
    places.any(|(place, raw)| kept.contains_key(&place) && tx_id(raw).as_ref() == Some(wanted))
}
