use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_types::{Digest, SerializedIdentity, put_der};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer;

use crate::der::{self, Reader};
use crate::name_constraints::{AlternativeName, NameConstraints};
use crate::{KeyKind, Name, PublicKey, PublicKeyError, SignatureAlgorithm, decode_pem, encode_pem, to_low_s};

/// Why bytes are no usable certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is no PEM block.
    #[error("could not decode the PEM structure")]
    Pem,
    /// The block is no certificate.
    #[error("parseCertificate failed: x509: {0}")]
    Encoding(String),
    /// The key in it cannot be used.
    #[error("failed to import certificate's public key: {0}")]
    PublicKey(#[from] PublicKeyError),
}

/// Why one certificate did not issue another. The texts are Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The would-be issuer is no certificate authority, or its key must not sign certificates.
    #[error("x509: invalid signature: parent certificate cannot sign this kind of certificate")]
    NotAuthorized,
    /// An algorithm that counts as broken, or is not known.
    #[error("x509: cannot verify signature: insecure or unknown algorithm")]
    Algorithm,
    /// The signature is not of the would-be issuer's key.
    #[error("x509: {0} verification failure")]
    Signature(KeyKind),
}

/// A parsed X.509 certificate (RFC 5280). Clones share everything. Two are equal when their bytes are.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    der: Bytes,
    digest: Digest,
    signed: Bytes,
    signature_algorithm: SignatureAlgorithm,
    /// The DER of the outer algorithm identifier.
    raw_signature_algorithm: Bytes,
    signature: Bytes,
    version: u32,
    serial: Vec<u8>,
    serial_decimal: String,
    raw_issuer: Bytes,
    issuer: Name,
    raw_subject: Bytes,
    subject: Name,
    not_before: i64,
    not_after: i64,
    public_key: PublicKey,
    extensions: Extensions,
}

#[derive(Default)]
struct Extensions {
    subject_key_id: Option<Bytes>,
    authority_key_id: Option<Bytes>,
    /// Whether basic constraints are there, and what they say.
    basic_constraints: Option<BasicConstraints>,
    /// Bits as in the extension, the first bit lowest.
    key_usage: Option<u16>,
    /// Whether the extended usages allow what Go asks of a chain by default; `None` without the extension.
    allows_server_auth: Option<bool>,
    subject_alternative_name: Option<Bytes>,
    alternative_names: Vec<AlternativeName>,
    dns_names: Vec<String>,
    name_constraints: Option<NameConstraints>,
    unhandled_critical: bool,
}

#[derive(Clone, Copy)]
struct BasicConstraints {
    ca: bool,
    path_length: Option<u32>,
}

/// The bit `keyCertSign` of the key usages.
const KEY_CERT_SIGN: u16 = 1 << 5;

/// When the certificate of a serialized identity ends, in seconds since the Unix epoch. What cannot be read has no end here:
/// whoever checks its signature refuses it (Fabric: `crypto.ExpiresAt`).
pub fn expires_at(identity: &Bytes) -> Option<i64> {
    let identity = SerializedIdentity::parse(identity.clone()).ok()?;
    Certificate::from_pem(&identity.id_bytes).ok().map(|certificate| certificate.not_after())
}

impl Certificate {
    /// Takes the first PEM block of a text, whatever its label (Fabric: `deserializeIdentityInternal`).
    pub fn from_pem(text: &[u8]) -> Result<Self, CertificateError> {
        let (block, _) = decode_pem(text).ok_or(CertificateError::Pem)?;
        Self::from_der(&block.content)
    }

    /// Parses DER.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let encoding = |text: &str| CertificateError::Encoding(text.to_owned());
        let (rest, parsed) = X509Certificate::from_der(der)
            .map_err(|error| CertificateError::Encoding(format!("malformed certificate: {error}")))?;
        if !rest.is_empty() {
            return Err(encoding("trailing data"));
        }
        let der = Bytes::copy_from_slice(der);
        let tbs = &parsed.tbs_certificate;
        let (signed, raw_signature_algorithm) =
            outer_elements(&der).ok_or_else(|| encoding("malformed certificate"))?;
        let serial = tbs.serial.to_bytes_be();
        if parsed.signature_algorithm != tbs.signature {
            return Err(encoding("inner and outer signature algorithm identifiers don't match"));
        }
        let extensions = Extensions::new(tbs.extensions())?;
        Ok(Self(Arc::new(Inner {
            digest: Digest::of(&der),
            signed,
            raw_signature_algorithm,
            signature_algorithm: SignatureAlgorithm::from_oid(&parsed.signature_algorithm.algorithm.to_id_string()),
            signature: Bytes::copy_from_slice(&parsed.signature_value.data),
            version: tbs.version.0 + 1,
            serial_decimal: tbs.serial.to_string(),
            serial,
            raw_issuer: Bytes::copy_from_slice(tbs.issuer.as_raw()),
            issuer: Name::new(&tbs.issuer),
            raw_subject: Bytes::copy_from_slice(tbs.subject.as_raw()),
            subject: Name::new(&tbs.subject),
            not_before: tbs.validity.not_before.timestamp(),
            not_after: tbs.validity.not_after.timestamp(),
            public_key: PublicKey::from_spki(tbs.subject_pki.raw)?,
            extensions,
            der,
        })))
    }

    /// The bytes of the certificate.
    pub fn der(&self) -> &Bytes {
        &self.0.der
    }

    /// The certificate as PEM, in Go's form.
    pub fn to_pem(&self) -> String {
        encode_pem("CERTIFICATE", &self.0.der)
    }

    /// SHA-256 of [`Self::der`]: what Fabric tells certificates apart by.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Who holds it.
    pub fn subject(&self) -> &Name {
        &self.0.subject
    }

    /// Who issued it.
    pub fn issuer(&self) -> &Name {
        &self.0.issuer
    }

    /// The common name of the subject, or empty.
    pub fn common_name(&self) -> &str {
        &self.0.subject.common_name
    }

    /// The organizational units of the subject, in order.
    pub fn organizational_units(&self) -> &[String] {
        &self.0.subject.organizational_units
    }

    /// The serial number as a big-endian magnitude.
    pub fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// The serial number in decimal, as logs print it.
    pub fn serial_decimal(&self) -> &str {
        &self.0.serial_decimal
    }

    /// The key's identifier, where the certificate has one (RFC 5280, section 4.2.1.2).
    pub fn subject_key_id(&self) -> Option<&Bytes> {
        self.0.extensions.subject_key_id.as_ref()
    }

    /// The identifier of the issuer's key, where the certificate has one (RFC 5280, section 4.2.1.1).
    pub fn authority_key_id(&self) -> Option<&Bytes> {
        self.0.extensions.authority_key_id.as_ref()
    }

    /// Whether it belongs to a certificate authority.
    pub fn is_ca(&self) -> bool {
        self.0.extensions.basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    /// How many authorities may stand between this one and the holder of a certificate; `None` for any number.
    pub fn path_length(&self) -> Option<u32> {
        self.0.extensions.basic_constraints.and_then(|constraints| constraints.path_length)
    }

    /// The begin of validity, in seconds since the Unix epoch.
    pub fn not_before(&self) -> i64 {
        self.0.not_before
    }

    /// The last second of validity, in seconds since the Unix epoch. Fabric checks it for signers of new things, never for
    /// what is in a ledger.
    pub fn not_after(&self) -> i64 {
        self.0.not_after
    }

    /// The DNS names it was issued for.
    pub fn dns_names(&self) -> &[String] {
        &self.0.extensions.dns_names
    }

    /// The bytes of the subject alternative names, where it has any.
    pub fn subject_alternative_name(&self) -> Option<&Bytes> {
        self.0.extensions.subject_alternative_name.as_ref()
    }

    /// Whether it restricts the names its issuees may bear.
    pub fn has_name_constraints(&self) -> bool {
        self.0.extensions.name_constraints.is_some()
    }

    /// Checks a name that someone below this authority bears; the error says which constraint it breaks.
    pub fn check_name(&self, name: &AlternativeName) -> Result<(), String> {
        self.0.extensions.name_constraints.as_ref().map_or(Ok(()), |constraints| constraints.check(name))
    }

    /// The names it was issued for, of the kinds that authorities can restrict.
    pub fn alternative_names(&self) -> &[AlternativeName] {
        &self.0.extensions.alternative_names
    }

    /// Whether it has a critical extension whose meaning is not known here, so that it must not be relied on.
    pub fn has_unhandled_critical_extension(&self) -> bool {
        self.0.extensions.unhandled_critical
    }

    /// Whether its extended key usages, if any, include server authentication: what Go demands of every certificate of a
    /// chain unless told otherwise, and Fabric does not tell it otherwise.
    pub fn allows_server_auth(&self) -> bool {
        self.0.extensions.allows_server_auth.unwrap_or(true)
    }

    /// The holder's key.
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public_key
    }

    /// How it is signed.
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.0.signature_algorithm
    }

    /// The DER of the subject.
    pub fn raw_subject(&self) -> &Bytes {
        &self.0.raw_subject
    }

    /// The DER of the issuer.
    pub fn raw_issuer(&self) -> &Bytes {
        &self.0.raw_issuer
    }

    /// Checks that `issuer`'s key signed this certificate and may sign certificates (Go: `CheckSignatureFrom`). Names and
    /// times are not compared.
    pub fn check_issued_by(&self, issuer: &Self) -> Result<(), IssuerError> {
        let constraints = issuer.0.extensions.basic_constraints;
        let may_sign = match constraints {
            Some(constraints) => constraints.ca,
            None => issuer.0.version != 3,
        };
        let usage = issuer.0.extensions.key_usage.unwrap_or(0);
        if !may_sign || (usage != 0 && usage & KEY_CERT_SIGN == 0) {
            return Err(IssuerError::NotAuthorized);
        }
        if matches!(self.0.signature_algorithm, SignatureAlgorithm::EcdsaSha1 | SignatureAlgorithm::Unknown) {
            return Err(IssuerError::Algorithm);
        }
        if issuer.public_key().verifies(self.0.signature_algorithm, &self.0.signed, &self.0.signature) {
            Ok(())
        } else {
            Err(IssuerError::Signature(issuer.public_key().kind()))
        }
    }

    /// Whether `issuer` issued this certificate: name and signature match.
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        self.0.raw_issuer == issuer.0.raw_subject && self.check_issued_by(issuer).is_ok()
    }

    /// The certificate with its signature in low-S form, so that one certificate has one digest: itself where that is so
    /// already, or where it is not signed with ECDSA. `None` when the signature cannot be one of `issuer`'s key (Fabric:
    /// `sanitizeECDSASignedCert`).
    pub fn with_low_s(&self, issuer: &Self) -> Option<Self> {
        if !self.0.signature_algorithm.is_ecdsa() {
            return Some(self.clone());
        }
        let KeyKind::Ecdsa(curve) = issuer.public_key().kind() else { return None };
        let signature = to_low_s(curve, &self.0.signature)?;
        if signature == self.0.signature {
            return Some(self.clone());
        }
        let mut bits = Vec::with_capacity(signature.len() + 1);
        bits.push(0);
        bits.extend_from_slice(&signature);
        let mut body = Vec::with_capacity(self.0.der.len() + 4);
        body.extend_from_slice(&self.0.signed);
        body.extend_from_slice(&self.0.raw_signature_algorithm);
        put_der(&mut body, der::BIT_STRING, &bits);
        let mut certificate = Vec::with_capacity(body.len() + 4);
        put_der(&mut certificate, der::SEQUENCE, &body);
        Self::from_der(&certificate).ok()
    }

    /// Whether the signature's encoding is the only one for its numbers; true where it is not ECDSA.
    pub fn has_canonical_signature(&self) -> bool {
        !self.0.signature_algorithm.is_ecdsa()
            || crate::signature::EcdsaSignature::parse(&self.0.signature).is_some_and(|signature| signature.exact)
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.digest == other.0.digest
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "certificate subject={} issuer={} serialnumber={}",
            self.0.subject, self.0.issuer, self.0.serial_decimal
        )
    }
}

/// The to-be-signed part and the algorithm identifier behind it.
fn outer_elements(der: &Bytes) -> Option<(Bytes, Bytes)> {
    let mut inner = Reader(Reader(der).expect(der::SEQUENCE)?);
    let signed = inner.next()?.raw;
    let algorithm = inner.next()?.raw;
    Some((der.slice_ref(signed), der.slice_ref(algorithm)))
}

impl Extensions {
    fn new(extensions: &[X509Extension<'_>]) -> Result<Self, CertificateError> {
        let mut out = Self::default();
        let mut seen: Vec<String> = Vec::with_capacity(extensions.len());
        for extension in extensions {
            let oid = extension.oid.to_id_string();
            if seen.contains(&oid) {
                return Err(CertificateError::Encoding("certificate contains duplicate extensions".to_owned()));
            }
            out.take(extension, &oid)?;
            seen.push(oid);
        }
        Ok(out)
    }

    fn take(&mut self, extension: &X509Extension<'_>, oid: &str) -> Result<(), CertificateError> {
        match extension.parsed_extension() {
            ParsedExtension::ParseError { error } => {
                return Err(CertificateError::Encoding(format!("invalid extension {oid}: {error}")));
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(Bytes::copy_from_slice(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| Bytes::copy_from_slice(id.0));
            }
            ParsedExtension::BasicConstraints(constraints) => {
                self.basic_constraints =
                    Some(BasicConstraints { ca: constraints.ca, path_length: constraints.path_len_constraint });
            }
            ParsedExtension::KeyUsage(usage) => self.key_usage = Some(usage.flags),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.allows_server_auth = Some(usage.any || usage.server_auth);
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                self.subject_alternative_name = Some(Bytes::copy_from_slice(extension.value));
                self.alternative_names = names.general_names.iter().filter_map(AlternativeName::new).collect();
                let dns = self.alternative_names.iter().filter_map(|name| match name {
                    AlternativeName::Dns(name) => Some(name.clone()),
                    _ => None,
                });
                self.dns_names = dns.collect();
                self.unhandled_critical |= extension.critical && self.alternative_names.is_empty();
            }
            ParsedExtension::NameConstraints(constraints) => {
                let constraints = NameConstraints::new(constraints);
                self.unhandled_critical |= extension.critical && constraints.has_others;
                self.name_constraints = Some(constraints);
            }
            ParsedExtension::CertificatePolicies(_)
            | ParsedExtension::PolicyMappings(_)
            | ParsedExtension::PolicyConstraints(_)
            | ParsedExtension::InhibitAnyPolicy(_)
            | ParsedExtension::CRLDistributionPoints(_)
            | ParsedExtension::AuthorityInfoAccess(_) => {}
            _ => self.unhandled_critical |= extension.critical,
        }
        Ok(())
    }
}
