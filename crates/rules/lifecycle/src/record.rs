//! Records in the state: one key that names the type and its fields, one key a field.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::lifecycle::{StateData, StateMetadata, state_data::Type};
use ripstop_types::{Digest, MspId};

use crate::keys::{self, metadata_prefix};
use crate::{ReadState, Scope, StateFault, WriteState};

/// A record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The state failed.
    #[error("could not {action} {key}: {fault}")]
    State {
        /// What was tried.
        action: &'static str,
        /// The key.
        key: String,
        /// Why it failed.
        #[source]
        fault: StateFault,
    },
    /// A value in the state is no message of its kind.
    #[error("could not unmarshal state for key {key}: {error}")]
    Undecodable {
        /// The key.
        key: String,
        /// Why it does not decode.
        error: prost::DecodeError,
    },
    /// A field has another type than it should.
    #[error("expected key {key} to encode a value of type {expected}, but was {found}")]
    FieldType {
        /// The key.
        key: String,
        /// The type it should have.
        expected: &'static str,
        /// The type it has.
        found: &'static str,
    },
    /// The record is another kind of record.
    #[error("type name mismatch '{expected}' != '{found}'")]
    Datatype {
        /// The kind asked for.
        expected: &'static str,
        /// The kind in the state.
        found: String,
    },
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int64(i64),
    Bytes(Bytes),
    String(String),
}

impl Value {
    /// The bytes kept in the state; the member is always present, also when zero.
    pub(crate) fn encode(self) -> Bytes {
        let member = match self {
            Self::Int64(number) => Type::Int64(number),
            Self::Bytes(bytes) => Type::Bytes(bytes),
            Self::String(string) => Type::String(string),
        };
        StateData { r#type: Some(member) }.encode_to_vec().into()
    }
}

/// Something kept as a record. The order of the fields is part of what organizations compare.
pub(crate) trait Record: Sized {
    const DATATYPE: &'static str;
    const FIELDS: &'static [&'static str];

    /// The values, in the order of [`Self::FIELDS`].
    fn values(&self) -> Vec<Value>;

    /// Reads the fields in the order of [`Self::FIELDS`].
    fn from_values(values: &mut Values<'_>) -> Result<Self, RecordError>;

    /// What the record says it is.
    fn metadata() -> StateMetadata {
        StateMetadata {
            datatype: Self::DATATYPE.to_owned(),
            fields: Self::FIELDS.iter().map(|&field| field.to_owned()).collect(),
        }
    }
}

/// The fields of one record in the state, read as they are asked for.
pub(crate) struct Values<'a> {
    state: &'a mut dyn ReadState,
    scope: &'a Scope,
    table: &'a str,
    name: &'a str,
}

impl<'a> Values<'a> {
    pub(crate) fn new(state: &'a mut dyn ReadState, scope: &'a Scope, table: &'a str, name: &'a str) -> Self {
        Self { state, scope, table, name }
    }

    fn member(&mut self, field: &str) -> Result<(String, Option<Type>), RecordError> {
        let key = keys::field(self.table, self.name, field);
        let Some(value) = get(self.state, self.scope, &key)? else { return Ok((key, None)) };
        match ripstop_proto::read::<StateData>(value) {
            Ok(data) => Ok((key, data.r#type)),
            Err(error) => Err(RecordError::Undecodable { key, error }),
        }
    }

    /// A number; 0 when the field is absent.
    pub(crate) fn int64(&mut self, field: &str) -> Result<i64, RecordError> {
        match self.member(field)? {
            (_, None) => Ok(0),
            (_, Some(Type::Int64(number))) => Ok(number),
            (key, Some(other)) => Err(wrong_type(key, "Int64", &other)),
        }
    }

    /// Bytes; empty when the field is absent.
    fn bytes(&mut self, field: &str) -> Result<(String, Bytes), RecordError> {
        match self.member(field)? {
            (key, None) => Ok((key, Bytes::new())),
            (key, Some(Type::Bytes(bytes))) => Ok((key, bytes)),
            (key, Some(other)) => Err(wrong_type(key, "[]byte", &other)),
        }
    }

    /// A string; empty when the field is absent.
    pub(crate) fn string(&mut self, field: &str) -> Result<String, RecordError> {
        match self.member(field)? {
            (_, None) => Ok(String::new()),
            (_, Some(Type::String(string))) => Ok(string),
            (key, Some(other)) => Err(wrong_type(key, "String", &other)),
        }
    }

    /// A message; the empty one when the field is absent.
    pub(crate) fn message<M: ripstop_proto::Name + Default>(&mut self, field: &str) -> Result<M, RecordError> {
        let (key, bytes) = self.bytes(field)?;
        ripstop_proto::read::<M>(bytes).map_err(|error| RecordError::Undecodable { key, error })
    }
}

fn wrong_type(key: String, expected: &'static str, found: &Type) -> RecordError {
    let found = match found {
        Type::Int64(_) => "Int64",
        Type::Bytes(_) => "[]byte",
        Type::String(_) => "String",
    };
    RecordError::FieldType { key, expected, found }
}

fn get(state: &mut dyn ReadState, scope: &Scope, key: &str) -> Result<Option<Bytes>, RecordError> {
    state.get(scope, key).map_err(|fault| RecordError::State {
        action: "get value for key",
        key: key.to_owned(),
        fault,
    })
}

fn put(state: &mut dyn WriteState, scope: &Scope, key: &str, value: Bytes) -> Result<(), RecordError> {
    state.put(scope, key, value).map_err(|fault| RecordError::State {
        action: "write value for key",
        key: key.to_owned(),
        fault,
    })
}

/// What a record says it is; none when there is no such record.
pub(crate) fn read_metadata(
    state: &mut dyn ReadState,
    scope: &Scope,
    table: &str,
    name: &str,
) -> Result<Option<StateMetadata>, RecordError> {
    let key = keys::metadata(table, name);
    let Some(value) = get(state, scope, &key)? else { return Ok(None) };
    match ripstop_proto::read::<StateMetadata>(value) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) => Err(RecordError::Undecodable { key, error }),
    }
}

/// Reads the fields of a record whose metadata the caller has read.
pub(crate) fn read<R: Record>(
    state: &mut dyn ReadState,
    scope: &Scope,
    table: &str,
    name: &str,
    metadata: &StateMetadata,
) -> Result<R, RecordError> {
    if metadata.datatype != R::DATATYPE {
        return Err(RecordError::Datatype { expected: R::DATATYPE, found: metadata.datatype.clone() });
    }
    R::from_values(&mut Values::new(state, scope, table, name))
}

/// The metadata of all records of a table, by name.
pub(crate) fn read_all_metadata(
    state: &mut dyn ReadState,
    scope: &Scope,
    table: &str,
) -> Result<BTreeMap<String, StateMetadata>, RecordError> {
    let prefix = metadata_prefix(table);
    // 0x7f follows every character that may stand in a name.
    let entries = state.range(scope, &prefix, &format!("{prefix}\u{7f}")).map_err(|fault| RecordError::State {
        action: "get state range for",
        key: prefix.clone(),
        fault,
    })?;
    let mut all = BTreeMap::new();
    for (key, value) in entries {
        let Some(name) = key.strip_prefix(&prefix).map(str::to_owned) else { continue };
        let metadata =
            ripstop_proto::read::<StateMetadata>(value).map_err(|error| RecordError::Undecodable { key, error })?;
        all.insert(name, metadata);
    }
    Ok(all)
}

/// Writes a record as Fabric's serializer does: reads what is there, writes only fields that change, rewrites the metadata
/// only when type or fields change, removes fields that the type no longer has.
pub(crate) fn write<R: Record>(
    state: &mut dyn WriteState,
    scope: &Scope,
    table: &str,
    name: &str,
    record: &R,
) -> Result<(), RecordError> {
    let existing = read_metadata(state, scope, table, name)?.unwrap_or_default();
    let mut left: BTreeMap<String, Option<Bytes>> = BTreeMap::new();
    for field in &existing.fields {
        let key = keys::field(table, name, field);
        let value = get(state, scope, &key)?;
        left.insert(key, value);
    }
    for (field, value) in R::FIELDS.iter().zip(record.values()) {
        let key = keys::field(table, name, field);
        let value = value.encode();
        if left.remove(&key).flatten().as_ref() != Some(&value) {
            put(state, scope, &key, value)?;
        }
    }
    if !left.is_empty() || existing.datatype != R::DATATYPE || existing.fields.len() != R::FIELDS.len() {
        put(state, scope, &keys::metadata(table, name), R::metadata().encode_to_vec().into())?;
    }
    for key in left.into_keys() {
        state.delete(scope, &key).map_err(|fault| RecordError::State { action: "delete", key, fault })?;
    }
    Ok(())
}

/// Compares a record with what an organization holds by the hashes alone, and names what differs: the fields, or the type
/// when the record is absent or of another form. All keys are read first, whatever differs.
pub(crate) fn compare_hashes<R: Record>(
    state: &mut dyn ReadState,
    org: &MspId,
    table: &str,
    name: &str,
    record: &R,
) -> Result<Vec<&'static str>, RecordError> {
    let metadata_hash = read_hash(state, org, &keys::metadata(table, name))?;
    let mut field_hashes = Vec::with_capacity(R::FIELDS.len());
    for field in R::FIELDS {
        field_hashes.push(read_hash(state, org, &keys::field(table, name, field))?);
    }
    if !is_hash_of(metadata_hash.as_ref(), &R::metadata().encode_to_vec()) {
        return Ok(vec![R::DATATYPE]);
    }
    let fields = R::FIELDS.iter().zip(field_hashes).zip(record.values());
    Ok(fields
        .filter(|((_, hash), value)| !is_hash_of(hash.as_ref(), &value.clone().encode()))
        .map(|((field, _), _)| *field)
        .collect())
}

/// Whether an organization holds a record of this form, judged by the hash of its metadata.
pub(crate) fn has_metadata<R: Record>(
    state: &mut dyn ReadState,
    org: &MspId,
    table: &str,
    name: &str,
) -> Result<bool, RecordError> {
    let hash = read_hash(state, org, &keys::metadata(table, name))?;
    Ok(is_hash_of(hash.as_ref(), &R::metadata().encode_to_vec()))
}

pub(crate) fn read_hash(state: &mut dyn ReadState, org: &MspId, key: &str) -> Result<Option<Bytes>, RecordError> {
    state.hash(org, key).map_err(|fault| RecordError::State { action: "get value for key", key: key.to_owned(), fault })
}

pub(crate) fn is_hash_of(hash: Option<&Bytes>, value: &[u8]) -> bool {
    hash.is_some_and(|hash| hash.as_ref() == Digest::of(value).as_ref())
}
