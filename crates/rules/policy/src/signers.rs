use std::collections::HashSet;
use std::sync::Arc;

use ripstop_crypto::SignatureError;
use ripstop_msp::{Claim, Identity, IdentityError, MspSet};
use ripstop_types::{Digest, MspId, SignedData};

/// Why a signature of a set does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCounted {
    /// The signer is nobody known.
    #[error("signature {index} claims to be by {claimed}, who is nobody known: {source}")]
    Unknown {
        /// The place in the set.
        index: usize,
        /// Whom the signer claims to be.
        claimed: Claim,
        /// Why not.
        source: IdentityError,
    },
    /// The signer's signature was counted already.
    #[error("signature {index} is a second one by {signer}")]
    Repeated {
        /// The place in the set.
        index: usize,
        /// Who it is.
        signer: String,
    },
    /// The signature is not the signer's.
    #[error("signature {index} by {signer}: {source}")]
    Signature {
        /// The place in the set.
        index: usize,
        /// Who it claims to be.
        signer: String,
        /// What is wrong.
        source: SignatureError,
    },
}

/// The distinct signers of a set whose signatures are right, in order. Whether they are valid is found out by the
/// principals they are measured against. Several policies can be evaluated over one set without checking it again.
#[derive(Debug, Clone, Default)]
pub struct Signers {
    identities: Vec<Arc<Identity>>,
    not_counted: Vec<NotCounted>,
}

impl Signers {
    /// Checks a set of signatures (Fabric: `SignatureSetToValidIdentities`). A signer whose first signature is wrong may
    /// still come with a right one.
    pub fn collect(signed: &[SignedData], msps: &MspSet) -> Self {
        let mut seen: HashSet<(MspId, Digest)> = HashSet::with_capacity(signed.len());
        let mut signers = Self::default();
        for (index, data) in signed.iter().enumerate() {
            let identity = match msps.identify(&data.identity) {
                Ok(identity) => identity,
                Err(source) => {
                    let claimed = Claim::of(&data.identity);
                    signers.not_counted.push(NotCounted::Unknown { index, claimed, source });
                    continue;
                }
            };
            let key = (identity.msp_id().clone(), identity.digest());
            if seen.contains(&key) {
                signers.not_counted.push(NotCounted::Repeated { index, signer: name(&identity) });
                continue;
            }
            if let Err(source) = identity.verify(&data.message, &data.signature) {
                signers.not_counted.push(NotCounted::Signature { index, signer: name(&identity), source });
                continue;
            }
            seen.insert(key);
            signers.identities.push(identity);
        }
        signers
    }

    /// Takes identities whose signatures were checked elsewhere.
    pub fn from_identities(identities: Vec<Arc<Identity>>) -> Self {
        Self { identities, not_counted: Vec::new() }
    }

    /// Who signed.
    pub fn identities(&self) -> &[Arc<Identity>] {
        &self.identities
    }

    /// Which signatures do not count, and why.
    pub fn not_counted(&self) -> &[NotCounted] {
        &self.not_counted
    }
}

/// An identity as explanations name it.
pub(crate) fn name(identity: &Identity) -> String {
    format!("'{}' of {}", identity.certificate().subject(), identity.msp_id())
}
