use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ripstop_crypto::{Certificate, CertificateError, PublicKey, SigningIdentity, decode_pem};
use ripstop_msp::{IdentityError, LocalMsp, MspSetupError};
use ripstop_proto::msp;
use ripstop_types::MspId;
use serde::Deserialize;

use crate::PrivateKey;

const CONFIG_FILE: &str = "config.yaml";
const KEYSTORE: &str = "keystore";

/// Why a folder is no MSP, or holds nobody who can sign.
#[derive(Debug, thiserror::Error)]
pub enum MspFolderError {
    /// The folder of root certificates cannot be read.
    #[error("could not load a valid ca certificate from directory {}: {source}", dir.display())]
    CaCerts {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There are no root certificates.
    #[error("no ca certificate found in directory {}", .0.display())]
    NoCaCerts(PathBuf),
    /// The folder of the signer's certificate cannot be read.
    #[error("could not load signing certificate from directory {}: {source}", dir.display())]
    SignCerts {
        /// The folder.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no signer's certificate.
    #[error("no signing certificate found in directory {}", .0.display())]
    NoSignCerts(PathBuf),
    /// Another folder or file cannot be read.
    #[error("failed loading {}: {source}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The configuration file is no configuration.
    #[error("failed unmarshalling configuration file at [{}]: {reason}", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The folder's content is no MSP.
    #[error(transparent)]
    Setup(#[from] MspSetupError),
    /// The signer's certificate cannot be read.
    #[error("the signing certificate cannot be read: {0}")]
    Certificate(#[from] CertificateError),
    /// The signer's certificate is not of this MSP.
    #[error("the signing certificate is not valid: {0}")]
    Identity(#[from] IdentityError),
    /// No key file fits the signer's certificate.
    #[error(
        "KeyMaterial not found in SigningIdentityInfo: no file in {} holds the private key of certificate {subject} (identifier {key})",
        dir.display()
    )]
    NoKey {
        /// The keystore.
        dir: PathBuf,
        /// The certificate's subject.
        subject: String,
        /// The identifier of its key, in hexadecimal.
        key: String,
    },
    /// The signer's certificate is no longer valid.
    #[error("signing identity expired {} ago", duration(*.seconds))]
    Expired {
        /// How long ago.
        seconds: u64,
    },
}

/// A length of time as Go prints it, to the second.
fn duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// A node's or user's own organization and key, from an MSP folder.
#[derive(Debug)]
pub struct LocalIdentity {
    /// The organization.
    pub msp: LocalMsp,
    /// Who signs.
    pub signer: SigningIdentity,
}

impl LocalIdentity {
    /// Reads an MSP folder with a signer's certificate and private key.
    pub fn load(dir: &Path, msp_id: &MspId) -> Result<Self, MspFolderError> {
        Self::load_with_keystore(dir, &dir.join(KEYSTORE), msp_id)
    }

    /// As [`Self::load`], with the private keys in another folder (`BCCSP.SW.FileKeyStore.KeyStore`).
    pub fn load_with_keystore(dir: &Path, keystore: &Path, msp_id: &MspId) -> Result<Self, MspFolderError> {
        let config = load_msp_config_with_signer(dir, msp_id)?;
        let msp = LocalMsp::new(&config)?;
        let pem = config.signing_identity.map(|signer| signer.public_signer).unwrap_or_default();
        let key = find_key(keystore, &Certificate::from_pem(&pem)?)?;
        let certificate = msp.msp().identify_certificate(&pem)?.certificate().clone();
        check_not_expired(&certificate)?;
        let signer = SigningIdentity::new(msp_id.clone(), certificate, Arc::new(key));
        Ok(Self { msp, signer })
    }
}

fn check_not_expired(certificate: &Certificate) -> Result<(), MspFolderError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let end = u64::try_from(certificate.not_after()).unwrap_or(0);
    if now < end { Ok(()) } else { Err(MspFolderError::Expired { seconds: now - end }) }
}

/// Finds the private key of a certificate among the files of a keystore, whatever their names: the one that a key's
/// identifier gives comes first, then all others.
fn find_key(keystore: &Path, certificate: &Certificate) -> Result<PrivateKey, MspFolderError> {
    let public = certificate.public_key();
    let fits = |path: &Path, wanted: &PublicKey| {
        let text = fs::read(path).ok()?;
        PrivateKey::from_pem(&text).ok().filter(|key| key.public_key() == wanted)
    };
    let named = keystore.join(format!("{}_sk", public.identifier()));
    let mut others: Vec<PathBuf> =
        fs::read_dir(keystore).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    others.sort();
    std::iter::once(named).chain(others).find_map(|path| fits(&path, public)).ok_or_else(|| MspFolderError::NoKey {
        dir: keystore.to_owned(),
        subject: certificate.subject().to_string(),
        key: public.identifier().to_string(),
    })
}

/// Reads an MSP folder as the message that channel configurations hold, without a signer.
pub fn load_msp_config(dir: &Path, msp_id: &MspId) -> Result<msp::FabricMspConfig, MspFolderError> {
    let ca_dir = dir.join("cacerts");
    let root_certs = read_pems(&ca_dir).map_err(|source| MspFolderError::CaCerts { dir: ca_dir.clone(), source })?;
    if root_certs.is_empty() {
        return Err(MspFolderError::NoCaCerts(ca_dir));
    }
    let tls_root_certs = read_optional_pems(&dir.join("tlscacerts"))?;
    let tls_intermediate_certs =
        if tls_root_certs.is_empty() { Vec::new() } else { read_optional_pems(&dir.join("tlsintermediatecerts"))? };
    let units = read_units(dir)?;
    Ok(msp::FabricMspConfig {
        name: msp_id.as_str().to_owned(),
        root_certs,
        intermediate_certs: read_optional_pems(&dir.join("intermediatecerts"))?,
        admins: read_optional_pems(&dir.join("admincerts"))?,
        revocation_list: read_optional_pems(&dir.join("crls"))?,
        signing_identity: None,
        organizational_unit_identifiers: units.identifiers,
        crypto_config: Some(msp::FabricCryptoConfig {
            signature_hash_family: "SHA2".to_owned(),
            identity_identifier_hash_function: "SHA256".to_owned(),
        }),
        tls_root_certs,
        tls_intermediate_certs,
        fabric_node_ous: units.node_ous,
    })
}

/// As [`load_msp_config`], with the signer's certificate; the private key is not read.
pub fn load_msp_config_with_signer(dir: &Path, msp_id: &MspId) -> Result<msp::FabricMspConfig, MspFolderError> {
    let sign_dir = dir.join("signcerts");
    let signer = read_pems(&sign_dir).map_err(|source| MspFolderError::SignCerts { dir: sign_dir.clone(), source })?;
    let Some(public_signer) = signer.into_iter().next() else { return Err(MspFolderError::NoSignCerts(sign_dir)) };
    let mut config = load_msp_config(dir, msp_id)?;
    config.signing_identity = Some(msp::SigningIdentityInfo { public_signer, private_signer: None });
    Ok(config)
}

/// The files of a folder that hold PEM, by name.
fn read_pems(dir: &Path) -> io::Result<Vec<Bytes>> {
    let mut paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    let read = |path: &PathBuf| fs::read(path).ok().filter(|text| decode_pem(text).is_some()).map(Bytes::from);
    Ok(paths.iter().filter(|path| path.is_file()).filter_map(read).collect())
}

fn read_optional_pems(dir: &Path) -> Result<Vec<Bytes>, MspFolderError> {
    match read_pems(dir) {
        Ok(pems) => Ok(pems),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(MspFolderError::Read { path: dir.to_owned(), source }),
    }
}

/// `config.yaml` of an MSP folder.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigFile {
    organizational_unit_identifiers: Option<Vec<UnitEntry>>,
    #[serde(rename = "NodeOUs")]
    node_ous: Option<NodeOusEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UnitEntry {
    /// A file, relative to the folder.
    certificate: Option<String>,
    organizational_unit_identifier: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeOusEntry {
    #[serde(rename = "Enable")]
    enable: Option<bool>,
    #[serde(rename = "ClientOUIdentifier")]
    client: Option<UnitEntry>,
    #[serde(rename = "PeerOUIdentifier")]
    peer: Option<UnitEntry>,
    #[serde(rename = "AdminOUIdentifier")]
    admin: Option<UnitEntry>,
    #[serde(rename = "OrdererOUIdentifier")]
    orderer: Option<UnitEntry>,
}

#[derive(Default)]
struct Units {
    identifiers: Vec<msp::FabricOuIdentifier>,
    node_ous: Option<msp::FabricNodeOUs>,
}

fn read_units(dir: &Path) -> Result<Units, MspFolderError> {
    let path = dir.join(CONFIG_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Units::default()),
        Err(source) => return Err(MspFolderError::Read { path, source }),
    };
    let file: Option<ConfigFile> = serde_saphyr::from_str(&text)
        .map_err(|error| MspFolderError::ConfigFile { path: path.clone(), reason: error.to_string() })?;
    let file = file.unwrap_or_default();
    let mut identifiers = Vec::new();
    for entry in file.organizational_unit_identifiers.unwrap_or_default() {
        let certificate = dir.join(entry.certificate.unwrap_or_default());
        let raw = fs::read(&certificate).map_err(|source| MspFolderError::Read { path: certificate, source })?;
        identifiers.push(msp::FabricOuIdentifier {
            certificate: raw.into(),
            organizational_unit_identifier: entry.organizational_unit_identifier.unwrap_or_default(),
        });
    }
    let role_unit = |entry: Option<UnitEntry>| {
        let entry = entry?;
        let name = entry.organizational_unit_identifier.filter(|name| !name.is_empty())?;
        // A certificate that cannot be read is left out, as Fabric does: the unit then counts under any authority.
        let path = entry.certificate.filter(|path| !path.is_empty());
        let certificate = path.and_then(|path| fs::read(dir.join(path)).ok()).unwrap_or_default();
        Some(msp::FabricOuIdentifier { certificate: certificate.into(), organizational_unit_identifier: name })
    };
    let node_ous = file.node_ous.filter(|units| units.enable == Some(true)).map(|units| msp::FabricNodeOUs {
        enable: true,
        client_ou_identifier: role_unit(units.client),
        peer_ou_identifier: role_unit(units.peer),
        admin_ou_identifier: role_unit(units.admin),
        orderer_ou_identifier: role_unit(units.orderer),
    });
    Ok(Units { identifiers, node_ous })
}
