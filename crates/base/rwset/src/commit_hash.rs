use ripstop_types::{Digest, ValidationCodes, put_varuint};

/// The hash over a block's verdicts, its changes of the state and the commit hash before, which peers compare
/// (Fabric: `kv_ledger.go addBlockCommitHash`).
///
/// `updates` are the bytes of [`crate::UpdateBatch::canonical_bytes`]; `previous` is empty for block 1. The genesis block
/// has no commit hash.
pub fn commit_hash(codes: &ValidationCodes, updates: &[u8], previous: &[u8]) -> Digest {
    let filter = codes.to_bytes();
    let mut length = Vec::with_capacity(4);
    put_varuint(&mut length, filter.len() as u64);
    Digest::of_parts([length.as_slice(), &filter, updates, previous])
}
