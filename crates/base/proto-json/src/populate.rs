//! Messages from JSON.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ripstop_proto::schema::{Field, Kind, Message, Shape};
use serde_json::{Map, Value as Json};

use crate::binary;
use crate::content::{self, Rule, UnknownContent};
use crate::document::Form;
use crate::dynamic::{Dynamic, Key, Value};
use crate::place::Place;
use crate::timestamp;

/// How much of a value an error shows.
const MAX_SHOWN: usize = 60;

/// JSON that is not the message it should be.
#[derive(Debug, thiserror::Error)]
pub enum FromJsonError {
    /// No JSON.
    #[error("error unmarshaling intermediate JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something in a field is wrong.
    #[error("field {field} of {message}: {cause}")]
    Field {
        /// The type of the message.
        message: &'static str,
        /// The name of the field, with the place in a list or map.
        field: String,
        /// What is wrong.
        cause: Box<FromJsonError>,
    },
    /// A name that the message has no field for.
    #[error("{message}: unknown field {name:?}")]
    UnknownField {
        /// The type of the message.
        message: &'static str,
        /// The name.
        name: String,
    },
    /// One field under both of its names.
    #[error("{message}: duplicate field {name:?}")]
    DuplicateField {
        /// The type of the message.
        message: &'static str,
        /// The name that came last.
        name: String,
    },
    /// Two fields of which a message has one at most.
    #[error("{message}: error parsing {name:?}, oneof {oneof} is already set")]
    SecondChoice {
        /// The type of the message.
        message: &'static str,
        /// The name that came last.
        name: String,
        /// The name of the alternative.
        oneof: &'static str,
    },
    /// Something else than what must stand there.
    #[error("invalid value: expected {expected}, not {found}")]
    Expected {
        /// What must stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A name that the named numbers of a field do not have.
    #[error("invalid value for enum {0}: {1}")]
    UnknownName(&'static str, String),
    /// It is not known what message an object should become.
    #[error(transparent)]
    Unknown(#[from] UnknownContent),
}

/// Reads the first object of a text; what follows it is not looked at, as by Fabric's tool.
pub(crate) fn document(json: &[u8], form: &Form) -> Result<Dynamic, FromJsonError> {
    let mut values = serde_json::Deserializer::from_slice(json);
    let value: Json = serde::Deserialize::deserialize(&mut values)?;
    message(form.schema, &form.place, into_object(value)?)
}

fn message(schema: &'static Message, place: &Place, object: Map<String, Json>) -> Result<Dynamic, FromJsonError> {
    let mut message = Dynamic::new(schema);
    let mut seen: Vec<&Field> = vec![];
    let mut later = vec![];
    for (name, value) in object {
        // What holds messages has one name only. Under its other name, that of protobuf's JSON, nothing is known of it.
        let known = schema.fields.iter().find(|field| field.name == name);
        let rule = known.map_or(Rule::Declared, |field| content::rule(&message, place, field));
        let field = schema.fields.iter().find(|field| field.json_name == name).or(known);
        let Some(field) = known.filter(|_| rule != Rule::Declared).or(field) else {
            return Err(FromJsonError::UnknownField { message: schema.name, name });
        };
        if seen.iter().any(|seen| seen.number == field.number) {
            return Err(FromJsonError::DuplicateField { message: schema.name, name });
        }
        if let Some(oneof) = field.oneof.filter(|_| !value.is_null())
            && seen.iter().any(|seen| seen.oneof == Some(oneof))
        {
            return Err(FromJsonError::SecondChoice { message: schema.name, name, oneof });
        }
        // In JSON nothing means the same as a field that is not there, but not among what holds messages.
        if value.is_null() && (field.shape == Shape::Single || rule == Rule::Declared) {
            continue;
        }
        seen.push(field);
        match rule {
            Rule::Declared => Reader { place, field }.populate(&mut message, rule, value)?,
            Rule::Messages | Rule::Opaque => later.push((rule, field, value)),
        }
    }
    // What bytes hold may depend on numbers and on messages beside them.
    later.sort_by_key(|(rule, ..)| *rule == Rule::Opaque);
    for (rule, field, value) in later {
        Reader { place, field }.populate(&mut message, rule, value)?;
    }
    Ok(message)
}

/// A field on its way out of JSON.
struct Reader<'a> {
    place: &'a Place,
    field: &'static Field,
}

impl Reader<'_> {
    fn populate(&self, message: &mut Dynamic, rule: Rule, value: Json) -> Result<(), FromJsonError> {
        let read = match self.field.shape {
            Shape::Single => self.element(message, rule, value, None)?,
            Shape::List => {
                let mut values = vec![];
                for (index, value) in self.within(message, None, into_array(value))?.into_iter().enumerate() {
                    values.push(self.element(message, rule, value, Some(&index.to_string()))?);
                }
                Value::List(values)
            }
            Shape::Map => {
                let mut entries = std::collections::BTreeMap::new();
                for (name, value) in self.within(message, None, into_object(value))? {
                    let key = self.within(message, Some(&name), self.key(&name))?;
                    entries.insert(key, self.element(message, rule, value, Some(&name))?);
                }
                Value::Map(entries)
            }
        };
        message.set(self.field, read);
        Ok(())
    }

    fn key(&self, name: &str) -> Result<Key, FromJsonError> {
        match self.field.kind {
            Kind::Message(entry) if !entry.field(1).is_some_and(|key| matches!(key.kind, Kind::String)) => {
                name.parse().map(Key::Number).map_err(|_| expected("a number as key", &Json::from(name)))
            }
            _ => Ok(Key::Text(name.to_owned())),
        }
    }

    /// One value; `key` tells which of a list or map.
    fn element(&self, message: &Dynamic, rule: Rule, value: Json, key: Option<&str>) -> Result<Value, FromJsonError> {
        self.within(message, key, self.read(message, rule, value, key))
    }

    fn within<T>(
        &self,
        message: &Dynamic,
        key: Option<&str>,
        read: Result<T, FromJsonError>,
    ) -> Result<T, FromJsonError> {
        read.map_err(|cause| FromJsonError::Field {
            message: message.schema().name,
            field: key.map_or_else(|| self.field.name.to_owned(), |key| format!("{}[{key}]", self.field.name)),
            cause: Box::new(cause),
        })
    }

    fn read(&self, outer: &Dynamic, rule: Rule, value: Json, key: Option<&str>) -> Result<Value, FromJsonError> {
        match (rule, self.field.value_kind()) {
            (Rule::Opaque, _) => {
                let held = content::held(outer, self.place, self.field, key)?;
                let inner = message(held, &Place::Anywhere, into_object(value)?)?;
                Ok(Value::Bytes(binary::to_bytes(&inner)))
            }
            (Rule::Messages, Kind::Message(inner)) => {
                let place = content::inner_place(outer, self.place, self.field, key)?;
                Ok(Value::Message(message(inner, &place, into_object(value)?)?))
            }
            (_, Kind::Message(time)) if time.name == timestamp::NAME => {
                let read = value.as_str().and_then(|text| timestamp::read(time, text));
                read.map(Value::Message).ok_or_else(|| expected("a time such as 2026-01-31T12:00:00Z", &value))
            }
            (_, Kind::Message(inner)) => Ok(Value::Message(message(inner, &Place::Plain, into_object(value)?)?)),
            (_, scalar) => read_scalar(scalar, &value),
        }
    }
}

/// A value that is no message, as protobuf reads it in JSON: numbers also as text, enums also as numbers.
fn read_scalar(kind: Kind, value: &Json) -> Result<Value, FromJsonError> {
    let number = |expects, range: std::ops::RangeInclusive<i128>| {
        integer(value).filter(|number| range.contains(number)).ok_or_else(|| expected(expects, value))
    };
    Ok(match kind {
        Kind::Bool => Value::Bool(value.as_bool().ok_or_else(|| expected("true or false", value))?),
        Kind::Int32 => Value::Signed(number("a number of 32 bits", i32::MIN.into()..=i32::MAX.into())? as i64),
        Kind::Int64 => Value::Signed(number("a number of 64 bits", i64::MIN.into()..=i64::MAX.into())? as i64),
        Kind::Uint32 => Value::Unsigned(number("a positive number of 32 bits", 0..=u32::MAX.into())? as u64),
        Kind::Uint64 => Value::Unsigned(number("a positive number of 64 bits", 0..=u64::MAX.into())? as u64),
        Kind::String => Value::Text(value.as_str().ok_or_else(|| expected("text", value))?.to_owned()),
        Kind::Bytes => {
            let bytes = value.as_str().and_then(bytes_of);
            Value::Bytes(bytes.ok_or_else(|| expected("text in base64", value))?)
        }
        Kind::Enum(of_values) => match value {
            Json::String(name) => Value::Enum(
                of_values.number_of(name).ok_or_else(|| FromJsonError::UnknownName(of_values.name, shown(value)))?,
            ),
            Json::Number(_) => Value::Enum(number("a name or a number", i32::MIN.into()..=i32::MAX.into())? as i32),
            _ => return Err(expected("a name or a number", value)),
        },
        Kind::Message(_) => return Err(expected("an object", value)),
    })
}

/// A whole number, in any way that JSON writes it, or as text.
fn integer(value: &Json) -> Option<i128> {
    let number = match value {
        Json::Number(number) => number.clone(),
        Json::String(text) if text.trim() == text => serde_json::from_str(text).ok()?,
        _ => return None,
    };
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 1e20).then_some(number as i128);
    number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from)).or_else(|| whole(number.as_f64()?))
}

/// Base64 in either alphabet, with or without padding, over any number of lines.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let text = text.replace(['\r', '\n'], "");
    let alphabet = if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let padding = match text.len() % 4 {
        0 => DecodePaddingMode::RequireCanonical,
        _ => DecodePaddingMode::RequireNone,
    };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding).with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config).decode(text).ok()
}

fn into_object(value: Json) -> Result<Map<String, Json>, FromJsonError> {
    match value {
        Json::Object(object) => Ok(object),
        other => Err(expected("an object", &other)),
    }
}

fn into_array(value: Json) -> Result<Vec<Json>, FromJsonError> {
    match value {
        Json::Array(values) => Ok(values),
        other => Err(expected("a list", &other)),
    }
}

fn expected(expected: &'static str, found: &Json) -> FromJsonError {
    FromJsonError::Expected { expected, found: shown(found) }
}

/// A value as it stands in JSON, or as much of it as an error has room for.
fn shown(value: &Json) -> String {
    let text = match value {
        Json::Object(_) => return "an object".to_owned(),
        Json::Array(_) => return "a list".to_owned(),
        scalar => scalar.to_string(),
    };
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
