use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ripstop_crypto::{Certificate, CertificateError, Curve, KeyKind};
use ripstop_keys::{
    Authority, AuthorityError, CertificateRequest, ExtendedKeyUsage, KeyUsage, PrivateKey, PrivateKeyError,
    SubjectName, Validity,
};

use crate::config::Kind;
use crate::{ConfigError, CryptoConfig, KeyAlgorithm, NodeSpec, OrganizationSpec};

const MINUTE: u64 = 60;
/// How long certificates last, in seconds: 3650 days.
const LIFETIME: i64 = 3650 * 24 * 3600;
/// How far before now they begin, in seconds: clocks of a network differ.
const BACKDATED: i64 = 300;

const ADMIN: &str = "Admin";
const USER: &str = "User";
const KEY_FILE: &str = "priv_sk";

/// Why a network's certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The configuration cannot be carried out.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or folder cannot be written or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("error making a certificate for {name}: {source}")]
    Authority {
        /// For whom.
        name: String,
        /// Why not.
        source: AuthorityError,
    },
    /// A key could not be made or read.
    #[error("{}: {source}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: PrivateKeyError,
    },
    /// A certificate that is there cannot be read.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: CertificateError,
    },
    /// An authority without the one or the other half.
    #[error(
        "{}: the authority's {missing} is missing: put it back, or remove the organisation's whole folder to make a new one",
        dir.display()
    )]
    Half {
        /// Its folder.
        dir: PathBuf,
        /// What is not there.
        missing: &'static str,
    },
    /// An authority's key and certificate do not belong together.
    #[error("{}: the key is not that of the certificate", .0.display())]
    Mismatch(PathBuf),
}

/// Writes the certificates and keys of all organizations below a folder. What exists stays as it is; where an
/// organization's authorities exist they issue what is missing.
pub fn generate(config: &CryptoConfig, out: &Path) -> Result<(), GenerateError> {
    for (kind, organization) in config.organizations() {
        write_organization(&organization.clone().render(kind)?, kind, out)?;
    }
    Ok(())
}

/// Writes one organization, whose templates are filled in.
pub(crate) fn write_organization(spec: &OrganizationSpec, kind: Kind, out: &Path) -> Result<(), GenerateError> {
    let unit = kind.name();
    let (family, nodes) = match kind {
        Kind::Peer => ("peerOrganizations", "peers"),
        Kind::Orderer => ("ordererOrganizations", "orderers"),
    };
    let dir = out.join(family).join(&spec.domain);
    let writer = Writer {
        signing: issuer(spec, &spec.ca.common_name, &dir.join("ca"))?,
        tls: issuer(spec, &format!("tls{}", spec.ca.common_name), &dir.join("tlsca"))?,
        spec,
    };
    writer.verifying_msp(&dir.join("msp"))?;
    for node in &spec.specs {
        writer.node(&dir.join(nodes).join(&node.common_name), node, unit)?;
    }
    let users = match kind {
        Kind::Peer => spec.users.count,
        Kind::Orderer => 0,
    };
    let user = |name: String, algorithm: KeyAlgorithm| NodeSpec {
        common_name: format!("{name}@{}", spec.domain),
        public_key_algorithm: algorithm,
        ..NodeSpec::default()
    };
    let users_dir = dir.join("users");
    for number in 1..=users {
        let user = user(format!("{USER}{number}"), spec.users.public_key_algorithm);
        writer.node(&users_dir.join(&user.common_name), &user, "client")?;
    }
    let admin = user(ADMIN.to_owned(), KeyAlgorithm::Ecdsa);
    let admin_dir = users_dir.join(&admin.common_name);
    writer.node(&admin_dir, &admin, "admin")?;
    if !spec.enable_node_ous {
        // Without marked roles, who administrates a node is who is listed in its folder.
        let file = certificate_file(&admin.common_name);
        let certificate = read(&admin_dir.join("msp/signcerts").join(&file))?;
        write_admin(&dir.join("msp"), &file, &certificate)?;
        for node in &spec.specs {
            write_admin(&dir.join(nodes).join(&node.common_name).join("msp"), &file, &certificate)?;
        }
    }
    Ok(())
}

/// An authority and its name, which files are called after.
struct Issuer {
    name: String,
    authority: Authority,
}

impl Issuer {
    fn file(&self) -> String {
        certificate_file(&self.name)
    }

    fn pem(&self) -> String {
        self.authority.certificate().to_pem()
    }
}

/// The authority in a folder, whatever its files are called; made where there is none.
fn issuer(spec: &OrganizationSpec, name: &str, dir: &Path) -> Result<Issuer, GenerateError> {
    let authority = match (file_ending(dir, ".pem")?, file_ending(dir, "_sk")?) {
        (Some(certificate), Some(key)) => load_authority(&certificate, &key)?,
        (None, None) => make_authority(spec, name, dir)?,
        // A new authority would not be that of the certificates it issued before.
        (Some(_), None) => return Err(GenerateError::Half { dir: dir.to_owned(), missing: "key" }),
        (None, Some(_)) => return Err(GenerateError::Half { dir: dir.to_owned(), missing: "certificate" }),
    };
    Ok(Issuer { name: name.to_owned(), authority })
}

/// The last file of a folder with an ending; none where there is no folder.
fn file_ending(dir: &Path, ending: &str) -> Result<Option<PathBuf>, GenerateError> {
    let failed = |source| GenerateError::File { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut last = None;
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.to_string_lossy().ends_with(ending) {
            last = last.max(Some(path));
        }
    }
    Ok(last)
}

fn load_authority(certificate_path: &Path, key_path: &Path) -> Result<Authority, GenerateError> {
    let key = PrivateKey::from_pem(&read(key_path)?)
        .map_err(|source| GenerateError::Key { path: key_path.to_owned(), source })?;
    let certificate = Certificate::from_pem(&read(certificate_path)?)
        .map_err(|source| GenerateError::Certificate { path: certificate_path.to_owned(), source })?;
    if key.public_key() != certificate.public_key() {
        return Err(GenerateError::Mismatch(certificate_path.to_owned()));
    }
    Ok(Authority::new(certificate, key))
}

fn make_authority(spec: &OrganizationSpec, name: &str, dir: &Path) -> Result<Authority, GenerateError> {
    create_dir(dir)?;
    let key = make_key(&dir.join(KEY_FILE), spec.ca.public_key_algorithm)?;
    let mut request = request(spec, name);
    request.subject.organization = vec![spec.domain.clone()];
    request.key_usage =
        vec![KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment, KeyUsage::CertSign, KeyUsage::CrlSign];
    request.extended_key_usage = vec![ExtendedKeyUsage::ClientAuth, ExtendedKeyUsage::ServerAuth];
    let authority =
        Authority::root(&request, key).map_err(|source| GenerateError::Authority { name: name.to_owned(), source })?;
    write(&dir.join(certificate_file(name)), authority.certificate().to_pem().as_bytes())?;
    Ok(authority)
}

/// What all certificates of an organization have in common.
fn request(spec: &OrganizationSpec, name: &str) -> CertificateRequest {
    let or = |text: &str, default: &str| vec![if text.is_empty() { default } else { text }.to_owned()];
    let given = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
    CertificateRequest {
        subject: SubjectName {
            country: or(&spec.ca.country, "US"),
            province: or(&spec.ca.province, "California"),
            locality: or(&spec.ca.locality, "San Francisco"),
            organizational_unit: given(&spec.ca.organizational_unit),
            street_address: given(&spec.ca.street_address),
            postal_code: given(&spec.ca.postal_code),
            organization: Vec::new(),
            common_name: name.to_owned(),
        },
        validity: validity(),
        key_usage: vec![KeyUsage::DigitalSignature],
        extended_key_usage: Vec::new(),
        hosts: Vec::new(),
    }
}

/// Ten years from five minutes before the nearest minute.
fn validity() -> Validity {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let minute = (now + MINUTE / 2) / MINUTE * MINUTE;
    let not_before = i64::try_from(minute).unwrap_or(0) - BACKDATED;
    Validity { not_before, not_after: not_before + LIFETIME }
}

struct Writer<'a> {
    spec: &'a OrganizationSpec,
    signing: Issuer,
    tls: Issuer,
}

impl Writer<'_> {
    /// The organization's MSP folder, without anybody who signs.
    fn verifying_msp(&self, dir: &Path) -> Result<(), GenerateError> {
        create_dir(&dir.join("admincerts"))?;
        self.write_authorities(dir)
    }

    /// A node's or user's folder; left alone where it exists.
    fn node(&self, dir: &Path, node: &NodeSpec, unit: &str) -> Result<(), GenerateError> {
        if dir.exists() {
            return Ok(());
        }
        let (msp, name) = (dir.join("msp"), &node.common_name);
        for folder in ["admincerts", "cacerts", "keystore", "signcerts", "tlscacerts"] {
            create_dir(&msp.join(folder))?;
        }
        self.write_authorities(&msp)?;
        let key = make_key(&msp.join("keystore").join(KEY_FILE), node.public_key_algorithm)?;
        let mut request = request(self.spec, name);
        if self.spec.enable_node_ous {
            request.subject.organizational_unit.push(unit.to_owned());
        }
        let certificate = issue(&self.signing, &request, &key)?;
        write(&msp.join("signcerts").join(certificate_file(name)), certificate.to_pem().as_bytes())?;
        if !self.spec.enable_node_ous {
            write(&msp.join("admincerts").join(certificate_file(name)), certificate.to_pem().as_bytes())?;
        }
        self.node_tls(&dir.join("tls"), node, unit)
    }

    fn node_tls(&self, dir: &Path, node: &NodeSpec, unit: &str) -> Result<(), GenerateError> {
        create_dir(dir)?;
        let prefix = if matches!(unit, "client" | "admin") { "client" } else { "server" };
        let key = make_key(&dir.join(format!("{prefix}.key")), node.public_key_algorithm)?;
        let mut request = request(self.spec, &node.common_name);
        request.key_usage.push(KeyUsage::KeyEncipherment);
        request.extended_key_usage = vec![ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth];
        request.hosts = node.sans.clone();
        let certificate = issue(&self.tls, &request, &key)?;
        write(&dir.join(format!("{prefix}.crt")), certificate.to_pem().as_bytes())?;
        write(&dir.join("ca.crt"), self.tls.pem().as_bytes())
    }

    fn write_authorities(&self, msp: &Path) -> Result<(), GenerateError> {
        for (folder, issuer) in [("cacerts", &self.signing), ("tlscacerts", &self.tls)] {
            create_dir(&msp.join(folder))?;
            write(&msp.join(folder).join(issuer.file()), issuer.pem().as_bytes())?;
        }
        if self.spec.enable_node_ous {
            write(&msp.join("config.yaml"), self.msp_config().as_bytes())?;
        }
        Ok(())
    }

    /// `config.yaml` of an MSP folder.
    fn msp_config(&self) -> String {
        let mut out = "NodeOUs:\n    Enable: true\n".to_owned();
        for (key, unit) in [("Client", "client"), ("Peer", "peer"), ("Admin", "admin"), ("Orderer", "orderer")] {
            out.push_str(&format!(
                "    {key}OUIdentifier:\n        Certificate: cacerts/{}\n        OrganizationalUnitIdentifier: {unit}\n",
                self.signing.file()
            ));
        }
        out
    }
}

fn issue(issuer: &Issuer, request: &CertificateRequest, key: &PrivateKey) -> Result<Certificate, GenerateError> {
    issuer
        .authority
        .issue(request, key.public_key())
        .map_err(|source| GenerateError::Authority { name: request.subject.common_name.clone(), source })
}

/// Makes a key and writes it for the owner's eyes only.
fn make_key(path: &Path, algorithm: KeyAlgorithm) -> Result<PrivateKey, GenerateError> {
    let kind = match algorithm {
        KeyAlgorithm::Ecdsa => KeyKind::Ecdsa(Curve::P256),
        KeyAlgorithm::Ed25519 => KeyKind::Ed25519,
    };
    let key_error = |source| GenerateError::Key { path: path.to_owned(), source };
    let key = PrivateKey::generate(kind).map_err(key_error)?;
    let file_error = |source| GenerateError::File { path: path.to_owned(), source };
    write(path, b"")?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(file_error)?;
    write(path, key.to_pem().map_err(key_error)?.as_bytes())?;
    Ok(key)
}

/// Makes someone the only administrator listed in an MSP folder, unless listed already.
fn write_admin(msp: &Path, file: &str, certificate: &[u8]) -> Result<(), GenerateError> {
    let dir = msp.join("admincerts");
    if dir.join(file).exists() {
        return Ok(());
    }
    fs::remove_dir_all(&dir).map_err(|source| GenerateError::File { path: dir.clone(), source })?;
    create_dir(&dir)?;
    write(&dir.join(file), certificate)
}

fn certificate_file(name: &str) -> String {
    format!("{name}-cert.pem")
}

fn create_dir(path: &Path) -> Result<(), GenerateError> {
    fs::create_dir_all(path).map_err(|source| GenerateError::File { path: path.to_owned(), source })
}

fn write(path: &Path, content: &[u8]) -> Result<(), GenerateError> {
    fs::write(path, content).map_err(|source| GenerateError::File { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, GenerateError> {
    fs::read(path).map_err(|source| GenerateError::File { path: path.to_owned(), source })
}
