//! From profiles to configuration trees.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ripstop_channel_config::{genesis, key};
use ripstop_keys::load_msp_config;
use ripstop_policy::{dsl, envelope, implicit_meta};
use ripstop_proto::{Message, common, etcdraft, msp, orderer, protos};
use ripstop_types::{Block, ChannelId, Timestamp, put_varuint};

use crate::error::Within;
use crate::profile::DEFAULT_MSP_TYPE;
use crate::{
    AnchorPeer, Application, BftConsenter, Consensus, EtcdRaft, Orderer, Organization, Policy, Profile, ProfileError,
};

/// The policy of almost everything's change.
pub(crate) const ADMINS: &str = key::ADMINS;
/// The policy of the change of addresses that belong to no organization.
const ORDERER_ADMINS: &str = "/Channel/Orderer/Admins";
/// What only the consortiums of system channels have.
const CHANNEL_CREATION_POLICY: &str = "ChannelCreationPolicy";
/// The capability with which every ordering organization must name its addresses.
const V3_0: &str = "V3_0";

type Capabilities = BTreeMap<String, bool>;

impl Profile {
    /// The configuration tree of a channel with this profile. MSP folders and certificates are read from files.
    pub fn channel_group(&self) -> Result<common::ConfigGroup, ProfileError> {
        let mut group = new_group(&self.policies).within("error adding policies to channel group")?;
        add_value(&mut group, key::HASHING_ALGORITHM, &common::HashingAlgorithm { name: "SHA256".into() }, ADMINS);
        let structure = common::BlockDataHashingStructure { width: u32::MAX };
        add_value(&mut group, key::BLOCK_DATA_HASHING_STRUCTURE, &structure, ADMINS);
        if let Some(orderer) = self.orderer.as_ref().filter(|orderer| !orderer.addresses.is_empty()) {
            let addresses = common::OrdererAddresses { addresses: orderer.addresses.clone() };
            add_value(&mut group, key::ORDERER_ADDRESSES, &addresses, ORDERER_ADMINS);
        }
        if !self.consortium.is_empty() {
            add_value(&mut group, key::CONSORTIUM, &common::Consortium { name: self.consortium.clone() }, ADMINS);
        }
        add_capabilities(&mut group, &self.capabilities);
        if let Some(orderer) = &self.orderer {
            let child = orderer.group(&self.capabilities).within("could not create orderer group")?;
            group.groups.insert(key::ORDERER.into(), child);
        }
        if let Some(application) = &self.application {
            let child = application.group().within("could not create application group")?;
            group.groups.insert(key::APPLICATION.into(), child);
        }
        if let Some(consortiums) = &self.consortiums {
            let child = consortiums_group(consortiums).within("could not create consortiums group")?;
            group.groups.insert(key::CONSORTIUMS.into(), child);
        }
        Ok(group)
    }

    /// The genesis block of a channel with this profile, which must have ordering and a peers' side.
    pub fn genesis_block(
        &self,
        channel_id: &ChannelId,
        nonce: [u8; 24],
        timestamp: Timestamp,
    ) -> Result<Block, ProfileError> {
        if let Some(foreign) = self.organizations().find(|organization| organization.skip_as_foreign) {
            return Err(ProfileError::Refused(format!(
                "could not create bootstrapper: all org definitions must be local during bootstrapping: organization '{}' is marked to be skipped as foreign",
                foreign.name
            )));
        }
        let group = self.channel_group().within("could not create bootstrapper: could not create channel group")?;
        if self.orderer.is_none() {
            return refuse("refusing to generate block which is missing orderer section");
        }
        if self.application.is_none() && self.consortiums.is_none() {
            return refuse("refusing to generate application channel block which is missing application section");
        }
        Ok(genesis::block(channel_id, group, nonce, timestamp))
    }

    fn organizations(&self) -> impl Iterator<Item = &Organization> {
        let orderers = self.orderer.iter().flat_map(|orderer| &orderer.organizations);
        let peers = self.application.iter().flat_map(|application| &application.organizations);
        orderers.chain(peers).chain(self.consortiums.iter().flat_map(|consortiums| consortiums.values().flatten()))
    }
}

fn refuse<T>(problem: impl Into<String>) -> Result<T, ProfileError> {
    Err(ProfileError::Refused(problem.into()))
}

/// A group with its policies, all of which the administrators may change.
fn new_group(policies: &BTreeMap<String, Policy>) -> Result<common::ConfigGroup, ProfileError> {
    if policies.is_empty() {
        return Err(ProfileError::NoPolicies);
    }
    if let Some(missing) =
        [key::ADMINS, key::READERS, key::WRITERS].into_iter().find(|name| !policies.contains_key(*name))
    {
        return Err(ProfileError::NoPolicy(missing));
    }
    let mut group = common::ConfigGroup { mod_policy: ADMINS.into(), ..Default::default() };
    for (name, policy) in policies {
        add_policy(&mut group, name, encode_policy(policy)?, ADMINS);
    }
    Ok(group)
}

fn add_policy(group: &mut common::ConfigGroup, name: &str, policy: common::Policy, mod_policy: &str) {
    let policy = common::ConfigPolicy { version: 0, policy: Some(policy), mod_policy: mod_policy.to_owned() };
    group.policies.insert(name.to_owned(), policy);
}

fn encode_policy(policy: &Policy) -> Result<common::Policy, ProfileError> {
    match policy {
        Policy::ImplicitMeta(rule) => {
            let parsed = implicit_meta::parse(rule)
                .map_err(|source| ProfileError::ImplicitMetaPolicy { rule: rule.clone(), source })?;
            Ok(implicit_meta_policy(&parsed))
        }
        Policy::Signature(rule) => {
            let parsed =
                dsl::parse(rule).map_err(|source| ProfileError::SignaturePolicy { rule: rule.clone(), source })?;
            Ok(signature_policy(&parsed))
        }
        Policy::Other(kind) => Err(ProfileError::PolicyType(kind.clone())),
    }
}

fn implicit_meta_policy(policy: &common::ImplicitMetaPolicy) -> common::Policy {
    let kind = common::policy::PolicyType::ImplicitMeta;
    common::Policy { r#type: kind.into(), value: policy.encode_to_vec().into() }
}

fn signature_policy(envelope: &common::SignaturePolicyEnvelope) -> common::Policy {
    let kind = common::policy::PolicyType::Signature;
    common::Policy { r#type: kind.into(), value: envelope.encode_to_vec().into() }
}

pub(crate) fn add_value(group: &mut common::ConfigGroup, name: &str, value: &impl Message, mod_policy: &str) {
    add_encoded(group, name, value.encode_to_vec(), mod_policy);
}

fn add_encoded(group: &mut common::ConfigGroup, name: &str, value: Vec<u8>, mod_policy: &str) {
    let value = common::ConfigValue { version: 0, value: value.into(), mod_policy: mod_policy.to_owned() };
    group.values.insert(name.to_owned(), value);
}

fn add_capabilities(group: &mut common::ConfigGroup, capabilities: &Capabilities) {
    if !capabilities.is_empty() {
        let required = capabilities.iter().filter(|(_, required)| **required).map(|(name, _)| name.as_str());
        add_encoded(group, key::CAPABILITIES, encode_capabilities(required), ADMINS);
    }
}

/// A `common.Capabilities` as Go encodes it: with the empty value of each map entry, which this crate's encoder leaves
/// out. Both mean the same; equal bytes let people compare blocks.
fn encode_capabilities<'a>(names: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let mut encoded = Vec::new();
    for name in names {
        // Field 1 of an entry is the key, field 2 the value; field 1 of the message is an entry.
        let mut entry = vec![0x0a];
        put_varuint(&mut entry, name.len() as u64);
        entry.extend_from_slice(name.as_bytes());
        entry.extend_from_slice(&[0x12, 0x00]);
        encoded.push(0x0a);
        put_varuint(&mut encoded, entry.len() as u64);
        encoded.extend(entry);
    }
    encoded
}

fn requires_v3(capabilities: &Capabilities) -> bool {
    capabilities.get(V3_0).copied().unwrap_or(false)
}

/// Capabilities as Go prints a map.
fn show(capabilities: &Capabilities) -> String {
    let entries: Vec<String> = capabilities.iter().map(|(name, required)| format!("{name}:{required}")).collect();
    format!("map[{}]", entries.join(" "))
}

impl Orderer {
    fn group(&self, channel: &Capabilities) -> Result<common::ConfigGroup, ProfileError> {
        if matches!(self.consensus, Consensus::Bft { .. }) && !requires_v3(channel) {
            let capabilities = show(channel);
            return refuse(format!("orderer type BFT must be used with V3_0 channel capability: {capabilities}"));
        }
        if !self.addresses.is_empty() && requires_v3(channel) {
            let addresses = self.addresses.join(" ");
            return refuse(format!(
                "global orderer endpoints exist, but can not be used with V3_0 capability: [{addresses}]; name them as OrdererEndpoints of the organisations"
            ));
        }
        let policies = match self.policies.contains_key(key::BLOCK_VALIDATION) || self.policies.is_empty() {
            true => new_group(&self.policies),
            false => Err(ProfileError::NoPolicy(key::BLOCK_VALIDATION)),
        };
        let mut group = policies.within("error adding policies to orderer group")?;
        let batch_size = orderer::BatchSize {
            max_message_count: self.batch_size.max_message_count,
            absolute_max_bytes: self.batch_size.absolute_max_bytes,
            preferred_max_bytes: self.batch_size.preferred_max_bytes,
        };
        add_value(&mut group, key::BATCH_SIZE, &batch_size, ADMINS);
        let batch_timeout = orderer::BatchTimeout { timeout: self.batch_timeout.to_string() };
        add_value(&mut group, key::BATCH_TIMEOUT, &batch_timeout, ADMINS);
        let restrictions = orderer::ChannelRestrictions { max_count: self.max_channels };
        add_value(&mut group, key::CHANNEL_RESTRICTIONS, &restrictions, ADMINS);
        add_capabilities(&mut group, &self.capabilities);
        let metadata = match &self.consensus {
            Consensus::Solo => Bytes::new(),
            Consensus::EtcdRaft(Some(raft)) => {
                raft.metadata().within("cannot marshal metadata for orderer type etcdraft")?
            }
            Consensus::EtcdRaft(None) => return refuse("etcdraft configuration missing"),
            Consensus::Bft { consenters, options } => {
                add_consenters(&mut group, consenters).within("cannot load consenter config for orderer type BFT")?;
                options.encode_to_vec().into()
            }
            Consensus::Other(name) => return refuse(format!("unknown orderer type: {name}")),
        };
        let kind = self.consensus.name().to_owned();
        let consensus = orderer::ConsensusType { r#type: kind, metadata, state: 0 };
        add_value(&mut group, key::CONSENSUS_TYPE, &consensus, ADMINS);
        for organization in &self.organizations {
            let child = organization.orderer_group(channel).within("failed to create orderer org")?;
            group.groups.insert(organization.name.clone(), child);
        }
        Ok(group)
    }
}

impl EtcdRaft {
    fn metadata(&self) -> Result<Bytes, ProfileError> {
        let options = &self.options;
        let consenters = self
            .consenters
            .iter()
            .map(|consenter| {
                let address = format!("{}:{}", consenter.host, consenter.port);
                Ok(etcdraft::Consenter {
                    host: consenter.host.clone(),
                    port: consenter.port,
                    client_tls_cert: read_file("client cert", &address, &consenter.client_tls_cert)?,
                    server_tls_cert: read_file("server cert", &address, &consenter.server_tls_cert)?,
                })
            })
            .collect::<Result<_, ProfileError>>()?;
        let metadata = etcdraft::ConfigMetadata {
            consenters,
            options: Some(etcdraft::Options {
                tick_interval: options.tick_interval.clone(),
                election_tick: options.election_tick,
                heartbeat_tick: options.heartbeat_tick,
                max_inflight_blocks: options.max_inflight_blocks,
                snapshot_interval_size: options.snapshot_interval_size,
            }),
        };
        Ok(metadata.encode_to_vec().into())
    }
}

/// Adds the consenters of byzantine consensus and the block policy that follows from them.
fn add_consenters(group: &mut common::ConfigGroup, consenters: &[BftConsenter]) -> Result<(), ProfileError> {
    let mapping = consenters
        .iter()
        .map(|consenter| {
            let address = format!("{}:{}", consenter.host, consenter.port);
            Ok(common::Consenter {
                id: consenter.id,
                host: consenter.host.clone(),
                port: consenter.port,
                msp_id: consenter.msp_id.as_str().to_owned(),
                identity: read_file("identity", &address, &consenter.identity)?,
                client_tls_cert: read_file("client cert", &address, &consenter.client_tls_cert)?,
                server_tls_cert: read_file("server cert", &address, &consenter.server_tls_cert)?,
            })
        })
        .collect::<Result<Vec<_>, ProfileError>>()?;
    add_policy(group, key::BLOCK_VALIDATION, signature_policy(&bft_block_policy(&mapping)), ADMINS);
    add_value(group, key::ORDERERS, &common::Orderers { consenter_mapping: mapping }, ADMINS);
    Ok(())
}

/// A byzantine quorum of the consenters, each by its very identity (Fabric: `EncodeBFTBlockVerificationPolicy`).
fn bft_block_policy(consenters: &[common::Consenter]) -> common::SignaturePolicyEnvelope {
    let count = consenters.len();
    let faulty = count.saturating_sub(1) / 3;
    let quorum = (count + faulty + 1).div_ceil(2);
    let identity = |consenter: &common::Consenter| common::MspPrincipal {
        principal_classification: common::msp_principal::Classification::Identity.into(),
        principal: msp::SerializedIdentity { mspid: consenter.msp_id.clone(), id_bytes: consenter.identity.clone() }
            .encode_to_vec()
            .into(),
    };
    let rules = (0..).take(count).map(envelope::signed_by).collect();
    common::SignaturePolicyEnvelope {
        version: 0,
        rule: Some(envelope::out_of(i32::try_from(quorum).unwrap_or(i32::MAX), rules)),
        identities: consenters.iter().map(identity).collect(),
    }
}

fn read_file(what: &'static str, address: &str, path: &Path) -> Result<Bytes, ProfileError> {
    std::fs::read(path).map(Bytes::from).map_err(|source| ProfileError::ConsenterFile {
        what,
        address: address.to_owned(),
        path: path.to_owned(),
        source,
    })
}

impl Application {
    fn group(&self) -> Result<common::ConfigGroup, ProfileError> {
        let mut group = new_group(&self.policies).within("error adding policies to application group")?;
        if !self.acls.is_empty() {
            let resource = |policy: &String| protos::ApiResource { policy_ref: policy.clone() };
            let acls = self.acls.iter().map(|(name, policy)| (name.clone(), resource(policy))).collect();
            add_value(&mut group, key::ACLS, &protos::AcLs { acls }, ADMINS);
        }
        add_capabilities(&mut group, &self.capabilities);
        for organization in &self.organizations {
            let child = organization.application_group().within("failed to create application org")?;
            group.groups.insert(organization.name.clone(), child);
        }
        Ok(group)
    }
}

impl Organization {
    /// Its group under ordering, in a channel with these capabilities.
    pub fn orderer_group(&self, channel: &Capabilities) -> Result<common::ConfigGroup, ProfileError> {
        if self.skip_as_foreign {
            return Ok(empty_group());
        }
        let Self { name, .. } = self;
        let mut group = self.group(&format!("org: {name}"), &format!("orderer org group '{name}'"))?;
        if !self.orderer_endpoints.is_empty() {
            let endpoints = common::OrdererAddresses { addresses: self.orderer_endpoints.clone() };
            add_value(&mut group, key::ENDPOINTS, &endpoints, ADMINS);
        } else if requires_v3(channel) {
            return refuse(format!(
                "orderer endpoints for organization {name} are missing and must be configured when capability V3_0 is enabled"
            ));
        }
        Ok(group)
    }

    /// Its group on the peers' side.
    pub fn application_group(&self) -> Result<common::ConfigGroup, ProfileError> {
        if self.skip_as_foreign {
            return Ok(empty_group());
        }
        let Self { name, .. } = self;
        let mut group = self.group(&format!("org {name}"), &format!("application org group {name}"))?;
        if !self.anchor_peers.is_empty() {
            let anchor = |peer: &AnchorPeer| protos::AnchorPeer { host: peer.host.clone(), port: peer.port.into() };
            let anchor_peers = self.anchor_peers.iter().map(anchor).collect();
            add_value(&mut group, key::ANCHOR_PEERS, &protos::AnchorPeers { anchor_peers }, ADMINS);
        }
        Ok(group)
    }

    fn consortium_group(&self) -> Result<common::ConfigGroup, ProfileError> {
        if self.skip_as_foreign {
            return Ok(empty_group());
        }
        let Self { name, .. } = self;
        self.group(&format!("org: {name}"), &format!("consortiums org group '{name}'"))
    }

    /// MSP and policies. The names are those of errors.
    fn group(&self, organization: &str, group_name: &str) -> Result<common::ConfigGroup, ProfileError> {
        let config = match self.msp_type.as_str() {
            DEFAULT_MSP_TYPE => load_msp_config(&self.msp_directory, &self.msp_id).map_err(ProfileError::Msp),
            other => Err(ProfileError::MspType(other.to_owned())),
        };
        let config = config.within(format!("1 - Error loading MSP configuration for {organization}"))?;
        let mut group = new_group(&self.policies).within(format!("error adding policies to {group_name}"))?;
        let config = msp::MspConfig { r#type: 0, config: config.encode_to_vec().into() };
        add_value(&mut group, key::MSP, &config, ADMINS);
        Ok(group)
    }
}

fn empty_group() -> common::ConfigGroup {
    common::ConfigGroup { mod_policy: ADMINS.into(), ..Default::default() }
}

/// The consortiums of a system channel. Fabric's tool still makes such trees; no node takes them.
fn consortiums_group(consortiums: &BTreeMap<String, Vec<Organization>>) -> Result<common::ConfigGroup, ProfileError> {
    let mut group = common::ConfigGroup { mod_policy: ORDERER_ADMINS.into(), ..Default::default() };
    // Nothing but the implicit policies of the channel looks at this one: it leaves the group to the orderers.
    let anybody = signature_policy(&envelope::accept_all());
    add_policy(&mut group, ADMINS, anybody, ORDERER_ADMINS);
    let creation =
        common::ImplicitMetaPolicy { sub_policy: ADMINS.into(), rule: common::implicit_meta_policy::Rule::Any.into() };
    for (name, organizations) in consortiums {
        let mut consortium = common::ConfigGroup { mod_policy: ORDERER_ADMINS.into(), ..Default::default() };
        for organization in organizations {
            let child = organization
                .consortium_group()
                .within(format!("failed to create consortium {name}: failed to create consortium org"))?;
            consortium.groups.insert(organization.name.clone(), child);
        }
        add_value(&mut consortium, CHANNEL_CREATION_POLICY, &implicit_meta_policy(&creation), ORDERER_ADMINS);
        group.groups.insert(name.clone(), consortium);
    }
    Ok(group)
}
