use std::path::{Path, PathBuf};
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
    current: Arc<ArcSwap<CertifiedKey>>,
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

fn certified(certificates: &[u8], key: &[u8]) -> Result<CertifiedKey, TlsError> {
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

/// Why the files of a key pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFilesError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What the files hold is no pair of certificate and key.
    #[error("TLS certificate {} and key {}: {source}", .certificate.display(), .key.display())]
    Content {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        source: TlsError,
    },
}

/// The key pairs of a node by the files that they come from. Each pair of files is read once, whatever it is used for, and
/// renewed when its content changes.
#[derive(Debug, Default)]
pub struct KeyFiles {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    roles: Vec<&'static str>,
    certificate: PathBuf,
    key: PathBuf,
    /// Of the content that was looked at last, good or bad.
    content: (Digest, Digest),
    pair: KeyPair,
}

/// What became of a key pair whose files were changed.
#[derive(Debug)]
pub struct Renewal {
    /// What the pair is used for, as given to [`KeyFiles::load`].
    pub roles: Vec<&'static str>,
    /// The pair, which shows the new certificate from now on; or why it still shows the old one.
    pub outcome: Result<KeyPair, KeyFilesError>,
}

impl KeyFiles {
    /// No pairs yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pair in two files. `role` says in the log what it is used for.
    pub fn load(&mut self, role: &'static str, certificate: &Path, key: &Path) -> Result<KeyPair, KeyFilesError> {
        let known = self.entries.iter_mut().find(|entry| entry.certificate == certificate && entry.key == key);
        if let Some(known) = known {
            if !known.roles.contains(&role) {
                known.roles.push(role);
            }
            return Ok(known.pair.clone());
        }
        let (chain, secret) = (read(certificate)?, read(key)?);
        let pair = KeyPair::from_pem(&chain, &secret).map_err(|source| content_error(certificate, key, source))?;
        self.entries.push(Entry {
            roles: vec![role],
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            content: content_digest(&chain, &secret),
            pair: pair.clone(),
        });
        Ok(pair)
    }

    /// The pairs and what they are used for.
    pub fn pairs(&self) -> impl Iterator<Item = (&[&'static str], &KeyPair)> {
        self.entries.iter().map(|entry| (entry.roles.as_slice(), &entry.pair))
    }

    /// Reads all files again and renews the pairs whose content changed. Content that cannot be used changes nothing; it is
    /// reported once. Blocks on the files.
    pub fn renew(&mut self) -> Vec<Renewal> {
        self.entries.iter_mut().filter_map(Entry::renew).collect()
    }
}

impl Entry {
    fn renew(&mut self) -> Option<Renewal> {
        let read = read(&self.certificate).and_then(|chain| Ok((chain, read(&self.key)?)));
        // A file that is not there for a moment is about to be replaced.
        let (chain, secret) = read.ok()?;
        let content = content_digest(&chain, &secret);
        if content == self.content {
            return None;
        }
        self.content = content;
        let outcome = match certified(&chain, &secret) {
            Ok(certified) => {
                self.pair.current.store(Arc::new(certified));
                Ok(self.pair.clone())
            }
            Err(source) => Err(content_error(&self.certificate, &self.key, source)),
        };
        Some(Renewal { roles: self.roles.clone(), outcome })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyFilesError> {
    std::fs::read(path).map_err(|source| KeyFilesError::Read { path: path.to_owned(), source })
}

fn content_error(certificate: &Path, key: &Path, source: TlsError) -> KeyFilesError {
    KeyFilesError::Content { certificate: certificate.to_owned(), key: key.to_owned(), source }
}

fn content_digest(chain: &[u8], secret: &[u8]) -> (Digest, Digest) {
    (Digest::of(chain), Digest::of(secret))
}
