//! The fields of a message, without knowing what they mean.

/// How a field's content is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireType {
    /// A number of up to ten bytes.
    Varint,
    /// Eight bytes.
    Fixed64,
    /// A length and as many bytes.
    Length,
    /// Fields up to the matching end.
    Group,
    /// Four bytes.
    Fixed32,
}

/// A field as it stands in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawField<'a> {
    /// The number.
    pub number: u32,
    /// How it is delimited.
    pub wire_type: WireType,
    /// All of it: key, length where there is one, content.
    pub whole: &'a [u8],
    /// The content: without key and length; of a group with the key that ends it.
    pub content: &'a [u8],
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// How deep groups may be nested (Go: `protowire.DefaultRecursionLimit`).
const MAX_GROUP_DEPTH: usize = 10_000;

/// Walks over the top-level fields of a message, as Go's decoder does before it looks at what a field is. Ends after the
/// first thing that is no field.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The fields of `message`.
    pub const fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn take(&mut self) -> Result<RawField<'a>, Malformed> {
        let start = self.0;
        let (number, key) = take_key(&mut self.0)?;
        let before_content = self.0;
        let (wire_type, content) = match key {
            Key::Value(WireType::Group) => {
                skip_group(&mut self.0, number)?;
                (WireType::Group, before_content.len() - self.0.len())
            }
            Key::Value(wire_type) => (wire_type, skip_value(&mut self.0, wire_type)?),
            Key::EndGroup => return Err(Malformed),
        };
        let whole = start.get(..start.len() - self.0.len()).ok_or(Malformed)?;
        let content = whole.get(whole.len() - content..).ok_or(Malformed)?;
        Ok(RawField { number, wire_type, whole, content })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<RawField<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.take();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

enum Key {
    Value(WireType),
    EndGroup,
}

fn take_key(rest: &mut &[u8]) -> Result<(u32, Key), Malformed> {
    // Numbers have 29 bits.
    let key = u32::try_from(take_varint(rest)?).map_err(|_| Malformed)?;
    let kind = match key & 7 {
        0 => Key::Value(WireType::Varint),
        1 => Key::Value(WireType::Fixed64),
        2 => Key::Value(WireType::Length),
        3 => Key::Value(WireType::Group),
        4 => Key::EndGroup,
        5 => Key::Value(WireType::Fixed32),
        _ => return Err(Malformed),
    };
    match key >> 3 {
        0 => Err(Malformed),
        number => Ok((number, kind)),
    }
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    prost::encoding::decode_varint(rest).map_err(|_| Malformed)
}

/// Skips a value that is no group; gives the length of its content.
fn skip_value(rest: &mut &[u8], wire_type: WireType) -> Result<usize, Malformed> {
    let before = rest.len();
    let length = match wire_type {
        WireType::Varint => {
            take_varint(rest)?;
            return Ok(before - rest.len());
        }
        WireType::Fixed64 => 8,
        WireType::Fixed32 => 4,
        WireType::Length => usize::try_from(take_varint(rest)?).map_err(|_| Malformed)?,
        WireType::Group => return Err(Malformed),
    };
    *rest = rest.get(length..).ok_or(Malformed)?;
    Ok(length)
}

/// Skips to behind the end of the group `number`, whose beginning was read already.
fn skip_group(rest: &mut &[u8], number: u32) -> Result<(), Malformed> {
    let mut open = vec![number];
    while let Some(innermost) = open.last() {
        match take_key(rest)? {
            (number, Key::EndGroup) if number == *innermost => {
                open.pop();
            }
            (_, Key::EndGroup) => return Err(Malformed),
            (number, Key::Value(WireType::Group)) if open.len() < MAX_GROUP_DEPTH => open.push(number),
            (_, Key::Value(wire_type)) => {
                skip_value(rest, wire_type)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(message: &[u8]) -> Vec<(u32, WireType, Vec<u8>)> {
        let field = |field: RawField<'_>| (field.number, field.wire_type, field.content.to_vec());
        Fields::of(message).map(|found| field(found.unwrap())).collect()
    }

    #[test]
    fn each_kind_of_field_is_found_whole() {
        let message = [
            &[0x08, 0x96, 0x01][..],
            &[0x11, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1a, 0x82, 0x00, b'o', b'k'],
            &[0x25, 1, 2, 3, 4],
            &[0x2b, 0x08, 0x01, 0x0b, 0x0c, 0x2c],
        ];
        let whole: Vec<u8> = message.concat();
        let parts: Vec<&[u8]> = Fields::of(&whole).map(|field| field.unwrap().whole).collect();
        assert_eq!(parts, message);
        assert_eq!(
            walked(&whole),
            [
                (1, WireType::Varint, vec![0x96, 0x01]),
                (2, WireType::Fixed64, vec![1, 2, 3, 4, 5, 6, 7, 8]),
                (3, WireType::Length, b"ok".to_vec()),
                (4, WireType::Fixed32, vec![1, 2, 3, 4]),
                (5, WireType::Group, vec![0x08, 0x01, 0x0b, 0x0c, 0x2c]),
            ]
        );
    }

    #[test]
    fn what_is_no_field_ends_the_walk() {
        let nested = [vec![0x0b; MAX_GROUP_DEPTH + 1], vec![0x0c; MAX_GROUP_DEPTH + 1]].concat();
        let broken: [&[u8]; 9] = [
            &[0x80],
            &[0x00, 0x01],
            &[0x0a, 0x05, 1],
            &[0x0e],
            &[0x0c],
            &[0x0b],
            &[0x0b, 0x14],
            &[0xf8, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00],
            &nested,
        ];
        for bytes in broken {
            let found: Vec<_> = Fields::of(bytes).collect();
            assert_eq!(found, [Err(Malformed)], "{:?}", bytes.get(..8));
        }
        assert!(Fields::of(&nested[1..nested.len() - 1]).all(|field| field.is_ok()));
    }
}
