use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_types::{MspId, SerializedIdentity};

use crate::Certificate;

/// A signature could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signing failed: {reason}")]
pub struct SignError {
    /// What the key's keeper said.
    pub reason: String,
}

/// Something that holds a private key.
///
/// `sign` takes the message, not its hash: ECDSA keys sign its SHA-256 and answer a DER signature with low `s`, Ed25519
/// keys sign the message itself. It may block (a hardware module), must be safe to call from several threads at once, and
/// never answers a signature the matching public key would refuse.
pub trait Signer: Send + Sync {
    /// Signs a message.
    fn sign(&self, message: &[u8]) -> Result<Bytes, SignError>;
}

/// Someone of an organization who can sign. Clones share the key.
#[derive(Clone)]
pub struct SigningIdentity(Arc<Inner>);

struct Inner {
    identity: SerializedIdentity,
    certificate: Certificate,
    signer: Arc<dyn Signer>,
}

impl SigningIdentity {
    /// Joins a certificate with its private key. That they belong together is the caller's promise.
    ///
    /// The identity on the wire is the certificate's own PEM encoding, not the text of the file it came from, as in Fabric.
    pub fn new(msp_id: MspId, certificate: Certificate, signer: Arc<dyn Signer>) -> Self {
        let identity = SerializedIdentity::new(msp_id, certificate.to_pem().into());
        Self(Arc::new(Inner { identity, certificate, signer }))
    }

    /// The identity as it travels.
    pub fn identity(&self) -> &SerializedIdentity {
        &self.0.identity
    }

    /// The organization.
    pub fn msp_id(&self) -> &MspId {
        &self.0.identity.msp_id
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Result<Bytes, SignError> {
        self.0.signer.sign(message)
    }
}

impl fmt::Debug for SigningIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signing identity {} of {}", self.0.certificate.subject(), self.msp_id())
    }
}
