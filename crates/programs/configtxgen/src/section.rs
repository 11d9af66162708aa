use std::cell::RefCell;
use std::path::{Path, PathBuf};

use ripstop_node_config::{Environment, Value, byte_size};
use ripstop_types::GoDuration;

use crate::ProfileError;

/// A map of `configtx.yaml`. Keys are found in any case; `CONFIGTX_…` overrides single values outside lists; what nobody
/// asks for is an error.
pub(crate) struct Section<'a> {
    entries: &'a [(String, Value)],
    path: String,
    overrides: Option<&'a Environment>,
    directory: &'a Path,
    asked: RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(crate) fn root(
        value: &'a Value,
        environment: &'a Environment,
        directory: &'a Path,
    ) -> Result<Self, ProfileError> {
        Self::new(value, String::new(), Some(environment), directory)
    }

    fn new(
        value: &'a Value,
        path: String,
        overrides: Option<&'a Environment>,
        directory: &'a Path,
    ) -> Result<Self, ProfileError> {
        match value {
            Value::Map(entries) => Ok(Self { entries, path, overrides, directory, asked: RefCell::default() }),
            other => Err(ProfileError::Value { path, problem: format!("expected a map, got {other}") }),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The error that a value is wrong.
    pub(crate) fn wrong(&self, key: &str, problem: impl Into<String>) -> ProfileError {
        ProfileError::Value { path: self.path_of(key), problem: problem.into() }
    }

    fn find(&self, key: &str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(key.to_owned());
        self.entries
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    /// What the environment says instead.
    fn overriding(&self, key: &str) -> Option<&'a str> {
        let path = self.path_of(key).to_ascii_uppercase();
        let variable = format!("CONFIGTX_{}", path.replace(['.', '['], "_").replace(']', ""));
        self.overrides?.get_non_empty(&variable)
    }

    /// A single value as text; empty where absent.
    pub(crate) fn text(&self, key: &str) -> Result<String, ProfileError> {
        let value = self.find(key);
        if let Some(text) = self.overriding(key) {
            return Ok(text.to_owned());
        }
        match value {
            None => Ok(String::new()),
            Some(value) => scalar(value).ok_or_else(|| self.wrong(key, "expected a single value")),
        }
    }

    /// A text where empty means the default.
    pub(crate) fn text_or(&self, key: &str, default: &str) -> Result<String, ProfileError> {
        let text = self.text(key)?;
        Ok(if text.is_empty() { default.to_owned() } else { text })
    }

    /// A path, resolved against the file's directory; empty where absent.
    pub(crate) fn path(&self, key: &str) -> Result<PathBuf, ProfileError> {
        let text = self.text(key)?;
        Ok(if text.is_empty() { PathBuf::new() } else { normal(&self.directory.join(text)) })
    }

    /// A truth value; false where absent.
    pub(crate) fn flag(&self, key: &str) -> Result<bool, ProfileError> {
        match self.text(key)?.as_str() {
            "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            other => Err(self.wrong(key, format!("cannot parse value as 'bool': '{other}' is neither true nor false"))),
        }
    }

    /// A whole number that fits the type asked for; 0 where absent.
    pub(crate) fn number<T: TryFrom<u64> + Default>(&self, key: &str) -> Result<T, ProfileError> {
        let text = self.text(key)?;
        if text.is_empty() {
            return Ok(T::default());
        }
        let number = text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| self.wrong(key, format!("cannot parse value as a number in range: '{text}'")))
    }

    /// A number of bytes where 0 means the default.
    pub(crate) fn size_or(&self, key: &str, default: u32) -> Result<u32, ProfileError> {
        let text = self.text(key)?;
        if text.is_empty() {
            return Ok(default);
        }
        let size = byte_size(&text)
            .ok_or_else(|| self.wrong(key, format!("cannot parse value as a size such as 10 MB: '{text}'")))?;
        let size = u32::try_from(size).map_err(|_| self.wrong(key, format!("value '{text}' overflows uint32")))?;
        Ok(if size == 0 { default } else { size })
    }

    /// A number where 0 means the default.
    pub(crate) fn number_or(&self, key: &str, default: u32) -> Result<u32, ProfileError> {
        Ok(match self.number(key)? {
            0 => default,
            number => number,
        })
    }

    /// A duration in Go's notation; a bare number counts nanoseconds; zero where absent.
    pub(crate) fn duration(&self, key: &str) -> Result<GoDuration, ProfileError> {
        let text = self.text(key)?;
        if text.is_empty() {
            return Ok(GoDuration::default());
        }
        if let Ok(nanos) = text.parse() {
            return Ok(GoDuration::from_nanos(nanos));
        }
        GoDuration::parse(&text).map_err(|error| self.wrong(key, format!("cannot parse value as a duration: {error}")))
    }

    /// A map below; `None` where absent.
    pub(crate) fn section(&self, key: &str) -> Result<Option<Self>, ProfileError> {
        self.find(key).map(|value| Self::new(value, self.path_of(key), self.overrides, self.directory)).transpose()
    }

    /// The maps in a list below.
    pub(crate) fn sections(&self, key: &str) -> Result<Vec<Self>, ProfileError> {
        match self.find(key) {
            None => Ok(Vec::new()),
            Some(Value::List(items)) => items
                .iter()
                .enumerate()
                .map(|(index, item)| Self::new(item, format!("{}[{index}]", self.path_of(key)), None, self.directory))
                .collect(),
            Some(_) => Err(self.wrong(key, "expected a list")),
        }
    }

    /// The keys of this map that have a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.entries.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// The maps in this map, by name.
    pub(crate) fn named_sections(&self) -> Result<Vec<(&'a str, Self)>, ProfileError> {
        let present = self.entries.iter().filter(|(_, value)| !value.is_null());
        present
            .map(|(name, value)| {
                let path = format!("{}[{name}]", self.path);
                Ok((name.as_str(), Self::new(value, path, self.overrides, self.directory)?))
            })
            .collect()
    }

    /// The texts in a list below; a single text is a list of one, unless it is written `[a, b]`.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<String>, ProfileError> {
        match (self.find(key), self.overriding(key)) {
            (Some(Value::List(items)), None) => items
                .iter()
                .map(|item| scalar(item).ok_or_else(|| self.wrong(key, "expected a list of single values")))
                .collect(),
            (None, None) => Ok(Vec::new()),
            (Some(_), None) | (_, Some(_)) => Ok(split(&self.text(key)?)),
        }
    }

    /// Ends the reading: refuses what nobody asked for.
    pub(crate) fn finish(self) -> Result<(), ProfileError> {
        let asked = self.asked.into_inner();
        let unknown: Vec<&str> = self
            .entries
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !asked.iter().any(|key| key.eq_ignore_ascii_case(name)))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(ProfileError::Value { path: self.path, problem: format!("has invalid keys: {}", unknown.join(", ")) })
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Text(value) => Some(value.clone()),
        Value::List(_) | Value::Map(_) => None,
    }
}

/// The texts of `[a, b]`; any other text is the only one.
fn split(text: &str) -> Vec<String> {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) => inside.split(',').map(|part| part.trim().to_owned()).collect(),
        None => vec![text.to_owned()],
    }
}

/// A path without `.` and, where something stands before it, without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            std::path::Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}
