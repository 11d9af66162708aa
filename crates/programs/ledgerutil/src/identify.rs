//! `ledgerutil identifytxs`: which transactions wrote these keys?

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use ripstop_block_store::BlockReader;
use ripstop_command_line::os_text;
use ripstop_rwset::TxRwSet;
use ripstop_types::{Block, BlockNumber, Envelope, HeaderType, Height, Transaction, TxId, ValidationCode};
use serde::Deserialize;

use crate::chains;
use crate::report::{ListFile, object, result_directory, text};

/// The blocks that were looked through. The first is behind the last where there was none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Searched {
    pub(crate) first: BlockNumber,
    pub(crate) last: BlockNumber,
}

/// Looks for the transactions that wrote the keys in a file of differences, and writes a result file for each key.
pub(crate) fn run(differences: &Path, file_system: &Path, output: &Path) -> anyhow::Result<Searched> {
    let raw =
        std::fs::read(differences).map_err(|error| anyhow!("open {}: {}", differences.display(), os_text(&error)))?;
    let differences: Differences = serde_json::from_slice(&raw).context("the file of differences")?;
    if differences.records.is_empty() {
        bail!("no records were read. JSON record list is either empty or not properly formatted. Aborting identifytxs");
    }
    let channel = differences.channel;
    let directory = result_directory(output, &format!("{channel}_identified_transactions"), "identifytxs")?;
    let search = Search::begin(&differences.records, &directory)?;
    let chain = chains::find(file_system, "identifytxs")?.into_iter().find(|chain| chain.channel == channel);
    let chain = chain.ok_or_else(|| anyhow!("BlockStore for {channel} does not exist. Aborting identifytxs"))?;
    search.through(BlockReader::open(&chain.directory)?)
}

/// The file that `ledgerutil compare` writes.
#[derive(Debug, Deserialize)]
struct Differences {
    #[serde(rename = "ledgerid", default)]
    channel: String,
    #[serde(rename = "diffRecords", default)]
    records: Vec<Difference>,
}

#[derive(Debug, Deserialize)]
struct Difference {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    key: String,
    /// Whether namespace and key are those of the hash of a private value.
    #[serde(default)]
    hashed: bool,
    #[serde(rename = "snapshotrecord1")]
    first: Option<Version>,
    #[serde(rename = "snapshotrecord2")]
    second: Option<Version>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Version {
    #[serde(rename = "blockNum", default)]
    block: u64,
    #[serde(rename = "txNum", default)]
    transaction: u64,
}

impl Difference {
    /// Up to where it makes sense to look: the later of the two versions. Without versions the whole chain is looked
    /// through.
    fn limit(&self) -> Height {
        let later =
            [self.first, self.second].into_iter().flatten().map(|version| (version.block, version.transaction)).max();
        let (block, transaction) = later.filter(|later| *later != (0, 0)).unwrap_or((u64::MAX, u64::MAX));
        Height::new(BlockNumber::new(block), transaction)
    }

    fn sought(&self) -> anyhow::Result<Key> {
        if self.namespace.is_empty() || self.key.is_empty() {
            bail!(
                "invalid input json. Each record entry must contain both a \"namespace\" and a \"key\" field. Aborting identifytxs"
            );
        }
        let (namespace, collection) = match self.hashed {
            false => (self.namespace.as_str(), ""),
            true => match self.namespace.split("$$h").collect::<Vec<_>>()[..] {
                [namespace, collection] => (namespace, collection),
                _ => bail!("not a valid hashedDataNs [{}]", self.namespace),
            },
        };
        Ok(Key { namespace: namespace.to_owned(), collection: collection.to_owned(), key: self.key.clone() })
    }
}

/// A public key, or the hexadecimal hash of a private one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    /// Empty for public keys.
    collection: String,
    key: String,
}

/// A key that is still looked for.
struct Sought {
    limit: Height,
    results: ListFile,
}

impl Sought {
    /// `all`: whether the chain reaches as far as the key's limit.
    fn end(self, all: bool) -> anyhow::Result<()> {
        self.results.end(&format!(",\n\"blockStoreHeightSufficient\":{all}\n}}\n"))
    }
}

struct Search {
    sought: HashMap<Key, Sought>,
    /// The greatest limit of all.
    limit: Height,
}

impl Search {
    fn begin(records: &[Difference], directory: &Path) -> anyhow::Result<Self> {
        let mut search = Self { sought: HashMap::new(), limit: Height::new(BlockNumber::GENESIS, 0) };
        for (place, record) in records.iter().enumerate() {
            let key = record.sought()?;
            if search.sought.contains_key(&key) {
                bail!(
                    "invalid input json. Contains duplicate record for  {{\"namespace\":\"{}\",\"key\":\"{}\"}}. Aborting identifytxs",
                    record.namespace,
                    record.key
                );
            }
            let limit = record.limit();
            search.limit = search.limit.max(limit);
            let head =
                format!("{{\n\"namespace\":{}\n,\n\"key\":{}\n,\n\"txs\":", text(&key.namespace), text(&key.key));
            let results = ListFile::begin(directory.join(format!("txlist{}.json", place + 1)), &head)?;
            search.sought.insert(key, Sought { limit, results });
        }
        Ok(search)
    }

    /// Looks through blocks in order, as far as there is something to find. The first block of a channel writes nothing.
    fn through(mut self, mut blocks: BlockReader) -> anyhow::Result<Searched> {
        let mut searched = Searched { first: BlockNumber::new(1), last: BlockNumber::GENESIS };
        let (mut any, mut more) = (false, false);
        let mut last_place = 0;
        while let Some(block) = blocks.next().transpose()? {
            if block.number() == BlockNumber::GENESIS {
                continue;
            }
            if !any {
                searched.first = block.number();
                searched.last = BlockNumber::new(block.number().get() - 1);
                any = true;
            }
            if block.number() > self.limit.block {
                more = true;
                break;
            }
            searched.last = block.number();
            last_place = self.look_into(&block)?;
            if self.sought.is_empty() {
                return Ok(searched);
            }
        }
        for sought in self.sought.into_values() {
            let reached = sought.limit.block <= searched.last && sought.limit.tx <= last_place;
            sought.end(more || reached)?;
        }
        Ok(searched)
    }

    /// Notes what a block's transactions wrote; returns the place of the last one that was looked at.
    fn look_into(&mut self, block: &Block) -> anyhow::Result<u64> {
        let codes = block.metadata.validation_codes().map_err(|error| anyhow!("block {}: {error}", block.number()))?;
        let mut last = 0;
        for (place, raw) in (0u64..).zip(&block.data) {
            last = place;
            let at = Height::new(block.number(), place);
            // What cannot be read wrote nothing.
            let Some((tx_id, writes)) = writes_of(raw.clone()) else { continue };
            let code = codes.as_slice().get(usize::try_from(place)?).copied().unwrap_or(ValidationCode::NotValidated);
            for (key, value) in writes {
                self.found(&key, at, &tx_id, code, &value)?;
            }
            if self.sought.is_empty() || at == self.limit {
                break;
            }
        }
        Ok(last)
    }

    fn found(&mut self, key: &Key, at: Height, tx_id: &TxId, code: ValidationCode, value: &[u8]) -> anyhow::Result<()> {
        let Some(sought) = self.sought.get_mut(key) else { return Ok(()) };
        sought.results.push(&object([
            ("txid", text(tx_id.as_str())),
            ("blockNum", at.block.to_string()),
            ("txNum", at.tx.to_string()),
            ("txValidationStatus", text(code.to_string())),
            ("keyWrite", text(value)),
        ]))?;
        match sought.limit == at {
            true => self.sought.remove(key).map_or(Ok(()), |sought| sought.end(true)),
            false => Ok(()),
        }
    }
}

/// What a transaction writes to a key: a value, or the hexadecimal hash of a private one.
type Write = (Key, Vec<u8>);

/// The id of an endorsed transaction, and its writes.
fn writes_of(raw: Bytes) -> Option<(TxId, Vec<Write>)> {
    let envelope =
        Envelope::parse(raw).ok().filter(|envelope| envelope.channel_header.kind == HeaderType::EndorserTransaction)?;
    let action = Transaction::parse(envelope.data).ok()?.action().ok()?;
    let mut writes = Vec::new();
    for set in TxRwSet::parse(action.results).ok()?.namespaces {
        let key = |collection: &str, key: String| Key {
            namespace: set.namespace.clone(),
            collection: collection.to_owned(),
            key,
        };
        writes.extend(set.writes.iter().map(|write| (key("", write.key.clone()), write.value.to_vec())));
        for collection in &set.collections {
            let hashed = collection.writes.iter().map(|write| {
                let hash = hex::encode(&write.value_hash).into_bytes();
                (key(&collection.collection, hex::encode(&write.key_hash)), hash)
            });
            writes.extend(hashed);
        }
    }
    Some((envelope.channel_header.tx_id, writes))
}
