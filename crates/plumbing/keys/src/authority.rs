//! Making certificates, as Go's `crypto/x509` encodes them.
//!
//! Written here because certificates of Fabric networks name several organizational units in one relative name and must
//! bear low-S signatures, which the certificate libraries at hand cannot do.

use std::net::IpAddr;

use bytes::Bytes;
use ripstop_crypto::{Certificate, CertificateError, KeyKind, PublicKey, SignError, Signer};
use time::{OffsetDateTime, macros::format_description};

use crate::der::{self, explicit, integer, octets, oid, sequence, set, truth};
use crate::{PrivateKey, PrivateKeyError};

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The authority's key does not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A key could not be made or read.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// What was made is no certificate: the request holds something that cannot be encoded.
    #[error("the certificate cannot be made: {0}")]
    Certificate(#[from] CertificateError),
    /// A host name with other characters than certificates can name.
    #[error("x509: {0:?} cannot be encoded as an IA5String")]
    Host(String),
    /// A point in time outside of what certificates can say.
    #[error("{0} seconds since 1970 cannot be written into a certificate")]
    Time(i64),
}

/// The name of a subject. Empty parts are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectName {
    /// Countries.
    pub country: Vec<String>,
    /// Organizations.
    pub organization: Vec<String>,
    /// Organizational units; NodeOUs are told by these.
    pub organizational_unit: Vec<String>,
    /// Localities.
    pub locality: Vec<String>,
    /// States or provinces.
    pub province: Vec<String>,
    /// Street addresses.
    pub street_address: Vec<String>,
    /// Postal codes.
    pub postal_code: Vec<String>,
    /// The common name.
    pub common_name: String,
}

impl SubjectName {
    fn to_der(&self) -> Vec<u8> {
        let common_name = Vec::from_iter((!self.common_name.is_empty()).then(|| self.common_name.clone()));
        let parts: [(u64, &[String]); 8] = [
            (6, &self.country),
            (8, &self.province),
            (7, &self.locality),
            (9, &self.street_address),
            (17, &self.postal_code),
            (10, &self.organization),
            (11, &self.organizational_unit),
            (3, &common_name),
        ];
        let relative_name = |(attribute, values): (u64, &[String])| {
            let pair = |value: &String| sequence(&[oid(&[2, 5, 4, attribute]), der::text(value)]);
            set(values.iter().map(pair).collect())
        };
        sequence(&parts.into_iter().filter(|(_, values)| !values.is_empty()).map(relative_name).collect::<Vec<_>>())
    }
}

/// What a key may be used for (RFC 5280, section 4.2.1.3), by bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyUsage {
    /// Signing anything but certificates and revocation lists.
    DigitalSignature = 0,
    /// Wrapping keys.
    KeyEncipherment = 2,
    /// Signing certificates.
    CertSign = 5,
    /// Signing revocation lists.
    CrlSign = 6,
}

/// What a certificate may be used for (RFC 5280, section 4.2.1.12), by the last number of its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExtendedKeyUsage {
    /// TLS servers.
    ServerAuth = 1,
    /// TLS clients.
    ClientAuth = 2,
}

/// From when until when, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

/// What a certificate shall say.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    /// Whose it is.
    pub subject: SubjectName,
    /// How long it lasts.
    pub validity: Validity,
    /// What the key is for.
    pub key_usage: Vec<KeyUsage>,
    /// What the certificate is for; left out when empty.
    pub extended_key_usage: Vec<ExtendedKeyUsage>,
    /// Names and addresses of the host; texts that are addresses become addresses.
    pub hosts: Vec<String>,
}

/// What a certificate is to become.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Authority,
    EndEntity,
}

/// Someone who issues certificates: a certificate and its private key.
#[derive(Debug)]
pub struct Authority {
    certificate: Certificate,
    key: PrivateKey,
}

impl Authority {
    /// Joins a certificate with its key. That they belong together is the caller's promise.
    pub const fn new(certificate: Certificate, key: PrivateKey) -> Self {
        Self { certificate, key }
    }

    /// Makes a root authority.
    pub fn root(request: &CertificateRequest, key: PrivateKey) -> Result<Self, AuthorityError> {
        let subject = request.subject.to_der();
        let certificate = build(request, key.public_key(), Purpose::Authority, &subject, None, &key)?;
        Ok(Self { certificate, key })
    }

    /// Makes an authority below this one.
    pub fn issue_authority(&self, request: &CertificateRequest, key: PrivateKey) -> Result<Self, AuthorityError> {
        let certificate = self.sign(request, key.public_key(), Purpose::Authority)?;
        Ok(Self { certificate, key })
    }

    /// Issues a certificate.
    pub fn issue(&self, request: &CertificateRequest, public: &PublicKey) -> Result<Certificate, AuthorityError> {
        self.sign(request, public, Purpose::EndEntity)
    }

    /// Revokes certificates: the DER of a revocation list made at a point in time, in seconds since the Unix epoch.
    pub fn revoke(&self, revoked: &[&Certificate], at: i64) -> Result<Vec<u8>, AuthorityError> {
        let time = time(at)?;
        let entry = |certificate: &&Certificate| sequence(&[integer(certificate.serial()), time.clone()]);
        let entries = sequence(&revoked.iter().map(entry).collect::<Vec<_>>());
        let mut parts = vec![
            integer(&[1]),
            signature_algorithm(&self.key),
            self.certificate.raw_subject().to_vec(),
            time.clone(),
            time.clone(),
        ];
        if !revoked.is_empty() {
            parts.push(entries);
        }
        if let Some(id) = self.certificate.subject_key_id() {
            let authority = extension(35, None, &sequence(&[der::tagged(0x80, id)]));
            let number = extension(20, None, &integer(&[1]));
            parts.push(explicit(0, &sequence(&[authority, number])));
        }
        sign_outer(&sequence(&parts), &self.key)
    }

    /// The authority's certificate.
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The authority's private key.
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    fn sign(
        &self,
        request: &CertificateRequest,
        public: &PublicKey,
        purpose: Purpose,
    ) -> Result<Certificate, AuthorityError> {
        let key_id = self.certificate.subject_key_id();
        build(request, public, purpose, self.certificate.raw_subject(), key_id, &self.key)
    }
}

fn build(
    request: &CertificateRequest,
    public: &PublicKey,
    purpose: Purpose,
    issuer: &[u8],
    issuer_key_id: Option<&Bytes>,
    key: &PrivateKey,
) -> Result<Certificate, AuthorityError> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).expect("the operating system's source of random numbers works");
    let signed = sequence(&[
        explicit(0, &integer(&[2])),
        integer(&serial),
        signature_algorithm(key),
        issuer.to_vec(),
        sequence(&[time(request.validity.not_before)?, time(request.validity.not_after)?]),
        request.subject.to_der(),
        public.spki().to_vec(),
        explicit(3, &sequence(&extensions(request, public, purpose, issuer_key_id)?)),
    ]);
    Ok(Certificate::from_der(&sign_outer(&signed, key)?)?)
}

fn extensions(
    request: &CertificateRequest,
    public: &PublicKey,
    purpose: Purpose,
    issuer_key_id: Option<&Bytes>,
) -> Result<Vec<Vec<u8>>, AuthorityError> {
    const CRITICAL: Option<()> = Some(());
    let mut out = Vec::new();
    if !request.key_usage.is_empty() {
        out.push(extension(15, CRITICAL, &key_usage(&request.key_usage)));
    }
    if !request.extended_key_usage.is_empty() {
        let identifier = |usage: &ExtendedKeyUsage| oid(&[1, 3, 6, 1, 5, 5, 7, 3, *usage as u64]);
        let usages: Vec<_> = request.extended_key_usage.iter().map(identifier).collect();
        out.push(extension(37, None, &sequence(&usages)));
    }
    let is_authority = purpose == Purpose::Authority;
    let constraints = if is_authority { sequence(&[truth()]) } else { sequence(&[]) };
    out.push(extension(19, CRITICAL, &constraints));
    if is_authority {
        out.push(extension(14, None, &octets(public.identifier().as_bytes())));
    }
    if let Some(id) = issuer_key_id {
        out.push(extension(35, None, &sequence(&[der::tagged(0x80, id)])));
    }
    if !request.hosts.is_empty() {
        // Names stand before addresses, and addresses of version 4 in their short form.
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        for host in &request.hosts {
            match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
                Ok(IpAddr::V4(address)) => addresses.push(der::tagged(0x87, &address.octets())),
                Ok(IpAddr::V6(address)) => addresses.push(der::tagged(0x87, &address.octets())),
                Err(_) if host.is_ascii() => names.push(der::tagged(0x82, host.as_bytes())),
                Err(_) => return Err(AuthorityError::Host(host.clone())),
            }
        }
        let all = [names, addresses].concat();
        out.push(extension(17, None, &sequence(&all)));
    }
    Ok(out)
}

/// An extension of the arc 2.5.29; `critical` is present or not.
fn extension(number: u64, critical: Option<()>, content: &[u8]) -> Vec<u8> {
    let mut parts = vec![oid(&[2, 5, 29, number])];
    parts.extend(critical.map(|()| truth()));
    parts.push(octets(content));
    sequence(&parts)
}

/// A bit string whose first bit is the highest; bits behind the last set one are not encoded.
fn key_usage(usages: &[KeyUsage]) -> Vec<u8> {
    let bits = usages.iter().fold(0u8, |bits, usage| bits | (0x80 >> (*usage as u8)));
    der::tagged(0x03, &[bits.trailing_zeros() as u8, bits])
}

fn signature_algorithm(key: &PrivateKey) -> Vec<u8> {
    match key.public_key().kind() {
        KeyKind::Ed25519 => sequence(&[oid(&[1, 3, 101, 112])]),
        KeyKind::Ecdsa(_) | KeyKind::Rsa => sequence(&[oid(&[1, 2, 840, 10045, 4, 3, 2])]),
    }
}

fn sign_outer(signed: &[u8], key: &PrivateKey) -> Result<Vec<u8>, AuthorityError> {
    let signature = key.sign(signed)?;
    Ok(sequence(&[signed.to_vec(), signature_algorithm(key), der::bits(&signature)]))
}

/// UTCTime until 2049, then GeneralizedTime (RFC 5280, section 4.1.2.5).
fn time(seconds: i64) -> Result<Vec<u8>, AuthorityError> {
    let failed = |_| AuthorityError::Time(seconds);
    let at = OffsetDateTime::from_unix_timestamp(seconds).map_err(failed)?;
    let in_century = (1950..2050).contains(&at.year());
    let format = if in_century {
        format_description!("[year repr:last_two][month][day][hour][minute][second]Z")
    } else {
        format_description!("[year][month][day][hour][minute][second]Z")
    };
    let text = at.format(format).map_err(|_| AuthorityError::Time(seconds))?;
    Ok(der::tagged(if in_century { 0x17 } else { 0x18 }, text.as_bytes()))
}
