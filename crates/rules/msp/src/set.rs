use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_types::{MspId, SerializedIdentity, SignedData};

use crate::cache::IdentityCache;
use crate::{Identity, IdentityError, Msp, Principal, PrincipalRefusal, VerifyError};

/// All organizations of a channel at one configuration. It remembers whom it identified, with a bound, so a signer's
/// certificate is parsed and validated once a configuration, however many transactions bear it.
#[derive(Default)]
pub struct MspSet {
    msps: BTreeMap<MspId, Arc<Msp>>,
    cache: IdentityCache,
}

impl MspSet {
    /// Joins organizations. Of two with the same id the later counts, as in Fabric.
    pub fn new(msps: impl IntoIterator<Item = Msp>) -> Self {
        Self {
            msps: msps.into_iter().map(|msp| (msp.id().clone(), Arc::new(msp))).collect(),
            cache: IdentityCache::default(),
        }
    }

    /// The MSP of an organization.
    pub fn get(&self, id: &MspId) -> Option<&Arc<Msp>> {
        self.msps.get(id)
    }

    /// All MSPs, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Msp>> {
        self.msps.values()
    }

    /// Finds out who an identity is, given as the bytes of a `SerializedIdentity`. An identity may come out that is not
    /// valid; see [`Identity::validate`].
    pub fn identify(&self, serialized: &Bytes) -> Result<Arc<Identity>, IdentityError> {
        if let Some(identity) = self.cache.get(serialized) {
            return Ok(identity);
        }
        let parsed = SerializedIdentity::parse(serialized.clone())
            .map_err(|error| IdentityError::Encoding(error.to_string()))?;
        let msp = self.msps.get(&parsed.msp_id).ok_or_else(|| IdentityError::UnknownMsp(parsed.msp_id.clone()))?;
        let identity = Arc::new(msp.identify_certificate(&parsed.id_bytes)?);
        self.cache.put(serialized, &identity);
        Ok(identity)
    }

    /// Checks whether an identity is whom a principal means.
    pub fn satisfies(&self, identity: &Identity, principal: &Principal) -> Result<(), PrincipalRefusal> {
        let msp =
            self.msps.get(identity.msp_id()).ok_or_else(|| PrincipalRefusal::UnknownMsp(identity.msp_id().clone()))?;
        msp.satisfies(identity, principal)
    }

    /// Checks that something was signed by a valid identity; returns who that is.
    pub fn verify(&self, signed: &SignedData) -> Result<Arc<Identity>, VerifyError> {
        let identity = self.identify(&signed.identity)?;
        identity.validate()?;
        identity.verify(&signed.message, &signed.signature)?;
        Ok(identity)
    }
}

impl fmt::Debug for MspSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.msps.keys()).finish()
    }
}
