use bytes::Bytes;
use ripstop_proto::common;

use crate::names::check_name;
use crate::{ConfigError, ConfigFault};

/// A group of the tree under its path, and the values it may have.
pub(crate) struct Group<'a> {
    pub(crate) path: String,
    pub(crate) group: &'a common::ConfigGroup,
}

impl<'a> Group<'a> {
    /// Takes a group and refuses values that such a group does not have.
    pub(crate) fn new(path: String, group: &'a common::ConfigGroup, values: &[&str]) -> Result<Self, ConfigError> {
        match group.values.keys().find(|key| !values.contains(&key.as_str())) {
            Some(key) => Err(ConfigError::new(path, ConfigFault::UnexpectedKey(key.clone()))),
            None => Ok(Self { path, group }),
        }
    }

    /// The path of something below.
    pub(crate) fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// The error that something below is wrong.
    pub(crate) fn fault(&self, name: &str, fault: ConfigFault) -> ConfigError {
        ConfigError::new(self.below(name), fault)
    }

    /// Whether there is such a value.
    pub(crate) fn has_value(&self, name: &str) -> bool {
        self.group.values.contains_key(name)
    }

    /// The bytes of a value; empty where there is none.
    pub(crate) fn bytes(&self, name: &str) -> Bytes {
        self.group.values.get(name).map(|value| value.value.clone()).unwrap_or_default()
    }

    /// A value decoded; as if it were empty where there is none.
    pub(crate) fn value<M: ripstop_proto::Name + Default>(&self, name: &str) -> Result<M, ConfigError> {
        ripstop_proto::read::<M>(self.bytes(name)).map_err(|error| self.fault(name, ConfigFault::Decode(error)))
    }

    /// The names of the capabilities that a group requires.
    pub(crate) fn capabilities(&self) -> Result<Vec<String>, ConfigError> {
        let capabilities: common::Capabilities = self.value(crate::key::CAPABILITIES)?;
        Ok(capabilities.capabilities.into_keys().collect())
    }
}

/// Checks the names in a whole tree. prost bounds the depth of what was received, so recursion is safe.
pub(crate) fn check_names(path: &str, group: &common::ConfigGroup) -> Result<(), ConfigError> {
    for name in group.groups.keys().chain(group.values.keys()).chain(group.policies.keys()) {
        check_name(name).map_err(|fault| ConfigError::new(path, fault))?;
    }
    for (name, child) in &group.groups {
        check_names(&format!("{path}/{name}"), child)?;
    }
    Ok(())
}
