use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_crypto::SignatureError;
use ripstop_proto::msp;
use ripstop_types::{MspId, SignedData};

use crate::cache::IdentityCache;
use crate::{Claim, Identity, IdentityError, Msp, MspSetupError, MspVersion, PrincipalRefusal, Role, VerifyError};

/// Whom a node's own organization lets do something that concerns no channel. Displays as in access control lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalPolicy {
    /// Its administrators.
    Admins,
    /// Anyone valid.
    Members,
}

impl LocalPolicy {
    const fn role(self) -> Role {
        match self {
            Self::Admins => Role::Admin,
            Self::Members => Role::Member,
        }
    }
}

impl fmt::Display for LocalPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admins => "Admins",
            Self::Members => "Members",
        })
    }
}

/// Why a node's own organization does not let someone do something. Displays in Fabric's words for proposals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocalRefusal {
    /// Not an identity of this organization.
    #[error("Failed deserializing proposal creator during channelless check policy with policy [{policy}]: [{source}]")]
    Identity {
        /// What was asked for.
        policy: LocalPolicy,
        /// Why not.
        source: IdentityError,
        /// Whom it claims to be.
        claim: Claim,
    },
    /// An identity of this organization, but not one the policy means.
    #[error(
        "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [{policy}]: [{source}]"
    )]
    Principal {
        /// What was asked for.
        policy: LocalPolicy,
        /// Why not.
        source: PrincipalRefusal,
        /// Whom it claims to be.
        claim: Claim,
    },
    /// The signature is not the identity's.
    #[error("{source}")]
    Signature {
        /// What is wrong.
        source: SignatureError,
        /// Whom it claims to be.
        claim: Claim,
    },
}

impl LocalRefusal {
    /// Whom the signer claims to be.
    pub const fn claim(&self) -> &Claim {
        match self {
            Self::Identity { claim, .. } | Self::Principal { claim, .. } | Self::Signature { claim, .. } => claim,
        }
    }
}

/// A node's own organization.
pub struct LocalMsp {
    msp: Msp,
    cache: IdentityCache,
}

impl LocalMsp {
    /// Sets it up; a node's own MSP always follows the newest rules.
    pub fn new(config: &msp::FabricMspConfig) -> Result<Self, MspSetupError> {
        Ok(Self { msp: Msp::new(config, MspVersion::V3_0)?, cache: IdentityCache::default() })
    }

    /// The organization's id.
    pub fn id(&self) -> &MspId {
        self.msp.id()
    }

    /// The organization's trust.
    pub fn msp(&self) -> &Msp {
        &self.msp
    }

    /// Finds out who an identity of this organization is, given as the bytes of a `SerializedIdentity`.
    pub fn identify(&self, serialized: &Bytes) -> Result<Arc<Identity>, IdentityError> {
        if let Some(identity) = self.cache.get(serialized) {
            return Ok(identity);
        }
        let identity = Arc::new(self.msp.identify(serialized)?);
        self.cache.put(serialized, &identity);
        Ok(identity)
    }

    /// Checks that something was signed by a valid identity of this organization; returns who that is.
    pub fn verify(&self, signed: &SignedData) -> Result<Arc<Identity>, VerifyError> {
        let identity = self.identify(&signed.identity)?;
        identity.validate()?;
        identity.verify(&signed.message, &signed.signature)?;
        Ok(identity)
    }

    /// Checks that something was signed by someone a local policy means; returns who that is. The order and the words are
    /// Fabric's (`CheckPolicyNoChannel`).
    pub fn check(&self, policy: LocalPolicy, signed: &SignedData) -> Result<Arc<Identity>, LocalRefusal> {
        let claim = || Claim::of(&signed.identity);
        let identity = self.identify(&signed.identity).map_err(|source| LocalRefusal::Identity {
            policy,
            source,
            claim: claim(),
        })?;
        self.msp.satisfies_role(&identity, policy.role()).map_err(|source| LocalRefusal::Principal {
            policy,
            source,
            claim: claim(),
        })?;
        identity
            .verify(&signed.message, &signed.signature)
            .map_err(|source| LocalRefusal::Signature { source, claim: claim() })?;
        Ok(identity)
    }
}

impl fmt::Debug for LocalMsp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "local MSP {}", self.id())
    }
}
