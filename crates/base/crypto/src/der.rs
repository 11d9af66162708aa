//! The few DER rules that are needed outside certificates, as strict and as lenient as Go's `encoding/asn1`.

use ripstop_types::put_der;

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const SEQUENCE: u8 = 0x30;

/// The longest content Go's parser accepts.
const MAX_LENGTH: usize = 1 << 23;

/// One element and the bytes it came from.
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    pub(crate) raw: &'a [u8],
}

/// Reads elements one after the other.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next element, or `None` at the end or where the bytes are not minimal DER.
    pub(crate) fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, after_tag) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, mut rest) = after_tag.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let (bytes, behind) = rest.split_at_checked(count)?;
            if bytes[0] == 0 {
                return None;
            }
            rest = behind;
            let length = bytes.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
            if !(0x80..MAX_LENGTH).contains(&length) {
                return None;
            }
            length
        };
        let (content, behind) = rest.split_at_checked(length)?;
        let raw = &self.0[..self.0.len() - behind.len()];
        self.0 = behind;
        Some(Element { tag, content, raw })
    }

    /// The content of the next element when it has the given tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|element| element.tag == tag).map(|element| element.content)
    }

    /// The magnitude of the next element when it is a positive, minimally encoded integer.
    pub(crate) fn positive_integer(&mut self) -> Option<&'a [u8]> {
        let content = self.expect(INTEGER)?;
        match content {
            [] | [0] => None,
            [0, magnitude @ ..] => (magnitude[0] >= 0x80).then_some(magnitude),
            magnitude => (magnitude[0] < 0x80).then_some(magnitude),
        }
    }
}

/// Appends a positive integer given by its magnitude.
pub(crate) fn put_positive_integer(out: &mut Vec<u8>, magnitude: &[u8]) {
    let skip = magnitude.iter().take_while(|byte| **byte == 0).count();
    let magnitude = &magnitude[skip..];
    let mut content = Vec::with_capacity(magnitude.len() + 1);
    if magnitude.first().is_none_or(|byte| *byte >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(magnitude);
    put_der(out, INTEGER, &content);
}
