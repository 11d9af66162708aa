use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tempfile::TempDir;

/// The mode of directories that may hold keys.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// What a chaincode needs in order to register with the peer.
#[derive(Debug, Clone)]
pub struct PeerConnection {
    /// Where the peer listens for chaincode, as chaincode reaches it.
    pub address: String,
    /// The peer's organization.
    pub msp_id: String,
    /// How to speak TLS; none for a peer without.
    pub tls: Option<PeerTls>,
}

/// How a chaincode speaks TLS with the peer; all as PEM.
#[derive(Clone)]
pub struct PeerTls {
    /// The chaincode's certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
    /// The root of the peer's certificate.
    pub root: String,
}

impl fmt::Debug for PeerTls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls")
            .field("certificate", &self.certificate)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

/// A directory for one run of a chaincode.
pub(super) fn run_directory() -> io::Result<TempDir> {
    private_directory("fabric-run")
}

/// A directory that only the peer's user can look into: builders write keys there without care.
pub(super) fn private_directory(prefix: &str) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(prefix).permissions(fs::Permissions::from_mode(PRIVATE_DIRECTORY)).tempdir()
}

/// Makes a directory, where there is none, into which only the peer's user can look: `connection.json` may hold a key. One that
/// is there already is closed to others.
pub(super) fn make_private(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(PRIVATE_DIRECTORY))
}

/// The file `chaincode.json` of Fabric's contract with external builders.
#[derive(Serialize)]
struct RunMetadata<'a> {
    chaincode_id: &'a str,
    peer_address: &'a str,
    client_cert: &'a str,
    client_key: &'a str,
    root_cert: &'a str,
    mspid: &'a str,
}

impl PeerConnection {
    /// Writes what an external builder's `run` reads.
    pub(super) fn write_metadata(&self, chaincode_id: &str, directory: &Path) -> io::Result<()> {
        let tls = |part: fn(&PeerTls) -> &String| self.tls.as_ref().map_or("", |tls| part(tls).as_str());
        let metadata = RunMetadata {
            chaincode_id,
            peer_address: &self.address,
            client_cert: tls(|tls| &tls.certificate),
            client_key: tls(|tls| &tls.key),
            root_cert: tls(|tls| &tls.root),
            mspid: &self.msp_id,
        };
        write_secret(&directory.join("chaincode.json"), &serde_json::to_vec(&metadata)?)
    }

    /// Writes keys and certificates where shims look for them, and gives the environment that names them (Fabric:
    /// `dockercontroller.GetEnv`). Some shims read PEM, others PEM in base64.
    pub(super) fn write_files(&self, chaincode_id: &str, directory: &Path) -> io::Result<BTreeMap<String, String>> {
        let mut environment = BTreeMap::from([
            ("CORE_CHAINCODE_ID_NAME".to_owned(), chaincode_id.to_owned()),
            ("CORE_PEER_LOCALMSPID".to_owned(), self.msp_id.clone()),
            ("CORE_PEER_TLS_ENABLED".to_owned(), self.tls.is_some().to_string()),
        ]);
        let Some(tls) = &self.tls else { return Ok(environment) };
        for (variable, file, content) in [
            ("CORE_TLS_CLIENT_KEY_PATH", "client.key", STANDARD.encode(&tls.key)),
            ("CORE_TLS_CLIENT_CERT_PATH", "client.crt", STANDARD.encode(&tls.certificate)),
            ("CORE_TLS_CLIENT_KEY_FILE", "client_pem.key", tls.key.clone()),
            ("CORE_TLS_CLIENT_CERT_FILE", "client_pem.crt", tls.certificate.clone()),
            ("CORE_PEER_TLS_ROOTCERT_FILE", "peer.crt", tls.root.clone()),
        ] {
            let path = directory.join(file);
            write_secret(&path, content.as_bytes())?;
            environment.insert(variable.to_owned(), path.to_string_lossy().into_owned());
        }
        Ok(environment)
    }
}

/// Writes a file that only the peer's user can read.
fn write_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_printed() {
        let tls = PeerTls { certificate: "CERT".to_owned(), key: "SECRET".to_owned(), root: "ROOT".to_owned() };
        let connection =
            PeerConnection { address: "peer0:7052".to_owned(), msp_id: "Org1MSP".to_owned(), tls: Some(tls) };
        let shown = format!("{connection:?}");
        assert!(shown.contains("peer0:7052") && shown.contains("CERT") && !shown.contains("SECRET"), "{shown}");
    }
}
