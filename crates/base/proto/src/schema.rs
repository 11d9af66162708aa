//! What the messages look like: their fields, for code that treats all of them alike.

use crate::wire::WireType;

/// A message type.
#[derive(Debug)]
pub struct Message {
    /// The name with its package, such as `common.Envelope`.
    pub name: &'static str,
    /// The fields in the order of their numbers.
    pub fields: &'static [Field],
}

/// A field of a message.
#[derive(Debug)]
pub struct Field {
    /// The number on the wire.
    pub number: u32,
    /// The name in the `.proto` file.
    pub name: &'static str,
    /// The name in protobuf's JSON: without underscores.
    pub json_name: &'static str,
    /// What each value of it is; of a map the entry, a message whose fields 1 and 2 are key and value.
    pub kind: Kind,
    /// How many values it has.
    pub shape: Shape,
    /// The name of the alternative it belongs to: at most one field of it is set.
    pub oneof: Option<&'static str>,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A signed number of 32 bits.
    Int32,
    /// A signed number of 64 bits.
    Int64,
    /// A number of 32 bits.
    Uint32,
    /// A number of 64 bits.
    Uint64,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// One of several named numbers.
    Enum(&'static Enum),
    /// A message.
    Message(&'static Message),
}

/// How many values a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One.
    Single,
    /// Any number of them, in order.
    List,
    /// One for each key.
    Map,
}

/// A type of named numbers.
#[derive(Debug)]
pub struct Enum {
    /// The name with its package.
    pub name: &'static str,
    /// The numbers with their names, in the order of the `.proto` file.
    pub values: &'static [(i32, &'static str)],
}

include!(concat!(env!("OUT_DIR"), "/schema.rs"));

/// The message type of that name.
pub fn message(name: &str) -> Option<&'static Message> {
    let index = MESSAGES.binary_search_by(|message| message.name.cmp(name)).ok()?;
    MESSAGES.get(index).copied()
}

/// All message types in the order of their names.
pub fn messages() -> impl Iterator<Item = &'static Message> {
    MESSAGES.iter().copied()
}

impl Message {
    /// The field of that number.
    pub fn field(&self, number: u32) -> Option<&'static Field> {
        let index = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
        self.fields.get(index)
    }
}

impl Field {
    /// What each value is; of a map each value of the entries.
    pub fn value_kind(&self) -> Kind {
        match (self.shape, self.kind) {
            (Shape::Map, Kind::Message(entry)) => entry.field(2).map_or(self.kind, |value| value.kind),
            (_, kind) => kind,
        }
    }

    /// Whether a value, or packed values, may come in a field of that wire type.
    pub fn comes_as(&self, wire_type: WireType) -> bool {
        let packed = self.shape == Shape::List && wire_type == WireType::Length;
        packed || wire_type == self.kind.wire_type()
    }
}

impl Enum {
    /// The name of a number.
    pub fn name_of(&self, number: i32) -> Option<&'static str> {
        self.values.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
    }

    /// The number of a name.
    pub fn number_of(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
    }
}

impl Kind {
    /// How one value is delimited.
    pub const fn wire_type(self) -> WireType {
        match self {
            Self::Bool | Self::Int32 | Self::Int64 | Self::Uint32 | Self::Uint64 | Self::Enum(_) => WireType::Varint,
            Self::String | Self::Bytes | Self::Message(_) => WireType::Length,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Name, common, kvrwset, protos};

    #[test]
    fn every_message_is_found_by_its_name() {
        for name in [common::Envelope::full_name(), kvrwset::KvrwSet::full_name(), protos::Transaction::full_name()] {
            assert_eq!(message(&name).unwrap().name, name);
        }
        for known in messages() {
            assert!(std::ptr::eq(message(known.name).unwrap(), known), "{}", known.name);
        }
        for unknown in ["", "common", "common.Nothing", "common.ConfigGroup.GroupsEntry"] {
            assert!(message(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn fields_stand_in_the_order_of_their_numbers() {
        for known in messages() {
            assert!(known.fields.windows(2).all(|pair| pair[0].number < pair[1].number), "{}", known.name);
            for field in known.fields {
                assert!(std::ptr::eq(known.field(field.number).unwrap(), field));
            }
        }
    }

    #[test]
    fn names_kinds_and_shapes_are_those_of_the_proto_files() {
        let group = message("common.ConfigGroup").unwrap();
        let field = |number| group.field(number).unwrap();
        assert_eq!((field(1).name, field(1).shape), ("version", Shape::Single));
        assert!(matches!(field(1).kind, Kind::Uint64));
        assert_eq!((field(5).name, field(5).json_name), ("mod_policy", "modPolicy"));
        assert_eq!(field(2).shape, Shape::Map);
        let Kind::Message(entry) = field(2).kind else { panic!("a map holds entries") };
        assert!(matches!(entry.field(1).unwrap().kind, Kind::String));
        assert!(matches!(entry.field(2).unwrap().kind, Kind::Message(value) if std::ptr::eq(value, group)));

        let policy = message("common.SignaturePolicy").unwrap();
        assert!(policy.fields.iter().all(|field| field.oneof == Some("Type")));
        let Kind::Enum(kinds) = message("common.ImplicitMetaPolicy").unwrap().field(2).unwrap().kind else {
            panic!("a rule is a named number")
        };
        assert_eq!(kinds.values, [(0, "ANY"), (1, "ALL"), (2, "MAJORITY")]);
    }
}
