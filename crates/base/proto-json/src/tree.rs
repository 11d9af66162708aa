//! Messages to JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ripstop_proto::schema::{Field, Kind, Shape};
use serde_json::{Map, Value as Json};

use crate::binary::{self, MalformedMessage};
use crate::content::{self, Rule, UnknownContent};
use crate::dynamic::{Dynamic, Key, Value};
use crate::place::Place;
use crate::timestamp::{self, NoTime};

/// A message cannot be written as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToJsonError {
    /// Something in a field cannot.
    #[error("field {field} of {message}: {cause}")]
    Field {
        /// The type of the message.
        message: &'static str,
        /// The name of the field, with the place in a list or map.
        field: String,
        /// Why not.
        cause: Box<ToJsonError>,
    },
    /// The bytes of a field are not what they should be.
    #[error(transparent)]
    Malformed(#[from] MalformedMessage),
    /// It is not known what the bytes of a field should be.
    #[error(transparent)]
    Unknown(#[from] UnknownContent),
    /// A time outside of the calendar.
    #[error(transparent)]
    Time(#[from] NoTime),
}

/// A message, which stands `depth` messages deep.
pub(crate) fn object(message: &Dynamic, place: &Place, depth: usize) -> Result<Json, ToJsonError> {
    let mut object = Map::new();
    for field in message.schema().fields {
        // Of an alternative only what was chosen is shown, of anything else also that it is empty.
        if field.oneof.is_some() && message.value(field).is_none() {
            continue;
        }
        object.insert(field.name.to_owned(), Writer { message, place, field, depth }.field()?);
    }
    object.sort_keys();
    Ok(Json::Object(object))
}

/// A field on its way into JSON.
struct Writer<'a> {
    message: &'a Dynamic,
    place: &'a Place,
    field: &'static Field,
    depth: usize,
}

impl Writer<'_> {
    fn field(&self) -> Result<Json, ToJsonError> {
        let rule = content::rule(self.message, self.place, self.field);
        let Some(value) = self.message.value(self.field) else { return Ok(self.nothing(rule)) };
        match value {
            Value::List(values) => {
                let elements = values.iter().enumerate();
                elements.map(|(index, value)| self.element(rule, value, Some(&index.to_string()))).collect()
            }
            Value::Map(entries) => {
                let mut object = Map::new();
                for (key, value) in entries {
                    let key = match key {
                        Key::Text(text) => text.clone(),
                        Key::Number(number) => number.to_string(),
                    };
                    let element = self.element(rule, value, Some(&key))?;
                    object.insert(key, element);
                }
                object.sort_keys();
                Ok(Json::Object(object))
            }
            // No bytes are no message, and not one that says nothing.
            Value::Bytes(bytes) if rule == Rule::Opaque && bytes.is_empty() => Ok(Json::Null),
            single => self.element(rule, single, None),
        }
    }

    /// What stands for a field that is not set.
    fn nothing(&self, rule: Rule) -> Json {
        match (self.field.shape, self.field.kind) {
            (Shape::List, _) => Json::Array(vec![]),
            (Shape::Map, _) => Json::Object(Map::new()),
            (Shape::Single, Kind::Message(_)) => Json::Null,
            (Shape::Single, _) if rule == Rule::Opaque => Json::Null,
            (Shape::Single, kind) => scalar(kind, &binary::zero(kind)),
        }
    }

    /// One value; `key` tells which of a list or map.
    fn element(&self, rule: Rule, value: &Value, key: Option<&str>) -> Result<Json, ToJsonError> {
        self.written(rule, value, key).map_err(|cause| ToJsonError::Field {
            message: self.message.schema().name,
            field: key.map_or_else(|| self.field.name.to_owned(), |key| format!("{}[{key}]", self.field.name)),
            cause: Box::new(cause),
        })
    }

    fn written(&self, rule: Rule, value: &Value, key: Option<&str>) -> Result<Json, ToJsonError> {
        let depth = self.depth + 1;
        match (rule, value) {
            (Rule::Opaque, Value::Bytes(raw)) => {
                let schema = content::held(self.message, self.place, self.field, key)?;
                object(&binary::parse(schema, raw, depth)?, &Place::Anywhere, depth)
            }
            (Rule::Messages, Value::Message(inner)) => {
                let place = content::inner_place(self.message, self.place, self.field, key)?;
                object(inner, &place, depth)
            }
            (_, Value::Message(time)) if time.schema().name == timestamp::NAME => {
                Ok(Json::String(timestamp::text(time)?))
            }
            (_, Value::Message(inner)) => object(inner, &Place::Plain, depth),
            _ => Ok(scalar(self.field.value_kind(), value)),
        }
    }
}

/// A value that is no message, as protobuf writes it in JSON.
fn scalar(kind: Kind, value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        // Numbers of 64 bits are text, because many readers of JSON know numbers only up to 53 bits.
        Value::Signed(number) if matches!(kind, Kind::Int64) => Json::String(number.to_string()),
        Value::Unsigned(number) if matches!(kind, Kind::Uint64) => Json::String(number.to_string()),
        Value::Signed(number) => Json::from(*number),
        Value::Unsigned(number) => Json::from(*number),
        Value::Text(text) => Json::String(text.clone()),
        Value::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Enum(number) => match kind {
            Kind::Enum(of_values) => of_values.name_of(*number).map_or_else(|| Json::from(*number), Json::from),
            _ => Json::from(*number),
        },
        Value::Message(_) | Value::List(_) | Value::Map(_) => Json::Null,
    }
}

/// The text of a tree as Go's `encoding/json` writes it with tabs, and an end of line.
pub(crate) fn text(tree: &Json) -> String {
    let mut raw = Vec::new();
    let layout = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut raw, layout);
    // Neither a value nor a vector refuses anything.
    let _ = serde::Serialize::serialize(tree, &mut serializer);
    let plain = String::from_utf8_lossy(&raw);
    let mut text = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            // Only in text: what could end a script in a page of HTML, and two ends of line of JavaScript.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => text.push(character),
        }
    }
    text.push('\n');
    text
}
