//! Decoding messages from who may mean harm.
//!
//! A field of a list takes two bytes on the wire when it is empty, and a hundred times as many in memory: a message that is as
//! large as messages may be becomes several gigabytes. [`read_bounded`] counts before it decodes.

use prost::bytes::Buf;
use prost::{DecodeError, Message, Name};

use crate::read;
use crate::read::MAX_DEPTH;
use crate::schema::{self, Kind, Shape};
use crate::wire::{Fields, WireType};

/// Why a message is not decoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BoundedReadError {
    /// Its lists and maps hold more than this many values.
    #[error("it holds more than {0} values")]
    TooMany(usize),
    /// It is no such message.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
}

/// Decodes a message as [`read()`] does, if the lists and maps in it hold no more than `most` values together.
///
/// # Errors
/// There are more, or the bytes are no such message. No sender that means well makes either: drop it.
pub fn read_bounded<M: Message + Name + Default>(
    raw: impl Buf + Clone + AsRef<[u8]>,
    most: usize,
) -> Result<M, BoundedReadError> {
    let mut left = most;
    if !take_values::<M>(raw.as_ref(), &mut left) {
        return Err(BoundedReadError::TooMany(most));
    }
    Ok(read(raw)?)
}

/// Takes the number of values that the lists and maps of an encoded message hold off what is left; `false` when that is too
/// little. For several messages that are decoded one after the other.
pub fn take_values<M: Name>(raw: &[u8], left: &mut usize) -> bool {
    schema::message(&M::full_name()).is_none_or(|schema| fits(schema, raw, left, 0))
}

/// Takes the values of a message's lists and maps off what is left; `false` when that is too little. What is no message or
/// nested too deep is left to the decoder, which refuses it before it comes so far.
fn fits(schema: &schema::Message, message: &[u8], left: &mut usize, depth: usize) -> bool {
    for found in Fields::of(message) {
        let Ok(found) = found else { break };
        let Some(field) = schema.field(found.number).filter(|field| field.comes_as(found.wire_type)) else { continue };
        if field.shape != Shape::Single {
            let is_packed = found.wire_type == WireType::Length && field.kind.wire_type() != WireType::Length;
            let values = if is_packed { found.content.len() } else { 1 };
            let Some(rest) = left.checked_sub(values) else { return false };
            *left = rest;
        }
        if let Kind::Message(inner) = field.kind
            && depth < MAX_DEPTH
            && !fits(inner, found.content, left, depth + 1)
        {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::{DataDigest, Envelope, GossipMessage, MembershipResponse, gossip_message};
    use crate::{common, etcdraft};

    fn message(content: gossip_message::Content) -> Vec<u8> {
        GossipMessage { content: Some(content), ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn values_are_counted_at_all_depths() {
        let empty = vec![Envelope::default(); 1000];
        let response = MembershipResponse { alive: empty.clone(), dead: empty };
        let digest = DataDigest { digests: vec!["digest".into(); 2000], ..Default::default() };
        let entry = |name: &str, group| (name.to_owned(), group);
        let inner = common::ConfigGroup { groups: [entry("inner", Default::default())].into(), ..Default::default() };
        let outer = common::ConfigGroup { groups: [entry("outer", inner)].into(), ..Default::default() };
        let config = outer.encode_to_vec();
        for raw in
            [message(gossip_message::Content::MemRes(response)), message(gossip_message::Content::DataDig(digest))]
        {
            assert!(read_bounded::<GossipMessage>(raw.as_slice(), 2000).is_ok());
            assert_eq!(
                read_bounded::<GossipMessage>(raw.as_slice(), 1999),
                Err(BoundedReadError::TooMany(1999)),
                "of {} bytes",
                raw.len()
            );
        }
        assert!(read_bounded::<common::ConfigGroup>(config.as_slice(), 2).is_ok());
        assert!(read_bounded::<common::ConfigGroup>(config.as_slice(), 1).is_err());
    }

    #[test]
    fn packed_values_count_as_many() {
        let packed = etcdraft::BlockMetadata { consenter_ids: vec![1; 50], ..Default::default() }.encode_to_vec();
        assert!(read_bounded::<etcdraft::BlockMetadata>(packed.as_slice(), 50).is_ok());
        assert!(read_bounded::<etcdraft::BlockMetadata>(packed.as_slice(), 49).is_err());
    }

    #[test]
    fn what_is_no_message_is_refused_as_such() {
        for raw in [&[0x0a, 0x05, 1][..], &[0x08], &[0x0f]] {
            let refused = read_bounded::<GossipMessage>(raw, 10);
            assert!(matches!(refused, Err(BoundedReadError::Undecodable(_))), "{refused:?}");
        }
    }
}
