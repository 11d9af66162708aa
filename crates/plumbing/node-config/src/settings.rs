use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ripstop_types::GoDuration;

use crate::{ConfigError, Environment, Value, byte_size};

/// What an environment variable that is set but empty means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyVariable {
    /// It replaces the file's value by an empty one (the peer's rule).
    Replaces,
    /// It is as if it were not set (the rule of orderer and tools).
    Ignored,
}

/// A configuration file under the environment that overrides it, read key by key.
///
/// A key is a path with dots (`peer.tls.enabled`), in any case. The environment variable of a key is the prefix, `_` and
/// the key in capitals with `_` for dots; it wins over the file, also where the file has no such key. A key whose value is
/// empty in the file counts as absent. Which keys were asked for is remembered, so that [`Self::unused`] can name those
/// that nobody reads.
#[derive(Debug)]
pub struct Settings {
    root: Value,
    file: PathBuf,
    prefix: &'static str,
    empty_variable: EmptyVariable,
    environment: Environment,
    consulted: RefCell<BTreeSet<String>>,
}

/// A value and where it came from.
struct Found {
    value: Value,
    origin: String,
}

impl Settings {
    /// Takes a parsed file. `prefix` is the environment's, such as `CORE`.
    pub fn new(
        root: Value,
        file: PathBuf,
        prefix: &'static str,
        empty_variable: EmptyVariable,
        environment: Environment,
    ) -> Self {
        Self { root, file, prefix, empty_variable, environment, consulted: RefCell::default() }
    }

    /// The file in use.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The whole file, without the environment.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// The variables that override the file.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The file's directory, against which relative paths are resolved.
    pub fn directory(&self) -> &Path {
        self.file.parent().unwrap_or_else(|| Path::new("."))
    }

    /// The environment variable that overrides a key.
    pub fn variable(&self, key: &str) -> String {
        format!("{}_{}", self.prefix, key.to_ascii_uppercase().replace('.', "_"))
    }

    fn find(&self, key: &str) -> Option<Found> {
        self.consulted.borrow_mut().insert(key.to_ascii_lowercase());
        let variable = self.variable(key);
        let overriding = match self.empty_variable {
            EmptyVariable::Replaces => self.environment.get(&variable),
            EmptyVariable::Ignored => self.environment.get_non_empty(&variable),
        };
        if let Some(text) = overriding {
            return Some(Found { value: Value::Text(text.to_owned()), origin: format!("from {variable}") });
        }
        let value = key.split('.').try_fold(&self.root, |value, name| value.get(name))?;
        if value.is_null() {
            return None;
        }
        Some(Found { value: value.clone(), origin: format!("in {}", self.file.display()) })
    }

    fn invalid(key: &str, found: &Found, expected: impl Into<String>) -> ConfigError {
        ConfigError::Invalid {
            key: key.to_owned(),
            origin: found.origin.clone(),
            value: found.value.to_string(),
            expected: expected.into(),
        }
    }

    /// The error for a key that must be set and is not.
    pub fn missing(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Missing {
            problem: problem.into(),
            key: key.to_owned(),
            file: self.file.display().to_string(),
            variable: self.variable(key),
        }
    }

    /// The error for a value that was read well and still cannot be used.
    pub fn unusable(&self, key: &str, expected: impl Into<String>) -> ConfigError {
        let found =
            self.find(key).unwrap_or(Found { value: Value::Null, origin: format!("in {}", self.file.display()) });
        Self::invalid(key, &found, expected)
    }

    /// The value of a key as it stands, a YAML text from the environment parsed.
    pub fn value(&self, key: &str) -> Result<Option<Value>, ConfigError> {
        let Some(found) = self.find(key) else { return Ok(None) };
        match &found.value {
            Value::Text(text) if text.is_empty() => Ok(None),
            Value::Text(text) => Value::parse_yaml(text)
                .map(Some)
                .map_err(|error| Self::invalid(key, &found, format!("no YAML: {error}"))),
            other => Ok(Some(other.clone())),
        }
    }

    /// A text; numbers and truth values count as the text they print as.
    pub fn text(&self, key: &str) -> Result<Option<String>, ConfigError> {
        let Some(found) = self.find(key) else { return Ok(None) };
        scalar_text(&found.value).map(Some).ok_or_else(|| Self::invalid(key, &found, "it must be a single value"))
    }

    /// A text that is not empty.
    pub fn non_empty(&self, key: &str) -> Result<Option<String>, ConfigError> {
        Ok(self.text(key)?.filter(|text| !text.is_empty()))
    }

    /// A text, empty where absent.
    pub fn text_or_empty(&self, key: &str) -> Result<String, ConfigError> {
        Ok(self.text(key)?.unwrap_or_default())
    }

    /// A path; a relative one is taken from the directory of the configuration file.
    pub fn path(&self, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.non_empty(key)?.map(|text| self.resolve(&text)))
    }

    /// A path that Fabric takes as it stands: a relative one is taken from the directory in which the process runs.
    pub fn working_path(&self, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.non_empty(key)?.map(PathBuf::from))
    }

    /// A path as text, resolved.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.directory().join(path)
    }

    /// Several paths, resolved.
    pub fn paths(&self, key: &str) -> Result<Vec<PathBuf>, ConfigError> {
        Ok(self.list(key)?.iter().filter(|text| !text.is_empty()).map(|text| self.resolve(text)).collect())
    }

    /// A truth value: `true`, `false`, `1`, `0`, `t`, `f` in any of Go's spellings. Empty counts as absent.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(found) = self.find(key) else { return Ok(None) };
        match &found.value {
            Value::Bool(value) => Ok(Some(*value)),
            Value::Integer(number) => Ok(Some(*number != 0)),
            Value::Text(text) => match text.as_str() {
                "" => Ok(None),
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
                _ => Err(Self::invalid(key, &found, "it must be true or false")),
            },
            _ => Err(Self::invalid(key, &found, "it must be true or false")),
        }
    }

    /// A whole number. Empty counts as absent.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, ConfigError> {
        let Some(found) = self.find(key) else { return Ok(None) };
        match &found.value {
            Value::Integer(number) => Ok(Some(*number)),
            Value::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Ok(Some(*number as i64)),
            Value::Text(text) if text.is_empty() => Ok(None),
            Value::Text(text) => {
                text.trim().parse().map(Some).map_err(|_| Self::invalid(key, &found, "it must be a whole number"))
            }
            _ => Err(Self::invalid(key, &found, "it must be a whole number")),
        }
    }

    /// A whole number that is not negative and fits the type asked for.
    pub fn count<T: TryFrom<i64>>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        self.integer(key)?
            .map(|number| T::try_from(number).map_err(|_| self.unusable(key, "it is out of range")))
            .transpose()
    }

    /// A number.
    pub fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(found) = self.find(key) else { return Ok(None) };
        match &found.value {
            Value::Integer(number) => Ok(Some(*number as f64)),
            Value::Float(number) => Ok(Some(*number)),
            Value::Text(text) if text.is_empty() => Ok(None),
            Value::Text(text) => {
                text.trim().parse().map(Some).map_err(|_| Self::invalid(key, &found, "it must be a number"))
            }
            _ => Err(Self::invalid(key, &found, "it must be a number")),
        }
    }

    /// A duration in Go's notation; a bare number counts nanoseconds. Empty counts as absent.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(found) = self.find(key) else { return Ok(None) };
        let parsed = match &found.value {
            Value::Integer(nanos) => GoDuration::from_nanos(*nanos),
            Value::Text(text) if text.is_empty() => return Ok(None),
            Value::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                let nanos = text.parse().map_err(|_| Self::invalid(key, &found, "it is out of range"))?;
                GoDuration::from_nanos(nanos)
            }
            Value::Text(text) => {
                GoDuration::parse(text).map_err(|error| Self::invalid(key, &found, error.to_string()))?
            }
            _ => return Err(Self::invalid(key, &found, "it must be a duration such as 30s or 1m0s")),
        };
        parsed.to_std().map(Some).ok_or_else(|| Self::invalid(key, &found, "it must not be negative"))
    }

    /// A duration where zero means the default.
    pub fn duration_or(&self, key: &str, default: Duration) -> Result<Duration, ConfigError> {
        Ok(self.duration(key)?.filter(|duration| !duration.is_zero()).unwrap_or(default))
    }

    /// A number of bytes: a number, or one with a unit such as `10 MB`.
    pub fn size(&self, key: &str) -> Result<Option<u32>, ConfigError> {
        let Some(found) = self.find(key) else { return Ok(None) };
        let size = match &found.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(text) if text.is_empty() => return Ok(None),
            Value::Text(text) => byte_size(text),
            _ => None,
        };
        let size = size.ok_or_else(|| Self::invalid(key, &found, "it must be a size such as 1048576 or 10 MB"))?;
        u32::try_from(size).map(Some).map_err(|_| Self::invalid(key, &found, "value overflows uint32"))
    }

    /// A list of texts. A single text counts as a list: the peer's environment separates by spaces, the orderer's is
    /// written `[a, b]`; both are understood.
    pub fn list(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        let Some(found) = self.find(key) else { return Ok(Vec::new()) };
        match &found.value {
            Value::List(items) => items
                .iter()
                .filter(|item| !item.is_null())
                .map(|item| scalar_text(item).ok_or_else(|| Self::invalid(key, &found, "it must be a list of texts")))
                .collect(),
            Value::Map(_) => Err(Self::invalid(key, &found, "it must be a list of texts")),
            scalar => Ok(split_list(&scalar_text(scalar).unwrap_or_default())),
        }
    }

    /// Whether a key, or a section that it is in, was asked for.
    #[cfg(test)]
    pub(crate) fn was_asked_for(&self, key: &str) -> bool {
        covers(&self.consulted.borrow(), &key.to_ascii_lowercase(), '.')
    }

    /// The keys of the file and the environment's variables with the prefix that nobody asked for, in order. Keys
    /// without a value are left out.
    pub(crate) fn unused(&self) -> Unused {
        let consulted = self.consulted.borrow();
        let mut keys = Vec::new();
        collect_leaves(&self.root, "", &mut keys);
        keys.retain(|(key, _)| !covers(&consulted, &key.to_ascii_lowercase(), '.'));
        let variables_read: BTreeSet<String> = consulted.iter().map(|key| self.variable(key)).collect();
        let prefix = format!("{}_", self.prefix);
        let variables = self
            .environment
            .names_with_prefix(&prefix)
            .filter(|name| !variables_read.contains(*name))
            .map(str::to_owned)
            .collect();
        Unused { keys, variables }
    }
}

/// What nobody asked for.
pub(crate) struct Unused {
    /// Keys of the file, spelt as there, and their values; that of a list is the names in it.
    pub(crate) keys: Vec<(String, String)>,
    /// Environment variables.
    pub(crate) variables: Vec<String>,
}

fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Integer(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Text(value) => Some(value.clone()),
        Value::List(_) | Value::Map(_) => None,
    }
}

fn split_list(text: &str) -> Vec<String> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let parts: Vec<&str> = match inner {
        Some(inner) => inner.split(',').collect(),
        None => text.split_whitespace().collect(),
    };
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Whether `key` or one of its ancestors is in the set.
fn covers(consulted: &BTreeSet<String>, key: &str, separator: char) -> bool {
    consulted.contains(key) || key.match_indices(separator).any(|(end, _)| consulted.contains(&key[..end]))
}

fn collect_leaves(value: &Value, path: &str, leaves: &mut Vec<(String, String)>) {
    match value {
        Value::Map(entries) => {
            for (name, child) in entries {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect_leaves(child, &path, leaves);
            }
        }
        Value::Null => {}
        Value::List(items) if items.is_empty() => {}
        Value::List(items) => {
            let names: Vec<String> =
                items.iter().filter_map(|item| scalar_text(item.get("name").unwrap_or(item))).collect();
            leaves.push((path.to_owned(), names.join(" ")));
        }
        scalar => leaves.push((path.to_owned(), scalar_text(scalar).unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(yaml: &str, variables: &[(&str, &str)], empty: EmptyVariable) -> Settings {
        let environment = variables.iter().copied().collect();
        Settings::new(Value::parse_yaml(yaml).unwrap(), "/etc/net/core.yaml".into(), "CORE", empty, environment)
    }

    #[test]
    fn the_environment_wins_over_the_file_and_fills_its_gaps() {
        let s = settings(
            "peer:\n  ID: jdoe\n  tls:\n    enabled: false\n",
            &[("CORE_PEER_TLS_ENABLED", "true"), ("CORE_PEER_LOCALMSPID", "Org1MSP"), ("CORE_PEER_ID", "")],
            EmptyVariable::Replaces,
        );
        assert_eq!(s.flag("peer.tls.enabled").unwrap(), Some(true));
        assert_eq!(s.text("peer.localMspId").unwrap().as_deref(), Some("Org1MSP"));
        assert_eq!(s.text("peer.id").unwrap().as_deref(), Some(""));
        let s = settings("peer:\n  ID: jdoe\n", &[("CORE_PEER_ID", "")], EmptyVariable::Ignored);
        assert_eq!(s.text("peer.id").unwrap().as_deref(), Some("jdoe"));
    }

    #[test]
    fn values_are_read_by_what_the_key_means() {
        let s = settings(
            "a: '7'\nb: 1m0s\nc: 10 MB\nd: 5\ne: [x, y]\nf: x y\ng: '[x, y]'\nh: 0.75\ni: tls/ca.crt\nj: 1500000000\nk:\n",
            &[],
            EmptyVariable::Replaces,
        );
        assert_eq!(s.integer("a").unwrap(), Some(7));
        assert_eq!(s.duration("b").unwrap(), Some(Duration::from_secs(60)));
        assert_eq!(s.size("c").unwrap(), Some(10 << 20));
        assert_eq!(s.size("d").unwrap(), Some(5));
        assert_eq!(s.list("e").unwrap(), ["x", "y"]);
        assert_eq!(s.list("f").unwrap(), ["x", "y"]);
        assert_eq!(s.list("g").unwrap(), ["x", "y"]);
        assert_eq!(s.number("h").unwrap(), Some(0.75));
        assert_eq!(s.path("i").unwrap(), Some("/etc/net/tls/ca.crt".into()));
        assert_eq!(s.duration("j").unwrap(), Some(Duration::from_millis(1500)));
        assert!(s.list("k").unwrap().is_empty());
        assert!(s.text("k").unwrap().is_none());
    }

    #[test]
    fn a_wrong_value_is_refused_with_key_and_origin() {
        let s = settings("peer: {tls: {enabled: yess}}", &[("CORE_A_B", "soon")], EmptyVariable::Replaces);
        assert_eq!(
            s.flag("peer.tls.enabled").unwrap_err().to_string(),
            "peer.tls.enabled (in /etc/net/core.yaml) is 'yess': it must be true or false"
        );
        assert_eq!(
            s.duration("a.b").unwrap_err().to_string(),
            "a.b (from CORE_A_B) is 'soon': time: invalid duration \"soon\""
        );
    }

    #[test]
    fn keys_and_variables_that_nobody_reads_are_found() {
        let s = settings(
            "peer: {id: x, idd: y, empty: }\nvm: {a: 1, b: [{name: p}, q]}\nmap: {x: 1}\n",
            &[("CORE_PEER_ID", "z"), ("CORE_PEER_IDD", "q"), ("OTHER", "1")],
            EmptyVariable::Replaces,
        );
        s.text("peer.id").unwrap();
        s.value("map").unwrap();
        let unused = s.unused();
        let keys = [("peer.idd", "y"), ("vm.a", "1"), ("vm.b", "p q")];
        assert_eq!(unused.keys, keys.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(unused.variables, ["CORE_PEER_IDD"]);
    }
}
