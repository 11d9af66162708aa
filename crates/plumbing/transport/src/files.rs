use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_types::Digest;

use crate::client_roots::ClientRoots;
use crate::key_pair::{KeyPair, certified};
use crate::tls::TlsError;

/// Why TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFilesError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What two files hold is no pair of certificate and key.
    #[error("TLS certificate {} and key {}: {source}", .certificate.display(), .key.display())]
    KeyPair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        source: TlsError,
    },
    /// What files hold are no root certificates.
    #[error("root certificates for TLS clients in {}: {source}", listed(.paths))]
    ClientRoots {
        /// The files.
        paths: Vec<PathBuf>,
        /// What is wrong with them.
        source: TlsError,
    },
}

/// The TLS files of a node. What comes of them is renewed when their content changes. Each pair of certificate and key is
/// read once, whatever it is used for.
#[derive(Debug, Default)]
pub struct TlsFiles {
    pairs: Vec<PairFiles>,
    roots: Vec<RootFiles>,
}

#[derive(Debug)]
struct PairFiles {
    roles: Vec<&'static str>,
    certificate: PathBuf,
    key: PathBuf,
    /// Of the content that was looked at last, good or bad.
    content: [Digest; 2],
    pair: KeyPair,
}

#[derive(Debug)]
struct RootFiles {
    paths: Vec<PathBuf>,
    /// Of the content that was looked at last, good or bad.
    content: Vec<Digest>,
    roots: ClientRoots,
}

/// What became of files that were changed.
#[derive(Debug)]
pub enum Renewal {
    /// A certificate and its key.
    KeyPair {
        /// What the pair is used for, as given to [`TlsFiles::key_pair`].
        roles: Vec<&'static str>,
        /// The pair, which shows the new certificate from now on; or why it still shows the old one.
        outcome: Result<KeyPair, TlsFilesError>,
    },
    /// Root certificates of clients.
    ClientRoots {
        /// Their files.
        paths: String,
        /// Whether clients are verified against the new ones from now on; or why not.
        outcome: Result<(), TlsFilesError>,
    },
}

impl TlsFiles {
    /// The pair in two files. `role` says in the log what it is used for.
    pub fn key_pair(&mut self, role: &'static str, certificate: &Path, key: &Path) -> Result<KeyPair, TlsFilesError> {
        let known = self.pairs.iter_mut().find(|known| known.certificate == certificate && known.key == key);
        if let Some(known) = known {
            if !known.roles.contains(&role) {
                known.roles.push(role);
            }
            return Ok(known.pair.clone());
        }
        let (chain, secret) = (read(certificate)?, read(key)?);
        let pair = KeyPair::from_pem(&chain, &secret).map_err(|source| pair_error(certificate, key, source))?;
        self.pairs.push(PairFiles {
            roles: vec![role],
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            content: [Digest::of(&chain), Digest::of(&secret)],
            pair: pair.clone(),
        });
        Ok(pair)
    }

    /// The root certificates in files, as the configured part of a set.
    pub fn client_roots(&mut self, paths: &[PathBuf]) -> Result<ClientRoots, TlsFilesError> {
        let pems = read_all(paths)?;
        let content = pems.iter().map(|pem| Digest::of(pem)).collect();
        let failed = |source| TlsFilesError::ClientRoots { paths: paths.to_owned(), source };
        let roots = ClientRoots::new(pems).map_err(failed)?;
        self.roots.push(RootFiles { paths: paths.to_owned(), content, roots: roots.clone() });
        Ok(roots)
    }

    /// The pairs and what they are used for.
    pub fn pairs(&self) -> impl Iterator<Item = (&[&'static str], &KeyPair)> {
        self.pairs.iter().map(|files| (files.roles.as_slice(), &files.pair))
    }

    /// Reads all files again and renews what comes of those whose content changed. Content that cannot be used changes
    /// nothing; it is reported once. Blocks on the files.
    pub fn renew(&mut self) -> Vec<Renewal> {
        let pairs = self.pairs.iter_mut().filter_map(PairFiles::renew);
        pairs.chain(self.roots.iter_mut().filter_map(RootFiles::renew)).collect()
    }
}

impl PairFiles {
    fn renew(&mut self) -> Option<Renewal> {
        let read = read(&self.certificate).and_then(|chain| Ok((chain, read(&self.key)?)));
        // A file that is not there for a moment is about to be replaced.
        let (chain, secret) = read.ok()?;
        let content = [Digest::of(&chain), Digest::of(&secret)];
        if content == self.content {
            return None;
        }
        self.content = content;
        let outcome = match certified(&chain, &secret) {
            Ok(certified) => {
                self.pair.current.store(Arc::new(certified));
                Ok(self.pair.clone())
            }
            Err(source) => Err(pair_error(&self.certificate, &self.key, source)),
        };
        Some(Renewal::KeyPair { roles: self.roles.clone(), outcome })
    }
}

impl RootFiles {
    fn renew(&mut self) -> Option<Renewal> {
        let pems = read_all(&self.paths).ok()?;
        let content: Vec<Digest> = pems.iter().map(|pem| Digest::of(pem)).collect();
        if content == self.content {
            return None;
        }
        self.content = content;
        let failed = |source| TlsFilesError::ClientRoots { paths: self.paths.clone(), source };
        let outcome = self.roots.replace_configured(pems).map_err(failed);
        Some(Renewal::ClientRoots { paths: listed(&self.paths), outcome })
    }
}

fn read(path: &Path) -> Result<Bytes, TlsFilesError> {
    let failed = |source| TlsFilesError::Read { path: path.to_owned(), source };
    std::fs::read(path).map(Bytes::from).map_err(failed)
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Bytes>, TlsFilesError> {
    paths.iter().map(|path| read(path)).collect()
}

fn pair_error(certificate: &Path, key: &Path, source: TlsError) -> TlsFilesError {
    TlsFilesError::KeyPair { certificate: certificate.to_owned(), key: key.to_owned(), source }
}

fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
