//! Arguments as clients of Fabric's contract API send them, and results as they expect them.

use std::fmt::Display;

use bytes::Bytes;
use serde::de::{self, DeserializeOwned, IntoDeserializer, Visitor};
use serde::{Deserializer, Serialize, forward_to_deserialize_any};

/// Why an argument does not fit its parameter.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ArgumentError(String);

impl de::Error for ArgumentError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Reads one argument: text as it is, numbers and booleans as text, an absent option as empty, all else as JSON.
pub(crate) fn parse<T: DeserializeOwned>(argument: &[u8]) -> Result<T, ArgumentError> {
    T::deserialize(Argument(argument))
}

/// Writes a result: text as it is, nothing for `()` and `None`, all else as JSON.
pub(crate) fn render<T: Serialize>(result: &T) -> Result<Bytes, serde_json::Error> {
    Ok(match serde_json::to_value(result)? {
        serde_json::Value::Null => Bytes::new(),
        serde_json::Value::String(text) => text.into(),
        other => serde_json::to_vec(&other)?.into(),
    })
}

struct Argument<'a>(&'a [u8]);

impl<'a> Argument<'a> {
    fn text(&self) -> Result<&'a str, ArgumentError> {
        std::str::from_utf8(self.0).map_err(|_| ArgumentError("the value is no UTF-8 text".to_owned()))
    }

    fn number<T: std::str::FromStr>(&self, expected: &str) -> Result<T, ArgumentError> {
        let text = self.text()?;
        text.trim()
            .parse()
            .map_err(|_| ArgumentError(format!("Value {text} was not passed in expected format {expected}")))
    }

    fn json<V: Visitor<'a>>(
        self,
        read: impl FnOnce(
            &mut serde_json::Deserializer<serde_json::de::SliceRead<'a>>,
        ) -> Result<V::Value, serde_json::Error>,
    ) -> Result<V::Value, ArgumentError> {
        let mut json = serde_json::Deserializer::from_slice(self.0);
        let value = read(&mut json).map_err(|error| self.no_json(&error))?;
        json.end().map_err(|error| self.no_json(&error))?;
        Ok(value)
    }

    fn no_json(&self, error: &serde_json::Error) -> ArgumentError {
        let text = String::from_utf8_lossy(self.0);
        ArgumentError(format!("Value {text} was not passed in expected format: {error}"))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
            visitor.$visit(self.number::<$type>(stringify!($type))?)
        })+
    };
}

impl<'de> Deserializer<'de> for Argument<'de> {
    type Error = ArgumentError;

    numbers! {
        deserialize_bool visit_bool bool,
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_i128 visit_i128 i128,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_u128 visit_u128 u128,
        deserialize_f32 visit_f32 f32,
        deserialize_f64 visit_f64 f64,
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_borrowed_bytes(self.0)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_bytes(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        match self.0 {
            b"" | b"null" => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        self.json::<V>(|json| json.deserialize_struct(name, fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgumentError> {
        match self.0.first() {
            Some(b'{' | b'"') => self.json::<V>(|json| json.deserialize_enum(name, variants, visitor)),
            _ => visitor.visit_enum(self.text()?.into_deserializer()),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        self.json::<V>(|json| json.deserialize_any(visitor))
    }

    forward_to_deserialize_any! { unit_struct seq tuple tuple_struct map identifier ignored_any }
}

impl Clone for Argument<'_> {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Argument<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, Serialize, PartialEq)]
    struct Asset {
        #[serde(rename = "ID")]
        id: String,
        size: i64,
    }

    #[derive(Debug, Deserialize, Serialize, PartialEq)]
    enum Colour {
        Red,
        Mix(u8, u8),
    }

    fn check<T: DeserializeOwned + PartialEq + std::fmt::Debug>(argument: &str, expected: T) {
        assert_eq!(parse::<T>(argument.as_bytes()).expect(argument), expected);
    }

    #[test]
    fn arguments_are_text_numbers_or_json() {
        check("plain text", "plain text".to_owned());
        check("\"quoted\"", "\"quoted\"".to_owned());
        check("", String::new());
        check("42", 42_i64);
        check("-7", -7_i32);
        check("1.5", 1.5_f64);
        check("true", true);
        check("", None::<String>);
        check("x", Some("x".to_owned()));
        check("5", Some(5_u8));
        check(r#"{"ID":"a1","size":3}"#, Asset { id: "a1".to_owned(), size: 3 });
        check(r#"[1,2,3]"#, vec![1_u8, 2, 3]);
        check(r#"{"a":1}"#, BTreeMap::from([("a".to_owned(), 1_i32)]));
        check("Red", Colour::Red);
        check("\"Red\"", Colour::Red);
        check(r#"{"Mix":[1,2]}"#, Colour::Mix(1, 2));
        check(r#"{"a":[true]}"#, serde_json::json!({"a": [true]}));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = parse::<i64>(b"many").unwrap_err();
        assert_eq!(error.to_string(), "Value many was not passed in expected format i64");
        assert!(parse::<Asset>(b"{").is_err());
        assert!(parse::<Vec<u8>>(b"[1] trailing").is_err());
        assert!(parse::<String>(b"\xff").is_err());
        assert!(parse::<u8>(b"256").is_err());
    }

    #[test]
    fn results_are_text_or_json() {
        let render = |value: serde_json::Value| String::from_utf8(render(&value).unwrap().to_vec()).unwrap();
        assert_eq!(render(serde_json::json!("text")), "text");
        assert_eq!(render(serde_json::json!(null)), "");
        assert_eq!(render(serde_json::json!(true)), "true");
        assert_eq!(render(serde_json::json!({"b": 1, "a": [2]})), r#"{"b":1,"a":[2]}"#);
    }
}
