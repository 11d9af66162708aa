use std::collections::BTreeMap;

use ripstop_msp::{MspSet, Principal};
use ripstop_proto::common;
use ripstop_types::SignedData;

use crate::implicit_meta::MetaRule;
use crate::signature::{REFUSED, Rule};
use crate::{CompileError, PolicyRefusal, SignaturePolicy, Signers};

/// The name of the group at the root of every channel configuration.
const ROOT: &str = "Channel";

/// `common.Policy.PolicyType` of signature policies.
const SIGNATURE: i32 = 1;
/// `common.Policy.PolicyType` of implicit-meta policies.
const IMPLICIT_META: i32 = 3;

/// Why a configuration's policies cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyTreeError {
    /// A policy without content.
    #[error("policy {name} at path {path} was nil")]
    Nil {
        /// The policy's name.
        name: String,
        /// The group's path.
        path: String,
    },
    /// A policy of no known type.
    #[error("policy {name} at path {path} has unknown policy type: {number}")]
    UnknownType {
        /// The policy's name.
        name: String,
        /// The group's path.
        path: String,
        /// The type.
        number: i32,
    },
    /// A signature policy that does not compile.
    #[error("policy {name} at path {path} did not compile: {source}")]
    Signature {
        /// The policy's name.
        name: String,
        /// The group's path.
        path: String,
        /// Why not.
        source: CompileError,
    },
    /// An implicit-meta policy that does not decode.
    #[error(
        "implicit policy {name} at path {path} did not compile: Error unmarshalling to ImplicitMetaPolicy: {reason}"
    )]
    ImplicitMeta {
        /// The policy's name.
        name: String,
        /// The group's path.
        path: String,
        /// Why not.
        reason: String,
    },
}

/// Why a policy cannot be put as one signature policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConversionError {
    /// There is no policy of that path.
    #[error("could not retrieve policy for reference '{0}'")]
    NoSuchPolicy(String),
    /// A group lacks the policy that an implicit-meta policy asks it for.
    #[error("{group} has no policy '{name}'")]
    NoSubPolicy {
        /// The group's path.
        group: String,
        /// The policy's name.
        name: String,
    },
    /// An implicit-meta policy with a rule that has no meaning.
    #[error("{0} is an implicit policy with a rule of no known kind")]
    UnknownRule(String),
}

#[derive(Debug, Clone)]
enum Policy {
    Signature(SignaturePolicy),
    ImplicitMeta {
        rule: MetaRule,
        name: String,
        /// The sub-policy of each child group, by key; the group where it has none, which counts as never satisfied.
        children: Vec<Result<String, String>>,
    },
}

/// All policies of a channel's configuration under their paths.
///
/// Paths are absolute, `/Channel/Application/Writers`, or relative to the root, `Application/Writers`.
#[derive(Debug, Clone, Default)]
pub struct PolicyTree {
    /// By path without the root's name: `Admins`, `Application/Org1MSP/Readers`.
    policies: BTreeMap<String, Policy>,
}

impl PolicyTree {
    /// Compiles the policies of a configuration's root group and everything below it.
    pub fn new(root: &common::ConfigGroup) -> Result<Self, PolicyTreeError> {
        let mut tree = Self::default();
        tree.add_group(root, "")?;
        Ok(tree)
    }

    /// Children first: implicit-meta policies refer to them. `prefix` is empty or ends in a slash.
    fn add_group(&mut self, group: &common::ConfigGroup, prefix: &str) -> Result<(), PolicyTreeError> {
        for (name, child) in &group.groups {
            self.add_group(child, &format!("{prefix}{name}/"))?;
        }
        let path = format!("{ROOT}/{prefix}");
        let path = path.trim_end_matches('/');
        for (name, policy) in &group.policies {
            let at = || (name.clone(), path.to_owned());
            let Some(policy) = &policy.policy else {
                let (name, path) = at();
                return Err(PolicyTreeError::Nil { name, path });
            };
            let compiled = match policy.r#type {
                SIGNATURE => SignaturePolicy::parse(&policy.value).map(Policy::Signature).map_err(|source| {
                    let (name, path) = at();
                    PolicyTreeError::Signature { name, path, source }
                })?,
                IMPLICIT_META => {
                    let meta =
                        ripstop_proto::read::<common::ImplicitMetaPolicy>(policy.value.clone()).map_err(|error| {
                            let (name, path) = at();
                            PolicyTreeError::ImplicitMeta { name, path, reason: error.to_string() }
                        })?;
                    let children = group.groups.keys().map(|child| {
                        let group = format!("{prefix}{child}");
                        self.key(&meta.sub_policy, &group).map_err(|_| group)
                    });
                    let children = children.collect();
                    Policy::ImplicitMeta { rule: MetaRule::from_number(meta.rule), name: meta.sub_policy, children }
                }
                number => {
                    let (name, path) = at();
                    return Err(PolicyTreeError::UnknownType { name, path, number });
                }
            };
            self.policies.insert(format!("{prefix}{name}"), compiled);
        }
        Ok(())
    }

    /// The key of a policy as named within a group; `Err` holds the name that Fabric's refusal quotes.
    fn key(&self, id: &str, group: &str) -> Result<String, String> {
        if id.is_empty() {
            return Err(String::new());
        }
        let joint = if group.is_empty() { "" } else { "/" };
        let relative = if id.starts_with('/') {
            // Whatever character follows the group's path is taken for the slash, as Fabric does.
            let absolute = format!("/{ROOT}{joint}{group}");
            let behind = id.strip_prefix(&absolute).ok_or_else(|| id.to_owned())?;
            behind.get(1..).ok_or_else(|| id.to_owned())?
        } else {
            id
        };
        let key = format!("{group}{joint}{relative}");
        if self.policies.contains_key(&key) { Ok(key) } else { Err(relative.to_owned()) }
    }

    /// Whether there is a policy of that path.
    pub fn contains(&self, path: &str) -> bool {
        self.key(path, "").is_ok()
    }

    /// The absolute paths of all policies.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        self.policies.keys().map(|key| format!("/{ROOT}/{key}"))
    }

    /// The signature policy of a path, where there is one of that kind.
    pub fn signature_policy(&self, path: &str) -> Option<&SignaturePolicy> {
        match self.policies.get(&self.key(path, "").ok()?)? {
            Policy::Signature(policy) => Some(policy),
            Policy::ImplicitMeta { .. } => None,
        }
    }

    /// The policy of a path as one signature policy, for which an implicit-meta policy becomes so many of the policies below
    /// it (Fabric: `policies.Converter`). Children are in the order of their names.
    pub fn as_signature_policy(&self, path: &str) -> Result<SignaturePolicy, ConversionError> {
        let key = self.key(path, "").map_err(|_| ConversionError::NoSuchPolicy(path.to_owned()))?;
        let mut principals = Vec::new();
        let rule = self.as_rule(&key, &mut principals)?;
        Ok(SignaturePolicy { rule, principals })
    }

    fn as_rule(&self, key: &str, principals: &mut Vec<Principal>) -> Result<Rule, ConversionError> {
        match self.policies.get(key) {
            None => Err(ConversionError::NoSuchPolicy(format!("/{ROOT}/{key}"))),
            Some(Policy::Signature(policy)) => {
                let first = principals.len();
                principals.extend_from_slice(&policy.principals);
                Ok(policy.rule.shifted(first))
            }
            Some(Policy::ImplicitMeta { rule, name, children }) => {
                let threshold = match rule {
                    MetaRule::Unknown(_) => return Err(ConversionError::UnknownRule(format!("/{ROOT}/{key}"))),
                    known => known.threshold(children.len()),
                };
                let rules = children
                    .iter()
                    .map(|child| match child {
                        Ok(child) => self.as_rule(child, principals),
                        Err(group) => {
                            Err(ConversionError::NoSubPolicy { group: format!("/{ROOT}/{group}"), name: name.clone() })
                        }
                    })
                    .collect::<Result<_, _>>()?;
                Ok(Rule::OutOf { n: i32::try_from(threshold).unwrap_or(i32::MAX), rules })
            }
        }
    }

    /// Checks signatures and whether they satisfy the policy of a path. There being no such policy is a refusal.
    pub fn evaluate(&self, path: &str, signed: &[SignedData], msps: &MspSet) -> Result<(), PolicyRefusal> {
        self.known_key(path)?;
        self.evaluate_signers(path, &Signers::collect(signed, msps), msps)
    }

    /// Whether signers whose signatures were checked already satisfy the policy of a path.
    pub fn evaluate_signers(&self, path: &str, signers: &Signers, msps: &MspSet) -> Result<(), PolicyRefusal> {
        let key = self.known_key(path)?;
        let Some(policy) = self.policies.get(&key) else { return Err(no_such_policy(&key)) };
        match policy {
            Policy::Signature(policy) if policy.is_satisfied(signers, msps) => Ok(()),
            Policy::Signature(_) => Err(self.explain(&key, REFUSED, signers, msps)),
            Policy::ImplicitMeta { rule, name, children } => {
                let (satisfied, threshold) = self.count(*rule, children, signers, msps);
                if is_enough(satisfied, threshold) {
                    return Ok(());
                }
                let headline = format!(
                    "implicit policy evaluation failed - {satisfied} sub-policies were satisfied, but this policy requires {threshold} of the '{name}' sub-policies to be satisfied"
                );
                Err(self.explain(&key, headline, signers, msps))
            }
        }
    }

    fn explain(&self, key: &str, headline: impl Into<String>, signers: &Signers, msps: &MspSet) -> PolicyRefusal {
        let mut needed = Vec::new();
        self.list_needed(key, signers, msps, &mut needed);
        PolicyRefusal::explained(headline, needed, &self.principals(key), signers, msps)
    }

    /// Lists what a policy that is not satisfied needs, and how it stands with each policy below it.
    fn list_needed(&self, key: &str, signers: &Signers, msps: &MspSet, needed: &mut Vec<String>) {
        match self.policies.get(key) {
            None => {}
            Some(Policy::Signature(policy)) => needed.push(format!("/{ROOT}/{key} needs {policy}")),
            Some(Policy::ImplicitMeta { rule, name, children }) => {
                needed.push(format!("/{ROOT}/{key} needs {rule} {name}"));
                for child in children {
                    match child {
                        Err(group) => needed.push(format!("/{ROOT}/{group} has no policy '{name}'")),
                        Ok(key) if self.is_satisfied(key, signers, msps) => {
                            needed.push(format!("/{ROOT}/{key} is satisfied"));
                        }
                        Ok(key) => self.list_needed(key, signers, msps, needed),
                    }
                }
            }
        }
    }

    fn known_key(&self, path: &str) -> Result<String, PolicyRefusal> {
        self.key(path, "").map_err(|quoted| no_such_policy(&quoted))
    }

    fn is_satisfied(&self, key: &str, signers: &Signers, msps: &MspSet) -> bool {
        match self.policies.get(key) {
            None => false,
            Some(Policy::Signature(policy)) => policy.is_satisfied(signers, msps),
            Some(Policy::ImplicitMeta { rule, children, .. }) => {
                let (satisfied, threshold) = self.count(*rule, children, signers, msps);
                is_enough(satisfied, threshold)
            }
        }
    }

    /// How many children are satisfied, counted no further than needed, and how many are needed.
    fn count(
        &self,
        rule: MetaRule,
        children: &[Result<String, String>],
        signers: &Signers,
        msps: &MspSet,
    ) -> (usize, usize) {
        let threshold = rule.threshold(children.len());
        let mut satisfied = 0;
        for key in children.iter().flatten() {
            if self.is_satisfied(key, signers, msps) {
                satisfied += 1;
                if satisfied == threshold {
                    break;
                }
            }
        }
        (satisfied, threshold)
    }

    /// The principals of all signature policies below a policy.
    fn principals(&self, key: &str) -> Vec<Principal> {
        match self.policies.get(key) {
            None => Vec::new(),
            Some(Policy::Signature(policy)) => policy.principals.clone(),
            Some(Policy::ImplicitMeta { children, .. }) => {
                children.iter().flatten().flat_map(|child| self.principals(child)).collect()
            }
        }
    }
}

/// Equal, not at least: with a rule of unknown number the threshold is 0, and Fabric then refuses once a child is satisfied.
const fn is_enough(satisfied: usize, threshold: usize) -> bool {
    satisfied == threshold
}

fn no_such_policy(quoted: &str) -> PolicyRefusal {
    PolicyRefusal::bare(format!("no such policy: '{quoted}'"))
}
