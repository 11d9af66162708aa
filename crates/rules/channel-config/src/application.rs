use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_proto::{common, protos};
use ripstop_types::MspId;

use crate::group::Group;
use crate::organization::MspBuilder;
use crate::{ApplicationCapabilities, ConfigError, ConfigFault, key};

/// The peers' side of a channel (`/Channel/Application`).
#[derive(Debug, Clone)]
pub struct ApplicationConfig {
    /// What its capabilities switch.
    pub capabilities: ApplicationCapabilities,
    /// Policies of resources that differ from the defaults, as absolute paths; see [`crate::acl`].
    pub acls: BTreeMap<String, String>,
    /// The organizations by name of their group, which need not be the MSP id.
    pub organizations: BTreeMap<String, ApplicationOrganization>,
}

/// An organization with peers.
#[derive(Debug, Clone)]
pub struct ApplicationOrganization {
    /// Its MSP.
    pub msp_id: MspId,
    /// Peers that other organizations may know of. Those that nobody could dial are left out.
    pub anchor_peers: Vec<AnchorPeer>,
    /// CA certificates of its TLS servers and clients, PEM.
    pub tls_roots: Arc<[Bytes]>,
}

/// A peer that other organizations may know of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AnchorPeer {
    /// Host name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl AnchorPeer {
    /// Host and port as one address.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl ApplicationConfig {
    pub(crate) fn read(path: String, group: &common::ConfigGroup, msps: &mut MspBuilder) -> Result<Self, ConfigError> {
        let group = Group::new(path, group, &[key::ACLS, key::CAPABILITIES])?;
        let names = group.capabilities()?;
        let capabilities = ApplicationCapabilities::from_names(names.iter().map(String::as_str))
            .map_err(|fault| group.fault(key::CAPABILITIES, fault))?;
        let acls: protos::AcLs = group.value(key::ACLS)?;
        if group.has_value(key::ACLS) && !capabilities.acls() {
            return Err(group.fault(key::ACLS, ConfigFault::EarlyAcls));
        }
        let mut organizations = BTreeMap::new();
        for (name, child) in &group.group.groups {
            organizations.insert(name.clone(), read_organization(&group, name, child, msps)?);
        }
        Ok(Self { capabilities, acls: absolute_acls(acls), organizations })
    }

    /// The organization whose MSP this is.
    pub fn organization_of(&self, msp_id: &MspId) -> Option<(&str, &ApplicationOrganization)> {
        self.organizations.iter().find(|(_, org)| org.msp_id == *msp_id).map(|(name, org)| (name.as_str(), org))
    }
}

fn read_organization(
    parent: &Group<'_>,
    name: &str,
    group: &common::ConfigGroup,
    msps: &mut MspBuilder,
) -> Result<ApplicationOrganization, ConfigError> {
    let group = Group::new(parent.below(name), group, &[key::MSP, key::ANCHOR_PEERS])?;
    let anchor_peers: protos::AnchorPeers = group.value(key::ANCHOR_PEERS)?;
    let msp = msps.organization(name, &group)?;
    let anchor_peers = anchor_peers
        .anchor_peers
        .into_iter()
        .filter_map(|peer| {
            let port = u16::try_from(peer.port).ok().filter(|port| *port != 0)?;
            Some(AnchorPeer { host: peer.host, port }).filter(|peer| !peer.host.is_empty())
        })
        .collect();
    Ok(ApplicationOrganization { msp_id: msp.msp_id, anchor_peers, tls_roots: msp.tls_roots })
}

/// Relative policies are those of the application group; empty ones fall back to the default.
fn absolute_acls(acls: protos::AcLs) -> BTreeMap<String, String> {
    acls.acls
        .into_iter()
        .filter(|(_, resource)| !resource.policy_ref.is_empty())
        .map(|(name, resource)| {
            let policy = if resource.policy_ref.starts_with('/') {
                resource.policy_ref
            } else {
                format!("/{}/{}/{}", key::CHANNEL, key::APPLICATION, resource.policy_ref)
            };
            (name, policy)
        })
        .collect()
}
