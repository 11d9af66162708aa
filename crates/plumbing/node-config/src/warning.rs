use std::fmt;

use crate::Settings;
use crate::keys::Ineffective;

/// Something in a configuration that has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A key that no version of Fabric 3 and nothing here knows; probably misspelt.
    UnknownKey(String),
    /// An environment variable with the node's prefix that sets no known key; probably misspelt.
    UnknownVariable(String),
    /// Keys that Fabric knows and that do nothing here.
    NoEffect {
        /// The keys, each with all keys under it.
        keys: Vec<&'static str>,
        /// What takes their place.
        instead: &'static str,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(key) => write!(f, "configuration key {key} is unknown and has no effect"),
            Self::UnknownVariable(name) => {
                write!(f, "environment variable {name} sets no known configuration key and has no effect")
            }
            Self::NoEffect { keys, instead } => match keys.as_slice() {
                [key] => write!(f, "configuration key {key} has no effect: {instead}"),
                keys => write!(f, "configuration keys {} have no effect: {instead}", keys.join(", ")),
            },
        }
    }
}

/// Names what nobody asked for: keys that stand in `known` by what takes their place, other ones singly.
pub(crate) fn collect(settings: &Settings, known: &'static [Ineffective]) -> Vec<Warning> {
    let unused = settings.unused();
    let mut warnings = Vec::new();
    for (key, value) in unused.keys {
        match known.iter().find(|entry| is_or_under(&key, entry.key, '.')) {
            Some(entry) => entry.add_to(&mut warnings, &value),
            None => warnings.push(Warning::UnknownKey(key)),
        }
    }
    for name in unused.variables {
        let value = settings.environment().get(&name).unwrap_or_default();
        match known.iter().find(|entry| is_or_under(&name, &settings.variable(entry.key), '_')) {
            Some(entry) => entry.add_to(&mut warnings, value),
            None => warnings.push(Warning::UnknownVariable(name)),
        }
    }
    warnings
}

impl Ineffective {
    fn add_to(&self, warnings: &mut Vec<Warning>, value: &str) {
        if self.instead.is_empty() || self.unless.contains(&value) {
            return;
        }
        let together = warnings.iter_mut().find_map(|warning| match warning {
            Warning::NoEffect { keys, instead } if *instead == self.instead => Some(keys),
            _ => None,
        });
        match together {
            Some(keys) if keys.contains(&self.key) => {}
            Some(keys) => keys.push(self.key),
            None => warnings.push(Warning::NoEffect { keys: vec![self.key], instead: self.instead }),
        }
    }
}

/// Whether a key is a section or in it.
pub(crate) fn is_or_under(key: &str, section: &str, separator: char) -> bool {
    match (key.get(..section.len()), key.get(section.len()..)) {
        (Some(start), Some(rest)) => {
            start.eq_ignore_ascii_case(section) && (rest.is_empty() || rest.starts_with(separator))
        }
        _ => false,
    }
}
