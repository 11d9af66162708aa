//! Encodings that stand outside of protobuf: two of integers, and elements of DER.

/// Bytes that are no order-preserving unsigned integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an order-preserving unsigned integer: {0}")]
pub struct OrderedVaruintError(&'static str);

/// Appends `value` as an order-preserving unsigned integer: the number of bytes that follow (0 to 8), then `value`
/// big-endian without leading zero bytes. Bytewise order of encodings is numeric order
/// (Fabric: `common/ledger/util/util.go`).
pub fn put_ordered_varuint(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let skip = (value.leading_zeros() / 8) as usize;
    out.push((bytes.len() - skip) as u8);
    out.extend_from_slice(&bytes[skip..]);
}

/// Reads an integer written by [`put_ordered_varuint`] from the front of `input`; returns it and the rest.
pub fn get_ordered_varuint(input: &[u8]) -> Result<(u64, &[u8]), OrderedVaruintError> {
    let (&length, rest) = input.split_first().ok_or(OrderedVaruintError("no bytes"))?;
    if length > 8 {
        return Err(OrderedVaruintError("length above 8"));
    }
    let (digits, rest) =
        rest.split_at_checked(usize::from(length)).ok_or(OrderedVaruintError("fewer bytes than its length says"))?;
    let value = digits.iter().fold(0u64, |value, digit| value << 8 | u64::from(*digit));
    Ok((value, rest))
}

/// Appends `value` as a protobuf base-128 varint.
pub fn put_varuint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends an element of DER (X.690): tag, definite length in its shortest form, content.
pub fn put_der(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let skip = (length.leading_zeros() / 8) as usize;
        out.push(0x80 | (bytes.len() - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_preserving_integers_match_fabric() {
        let vectors: [(u64, &str); 8] = [
            (0, "00"),
            (1, "0101"),
            (127, "017f"),
            (128, "0180"),
            (255, "01ff"),
            (256, "020100"),
            (65535, "02ffff"),
            (u64::MAX, "08ffffffffffffffff"),
        ];
        for (value, expected) in vectors {
            let mut out = Vec::new();
            put_ordered_varuint(&mut out, value);
            assert_eq!(hex::encode(&out), expected);
            assert_eq!(get_ordered_varuint(&out), Ok((value, &[][..])));
        }
        assert!(get_ordered_varuint(&[]).is_err());
        assert!(get_ordered_varuint(&[9, 1]).is_err());
        assert!(get_ordered_varuint(&[2, 1]).is_err());
    }
}
