//! Decoding messages as Go decodes them.
//!
//! Who signs or sends a message chooses its bytes, and every peer of a channel has to read the same out of them. Go's
//! decoder takes a field of a known number but another wire type for an unknown one and ignores it; that of `prost`
//! refuses the message. A client could divide a channel with one such byte. [`read`] ignores them too, and groups that are
//! nested deeper than `prost` likes.
//!
//! Still different: messages that are *themselves* nested deeper than a hundred levels are refused; Go goes to ten thousand.

use prost::bytes::Buf;
use prost::{DecodeError, Message, Name};

use crate::schema::{self, Kind};
use crate::wire::{Fields, Malformed};

/// How deep messages are nested at most in [`known_fields`]; `prost` refuses what is deeper.
pub(crate) const MAX_DEPTH: usize = 100;

/// Decodes a message and ignores whatever Go ignores.
pub fn read<M: Message + Name + Default>(raw: impl Buf + Clone + AsRef<[u8]>) -> Result<M, DecodeError> {
    M::decode(raw.clone()).or_else(|error| {
        let Some(schema) = schema::message(&M::full_name()) else { return Err(error) };
        let mut known = Vec::with_capacity(raw.as_ref().len());
        match known_fields(schema, raw.as_ref(), &mut known, 0) {
            Ok(()) if known != raw.as_ref() => M::decode(known.as_slice()),
            _ => Err(error),
        }
    })
}

/// Copies the fields that the message type knows in the form in which they stand.
fn known_fields(schema: &schema::Message, message: &[u8], known: &mut Vec<u8>, depth: usize) -> Result<(), Malformed> {
    for found in Fields::of(message) {
        let found = found?;
        let Some(field) = schema.field(found.number).filter(|field| field.comes_as(found.wire_type)) else { continue };
        match field.kind {
            Kind::Message(_) if depth >= MAX_DEPTH => return Err(Malformed),
            Kind::Message(inner) => {
                let mut content = Vec::with_capacity(found.content.len());
                known_fields(inner, found.content, &mut content, depth + 1)?;
                prost::encoding::encode_key(found.number, prost::encoding::WireType::LengthDelimited, known);
                prost::encoding::encode_varint(content.len() as u64, known);
                known.append(&mut content);
            }
            _ => known.extend_from_slice(found.whole),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{common, kvrwset, protos};

    /// Field 1 as a number, where the message has bytes or a message there.
    const OTHER_TYPE: [u8; 2] = [0x08, 0x01];
    /// Groups nested deeper than `prost` likes, as field 200.
    fn deep_group() -> Vec<u8> {
        [[0xc3, 0x0c].repeat(150), [0xc4, 0x0c].repeat(150)].concat()
    }

    #[test]
    fn a_field_of_another_wire_type_is_unknown() {
        let payload = common::Payload { header: Some(common::Header::default()), data: "data".into() };
        let plain = payload.encode_to_vec();
        for extra in [OTHER_TYPE.to_vec(), deep_group(), vec![0x1d, 0, 0, 0, 0], vec![0x15, 1, 2, 3, 4]] {
            for raw in [[extra.as_slice(), &plain].concat(), [plain.as_slice(), &extra].concat()] {
                assert_eq!(read::<common::Payload>(raw.as_slice()).unwrap(), payload, "{extra:?}");
            }
        }
    }

    #[test]
    fn fields_inside_of_messages_and_maps_are_looked_at_too() {
        let version = kvrwset::Version { block_num: 7, tx_num: 0 };
        let read_ = kvrwset::KvRead { key: "key".into(), version: Some(version) };
        let set = kvrwset::KvrwSet { reads: vec![read_], ..Default::default() };
        // The version's first number once more, as bytes.
        let raw = [0x0a, 0x0d, 0x0a, 0x03, b'k', b'e', b'y', 0x12, 0x06, 0x08, 0x07, 0x0a, 0x02, 0, 0];
        assert_eq!(read::<kvrwset::KvrwSet>(raw.as_slice()).unwrap(), set);

        let group = common::ConfigGroup {
            groups: [("name".to_owned(), common::ConfigGroup { version: 3, ..Default::default() })].into(),
            ..Default::default()
        };
        // The entry's key once more, as a number.
        let raw = [0x12, 0x0c, 0x0a, 0x04, b'n', b'a', b'm', b'e', 0x08, 0x01, 0x12, 0x02, 0x08, 0x03];
        assert_eq!(read::<common::ConfigGroup>(raw.as_slice()).unwrap(), group);
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_as_a_whole() {
        // A group in a group, as often as asked, beside a field that Go ignores.
        let nested = |levels: usize| {
            let mut raw = vec![];
            for _ in 0..levels {
                let entry = [&[0x0a, 0x01, b'g', 0x12][..], &length(&raw), &raw].concat();
                raw = [&[0x12][..], &length(&entry), &entry].concat();
            }
            [raw, vec![0x10, 0x01]].concat()
        };
        let depth = |group: common::ConfigGroup| {
            let mut levels = 0;
            let mut group = &group;
            while let Some(inner) = group.groups.get("g") {
                (levels, group) = (levels + 1, inner);
            }
            levels
        };
        for levels in [1, 10, 49] {
            assert_eq!(depth(read(nested(levels).as_slice()).unwrap()), levels);
        }
        for levels in [51, 60, 100, 101, 1000] {
            assert!(read::<common::ConfigGroup>(nested(levels).as_slice()).is_err(), "{levels}");
        }
    }

    fn length(content: &[u8]) -> Vec<u8> {
        let mut length = vec![];
        prost::encoding::encode_varint(content.len() as u64, &mut length);
        length
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let refused: [&[u8]; 4] = [&[0x0a, 0x05, 1], &[0x08], &[0x0a, 0x01, 0xff, 0x08, 0x01], &[0x0f]];
        for raw in refused {
            // A name of bytes that are no text.
            assert!(read::<protos::ChaincodeId>(raw).is_err(), "{raw:?}");
        }
        assert!(
            common::Payload::decode(OTHER_TYPE.as_slice()).is_err(),
            "prost has changed; read is not needed any more"
        );
    }
}
