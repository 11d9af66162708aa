use std::collections::HashMap;

use ripstop_types::{Digest, MspId};

use crate::{Identity, Role, RoleRefusal, UnitError};

/// The unit that marks a role, and under which chain of authorities it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleUnit {
    pub(crate) name: String,
    /// Any chain where `None`.
    pub(crate) certifiers: Option<Digest>,
}

/// How an organization marks roles by organizational units.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeOus {
    pub(crate) client: Option<RoleUnit>,
    pub(crate) peer: Option<RoleUnit>,
    pub(crate) admin: Option<RoleUnit>,
    pub(crate) orderer: Option<RoleUnit>,
}

impl NodeOus {
    fn of_role(&self, role: Role) -> Option<&RoleUnit> {
        match role {
            Role::Client => self.client.as_ref(),
            Role::Peer => self.peer.as_ref(),
            Role::Admin => self.admin.as_ref(),
            Role::Orderer => self.orderer.as_ref(),
            Role::Member => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        [&self.client, &self.peer, &self.admin, &self.orderer].into_iter().all(Option::is_none)
    }

    /// Checks that exactly one unit marks a role. Where two roles share a unit's name, the later of client, peer, admin
    /// and orderer says which chain it takes.
    pub(crate) fn check_one_role(&self, identity: &Identity) -> Result<(), UnitError> {
        let mut marks: HashMap<&str, &RoleUnit> = HashMap::new();
        for unit in [&self.client, &self.peer, &self.admin, &self.orderer].into_iter().flatten() {
            marks.insert(&unit.name, unit);
        }
        let (units, msp_id) = (|| identity.units_text(), || identity.msp_id().clone());
        let mut roles = 0;
        for unit in identity.organizational_units() {
            let Some(mark) = marks.get(unit.name.as_str()) else { continue };
            if mark.certifiers.is_some_and(|certifiers| certifiers != unit.certifiers) {
                return Err(UnitError::Certifiers { units: units(), msp_id: msp_id() });
            }
            roles += 1;
            if roles > 1 {
                return Err(UnitError::SeveralRoles { units: units(), msp_id: msp_id() });
            }
        }
        if roles == 0 {
            return Err(UnitError::NoRole { units: units(), msp_id: msp_id() });
        }
        Ok(())
    }
}

/// Whether an identity bears the unit of a role. The chain is not compared: that was part of validating it.
pub(crate) fn check_role(
    node_ous: Option<&NodeOus>,
    identity: &Identity,
    role: Role,
    msp_id: &MspId,
) -> Result<(), RoleRefusal> {
    let node_ous = node_ous.ok_or(RoleRefusal::NotEnabled)?;
    let unit = node_ous.of_role(role).ok_or_else(|| RoleRefusal::NotDefined { role, msp_id: msp_id.clone() })?;
    if identity.organizational_units().iter().any(|held| held.name == unit.name) {
        Ok(())
    } else {
        Err(RoleRefusal::NoUnit { role, msp_id: msp_id.clone() })
    }
}
