use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_types::Digest;

use crate::set::raw_reads;
use crate::{KvRead, MerkleSummary, RangeReads};

/// How many results of a range query endorsers keep in clear, and how many hashes a level of the summary may have.
pub const RANGE_MERKLE_DEGREE: u32 = 50;

/// A Merkle tree needs nodes with at least two children; a summary that says otherwise is forged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("maxDegree [{0}] should not be less than 2 in the merkle tree")]
pub struct InvalidMerkleDegree(u32);

/// Takes the results of a range query one by one and gives what a read/write set holds about them: nothing, the results,
/// or the top of a Merkle tree (Fabric: `rwsetutil.RangeQueryResultsHelper`). A committer feeds it the present state and
/// compares.
#[derive(Debug, Clone)]
pub struct RangeRecorder {
    degree: usize,
    pending: Vec<KvRead>,
    /// The incomplete levels; leaves are level 1.
    levels: BTreeMap<u32, Vec<Digest>>,
    top: u32,
}

impl Default for RangeRecorder {
    fn default() -> Self {
        Self { degree: RANGE_MERKLE_DEGREE as usize, pending: vec![], levels: BTreeMap::new(), top: 1 }
    }
}

impl RangeRecorder {
    /// A recorder as endorsers use it, of degree [`RANGE_MERKLE_DEGREE`].
    pub fn new() -> Self {
        Self::default()
    }

    /// A recorder of the degree that a summary states.
    pub fn with_degree(degree: u32) -> Result<Self, InvalidMerkleDegree> {
        if degree < 2 {
            return Err(InvalidMerkleDegree(degree));
        }
        Ok(Self { degree: degree as usize, ..Self::default() })
    }

    /// Takes the next result.
    pub fn add(&mut self, read: KvRead) {
        self.pending.push(read);
        if self.pending.len() > self.degree {
            self.flush();
        }
    }

    /// What a read/write set says about all results.
    pub fn finish(mut self) -> RangeReads {
        if self.levels.is_empty() {
            return if self.pending.is_empty() { RangeReads::None } else { RangeReads::Raw(self.pending) };
        }
        if !self.pending.is_empty() {
            self.flush();
        }
        for level in 1..self.top {
            match self.levels.remove(&level).as_deref() {
                None | Some([]) => {}
                // A node alone moves up as it is.
                Some([only]) => self.levels.entry(level + 1).or_default().push(*only),
                Some(nodes) => self.levels.entry(level + 1).or_default().push(combine(nodes)),
            }
        }
        let mut hashes = self.levels.remove(&self.top).unwrap_or_default();
        if hashes.len() > self.degree {
            hashes = vec![combine(&hashes)];
            self.top += 1;
        }
        RangeReads::Merkle(MerkleSummary {
            max_degree: self.degree as u32,
            max_level: self.top,
            max_level_hashes: hashes.into_iter().map(Digest::to_bytes).collect::<Vec<Bytes>>(),
        })
    }

    fn flush(&mut self) {
        let leaf = Digest::of(&raw_reads(&std::mem::take(&mut self.pending)).encode_to_vec());
        self.levels.entry(1).or_default().push(leaf);
        let mut level = 1;
        while let Some(nodes) = self.levels.get(&level).filter(|nodes| nodes.len() > self.degree) {
            let parent = combine(nodes);
            self.levels.remove(&level);
            level += 1;
            self.levels.entry(level).or_default().push(parent);
            self.top = self.top.max(level);
        }
    }
}

fn combine(nodes: &[Digest]) -> Digest {
    Digest::of_parts(nodes.iter().map(AsRef::as_ref))
}
