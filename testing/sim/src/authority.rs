//! Certificates of simulated organizations: real ones. Keys follow from names, so that a history replays.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ED25519, RevokedCertParams, SerialNumber, SigningKey as _,
};
use ripstop_crypto::Certificate;
use ripstop_gossip::Moment;
use ripstop_msp::{Msp, MspVersion};
use ripstop_proto::msp;
use ripstop_types::{Digest, MspId, SerializedIdentity};
use time::OffsetDateTime;

/// What stands before the 32 bytes of an Ed25519 key in PKCS #8.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// When all certificates begin, in seconds since 1970.
const BEGIN: i64 = 1_600_000_000;
/// When those end that outlive every history.
const END: i64 = 4_000_000_000;

/// A key that follows from a name.
#[derive(Clone)]
pub(crate) struct Key(Rc<KeyPair>);

impl Key {
    fn of(name: &str) -> Self {
        let secret = Digest::of_parts([b"the key of ", name.as_bytes()]);
        let der = [&PKCS8[..], secret.as_bytes()].concat();
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &PKCS_ED25519);
        Self(Rc::new(pair.expect("any 32 bytes are a key")))
    }

    /// Signs a message; the same one always in the same way.
    pub(crate) fn sign(&self, message: &[u8]) -> Bytes {
        self.0.sign(message).expect("a key in memory signs").into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
}

/// What an authority issued.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    /// The identity, as it travels.
    pub(crate) identity: Bytes,
    /// Its key.
    pub(crate) key: Key,
    /// When its certificate ends.
    pub(crate) ends: Moment,
    serial: u64,
}

/// An organization's authority.
pub(crate) struct Authority {
    msp_id: MspId,
    issuer: Issuer<'static, Key>,
    certificate: Bytes,
    issued: u64,
}

impl Authority {
    /// That of an organization.
    pub(crate) fn new(msp_id: &MspId) -> Self {
        let key = Key::of(msp_id.as_str());
        let mut request = request(msp_id.as_str(), 1, END);
        request.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        request.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = request.self_signed(&key).expect("the request is a right one");
        let certificate = Certificate::from_der(certificate.der()).expect("what was made can be read");
        let certificate = certificate.to_pem().into();
        Self { msp_id: msp_id.clone(), issuer: Issuer::new(request, key), certificate, issued: 1 }
    }

    /// Issues an identity, which ends at a moment or outlives the history.
    pub(crate) fn issue(&mut self, name: &str, ends: Option<Moment>) -> Issued {
        self.issued += 1;
        let seconds = ends.map_or(END, |ends| (ends.nanoseconds() / 1_000_000_000).cast_signed());
        let key = Key::of(&format!("{name} {} {}", self.issued, self.msp_id));
        let mut request = request(name, self.issued, seconds);
        request.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        request.use_authority_key_identifier_extension = true;
        let certificate = request.signed_by(&key, &self.issuer).expect("the request is a right one");
        let certificate = Certificate::from_der(certificate.der()).expect("what was made can be read");
        let identity = SerializedIdentity::new(self.msp_id.clone(), certificate.to_pem().into());
        let ends = Moment::from_nanoseconds(seconds.unsigned_abs() * 1_000_000_000);
        Issued { identity: identity.raw, key, ends, serial: self.issued }
    }

    /// The organization, in which some identities are revoked.
    pub(crate) fn msp(&self, revoked: &[Issued]) -> Msp {
        let revocation_list = if revoked.is_empty() { Vec::new() } else { vec![self.revocations(revoked)] };
        let unit = |name: &str| {
            let organizational_unit_identifier = name.to_owned();
            Some(msp::FabricOuIdentifier { certificate: Bytes::new(), organizational_unit_identifier })
        };
        let config = msp::FabricMspConfig {
            name: self.msp_id.as_str().to_owned(),
            root_certs: vec![self.certificate.clone()],
            revocation_list,
            fabric_node_ous: Some(msp::FabricNodeOUs {
                enable: true,
                client_ou_identifier: unit("client"),
                peer_ou_identifier: unit("peer"),
                admin_ou_identifier: unit("admin"),
                orderer_ou_identifier: unit("orderer"),
            }),
            ..msp::FabricMspConfig::default()
        };
        Msp::new(&config, MspVersion::V3_0).expect("the organisation is a right one")
    }

    fn revocations(&self, revoked: &[Issued]) -> Bytes {
        let revoked = revoked.iter().map(|issued| RevokedCertParams {
            serial_number: SerialNumber::from(issued.serial),
            revocation_time: time(BEGIN),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: time(BEGIN),
            next_update: time(END),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("the list is a right one");
        Bytes::copy_from_slice(list.der())
    }
}

impl rcgen::PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ED25519
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

fn request(name: &str, serial: u64, end: i64) -> CertificateParams {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject.push(DnType::OrganizationalUnitName, "peer");
    let mut request = CertificateParams::default();
    request.distinguished_name = subject;
    request.serial_number = Some(SerialNumber::from(serial));
    request.not_before = time(BEGIN);
    request.not_after = time(end);
    request
}

fn time(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(seconds).expect("it is a time of this age")
}
