use std::collections::BTreeMap;
use std::fmt;

use ripstop_proto::common;

use super::UpdateError;
use crate::names::check_name;
use crate::{ConfigFault, key};

/// What an element is. The order decides nothing but which of several errors is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Group,
    Value,
    Policy,
}

/// The place of an element in a tree. Displays as in Fabric's error texts: `[Group]  /Channel/Application`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ElementKey {
    /// With the element's own name, from the root: `/Channel/Application`.
    path: String,
    kind: Kind,
}

impl ElementKey {
    /// The root group.
    pub(super) fn root() -> Self {
        Self { path: format!("/{}", key::CHANNEL), kind: Kind::Group }
    }

    /// The value that tells whether elements without a policy are given one.
    pub(super) fn orderer_capabilities() -> Self {
        Self::root().group(key::ORDERER).value(key::CAPABILITIES)
    }

    fn child(&self, name: &str, kind: Kind) -> Self {
        Self { path: format!("{}/{name}", self.path), kind }
    }

    /// A group in this group.
    pub(super) fn group(&self, name: &str) -> Self {
        self.child(name, Kind::Group)
    }

    /// A value in this group.
    pub(super) fn value(&self, name: &str) -> Self {
        self.child(name, Kind::Value)
    }

    /// A policy in this group.
    pub(super) fn policy(&self, name: &str) -> Self {
        self.child(name, Kind::Policy)
    }

    /// The path of a policy as this element names it: relative ones are those of the group itself, or of the group that a
    /// value or policy is in. `None` where nothing is named.
    pub(super) fn resolve_policy(&self, named: &str) -> Option<String> {
        if named.is_empty() {
            return None;
        }
        if named.starts_with('/') {
            return Some(named.to_owned());
        }
        let group = match self.kind {
            Kind::Group => self.path.as_str(),
            Kind::Value | Kind::Policy => self.path.rsplit_once('/').map_or("", |(parent, _)| parent),
        };
        Some(format!("{group}/{named}"))
    }
}

impl fmt::Display for ElementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Group => "[Group] ",
            Kind::Value => "[Value] ",
            Kind::Policy => "[Policy]",
        };
        write!(f, "{kind} {}", self.path)
    }
}

/// A group, value or policy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Element<'a> {
    Group(&'a common::ConfigGroup),
    Value(&'a common::ConfigValue),
    Policy(&'a common::ConfigPolicy),
}

impl Element<'_> {
    /// How often it was changed.
    pub(super) const fn version(&self) -> u64 {
        match self {
            Self::Group(group) => group.version,
            Self::Value(value) => value.version,
            Self::Policy(policy) => policy.version,
        }
    }

    /// The policy that a change of it must satisfy.
    pub(super) fn mod_policy(&self) -> &str {
        match self {
            Self::Group(group) => &group.mod_policy,
            Self::Value(value) => &value.mod_policy,
            Self::Policy(policy) => &policy.mod_policy,
        }
    }
}

/// All elements of a tree.
pub(super) struct Elements<'a>(BTreeMap<ElementKey, Element<'a>>);

/// A name in a tree that breaks the rule for names.
pub(super) struct BadName {
    element: String,
    fault: ConfigFault,
}

impl BadName {
    pub(super) fn in_set(self, set: &'static str) -> UpdateError {
        UpdateError::Name { set, element: self.element, fault: self.fault }
    }
}

impl<'a> Elements<'a> {
    /// Flattens a tree; an absent one has no elements.
    pub(super) fn of(root: Option<&'a common::ConfigGroup>) -> Result<Self, BadName> {
        let mut elements = Self(BTreeMap::new());
        if let Some(root) = root {
            elements.add_group(ElementKey::root(), root)?;
        }
        Ok(elements)
    }

    fn add_group(&mut self, key: ElementKey, group: &'a common::ConfigGroup) -> Result<(), BadName> {
        for (name, child) in &group.groups {
            self.add_group(checked(name, key.group(name))?, child)?;
        }
        for (name, value) in &group.values {
            self.0.insert(checked(name, key.value(name))?, Element::Value(value));
        }
        for (name, policy) in &group.policies {
            self.0.insert(checked(name, key.policy(name))?, Element::Policy(policy));
        }
        self.0.insert(key, Element::Group(group));
        Ok(())
    }

    pub(super) fn get(&self, key: &ElementKey) -> Option<&Element<'a>> {
        self.0.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ElementKey, &Element<'a>)> {
        self.0.iter()
    }
}

fn checked(name: &str, key: ElementKey) -> Result<ElementKey, BadName> {
    match check_name(name) {
        Ok(()) => Ok(key),
        Err(fault) => Err(BadName { element: key.to_string(), fault }),
    }
}

/// Where two trees first differ, if they do.
pub(super) fn first_difference(left: &common::ConfigGroup, right: &common::ConfigGroup) -> Option<String> {
    difference_below(&ElementKey::root(), left, right).map(|key| key.to_string())
}

fn difference_below(key: &ElementKey, left: &common::ConfigGroup, right: &common::ConfigGroup) -> Option<ElementKey> {
    if left == right {
        return None;
    }
    if let Some(name) = first_unequal(&left.values, &right.values) {
        return Some(key.value(name));
    }
    if let Some(name) = first_unequal(&left.policies, &right.policies) {
        return Some(key.policy(name));
    }
    match first_unequal(&left.groups, &right.groups) {
        Some(name) => match (left.groups.get(name), right.groups.get(name)) {
            (Some(left), Some(right)) => difference_below(&key.group(name), left, right),
            _ => Some(key.group(name)),
        },
        None => Some(key.clone()),
    }
}

fn first_unequal<'a, T: PartialEq>(left: &'a BTreeMap<String, T>, right: &'a BTreeMap<String, T>) -> Option<&'a str> {
    left.keys().chain(right.keys()).find(|name| left.get(*name) != right.get(*name)).map(String::as_str)
}
