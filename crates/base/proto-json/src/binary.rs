//! Messages of any type from and to the wire, as Go reads and writes them.

use prost::encoding::{WireType as Written, decode_varint, encode_key, encode_varint};
use ripstop_proto::schema::{Field, Kind, Message, Shape};
use ripstop_proto::wire::{Fields, Malformed, RawField, WireType};

use crate::dynamic::{Dynamic, Key, Value};

/// How deep messages may stand in each other, those in bytes included. Their JSON is less than twice as deep, which is as
/// deep as `serde_json` reads.
pub(crate) const MAX_DEPTH: usize = 60;

/// Bytes that are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedMessage {
    /// No fields, or a value that ends too early.
    #[error("proto: cannot parse invalid wire-format data as {0}")]
    Wire(&'static str),
    /// Text that is none.
    #[error("string field contains invalid UTF-8: {message}.{field}")]
    Text {
        /// The type of the message.
        message: &'static str,
        /// The name of the field.
        field: &'static str,
    },
    /// Too many messages in each other.
    #[error("proto: {0} stands deeper than {MAX_DEPTH} messages in each other")]
    Deep(&'static str),
}

/// Reads a message that stands `depth` messages deep. Fields that it does not know are dropped.
pub(crate) fn parse(schema: &'static Message, raw: &[u8], depth: usize) -> Result<Dynamic, MalformedMessage> {
    let mut message = Dynamic::new(schema);
    merge(&mut message, raw, depth)?;
    Ok(message)
}

fn merge(message: &mut Dynamic, raw: &[u8], depth: usize) -> Result<(), MalformedMessage> {
    let schema = message.schema();
    if depth >= MAX_DEPTH {
        return Err(MalformedMessage::Deep(schema.name));
    }
    let wire = |Malformed| MalformedMessage::Wire(schema.name);
    for found in Fields::of(raw) {
        let found = found.map_err(wire)?;
        let Some(field) = schema.field(found.number).filter(|field| field.comes_as(found.wire_type)) else { continue };
        match (field.shape, field.kind) {
            (Shape::Single, Kind::Message(inner)) => {
                if let Value::Message(inner) = message.value_mut(field, || Value::Message(Dynamic::new(inner))) {
                    merge(inner, found.content, depth + 1)?;
                }
            }
            (Shape::Single, _) => message.set(field, element(schema, field, &found, depth)?),
            (Shape::List, _) => {
                let mut added = elements(schema, field, &found, depth)?;
                if let Value::List(list) = message.value_mut(field, || Value::List(vec![])) {
                    list.append(&mut added);
                }
            }
            (Shape::Map, Kind::Message(entry)) => {
                let (key, value) = map_entry(entry, found.content, depth)?;
                if let Value::Map(map) = message.value_mut(field, || Value::Map([].into())) {
                    map.insert(key, value);
                }
            }
            (Shape::Map, _) => {}
        }
    }
    Ok(())
}

/// The values in one field of a list: numbers may come packed.
fn elements(
    schema: &'static Message,
    field: &'static Field,
    found: &RawField<'_>,
    depth: usize,
) -> Result<Vec<Value>, MalformedMessage> {
    if found.wire_type == field.kind.wire_type() {
        return Ok(vec![element(schema, field, found, depth)?]);
    }
    let mut packed = found.content;
    let mut values = Vec::new();
    while !packed.is_empty() {
        let number = decode_varint(&mut packed).map_err(|_| MalformedMessage::Wire(schema.name))?;
        values.push(of_number(field.kind, number));
    }
    Ok(values)
}

fn element(
    schema: &'static Message,
    field: &'static Field,
    found: &RawField<'_>,
    depth: usize,
) -> Result<Value, MalformedMessage> {
    Ok(match field.kind {
        Kind::Message(inner) => Value::Message(parse(inner, found.content, depth + 1)?),
        Kind::Bytes => Value::Bytes(found.content.to_vec()),
        Kind::String => match std::str::from_utf8(found.content) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => return Err(MalformedMessage::Text { message: schema.name, field: field.name }),
        },
        number => {
            let mut content = found.content;
            of_number(number, decode_varint(&mut content).map_err(|_| MalformedMessage::Wire(schema.name))?)
        }
    })
}

/// The value that a number on the wire stands for: numbers of 32 bits are cut off.
fn of_number(kind: Kind, number: u64) -> Value {
    match kind {
        Kind::Bool => Value::Bool(number != 0),
        Kind::Int32 => Value::Signed(i64::from(number as i32)),
        Kind::Int64 => Value::Signed(number as i64),
        Kind::Uint32 => Value::Unsigned(u64::from(number as u32)),
        Kind::Enum(_) => Value::Enum(number as i32),
        _ => Value::Unsigned(number),
    }
}

/// An entry of a map: a message of key and value, either of which may be missing.
fn map_entry(entry: &'static Message, raw: &[u8], depth: usize) -> Result<(Key, Value), MalformedMessage> {
    let entry = parse(entry, raw, depth + 1)?;
    let schema = entry.schema();
    let value_or_zero = |number| {
        let field = schema.field(number)?;
        Some(entry.value(field).cloned().unwrap_or_else(|| zero(field.kind)))
    };
    let (Some(key), Some(value)) = (value_or_zero(1), value_or_zero(2)) else {
        return Err(MalformedMessage::Wire(schema.name));
    };
    let key = match key {
        Value::Text(text) => Key::Text(text),
        Value::Unsigned(number) => Key::Number(number),
        _ => return Err(MalformedMessage::Wire(schema.name)),
    };
    Ok((key, value))
}

/// What a value is where none is given.
pub(crate) fn zero(kind: Kind) -> Value {
    match kind {
        Kind::Bool => Value::Bool(false),
        Kind::Int32 | Kind::Int64 => Value::Signed(0),
        Kind::Uint32 | Kind::Uint64 => Value::Unsigned(0),
        Kind::String => Value::Text(String::new()),
        Kind::Bytes => Value::Bytes(vec![]),
        Kind::Enum(_) => Value::Enum(0),
        Kind::Message(inner) => Value::Message(Dynamic::new(inner)),
    }
}

/// The bytes of a message: fields in the order of their numbers, maps in the order of their keys.
pub(crate) fn to_bytes(message: &Dynamic) -> Vec<u8> {
    let mut raw = Vec::new();
    for (field, value) in message.values() {
        match value {
            Value::List(values) if field.kind.wire_type() == WireType::Varint => {
                let packed = values.iter().map(number_of).fold(Vec::new(), |mut packed, number| {
                    encode_varint(number, &mut packed);
                    packed
                });
                if !packed.is_empty() {
                    put_bytes(field.number, &packed, &mut raw);
                }
            }
            Value::List(values) => values.iter().for_each(|value| put(field.number, value, &mut raw)),
            Value::Map(entries) => {
                for (key, value) in entries {
                    put_bytes(field.number, &entry_bytes(key, value), &mut raw);
                }
            }
            _ if field.oneof.is_none() && is_zero(value) => {}
            _ => put(field.number, value, &mut raw),
        }
    }
    raw
}

/// Go writes key and value of an entry also where they are zero.
fn entry_bytes(key: &Key, value: &Value) -> Vec<u8> {
    let mut raw = Vec::new();
    match key {
        Key::Text(text) => put_bytes(1, text.as_bytes(), &mut raw),
        Key::Number(number) => put_number(1, *number, &mut raw),
    }
    put(2, value, &mut raw);
    raw
}

fn put(field: u32, value: &Value, raw: &mut Vec<u8>) {
    match value {
        Value::Text(text) => put_bytes(field, text.as_bytes(), raw),
        Value::Bytes(bytes) => put_bytes(field, bytes, raw),
        Value::Message(message) => put_bytes(field, &to_bytes(message), raw),
        number => put_number(field, number_of(number), raw),
    }
}

fn put_bytes(field: u32, bytes: &[u8], raw: &mut Vec<u8>) {
    encode_key(field, Written::LengthDelimited, raw);
    encode_varint(bytes.len() as u64, raw);
    raw.extend_from_slice(bytes);
}

fn put_number(field: u32, number: u64, raw: &mut Vec<u8>) {
    encode_key(field, Written::Varint, raw);
    encode_varint(number, raw);
}

/// A number as it stands on the wire.
fn number_of(value: &Value) -> u64 {
    match value {
        Value::Bool(value) => u64::from(*value),
        Value::Signed(number) => *number as u64,
        Value::Unsigned(number) => *number,
        Value::Enum(number) => i64::from(*number) as u64,
        Value::Text(_) | Value::Bytes(_) | Value::Message(_) | Value::List(_) | Value::Map(_) => 0,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Message(_) | Value::List(_) | Value::Map(_) => false,
        number => number_of(number) == 0,
    }
}
