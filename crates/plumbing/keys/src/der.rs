//! Encoding of the few ASN.1 types that certificates consist of.

use ripstop_types::put_der;

/// An element of a tag.
pub(crate) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_der(&mut out, tag, content);
    out
}

pub(crate) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

/// A set, whose elements DER sorts by their bytes.
pub(crate) fn set(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    tagged(0x31, &parts.concat())
}

pub(crate) fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    tagged(0xa0 | number, content)
}

pub(crate) fn octets(content: &[u8]) -> Vec<u8> {
    tagged(0x04, content)
}

pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    tagged(0x03, &[&[0], content].concat())
}

/// The boolean `TRUE`. Where `FALSE` is meant nothing is written: it is the default wherever it could stand.
pub(crate) fn truth() -> Vec<u8> {
    tagged(0x01, &[0xff])
}

/// A number that is not negative, from its magnitude.
pub(crate) fn integer(magnitude: &[u8]) -> Vec<u8> {
    let skip = magnitude.iter().take_while(|byte| **byte == 0).count();
    let magnitude = &magnitude[skip..];
    let pad: &[u8] = if magnitude.first().is_none_or(|first| *first >= 0x80) { &[0] } else { &[] };
    tagged(0x02, &[pad, magnitude].concat())
}

/// An object identifier of at least two numbers.
pub(crate) fn oid(numbers: &[u64]) -> Vec<u8> {
    let [first, second, rest @ ..] = numbers else { return tagged(0x06, &[]) };
    let mut content = Vec::new();
    for number in std::iter::once(first * 40 + second).chain(rest.iter().copied()) {
        let groups = (64 - number.leading_zeros()).div_ceil(7).max(1);
        for group in (0..groups).rev() {
            let more = if group > 0 { 0x80 } else { 0 };
            content.push(((number >> (7 * group)) & 0x7f) as u8 | more);
        }
    }
    tagged(0x06, &content)
}

/// PrintableString where the characters allow it, else UTF8String, as Go chooses.
pub(crate) fn text(value: &str) -> Vec<u8> {
    let printable = |byte: u8| byte.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&byte);
    tagged(if value.bytes().all(printable) { 0x13 } else { 0x0c }, value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_encoded_in_der() {
        assert_eq!(oid(&[1, 2, 840, 10045, 4, 3, 2]), [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
        assert_eq!(oid(&[2, 5, 29, 15]), [6, 3, 0x55, 0x1d, 0x0f]);
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(integer(&[0]), [2, 1, 0]);
        assert_eq!(text("Org1 MSP")[0], 0x13);
        assert_eq!(text("Admin@org1")[0], 0x0c);
        assert_eq!(tagged(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(tagged(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }
}
