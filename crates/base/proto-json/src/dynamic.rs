//! A message of any type, as values.

use std::collections::BTreeMap;

use ripstop_proto::schema::{Field, Message};

/// A message: the values of its fields that are set.
#[derive(Debug, Clone)]
pub(crate) struct Dynamic {
    schema: &'static Message,
    values: BTreeMap<u32, Value>,
}

/// What a field is set to.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Enum(i32),
    Text(String),
    Bytes(Vec<u8>),
    Message(Dynamic),
    List(Vec<Value>),
    Map(BTreeMap<Key, Value>),
}

/// The key of a map's entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Number(u64),
    Text(String),
}

impl Dynamic {
    pub(crate) const fn new(schema: &'static Message) -> Self {
        Self { schema, values: BTreeMap::new() }
    }

    pub(crate) const fn schema(&self) -> &'static Message {
        self.schema
    }

    /// The value of the field of that name, if it is set.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let field = self.schema.fields.iter().find(|field| field.name == name)?;
        self.values.get(&field.number)
    }

    pub(crate) fn value(&self, field: &Field) -> Option<&Value> {
        self.values.get(&field.number)
    }

    /// All fields that are set, in the order of their numbers.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&'static Field, &Value)> {
        self.values.iter().filter_map(|(number, value)| Some((self.schema.field(*number)?, value)))
    }

    /// Sets a field, and unsets the others of its alternative.
    pub(crate) fn set(&mut self, field: &'static Field, value: Value) {
        self.choose(field);
        self.values.insert(field.number, value);
    }

    /// The value of a field, to add to; `empty` makes it where there is none yet.
    pub(crate) fn value_mut(&mut self, field: &'static Field, empty: impl FnOnce() -> Value) -> &mut Value {
        self.choose(field);
        self.values.entry(field.number).or_insert_with(empty)
    }

    fn choose(&mut self, chosen: &Field) {
        if let Some(alternative) = chosen.oneof {
            let others = self.schema.fields.iter().filter(|field| field.oneof == Some(alternative));
            for other in others.filter(|other| other.number != chosen.number) {
                self.values.remove(&other.number);
            }
        }
    }
}
