use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_msp::{Msp, MspSet, MspVersion};
use ripstop_proto::msp::MspConfig;
use ripstop_types::MspId;

use crate::group::Group;
use crate::{ConfigError, ConfigFault, key};

/// Sets up the MSPs of a configuration: one an id, however many groups an organization is in.
pub(crate) struct MspBuilder {
    version: MspVersion,
    msps: BTreeMap<MspId, (MspConfig, Msp)>,
}

/// What ordering and application organizations have in common.
pub(crate) struct OrganizationMsp {
    pub(crate) msp_id: MspId,
    /// CA certificates of the organization's TLS servers and clients, PEM.
    pub(crate) tls_roots: Arc<[Bytes]>,
}

impl MspBuilder {
    pub(crate) const fn new(version: MspVersion) -> Self {
        Self { version, msps: BTreeMap::new() }
    }

    /// Reads the MSP of an organization's group.
    pub(crate) fn organization(&mut self, name: &str, group: &Group<'_>) -> Result<OrganizationMsp, ConfigError> {
        if !group.group.groups.is_empty() {
            return Err(ConfigError::new(&group.path, ConfigFault::SubGroups));
        }
        let config: MspConfig = group.value(key::MSP)?;
        let msp = Msp::from_config(&config, self.version).map_err(|e| group.fault(key::MSP, ConfigFault::Msp(e)))?;
        let msp_id = msp.id().clone();
        if msp_id.as_str().is_empty() {
            return Err(group.fault(key::MSP, ConfigFault::EmptyMspId(name.to_owned())));
        }
        let tls_roots = msp.tls_roots().iter().chain(msp.tls_intermediates()).cloned().collect();
        match self.msps.get(&msp_id) {
            Some((known, _)) if *known != config => {
                return Err(group.fault(key::MSP, ConfigFault::MspDefinedTwice(msp_id)));
            }
            Some(_) => {}
            None => {
                self.msps.insert(msp_id.clone(), (config, msp));
            }
        }
        Ok(OrganizationMsp { msp_id, tls_roots })
    }

    pub(crate) fn finish(self) -> MspSet {
        MspSet::new(self.msps.into_values().map(|(_, msp)| msp))
    }
}
