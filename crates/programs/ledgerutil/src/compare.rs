//! `ledgerutil compare`: what is different in two snapshots of one channel?

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use anyhow::bail;
use ripstop_snapshot::{Part, SignableMetadata, SnapshotFiles, StateRecord, StateRecords};
use ripstop_types::Height;

use crate::report::{ListFile, object, result_directory, text};

const PUBLIC_DIFFERENCES: &str = "all_pub_diffs_by_key.json";
const PRIVATE_DIFFERENCES: &str = "all_pvt_diffs_by_key.json";
const FIRST_DIFFERENCES: &str = "first_diffs_by_height.json";

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// The state is the same.
    Same,
    /// It is not.
    Different {
        /// Where the result files are.
        results: PathBuf,
        /// How many keys differ.
        count: usize,
    },
}

/// Compares two snapshots, first by the hashes in their metadata, then, where these differ, key by key.
pub(crate) fn run(first: &Path, second: &Path, output: &Path, first_differences: usize) -> anyhow::Result<Comparison> {
    let (first, second) = (SnapshotFiles::open(first)?, SnapshotFiles::open(second)?);
    let (a, b) = (first.metadata(), second.metadata());
    check_comparable(a, b)?;
    let differ = |part: Part| {
        [part.data_file(), part.metadata_file()].into_iter().any(|file| a.files.get(file) != b.files.get(file))
    };
    let (public, private) = (differ(Part::PublicState), differ(Part::PrivateStateHashes));
    if !public && !private {
        return Ok(Comparison::Same);
    }
    let results = result_directory(output, &format!("{}_{}_comparison", a.channel, a.last_block), "compare")?;
    let mut report = Report {
        directory: &results,
        channel: a.channel.as_str(),
        earliest: Earliest::new(first_differences),
        count: 0,
    };
    // Also what cannot be joined by can be looked at: Fabric's tool does not verify either.
    let (first, second) = (first.unverified(), second.unverified());
    if public {
        report.compare(PUBLIC_DIFFERENCES, Form::Clear, first.public_state()?, second.public_state()?)?;
    }
    if private {
        let (first, second) = (first.private_state_hashes()?, second.private_state_hashes()?);
        report.compare(PRIVATE_DIFFERENCES, Form::Hashed, first, second)?;
    }
    let count = report.finish()?;
    Ok(Comparison::Different { results, count })
}

fn check_comparable(a: &SignableMetadata, b: &SignableMetadata) -> anyhow::Result<()> {
    let hash = |metadata: &SignableMetadata| hex::encode(&metadata.last_block_hash);
    let facts = [
        ("Channel names", "channel name", a.channel.to_string(), b.channel.to_string()),
        ("Last block numbers", "last block number", a.last_block.to_string(), b.last_block.to_string()),
        ("Last block hashes", "last block hash", hash(a), hash(b)),
        ("State db types", "state db type", a.state_db.clone(), b.state_db.clone()),
    ];
    for (facts, fact, first, second) in facts {
        if first != second {
            bail!(
                "the supplied snapshots appear to be non-comparable. {facts} do not match.\nSnapshot1 {fact}: {first}\nSnapshot2 {fact}: {second}"
            );
        }
    }
    Ok(())
}

/// How keys and values of a file are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Clear,
    /// They are hashes, written in hexadecimal digits.
    Hashed,
}

impl Form {
    fn text(self, bytes: &[u8]) -> String {
        match self {
            Self::Clear => text(bytes),
            Self::Hashed => text(hex::encode(bytes)),
        }
    }
}

struct Report<'a> {
    directory: &'a Path,
    channel: &'a str,
    earliest: Earliest,
    count: usize,
}

impl Report<'_> {
    fn begin(&self, file: &str) -> anyhow::Result<ListFile> {
        let head = format!("{{\n\"ledgerid\":\"{}\",\n\"diffRecords\":", self.channel);
        ListFile::begin(self.directory.join(file), &head)
    }

    /// Walks through both files, which have the same order.
    fn compare(&mut self, file: &str, form: Form, first: StateRecords, second: StateRecords) -> anyhow::Result<()> {
        let mut differences = self.begin(file)?;
        let (mut first, mut second) = (first.peekable(), second.peekable());
        loop {
            let order = match (first.peek(), second.peek()) {
                (None, None) => break,
                (Some(Ok(a)), Some(Ok(b))) => (&a.namespace, &a.key).cmp(&(&b.namespace, &b.key)),
                // What is there, or an error, comes first.
                (Some(_), None) | (Some(Err(_)), Some(_)) => Ordering::Less,
                (None, Some(_)) | (Some(Ok(_)), Some(Err(_))) => Ordering::Greater,
            };
            let a = if order.is_le() { first.next().transpose()? } else { None };
            let b = if order.is_ge() { second.next().transpose()? } else { None };
            let Some(present) = a.as_ref().or(b.as_ref()).filter(|_| a != b) else { continue };
            let difference = Difference::new(form, present, [a.as_ref(), b.as_ref()]);
            differences.push(&difference.json)?;
            self.count += 1;
            self.earliest.add(difference);
        }
        differences.end("}\n")
    }

    fn finish(self) -> anyhow::Result<usize> {
        if self.earliest.limit > 0 {
            let mut file = self.begin(FIRST_DIFFERENCES)?;
            for difference in self.earliest.into_sorted() {
                file.push(&difference.json)?;
            }
            file.end("}\n")?;
        }
        Ok(self.count)
    }
}

/// A key that is not the same in both snapshots.
struct Difference {
    /// The earlier version.
    height: Height,
    json: String,
}

impl Difference {
    /// `present` is one of the records that are there.
    fn new(form: Form, present: &StateRecord, records: [Option<&StateRecord>; 2]) -> Self {
        let height = records.iter().flatten().map(|record| record.version).fold(present.version, Height::min);
        let [first, second] = records.map(|record| match record {
            None => "null".to_owned(),
            Some(record) => object([
                ("value", form.text(&record.value)),
                ("blockNum", record.version.block.to_string()),
                ("txNum", record.version.tx.to_string()),
            ]),
        });
        let members = [
            ("namespace", text(&present.namespace)),
            ("key", form.text(&present.key)),
            ("hashed", (form == Form::Hashed).to_string()),
            ("snapshotrecord1", first),
            ("snapshotrecord2", second),
        ];
        // Go leaves out an empty namespace and key.
        Self { height, json: object(members.into_iter().filter(|(_, value)| value != "\"\"")) }
    }
}

/// The earliest differences, as many as are wanted. Which of those of one transaction are among them, and in which order,
/// follows from the heap that Fabric's tool uses (Go's `container/heap`), so it is the same here.
struct Earliest {
    limit: usize,
    /// The latest is on top.
    heap: Vec<Difference>,
}

impl Earliest {
    fn new(limit: usize) -> Self {
        Self { limit, heap: Vec::new() }
    }

    fn add(&mut self, difference: Difference) {
        if self.heap.len() < self.limit {
            self.push(difference);
        } else if self.heap.first().is_some_and(|latest| difference.height <= latest.height) {
            self.push(difference);
            self.pop();
        }
    }

    /// All of them, the earliest first.
    fn into_sorted(mut self) -> Vec<Difference> {
        let mut sorted: Vec<_> = std::iter::from_fn(|| self.pop()).collect();
        sorted.reverse();
        sorted
    }

    fn later(&self, one: usize, other: usize) -> bool {
        self.heap[one].height > self.heap[other].height
    }

    fn push(&mut self, difference: Difference) {
        self.heap.push(difference);
        let mut child = self.heap.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if !self.later(child, parent) {
                break;
            }
            self.heap.swap(parent, child);
            child = parent;
        }
    }

    fn pop(&mut self) -> Option<Difference> {
        let last = self.heap.len().checked_sub(1)?;
        self.heap.swap(0, last);
        let mut parent = 0;
        while 2 * parent + 1 < last {
            let (left, right) = (2 * parent + 1, 2 * parent + 2);
            let child = if right < last && self.later(right, left) { right } else { left };
            if !self.later(child, parent) {
                break;
            }
            self.heap.swap(parent, child);
            parent = child;
        }
        self.heap.pop()
    }
}
