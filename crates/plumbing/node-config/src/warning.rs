use std::fmt;

use crate::Settings;

/// Something in a configuration that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A key that no version of Fabric 3 and nothing here knows; probably misspelt.
    UnknownKey(String),
    /// An environment variable with the node's prefix that sets no known key; probably misspelt.
    UnknownVariable(String),
    /// A key (or all keys under it) that Fabric knows and that does nothing here.
    NoEffect {
        /// The key, with dots.
        key: String,
        /// Why it does nothing.
        why: &'static str,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(key) => write!(f, "configuration key {key} is unknown and has no effect"),
            Self::UnknownVariable(name) => {
                write!(f, "environment variable {name} sets no known configuration key and has no effect")
            }
            Self::NoEffect { key, why } => write!(f, "configuration key {key} has no effect: {why}"),
        }
    }
}

/// A key of Fabric's that does nothing here, with everything under it.
pub(crate) struct NoEffect {
    /// The key in lower case.
    pub(crate) key: &'static str,
    /// Why; empty where an operator need not be told, because the node does the same anyway.
    pub(crate) why: &'static str,
}

/// Names what nobody asked for: known keys once a section with the reason, unknown ones singly.
pub(crate) fn collect(settings: &Settings, known: &[NoEffect]) -> Vec<Warning> {
    let unused = settings.unused();
    let mut warnings = Vec::new();
    let mut add = |warning| {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    };
    for key in unused.keys {
        let lower = key.to_ascii_lowercase();
        match known.iter().find(|entry| is_or_under(&lower, entry.key, '.')) {
            Some(entry) if entry.why.is_empty() => {}
            Some(entry) => {
                add(Warning::NoEffect { key: key.get(..entry.key.len()).unwrap_or(&key).to_owned(), why: entry.why });
            }
            None => add(Warning::UnknownKey(key)),
        }
    }
    for name in unused.variables {
        match known.iter().find(|entry| is_or_under(&name, &settings.variable(entry.key), '_')) {
            Some(entry) if entry.why.is_empty() => {}
            Some(entry) => add(Warning::NoEffect { key: entry.key.to_owned(), why: entry.why }),
            None => add(Warning::UnknownVariable(name)),
        }
    }
    warnings
}

fn is_or_under(key: &str, section: &str, separator: char) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
}
