use std::sync::Arc;

use arc_swap::ArcSwap;
use ripstop_types::Digest;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::{TlsError, certificates_from_pem, provider};

/// The certificates and private key with which this process presents itself. Clones are the same pair: when it is renewed,
/// handshakes that begin afterwards show the new one, wherever a clone is in use.
#[derive(Clone)]
pub struct KeyPair {
    pub(crate) current: Arc<ArcSwap<CertifiedKey>>,
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair").field("certificates", &self.current.load().cert.len()).finish_non_exhaustive()
    }
}

impl KeyPair {
    /// Reads a chain of PEM certificates, leaf first, and a PEM private key (PKCS#8, SEC1 or PKCS#1).
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self { current: Arc::new(ArcSwap::from_pointee(certified(certificates, key)?)) })
    }

    /// The DER of the leaf certificate that is shown now.
    pub fn leaf(&self) -> CertificateDer<'static> {
        // A pair without certificates cannot be made.
        self.current.load().cert.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()))
    }

    /// The SHA-256 of [`Self::leaf`]: what a channel header calls `tls_cert_hash`. It changes when the pair is renewed.
    pub fn leaf_hash(&self) -> Digest {
        Digest::of(&self.leaf())
    }
}

pub(crate) fn certified(certificates: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
    let certificates = certificates_from_pem(certificates, "the TLS certificate file")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::PrivateKey)?;
    CertifiedKey::from_der(certificates, key, &provider()).map_err(TlsError::KeyPair)
}

impl ResolvesServerCert for KeyPair {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl ResolvesClientCert for KeyPair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
