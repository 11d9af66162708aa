use std::sync::Arc;

use bytes::Bytes;
use ripstop_crypto::{Certificate, Curve, KeyKind, SigningIdentity};
use ripstop_keys::{Authority, CertificateRequest, ExtendedKeyUsage, KeyUsage, PrivateKey, SubjectName, Validity};
use ripstop_proto::msp;
use ripstop_types::MspId;

/// 1 January 2024, in seconds since the Unix epoch: when everything made here begins.
const BEGIN: i64 = 1_704_067_200;
/// 1 January 2124: when everything made here ends, unless asked otherwise.
const END: i64 = 4_859_827_200;

const AUTHORITY_USAGE: [KeyUsage; 4] =
    [KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment, KeyUsage::CertSign, KeyUsage::CrlSign];

/// How an organization is set up.
#[derive(Debug, Clone)]
pub struct OrganizationOptions {
    /// The kind of all its keys.
    pub key_kind: KeyKind,
    /// The name of an intermediate authority that issues the certificates, if any.
    pub intermediate: Option<String>,
    /// How roles are marked, if they are.
    pub node_ous: Option<NodeOus>,
}

/// That roles are marked by organizational units `client`, `peer`, `admin` and `orderer`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeOus;

impl Default for OrganizationOptions {
    fn default() -> Self {
        Self { key_kind: KeyKind::Ecdsa(Curve::P256), intermediate: None, node_ous: Some(NodeOus) }
    }
}

/// What is special about a certificate.
#[derive(Debug, Clone)]
pub struct CertificateOptions {
    /// The organizational units.
    pub units: Vec<String>,
    /// From when until when.
    pub validity: Validity,
    /// The kind of its key; the organization's where `None`.
    pub key_kind: Option<KeyKind>,
}

impl Default for CertificateOptions {
    fn default() -> Self {
        Self { units: Vec::new(), validity: Validity { not_before: BEGIN, not_after: END }, key_kind: None }
    }
}

impl CertificateOptions {
    /// With organizational units, lasting.
    pub fn units(units: &[&str]) -> Self {
        Self { units: units.iter().map(|unit| (*unit).to_owned()).collect(), ..Self::default() }
    }

    /// With organizational units, ended on 2 January 2024.
    pub fn expired(units: &[&str]) -> Self {
        let validity = Validity { not_before: BEGIN, not_after: BEGIN + 86_400 };
        Self { validity, ..Self::units(units) }
    }
}

/// A TLS certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsCredentials {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// An organization with its authorities.
#[derive(Debug)]
pub struct Organization {
    msp_id: MspId,
    options: OrganizationOptions,
    root: Authority,
    intermediate: Option<Authority>,
    tls: Authority,
    revoked: Vec<Certificate>,
    /// Administrators listed by certificate.
    admins: Vec<Certificate>,
}

impl Organization {
    /// An organization with ECDSA keys, one root authority, and roles marked by units.
    pub fn new(msp_id: &str) -> Self {
        Self::with_options(msp_id, OrganizationOptions::default())
    }

    /// As [`Self::new`], with an intermediate authority that issues the certificates.
    pub fn with_intermediate(msp_id: &str) -> Self {
        let options = OrganizationOptions { intermediate: Some("intermediate".to_owned()), ..Default::default() };
        Self::with_options(msp_id, options)
    }

    /// An organization set up in a special way.
    pub fn with_options(msp_id: &str, options: OrganizationOptions) -> Self {
        let authority =
            |name: &str| request(&format!("{name}.{msp_id}"), &CertificateOptions::default(), &AUTHORITY_USAGE);
        let key = || PrivateKey::generate(options.key_kind).expect("a key can be made");
        let root = Authority::root(&authority("ca"), key()).expect("a root can be made");
        let intermediate = options
            .intermediate
            .as_ref()
            .map(|name| root.issue_authority(&authority(name), key()).expect("an authority can be made"));
        let tls = Authority::root(&authority("tlsca"), key()).expect("a root can be made");
        Self { msp_id: MspId::new(msp_id), root, intermediate, tls, revoked: Vec::new(), admins: Vec::new(), options }
    }

    /// The organization's id.
    pub fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    /// A peer.
    pub fn peer(&self, name: &str) -> SigningIdentity {
        self.identity(name, &CertificateOptions::units(&["peer"]))
    }

    /// An orderer.
    pub fn orderer(&self, name: &str) -> SigningIdentity {
        self.identity(name, &CertificateOptions::units(&["orderer"]))
    }

    /// An application's user.
    pub fn client(&self, name: &str) -> SigningIdentity {
        self.identity(name, &CertificateOptions::units(&["client"]))
    }

    /// An administrator.
    pub fn admin(&self, name: &str) -> SigningIdentity {
        self.identity(name, &CertificateOptions::units(&["admin"]))
    }

    /// A client whose certificate ended on 2 January 2024.
    pub fn expired_client(&self, name: &str) -> SigningIdentity {
        self.identity(name, &CertificateOptions::expired(&["client"]))
    }

    /// Someone special.
    pub fn identity(&self, name: &str, options: &CertificateOptions) -> SigningIdentity {
        let key = PrivateKey::generate(options.key_kind.unwrap_or(self.options.key_kind)).expect("a key can be made");
        let request = request(&format!("{name}.{}", self.msp_id), options, &[KeyUsage::DigitalSignature]);
        let certificate = self.issuer().issue(&request, key.public_key()).expect("a certificate can be made");
        SigningIdentity::new(self.msp_id.clone(), certificate, Arc::new(key))
    }

    /// The authority that issues identities.
    pub fn issuer(&self) -> &Authority {
        self.intermediate.as_ref().unwrap_or(&self.root)
    }

    /// The root authority.
    pub fn root(&self) -> &Authority {
        &self.root
    }

    /// Revokes an identity: configurations taken from now on list it.
    pub fn revoke(&mut self, identity: &SigningIdentity) {
        self.revoked.push(identity.certificate().clone());
    }

    /// Lists an identity as administrator in configurations taken from now on.
    pub fn list_admin(&mut self, identity: &SigningIdentity) {
        self.admins.push(identity.certificate().clone());
    }

    /// A TLS certificate for a server or client on some hosts.
    pub fn tls(&self, name: &str, hosts: &[&str]) -> TlsCredentials {
        let key = PrivateKey::generate(self.options.key_kind).expect("a key can be made");
        let mut request =
            request(name, &CertificateOptions::default(), &[KeyUsage::DigitalSignature, KeyUsage::KeyEncipherment]);
        request.extended_key_usage = vec![ExtendedKeyUsage::ServerAuth, ExtendedKeyUsage::ClientAuth];
        request.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let certificate = self.tls.issue(&request, key.public_key()).expect("a certificate can be made");
        TlsCredentials { certificate: certificate.to_pem(), key: key.to_pem().expect("the key can be encoded") }
    }

    /// The root of the organization's TLS certificates, PEM.
    pub fn tls_root(&self) -> String {
        self.tls.certificate().to_pem()
    }

    /// The organization as channel configurations hold it.
    pub fn msp_config(&self) -> msp::FabricMspConfig {
        let unit = |name: &str| {
            Some(msp::FabricOuIdentifier { certificate: Bytes::new(), organizational_unit_identifier: name.to_owned() })
        };
        let revoked: Vec<&Certificate> = self.revoked.iter().collect();
        let crl = || Bytes::from(self.issuer().revoke(&revoked, BEGIN).expect("a revocation list can be made"));
        msp::FabricMspConfig {
            name: self.msp_id.as_str().to_owned(),
            root_certs: vec![pem(self.root.certificate())],
            intermediate_certs: self.intermediate.iter().map(|authority| pem(authority.certificate())).collect(),
            admins: self.admins.iter().map(pem).collect(),
            revocation_list: if revoked.is_empty() { Vec::new() } else { vec![crl()] },
            signing_identity: None,
            organizational_unit_identifiers: Vec::new(),
            crypto_config: Some(msp::FabricCryptoConfig {
                signature_hash_family: "SHA2".to_owned(),
                identity_identifier_hash_function: "SHA256".to_owned(),
            }),
            tls_root_certs: vec![pem(self.tls.certificate())],
            tls_intermediate_certs: Vec::new(),
            fabric_node_ous: self.options.node_ous.map(|NodeOus| msp::FabricNodeOUs {
                enable: true,
                client_ou_identifier: unit("client"),
                peer_ou_identifier: unit("peer"),
                admin_ou_identifier: unit("admin"),
                orderer_ou_identifier: unit("orderer"),
            }),
        }
    }
}

fn pem(certificate: &Certificate) -> Bytes {
    certificate.to_pem().into()
}

fn request(name: &str, options: &CertificateOptions, key_usage: &[KeyUsage]) -> CertificateRequest {
    CertificateRequest {
        subject: SubjectName {
            country: vec!["US".to_owned()],
            organizational_unit: options.units.clone(),
            common_name: name.to_owned(),
            ..SubjectName::default()
        },
        validity: options.validity,
        key_usage: key_usage.to_vec(),
        extended_key_usage: Vec::new(),
        hosts: Vec::new(),
    }
}
