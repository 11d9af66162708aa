//! The update that leads from one configuration to another (Fabric: `internal/configtxlator/update`).

use std::collections::BTreeMap;

use ripstop_proto::common;

/// Why no update leads from one configuration to the other. The words are Fabric's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ComputeError {
    /// The first configuration is empty.
    #[error("no channel group included for original config")]
    NoOriginal,
    /// The second configuration is empty.
    #[error("no channel group included for updated config")]
    NoUpdated,
    /// The configurations say the same. Versions are not compared: they are not for the editor to set.
    #[error("no differences detected between original and updated config")]
    NoDifferences,
}

/// Computes the smallest update that makes `updated` of `original`. Versions in `updated` do not matter. The caller names
/// the channel in the result.
pub fn compute(original: &common::Config, updated: &common::Config) -> Result<common::ConfigUpdate, ComputeError> {
    let original = original.channel_group.as_ref().ok_or(ComputeError::NoOriginal)?;
    let updated = updated.channel_group.as_ref().ok_or(ComputeError::NoUpdated)?;
    match Change::of_group(original, updated) {
        Change::None => Err(ComputeError::NoDifferences),
        Change::Some { read, write } => {
            Ok(common::ConfigUpdate { read_set: Some(read), write_set: Some(write), ..Default::default() })
        }
    }
}

/// What becomes of an element of the original configuration.
enum Change<T> {
    None,
    Some { read: T, write: T },
}

/// What changes among the children of one kind. A changed leaf is only written: the version of what is written says what
/// was read.
struct Children<T> {
    read: BTreeMap<String, T>,
    write: BTreeMap<String, T>,
    /// Read and written only where the group's membership changes, because then the group lists all its members.
    same: BTreeMap<String, T>,
    membership_changes: bool,
}

impl<T: Clone> Children<T> {
    fn compare(
        original: &BTreeMap<String, T>,
        updated: &BTreeMap<String, T>,
        change: impl Fn(&T, &T) -> (Option<T>, Option<T>),
        unchanged: impl Fn(&T) -> T,
        added: impl Fn(&T) -> T,
    ) -> Self {
        let (mut read, mut write, mut same) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, before) in original {
            let Some(after) = updated.get(name) else { continue };
            match change(before, after) {
                (None, None) => {
                    same.insert(name.clone(), unchanged(before));
                }
                (reads, writes) => {
                    read.extend(reads.map(|element| (name.clone(), element)));
                    write.extend(writes.map(|element| (name.clone(), element)));
                }
            }
        }
        let new = updated.iter().filter(|(name, _)| !original.contains_key(*name));
        write.extend(new.map(|(name, element)| (name.clone(), added(element))));
        Self { read, write, same, membership_changes: !original.keys().eq(updated.keys()) }
    }

    fn changes(&self) -> bool {
        self.membership_changes || !self.write.is_empty()
    }

    /// Lists the unchanged members too.
    fn with_same(mut self) -> Self {
        self.read.extend(self.same.iter().map(|(name, element)| (name.clone(), element.clone())));
        self.write.append(&mut self.same);
        self
    }
}

impl Change<common::ConfigGroup> {
    fn of_group(original: &common::ConfigGroup, updated: &common::ConfigGroup) -> Self {
        let values = values(&original.values, &updated.values);
        let policies = policies(&original.policies, &updated.policies);
        let groups = groups(&original.groups, &updated.groups);
        let changes_itself = values.membership_changes
            || policies.membership_changes
            || groups.membership_changes
            || original.mod_policy != updated.mod_policy;
        if !(changes_itself || values.changes() || policies.changes() || groups.changes()) {
            return Self::None;
        }
        let version = original.version;
        let (values, policies, groups) = if changes_itself {
            (values.with_same(), policies.with_same(), groups.with_same())
        } else {
            (values, policies, groups)
        };
        let read = common::ConfigGroup {
            version,
            values: values.read,
            policies: policies.read,
            groups: groups.read,
            mod_policy: String::new(),
        };
        let write = common::ConfigGroup {
            // A version that cannot grow fails when the update is checked, as any wrong version does.
            version: if changes_itself { version.wrapping_add(1) } else { version },
            values: values.write,
            policies: policies.write,
            groups: groups.write,
            mod_policy: if changes_itself { updated.mod_policy.clone() } else { String::new() },
        };
        Self::Some { read, write }
    }
}

fn groups(
    original: &BTreeMap<String, common::ConfigGroup>,
    updated: &BTreeMap<String, common::ConfigGroup>,
) -> Children<common::ConfigGroup> {
    Children::compare(
        original,
        updated,
        |before, after| match Change::of_group(before, after) {
            Change::None => (None, None),
            Change::Some { read, write } => (Some(read), Some(write)),
        },
        |before| common::ConfigGroup { version: before.version, ..Default::default() },
        new_group,
    )
}

/// A new group comes with all that is in it, at version 0.
fn new_group(group: &common::ConfigGroup) -> common::ConfigGroup {
    let new = |value: &common::ConfigValue| common::ConfigValue { version: 0, ..value.clone() };
    let new_policy = |policy: &common::ConfigPolicy| common::ConfigPolicy { version: 0, ..policy.clone() };
    common::ConfigGroup {
        version: 0,
        groups: group.groups.iter().map(|(name, group)| (name.clone(), new_group(group))).collect(),
        values: group.values.iter().map(|(name, value)| (name.clone(), new(value))).collect(),
        policies: group.policies.iter().map(|(name, policy)| (name.clone(), new_policy(policy))).collect(),
        mod_policy: group.mod_policy.clone(),
    }
}

fn values(
    original: &BTreeMap<String, common::ConfigValue>,
    updated: &BTreeMap<String, common::ConfigValue>,
) -> Children<common::ConfigValue> {
    let at = |version, value: &common::ConfigValue| common::ConfigValue { version, ..value.clone() };
    Children::compare(
        original,
        updated,
        |before, after| {
            let same = before.mod_policy == after.mod_policy && before.value == after.value;
            (None, (!same).then(|| at(before.version.wrapping_add(1), after)))
        },
        |before| common::ConfigValue { version: before.version, ..Default::default() },
        |new| at(0, new),
    )
}

fn policies(
    original: &BTreeMap<String, common::ConfigPolicy>,
    updated: &BTreeMap<String, common::ConfigPolicy>,
) -> Children<common::ConfigPolicy> {
    let at = |version, policy: &common::ConfigPolicy| common::ConfigPolicy { version, ..policy.clone() };
    Children::compare(
        original,
        updated,
        |before, after| {
            let same = before.mod_policy == after.mod_policy && before.policy == after.policy;
            (None, (!same).then(|| at(before.version.wrapping_add(1), after)))
        },
        |before| common::ConfigPolicy { version: before.version, ..Default::default() },
        |new| at(0, new),
    )
}
