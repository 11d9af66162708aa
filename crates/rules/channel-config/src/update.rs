//! From one configuration to the next (Fabric: `common/configtx`).
//!
//! An update is two partial trees. The *read set* says which elements, at which versions, the update was computed from; the
//! *write set* holds those and what changes. An element (group, value or policy) changes when its version is not that of
//! the read set. Whoever changes an element must satisfy the policy that the **current** configuration names for it. A
//! group's change is a change of its membership: groups that do not change keep their children whatever the write set lists,
//! and an element that no group lists any more is gone.

mod compute;
mod element;

use std::collections::BTreeMap;

use bytes::Bytes;
use ripstop_policy::{PolicyRefusal, Reader, Signers};
use ripstop_proto::common;
use ripstop_types::{Envelope, EnvelopeError, HeaderType, SignatureHeader, SignedData};

pub use self::compute::{ComputeError, compute};
use self::element::{Element, ElementKey, Elements};
use crate::names::check_name;
use crate::{ChannelConfig, ConfigError, ConfigFault, TransitionError, key};

/// The policy that elements without one get; see [`Proposal::rebuild`].
const UPGRADED_MOD_POLICY: &str = key::ADMINS;

/// Why an update is refused. The words are Fabric's; behind a refused policy stands who signed and why that is not enough.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UpdateError {
    /// The transaction does not parse.
    #[error("error converting envelope to config update: {0}")]
    Envelope(EnvelopeError),
    /// A transaction without an update.
    #[error("error converting envelope to config update: error unmarshalling message for type CONFIG_UPDATE: {0}")]
    Unmarshal(prost::DecodeError),
    /// A transaction of another type.
    #[error("error converting envelope to config update: invalid type {found:?}, expected CONFIG_UPDATE")]
    WrongType {
        /// The type it has.
        found: HeaderType,
    },
    /// A message inside does not decode.
    #[error("error authorizing update: the {what} does not decode: {source}")]
    Decode {
        /// Which message.
        what: &'static str,
        /// Why not.
        source: prost::DecodeError,
    },
    /// An update for another channel.
    #[error("error authorizing update: ConfigUpdate for channel '{update}' but envelope for channel '{channel}'")]
    OtherChannel {
        /// The channel the update names.
        update: String,
        /// The channel it was sent to.
        channel: String,
    },
    /// A name in the update breaks the rule for names.
    #[error("error authorizing update: error mapping {set}: illegal characters in key: {element}: {fault}")]
    Name {
        /// `ReadSet` or `WriteSet`.
        set: &'static str,
        /// Where.
        element: String,
        /// Why.
        fault: ConfigFault,
    },
    /// The update was computed from something that is not there (any more).
    #[error(
        "error authorizing update: error validating ReadSet: existing config does not contain element for {0} but was in the read set"
    )]
    ReadUnknown(String),
    /// The update was computed from an older or newer configuration.
    #[error(
        "error authorizing update: error validating ReadSet: proposed update requires that key {element} be at version {proposed}, but it is currently at version {current}"
    )]
    ReadVersion {
        /// The element.
        element: String,
        /// The version in the read set.
        proposed: u64,
        /// The version it has.
        current: u64,
    },
    /// Nothing changes.
    #[error("error authorizing update: error validating DeltaSet: delta set was empty -- update would have no effect")]
    NoEffect,
    /// An element would get a policy that cannot be one.
    #[error("error authorizing update: error validating DeltaSet: invalid mod_policy for element {element}: {fault}")]
    ModPolicy {
        /// The element.
        element: String,
        /// What is wrong.
        fault: ModPolicyFault,
    },
    /// A new element that does not begin at version 0.
    #[error(
        "error authorizing update: error validating DeltaSet: attempted to set key {element} to version {version}, but key does not exist"
    )]
    NewVersion {
        /// The element.
        element: String,
        /// The version it would have.
        version: u64,
    },
    /// A version that is not the next one.
    #[error(
        "error authorizing update: error validating DeltaSet: attempt to set key {element} to version {version}, but key is at version {current}"
    )]
    WriteVersion {
        /// The element.
        element: String,
        /// The version it would have.
        version: u64,
        /// The version it has.
        current: u64,
    },
    /// The current configuration names a policy that it does not have; nobody can change the element.
    #[error(
        "error authorizing update: error validating DeltaSet: unexpected missing policy {policy} for item {element}"
    )]
    NoPolicy {
        /// The element.
        element: String,
        /// The policy.
        policy: String,
    },
    /// Not enough or not the right signatures.
    #[error("error authorizing update: error validating DeltaSet: policy for {element} not satisfied: {}", .refusal.text(Reader::Member))]
    NotAuthorized {
        /// The element.
        element: String,
        /// Why not.
        refusal: PolicyRefusal,
    },
    /// A group lists something that is nowhere.
    #[error("could not turn configMap back to channelGroup: missing element at path: {0}")]
    Missing(String),
    /// The result is no valid configuration.
    #[error("initializing channelconfig failed: {} (at {})", .0.fault, .0.path)]
    Config(ConfigError),
    /// The result may not follow the current configuration.
    #[error(transparent)]
    Transition(TransitionError),
    /// A configuration transaction without configuration.
    #[error("config envelope has nil config")]
    NoConfig,
    /// A configuration transaction without the update that it comes from.
    #[error("the config envelope does not hold the update that it comes from")]
    NoLastUpdate,
    /// A configuration that is not the next one.
    #[error("config currently at sequence {current}, cannot validate config at sequence {offered}")]
    Sequence {
        /// The current sequence.
        current: u64,
        /// The offered one.
        offered: u64,
    },
    /// The orderer's result is not the one that the update gives.
    #[error("ConfigEnvelope LastUpdate did not produce the supplied config result: they differ at {0}")]
    OtherResult(String),
    /// There is no sequence after the current one.
    #[error("the configuration's sequence cannot grow any more")]
    LastSequence,
}

impl UpdateError {
    /// Whether the result is beyond this software rather than wrong; see [`ConfigError::is_unsupported`].
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Config(error) if error.is_unsupported())
    }
}

/// Why a text cannot name a policy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModPolicyFault {
    /// No name.
    #[error("mod_policy not set")]
    Empty,
    /// A part of the path is no name.
    #[error("path element at {index} is invalid: {fault}")]
    Part {
        /// Which part, counted from 0.
        index: usize,
        /// Why not.
        fault: ConfigFault,
    },
}

/// Takes the update out of a transaction of type `CONFIG_UPDATE`.
pub fn extract(envelope: &common::Envelope) -> Result<common::ConfigUpdateEnvelope, UpdateError> {
    let envelope = Envelope::from_proto(envelope.clone()).map_err(UpdateError::Envelope)?;
    if envelope.channel_header.kind != HeaderType::ConfigUpdate {
        return Err(UpdateError::WrongType { found: envelope.channel_header.kind });
    }
    ripstop_proto::read::<common::ConfigUpdateEnvelope>(envelope.data).map_err(UpdateError::Unmarshal)
}

/// Authorises an update against the current configuration and gives the next one: an orderer's part. The result's
/// [`ChannelConfig::config`] goes into the configuration transaction. Whether settings of the consensus fit the nodes that
/// run is for the consensus to check.
pub fn propose(current: &ChannelConfig, update: &common::ConfigUpdateEnvelope) -> Result<ChannelConfig, UpdateError> {
    let root = authorize(current, update)?;
    let sequence = current.sequence().checked_add(1).ok_or(UpdateError::LastSequence)?;
    succeed(current, common::Config { sequence, channel_group: Some(root) })
}

/// Judges a configuration transaction that an orderer made, and gives the configuration in it: the part of peers and of
/// the other orderers. The update inside is authorised once more and must give the very same tree.
pub fn accept(current: &ChannelConfig, envelope: &common::ConfigEnvelope) -> Result<ChannelConfig, UpdateError> {
    let config = envelope.config.as_ref().ok_or(UpdateError::NoConfig)?;
    if current.sequence().checked_add(1) != Some(config.sequence) {
        return Err(UpdateError::Sequence { current: current.sequence(), offered: config.sequence });
    }
    let update = extract(envelope.last_update.as_ref().ok_or(UpdateError::NoLastUpdate)?)?;
    let root = authorize(current, &update)?;
    let offered = config.channel_group.clone().unwrap_or_default();
    if let Some(path) = element::first_difference(&root, &offered) {
        return Err(UpdateError::OtherResult(path));
    }
    succeed(current, config.clone())
}

fn succeed(current: &ChannelConfig, config: common::Config) -> Result<ChannelConfig, UpdateError> {
    let next = ChannelConfig::new(current.channel_id().clone(), config).map_err(UpdateError::Config)?;
    current.check_successor(&next).map_err(UpdateError::Transition)?;
    Ok(next)
}

/// What the signers of an update signed: signature header and update (Fabric: `ConfigUpdateEnvelopeAsSignedData`).
pub fn signed_data(update: &common::ConfigUpdateEnvelope) -> Result<Vec<SignedData>, UpdateError> {
    update
        .signatures
        .iter()
        .map(|signature| {
            let header = SignatureHeader::parse(signature.signature_header.clone())
                .map_err(|source| UpdateError::Decode { what: "signature header", source })?;
            Ok(SignedData {
                identity: header.creator,
                message: Bytes::from([signature.signature_header.as_ref(), update.config_update.as_ref()].concat()),
                signature: signature.signature.clone(),
            })
        })
        .collect()
}

/// Checks an update and gives the tree it makes of the current one.
fn authorize(
    current: &ChannelConfig,
    envelope: &common::ConfigUpdateEnvelope,
) -> Result<common::ConfigGroup, UpdateError> {
    let update = ripstop_proto::read::<common::ConfigUpdate>(envelope.config_update.clone())
        .map_err(|source| UpdateError::Decode { what: "config update", source })?;
    if update.channel_id != current.channel_id().as_str() {
        return Err(UpdateError::OtherChannel {
            update: update.channel_id,
            channel: current.channel_id().as_str().to_owned(),
        });
    }
    let proposal = Proposal {
        current: Elements::of(Some(current.root())).map_err(|error| error.in_set("current config"))?,
        read: Elements::of(update.read_set.as_ref()).map_err(|error| error.in_set("ReadSet"))?,
        write: Elements::of(update.write_set.as_ref()).map_err(|error| error.in_set("WriteSet"))?,
    };
    proposal.check_read_set()?;
    let delta = proposal.delta();
    let signers = Signers::collect(&signed_data(envelope)?, current.msps());
    proposal.check_delta(&delta, current, &signers)?;
    proposal.rebuild(&delta)
}

/// The three trees of an update, flat.
struct Proposal<'a> {
    current: Elements<'a>,
    read: Elements<'a>,
    write: Elements<'a>,
}

type Delta<'a> = BTreeMap<ElementKey, Element<'a>>;

impl<'a> Proposal<'a> {
    /// What was read must be what is there, by version; contents are not compared.
    fn check_read_set(&self) -> Result<(), UpdateError> {
        for (name, read) in self.read.iter() {
            let current = self.current.get(name).ok_or_else(|| UpdateError::ReadUnknown(name.to_string()))?;
            if current.version() != read.version() {
                return Err(UpdateError::ReadVersion {
                    element: name.to_string(),
                    proposed: read.version(),
                    current: current.version(),
                });
            }
        }
        Ok(())
    }

    /// What is written and not merely read.
    fn delta(&self) -> Delta<'a> {
        self.write
            .iter()
            .filter(|(name, written)| self.read.get(name).is_none_or(|read| read.version() != written.version()))
            .map(|(name, written)| (name.clone(), *written))
            .collect()
    }

    /// Each change must be the next version of its element and be signed for. What is new is covered by the change of the
    /// group that lists it.
    fn check_delta(&self, delta: &Delta<'_>, config: &ChannelConfig, signers: &Signers) -> Result<(), UpdateError> {
        if delta.is_empty() {
            return Err(UpdateError::NoEffect);
        }
        for (name, changed) in delta {
            check_mod_policy(changed.mod_policy())
                .map_err(|fault| UpdateError::ModPolicy { element: name.to_string(), fault })?;
            let version = changed.version();
            let Some(current) = self.current.get(name) else {
                if version != 0 {
                    return Err(UpdateError::NewVersion { element: name.to_string(), version });
                }
                continue;
            };
            if current.version().checked_add(1) != Some(version) {
                let current = current.version();
                return Err(UpdateError::WriteVersion { element: name.to_string(), version, current });
            }
            let policy = name.resolve_policy(current.mod_policy()).filter(|path| config.policies().contains(path));
            let policy = policy.ok_or_else(|| UpdateError::NoPolicy {
                element: name.to_string(),
                policy: current.mod_policy().to_owned(),
            })?;
            config
                .policies()
                .evaluate_signers(&policy, signers, config.msps())
                .map_err(|refusal| UpdateError::NotAuthorized { element: name.to_string(), refusal })?;
        }
        Ok(())
    }

    /// The tree that results: what changed over what is there, followed from the root along the lists of the groups.
    ///
    /// Where the result names capabilities of ordering, elements without a policy of their own get that of the
    /// administrators. Fabric looks for those capabilities among *all* elements, also those that no group lists any more.
    fn rebuild(&self, delta: &Delta<'_>) -> Result<common::ConfigGroup, UpdateError> {
        let capabilities = ElementKey::orderer_capabilities();
        let upgrade = delta.contains_key(&capabilities) || self.current.get(&capabilities).is_some();
        let mut root = self.rebuild_group(&ElementKey::root(), delta)?;
        if upgrade {
            upgrade_mod_policies(&mut root);
        }
        Ok(root)
    }

    fn find(&self, name: &ElementKey, delta: &Delta<'a>) -> Result<Element<'a>, UpdateError> {
        delta
            .get(name)
            .or_else(|| self.current.get(name))
            .copied()
            .ok_or_else(|| UpdateError::Missing(name.to_string()))
    }

    fn rebuild_group(&self, name: &ElementKey, delta: &Delta<'a>) -> Result<common::ConfigGroup, UpdateError> {
        let Element::Group(group) = self.find(name, delta)? else {
            return Err(UpdateError::Missing(name.to_string()));
        };
        let mut rebuilt =
            common::ConfigGroup { version: group.version, mod_policy: group.mod_policy.clone(), ..Default::default() };
        for child in group.groups.keys() {
            rebuilt.groups.insert(child.clone(), self.rebuild_group(&name.group(child), delta)?);
        }
        for child in group.values.keys() {
            let Element::Value(value) = self.find(&name.value(child), delta)? else { continue };
            rebuilt.values.insert(child.clone(), value.clone());
        }
        for child in group.policies.keys() {
            let Element::Policy(policy) = self.find(&name.policy(child), delta)? else { continue };
            rebuilt.policies.insert(child.clone(), policy.clone());
        }
        Ok(rebuilt)
    }
}

fn upgrade_mod_policies(group: &mut common::ConfigGroup) {
    let upgrade = |mod_policy: &mut String| {
        if mod_policy.is_empty() {
            UPGRADED_MOD_POLICY.clone_into(mod_policy);
        }
    };
    upgrade(&mut group.mod_policy);
    group.values.values_mut().for_each(|value| upgrade(&mut value.mod_policy));
    group.policies.values_mut().for_each(|policy| upgrade(&mut policy.mod_policy));
    group.groups.values_mut().for_each(upgrade_mod_policies);
}

fn check_mod_policy(mod_policy: &str) -> Result<(), ModPolicyFault> {
    if mod_policy.is_empty() {
        return Err(ModPolicyFault::Empty);
    }
    for (index, part) in mod_policy.strip_prefix('/').unwrap_or(mod_policy).split('/').enumerate() {
        check_name(part).map_err(|fault| ModPolicyFault::Part { index, fault })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
