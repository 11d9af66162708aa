use std::fmt;

use bytes::Bytes;
use prost::Message;
use ripstop_proto::common;
use ripstop_types::MspId;

use crate::PrincipalRefusal;

/// How deep combinations of principals may be nested.
const MAX_COMBINATION_DEPTH: usize = 32;

/// What someone can be in an organization. Displays as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Anybody valid.
    Member,
    /// Who may change the organization's part of things.
    Admin,
    /// An application's user.
    Client,
    /// A peer.
    Peer,
    /// An orderer.
    Orderer,
}

impl Role {
    /// The role with a number on the wire (`common.MSPRole.MSPRoleType`).
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Member,
            1 => Self::Admin,
            2 => Self::Client,
            3 => Self::Peer,
            4 => Self::Orderer,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub const fn number(self) -> i32 {
        self as i32
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "MEMBER",
            Self::Admin => "ADMIN",
            Self::Client => "CLIENT",
            Self::Peer => "PEER",
            Self::Orderer => "ORDERER",
        })
    }
}

/// Whom a policy means (`common.MSPPrincipal`). What does not decode is kept as such and satisfied by nobody: Fabric finds
/// that out when it evaluates, not when it reads a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Anyone with a role in an organization.
    Role {
        /// The organization.
        msp_id: MspId,
        /// The role.
        role: Role,
    },
    /// A role without a meaning.
    UnknownRole {
        /// The organization.
        msp_id: MspId,
        /// The number.
        number: i32,
    },
    /// Anyone in a unit of an organization, certified by a certain chain of authorities.
    OrganizationUnit {
        /// The organization.
        msp_id: MspId,
        /// The unit's name.
        unit: String,
        /// The identifier of the chain, see [`crate::OrganizationalUnit::certifiers`].
        certifiers: Bytes,
    },
    /// Exactly one certificate: the bytes of a `SerializedIdentity`.
    Identity(Bytes),
    /// Anyone whose name is known, which X.509 identities are.
    Nominal,
    /// Anyone whose name is not known.
    Anonymous,
    /// Someone who satisfies all of several principals; never nested.
    Combined(Vec<Principal>),
    /// Satisfied by nobody, for a reason.
    Nobody(Box<PrincipalRefusal>),
}

impl Principal {
    /// Reads a principal.
    pub fn parse(principal: &common::MspPrincipal) -> Self {
        Self::parse_at(principal, 0)
    }

    fn parse_at(principal: &common::MspPrincipal, depth: usize) -> Self {
        let bytes = principal.principal.clone();
        let parsed = match principal.principal_classification {
            0 => Self::role(bytes),
            1 => Self::organization_unit(bytes),
            2 => Ok(Self::Identity(bytes)),
            3 => Self::anonymity(bytes),
            4 => Self::combined(bytes, depth),
            other => Err(PrincipalRefusal::PrincipalType(other)),
        };
        parsed.unwrap_or_else(|refusal| Self::Nobody(Box::new(refusal)))
    }

    fn role(bytes: Bytes) -> Result<Self, PrincipalRefusal> {
        let role = decode::<common::MspRole>(bytes, "MSPRole")?;
        let msp_id = MspId::new(&role.msp_identifier);
        Ok(match Role::from_number(role.role) {
            Some(role) => Self::Role { msp_id, role },
            None => Self::UnknownRole { msp_id, number: role.role },
        })
    }

    fn organization_unit(bytes: Bytes) -> Result<Self, PrincipalRefusal> {
        let unit = decode::<common::OrganizationUnit>(bytes, "OrganizationUnit")?;
        Ok(Self::OrganizationUnit {
            msp_id: MspId::new(&unit.msp_identifier),
            unit: unit.organizational_unit_identifier,
            certifiers: unit.certifiers_identifier,
        })
    }

    fn anonymity(bytes: Bytes) -> Result<Self, PrincipalRefusal> {
        match decode::<common::MspIdentityAnonymity>(bytes, "MSPIdentityAnonymity")?.anonymity_type {
            0 => Ok(Self::Nominal),
            1 => Ok(Self::Anonymous),
            other => Err(PrincipalRefusal::AnonymityType(other)),
        }
    }

    fn combined(bytes: Bytes, depth: usize) -> Result<Self, PrincipalRefusal> {
        if depth >= MAX_COMBINATION_DEPTH {
            return Err(PrincipalRefusal::TooDeep(MAX_COMBINATION_DEPTH));
        }
        let parts = decode::<common::CombinedPrincipal>(bytes, "CombinedPrincipal")?.principals;
        if parts.is_empty() {
            return Err(PrincipalRefusal::EmptyCombination);
        }
        let mut flat = Vec::with_capacity(parts.len());
        for part in &parts {
            match Self::parse_at(part, depth + 1) {
                Self::Combined(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        Ok(Self::Combined(flat))
    }

    /// Everyone with a role in an organization, as on the wire.
    pub fn role_message(msp_id: &MspId, role: Role) -> common::MspPrincipal {
        let role = common::MspRole { msp_identifier: msp_id.as_str().to_owned(), role: role.number() };
        common::MspPrincipal {
            principal_classification: common::msp_principal::Classification::Role as i32,
            principal: role.encode_to_vec().into(),
        }
    }
}

fn decode<M: ripstop_proto::Name + Default>(bytes: Bytes, kind: &'static str) -> Result<M, PrincipalRefusal> {
    ripstop_proto::read::<M>(bytes).map_err(|error| PrincipalRefusal::Encoding { kind, reason: error.to_string() })
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { msp_id, role } => write!(f, "{msp_id}.{role}"),
            Self::UnknownRole { msp_id, number } => write!(f, "{msp_id}.role-{number}"),
            Self::OrganizationUnit { msp_id, unit, .. } => write!(f, "{msp_id}.OU({unit})"),
            Self::Identity(_) => f.write_str("one certificate"),
            Self::Nominal => f.write_str("anybody"),
            Self::Anonymous => f.write_str("anybody anonymous"),
            Self::Combined(parts) => {
                for (index, part) in parts.iter().enumerate() {
                    let joint = if index == 0 { "" } else { " and " };
                    write!(f, "{joint}{part}")?;
                }
                Ok(())
            }
            Self::Nobody(refusal) => write!(f, "nobody ({refusal})"),
        }
    }
}
