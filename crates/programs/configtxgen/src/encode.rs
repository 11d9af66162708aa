//! From profiles to configuration trees.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use ripstop_channel_config::{genesis, key};
use ripstop_keys::load_msp_config;
use ripstop_policy::{dsl, envelope, implicit_meta};
use ripstop_proto::orderer::smartbft;
use ripstop_proto::{Message, common, etcdraft, msp, orderer, protos};
use ripstop_types::{Block, ChannelId, GoDuration, Timestamp, put_varuint};

use crate::{Application, BftConsenter, Consensus, EtcdRaft, Orderer, Organization, Policy, Profile, ProfileError};

/// The policy of almost everything's change.
const ADMINS: &str = key::ADMINS;
/// The policy of the change of addresses that belong to no organisation.
const ORDERER_ADMINS: &str = "/Channel/Orderer/Admins";
/// The capability with which every ordering organisation must name its addresses.
const V3_0: &str = "V3_0";

type Capabilities = BTreeMap<String, bool>;

impl Profile {
    /// The configuration tree of a channel with this profile. MSP folders and certificates are read from files.
    pub fn channel_group(&self) -> Result<common::ConfigGroup, ProfileError> {
        let mut group = new_group("channel group", &self.policies, None)?;
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
            group.groups.insert(key::ORDERER.into(), orderer.group(&self.capabilities)?);
        }
        if let Some(application) = &self.application {
            group.groups.insert(key::APPLICATION.into(), application.group()?);
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
        let refuse = |problem| Err(fault("refusing to generate block", problem));
        if self.has_consortiums {
            return refuse("the profile has Consortiums, but the system channel no longer exists");
        }
        if self.orderer.is_none() {
            return refuse("the profile is missing orderer section");
        }
        if self.application.is_none() {
            return refuse("the profile is missing application section");
        }
        Ok(genesis::block(channel_id, self.channel_group()?, nonce, timestamp))
    }
}

/// A group with its policies, all of which the administrators may change.
fn new_group(
    name: &str,
    policies: &BTreeMap<String, Policy>,
    also_needed: Option<&'static str>,
) -> Result<common::ConfigGroup, ProfileError> {
    if policies.is_empty() {
        return Err(ProfileError::NoPolicies(name.to_owned()));
    }
    for needed in also_needed.into_iter().chain([key::ADMINS, key::READERS, key::WRITERS]) {
        if !policies.contains_key(needed) {
            return Err(ProfileError::NoPolicy { group: name.to_owned(), policy: needed });
        }
    }
    let mut group = common::ConfigGroup { mod_policy: ADMINS.into(), ..Default::default() };
    for (policy_name, policy) in policies {
        let encoded = encode_policy(name, policy)?;
        let policy = common::ConfigPolicy { version: 0, policy: Some(encoded), mod_policy: ADMINS.into() };
        group.policies.insert(policy_name.clone(), policy);
    }
    Ok(group)
}

fn encode_policy(group: &str, policy: &Policy) -> Result<common::Policy, ProfileError> {
    let group = group.to_owned();
    Ok(match policy {
        Policy::ImplicitMeta(rule) => {
            let parsed = implicit_meta::parse(rule).map_err(|source| ProfileError::ImplicitMetaPolicy {
                group,
                rule: rule.clone(),
                source,
            })?;
            let kind = common::policy::PolicyType::ImplicitMeta;
            common::Policy { r#type: kind.into(), value: parsed.encode_to_vec().into() }
        }
        Policy::Signature(rule) => {
            let parsed = dsl::parse(rule).map_err(|source| ProfileError::SignaturePolicy {
                group,
                rule: rule.clone(),
                source,
            })?;
            signature_policy(&parsed)
        }
    })
}

fn signature_policy(envelope: &common::SignaturePolicyEnvelope) -> common::Policy {
    let kind = common::policy::PolicyType::Signature;
    common::Policy { r#type: kind.into(), value: envelope.encode_to_vec().into() }
}

fn add_value(group: &mut common::ConfigGroup, name: &str, value: &impl Message, mod_policy: &str) {
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

fn fault(part: impl Into<String>, problem: impl Into<String>) -> ProfileError {
    ProfileError::Part { part: part.into(), problem: problem.into() }
}

impl Orderer {
    fn group(&self, channel: &Capabilities) -> Result<common::ConfigGroup, ProfileError> {
        let part = "could not create orderer group";
        if matches!(self.consensus, Consensus::Bft { .. }) && !requires_v3(channel) {
            return Err(fault(part, "orderer type BFT must be used with V3_0 channel capability"));
        }
        if !self.addresses.is_empty() && requires_v3(channel) {
            let problem =
                "global orderer endpoints exist, but can not be used with V3_0 capability: use OrdererEndpoints";
            return Err(fault(part, problem));
        }
        let mut group = new_group("orderer group", &self.policies, Some(key::BLOCK_VALIDATION))?;
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
        let (kind, metadata) = match &self.consensus {
            Consensus::Solo => ("solo", Bytes::new()),
            Consensus::EtcdRaft(raft) => ("etcdraft", raft.metadata()?),
            Consensus::Bft { consenters, options } => ("BFT", add_consenters(&mut group, consenters, options)?),
        };
        let consensus = orderer::ConsensusType { r#type: kind.into(), metadata, state: 0 };
        add_value(&mut group, key::CONSENSUS_TYPE, &consensus, ADMINS);
        for organization in &self.organizations {
            let mut child = organization.group("orderer org group")?;
            if !organization.skip_as_foreign {
                if !organization.orderer_endpoints.is_empty() {
                    let endpoints = common::OrdererAddresses { addresses: organization.orderer_endpoints.clone() };
                    add_value(&mut child, key::ENDPOINTS, &endpoints, ADMINS);
                } else if requires_v3(channel) {
                    return Err(fault(
                        "failed to create orderer org",
                        format!(
                            "orderer endpoints for organization {} are missing and must be configured when capability V3_0 is enabled",
                            organization.name
                        ),
                    ));
                }
            }
            group.groups.insert(organization.name.clone(), child);
        }
        Ok(group)
    }
}

impl EtcdRaft {
    fn metadata(&self) -> Result<Bytes, ProfileError> {
        const PART: &str = "etcdraft configuration";
        if self.consenters.is_empty() {
            return Err(fault(PART, "etcdraft configuration did not specify any consenter"));
        }
        let options = &self.options;
        if GoDuration::parse(&options.tick_interval).is_err() {
            let problem = format!("Etcdraft TickInterval ({}) must be in time duration format", options.tick_interval);
            return Err(fault(PART, problem));
        }
        if options.election_tick <= options.heartbeat_tick {
            return Err(fault(PART, "election tick must be greater than heartbeat tick"));
        }
        let consenters = self
            .consenters
            .iter()
            .map(|consenter| {
                let address = check_address("etcdraft", &consenter.host, consenter.port)?;
                Ok(etcdraft::Consenter {
                    host: consenter.host.clone(),
                    port: consenter.port,
                    client_tls_cert: read_file("client TLS cert", &address, &consenter.client_tls_cert)?,
                    server_tls_cert: read_file("server TLS cert", &address, &consenter.server_tls_cert)?,
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

/// Adds the consenters of byzantine consensus and the block policy that follows from them; gives the metadata.
fn add_consenters(
    group: &mut common::ConfigGroup,
    consenters: &[BftConsenter],
    options: &smartbft::Options,
) -> Result<Bytes, ProfileError> {
    if consenters.is_empty() {
        return Err(fault("BFT configuration", "BFT configuration did not specify any consenter"));
    }
    let mapping = consenters
        .iter()
        .map(|consenter| {
            let address = check_address("BFT", &consenter.host, consenter.port)?;
            if consenter.msp_id.as_str().is_empty() {
                return Err(fault("BFT configuration", "consenter info in BFT configuration did not specify MSP ID"));
            }
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
    let policy = common::ConfigPolicy {
        version: 0,
        policy: Some(signature_policy(&bft_block_policy(&mapping))),
        mod_policy: ADMINS.into(),
    };
    group.policies.insert(key::BLOCK_VALIDATION.into(), policy);
    add_value(group, key::ORDERERS, &common::Orderers { consenter_mapping: mapping }, ADMINS);
    Ok(options.encode_to_vec().into())
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

fn check_address(consensus: &str, host: &str, port: u32) -> Result<String, ProfileError> {
    let missing = |what| {
        fault(
            format!("{consensus} configuration"),
            format!("consenter info in {consensus} configuration did not specify {what}"),
        )
    };
    if host.is_empty() {
        return Err(missing("host"));
    }
    if port == 0 {
        return Err(missing("port"));
    }
    Ok(format!("{host}:{port}"))
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
        let mut group = new_group("application group", &self.policies, None)?;
        if !self.acls.is_empty() {
            let resource = |policy: &String| protos::ApiResource { policy_ref: policy.clone() };
            let acls = self.acls.iter().map(|(name, policy)| (name.clone(), resource(policy))).collect();
            add_value(&mut group, key::ACLS, &protos::AcLs { acls }, ADMINS);
        }
        add_capabilities(&mut group, &self.capabilities);
        for organization in &self.organizations {
            let mut child = organization.group("application org group")?;
            if !organization.skip_as_foreign && !organization.anchor_peers.is_empty() {
                let anchor_peers = organization
                    .anchor_peers
                    .iter()
                    .map(|peer| protos::AnchorPeer { host: peer.host.clone(), port: peer.port.into() })
                    .collect();
                add_value(&mut child, key::ANCHOR_PEERS, &protos::AnchorPeers { anchor_peers }, ADMINS);
            }
            group.groups.insert(organization.name.clone(), child);
        }
        Ok(group)
    }
}

impl Organization {
    /// What its groups in ordering and application have in common.
    fn group(&self, kind: &str) -> Result<common::ConfigGroup, ProfileError> {
        if self.skip_as_foreign {
            return Ok(common::ConfigGroup { mod_policy: ADMINS.into(), ..Default::default() });
        }
        let config = load_msp_config(&self.msp_directory, &self.msp_id)
            .map_err(|source| ProfileError::Msp { organization: self.name.clone(), source })?;
        let mut group = new_group(&format!("{kind} '{}'", self.name), &self.policies, None)?;
        let config = msp::MspConfig { r#type: 0, config: config.encode_to_vec().into() };
        add_value(&mut group, key::MSP, &config, ADMINS);
        Ok(group)
    }
}
