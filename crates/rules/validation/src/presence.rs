//! Whether a bytes field is present at all.
//!
//! Go tells an absent bytes field (`nil`) from one that is present and empty, and three of Fabric's verdicts depend on
//! it. The generated messages cannot tell, so in the rare case of an empty field the original bytes are asked.

/// Whether `message` holds the length-delimited field `number` at its top level. Bytes that are no protobuf hold none.
pub(crate) fn has_bytes_field(message: &[u8], number: u64) -> bool {
    let mut rest = message;
    while let Some((key, after_key)) = varint(rest) {
        let (field, wire_type) = (key >> 3, key & 7);
        rest = match wire_type {
            0 => match varint(after_key) {
                Some((_, after)) => after,
                None => return false,
            },
            1 => match after_key.get(8..) {
                Some(after) => after,
                None => return false,
            },
            2 if field == number => return true,
            2 => match varint(after_key).and_then(|(length, body)| body.get(usize::try_from(length).ok()?..)) {
                Some(after) => after,
                None => return false,
            },
            5 => match after_key.get(4..) {
                Some(after) => after,
                None => return false,
            },
            _ => return false,
        };
    }
    false
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explicitly_empty_field_is_present() {
        assert!(has_bytes_field(&[0x0a, 0x00], 1));
        assert!(has_bytes_field(&[0x08, 0x96, 0x01, 0x12, 0x02, 0x41, 0x42, 0x1a, 0x00], 3));
        assert!(!has_bytes_field(&[0x12, 0x02, 0x0a, 0x00], 1), "nested bytes are not looked into");
        for broken in [&[][..], &[0x80], &[0x12, 0x7f], &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]] {
            assert!(!has_bytes_field(broken, 1));
        }
    }
}
