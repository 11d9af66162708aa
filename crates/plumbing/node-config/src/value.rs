use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value of a configuration file. Keys keep the file's order and spelling; reading ignores the case of keys.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, as in `key:`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Anything else that is no collection.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// Parses a YAML document; an empty one is an empty map. Anchors and merge keys are resolved.
    pub fn parse_yaml(text: &str) -> Result<Self, InvalidYaml> {
        // As Go reads YAML: `yes` and `on` are texts, only `true` and `false` are truth values.
        let options = serde_saphyr::options! { strict_booleans: true };
        match serde_saphyr::from_str_with_options::<Self>(text, options) {
            Ok(Self::Null) => Ok(Self::Map(Vec::new())),
            Ok(value) => Ok(value),
            Err(error) => Err(InvalidYaml(error.to_string())),
        }
    }

    /// The value of a key of a map, whatever the key's case. `None` when there is no such key or this is no map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Whether this is [`Self::Null`].
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl fmt::Display for Value {
    /// The value in few words, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => write!(f, "'{value}'"),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a map"),
        }
    }
}

/// A text that is no YAML, with the place where it is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidYaml(String);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = access.next_entry::<Key, Value>()? {
            entries.push((key.0, value));
        }
        Ok(Value::Map(entries))
    }
}

/// A key as text, also where YAML reads a number or a truth value.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_and_merge_keys_are_resolved() {
        let text = "defaults: &d\n  a: 1\n  b: [x, y]\nuse:\n  <<: *d\n  a: 2\nlist:\n  - <<: *d\n    c: 'on'\n";
        let value = Value::parse_yaml(text).unwrap();
        let used = value.get("USE").unwrap();
        assert_eq!(used.get("a"), Some(&Value::Integer(2)));
        assert_eq!(used.get("b"), Some(&Value::List(vec![Value::Text("x".into()), Value::Text("y".into())])));
        let Some(Value::List(items)) = value.get("list") else { panic!("a list") };
        assert_eq!(items[0].get("a"), Some(&Value::Integer(1)));
        assert_eq!(items[0].get("c"), Some(&Value::Text("on".into())));
    }

    #[test]
    fn empty_documents_and_values_are_nothing() {
        assert_eq!(Value::parse_yaml("").unwrap(), Value::Map(vec![]));
        assert_eq!(Value::parse_yaml("a:\nb: ~\n").unwrap().get("a"), Some(&Value::Null));
        assert!(Value::parse_yaml("a: [1").is_err());
    }
}
