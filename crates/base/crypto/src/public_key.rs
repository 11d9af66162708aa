use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{self as lc, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};
use bytes::Bytes;
use ripstop_types::Digest;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use crate::signature::EcdsaSignature;
use crate::{SignatureAlgorithm, SignatureError};

/// An elliptic curve for ECDSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const P384_ORDER: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0,
    0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];
const P521_ORDER: [u8; 66] = [
    0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, 0x51, 0x86, 0x87, 0x83,
    0xbf, 0x2f, 0x96, 0x6b, 0x7f, 0xcc, 0x01, 0x48, 0xf7, 0x09, 0xa5, 0xd0, 0x3b, 0xb5, 0xc9, 0xb8, 0x89, 0x9c, 0x47,
    0xae, 0xbb, 0x6f, 0xb7, 0x1e, 0x91, 0x38, 0x64, 0x09,
];

const fn halved<const N: usize>(number: [u8; N]) -> [u8; N] {
    let mut half = [0; N];
    let mut index = 0;
    let mut carry = 0;
    while index < N {
        half[index] = (number[index] >> 1) | (carry << 7);
        carry = number[index] & 1;
        index += 1;
    }
    half
}

impl Curve {
    /// The number of points, big-endian.
    pub(crate) fn order(self) -> &'static [u8] {
        match self {
            Self::P256 => &P256_ORDER,
            Self::P384 => &P384_ORDER,
            Self::P521 => &P521_ORDER,
        }
    }

    /// Half of [`Self::order`], rounded down: the largest low `s`.
    pub(crate) fn half_order(self) -> &'static [u8] {
        static P256: [u8; 32] = halved(P256_ORDER);
        static P384: [u8; 48] = halved(P384_ORDER);
        static P521: [u8; 66] = halved(P521_ORDER);
        match self {
            Self::P256 => &P256,
            Self::P384 => &P384,
            Self::P521 => &P521,
        }
    }
}

/// The kind of a public key. Displays as Go names the algorithm, because error texts quote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA over a curve.
    Ecdsa(Curve),
    /// Ed25519.
    Ed25519,
    /// RSA: only for certificate authorities, never for identities.
    Rsa,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecdsa(_) => "ECDSA",
            Self::Ed25519 => "Ed25519",
            Self::Rsa => "RSA",
        })
    }
}

/// Why bytes are no usable public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// The bytes are no `SubjectPublicKeyInfo`.
    #[error("the bytes are no public key: {0}")]
    Encoding(String),
    /// An algorithm or curve Fabric does not take.
    #[error("Certificate's public key type not recognized. Supported keys: [ECDSA, RSA, ED25519]: found algorithm {0}")]
    Algorithm(String),
    /// The key itself is malformed, for instance a point that is not on its curve.
    #[error("the {0} key is not valid")]
    Key(KeyKind),
}

/// A public key, ready to verify. Clones share it.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    kind: KeyKind,
    /// The whole `SubjectPublicKeyInfo`.
    spki: Bytes,
    /// EC point, Ed25519 key or PKCS #1 RSA key.
    key: Bytes,
    /// Ready for signatures over messages: SHA-256 with ECDSA.
    messages: ParsedPublicKey,
}

impl PublicKey {
    /// Parses the DER of a `SubjectPublicKeyInfo` (RFC 5280, section 4.1.2.7).
    pub fn from_spki(der: &[u8]) -> Result<Self, PublicKeyError> {
        let (rest, spki) =
            SubjectPublicKeyInfo::from_der(der).map_err(|error| PublicKeyError::Encoding(error.to_string()))?;
        if !rest.is_empty() {
            return Err(PublicKeyError::Encoding("trailing data".to_owned()));
        }
        let algorithm = spki.algorithm.algorithm.to_id_string();
        let kind = match algorithm.as_str() {
            "1.2.840.10045.2.1" => {
                let curve = spki.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
                let curve = curve.map(|oid| oid.to_id_string()).unwrap_or_default();
                match curve.as_str() {
                    "1.2.840.10045.3.1.7" => KeyKind::Ecdsa(Curve::P256),
                    "1.3.132.0.34" => KeyKind::Ecdsa(Curve::P384),
                    "1.3.132.0.35" => KeyKind::Ecdsa(Curve::P521),
                    _ => return Err(PublicKeyError::Algorithm(format!("ECDSA over curve '{curve}'"))),
                }
            }
            "1.3.101.112" => KeyKind::Ed25519,
            "1.2.840.113549.1.1.1" => KeyKind::Rsa,
            _ => return Err(PublicKeyError::Algorithm(algorithm)),
        };
        let key = Bytes::copy_from_slice(&spki.subject_public_key.data);
        // Go takes uncompressed points only.
        if matches!(kind, KeyKind::Ecdsa(_)) && key.first() != Some(&4) {
            return Err(PublicKeyError::Key(kind));
        }
        let algorithm: &'static dyn VerificationAlgorithm = match kind {
            KeyKind::Ecdsa(Curve::P256) => &lc::ECDSA_P256_SHA256_ASN1,
            KeyKind::Ecdsa(Curve::P384) => &lc::ECDSA_P384_SHA256_ASN1,
            KeyKind::Ecdsa(Curve::P521) => &lc::ECDSA_P521_SHA256_ASN1,
            KeyKind::Ed25519 => &lc::ED25519,
            KeyKind::Rsa => &lc::RSA_PKCS1_2048_8192_SHA256,
        };
        let messages = ParsedPublicKey::new(algorithm, &key).map_err(|_| PublicKeyError::Key(kind))?;
        Ok(Self(Arc::new(Inner { kind, spki: Bytes::copy_from_slice(der), key, messages })))
    }

    /// The kind of the key.
    pub fn kind(&self) -> KeyKind {
        self.0.kind
    }

    /// The DER of the `SubjectPublicKeyInfo` it was made from.
    pub fn spki(&self) -> &Bytes {
        &self.0.spki
    }

    /// The key without wrapping: uncompressed EC point, 32 bytes of Ed25519, or PKCS #1 RSA key.
    pub fn key_bytes(&self) -> &Bytes {
        &self.0.key
    }

    /// The identifier Fabric gives the key, which names its file in a keystore and is the subject key identifier of
    /// cryptogen's certificates: SHA-256 over [`Self::key_bytes`].
    pub fn identifier(&self) -> Digest {
        Digest::of(&self.0.key)
    }

    /// Checks a signature over a message: ECDSA over the message's SHA-256 with a low `s`, or Ed25519 over the message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        if signature.is_empty() {
            return Err(SignatureError::Empty);
        }
        match self.0.kind {
            KeyKind::Ecdsa(curve) => {
                let parsed = EcdsaSignature::parse(signature).ok_or(SignatureError::Encoding)?;
                if !parsed.is_low(curve) {
                    return Err(SignatureError::HighS);
                }
                if parsed.exact {
                    self.0.messages.verify_sig(message, signature).map_err(|_| SignatureError::Wrong)
                } else {
                    let exact = EcdsaSignature::encode(parsed.r, parsed.s);
                    self.0.messages.verify_sig(message, &exact).map_err(|_| SignatureError::Wrong)
                }
            }
            KeyKind::Ed25519 => self.0.messages.verify_sig(message, signature).map_err(|_| SignatureError::Wrong),
            KeyKind::Rsa => Err(SignatureError::KeyKind(KeyKind::Rsa)),
        }
    }

    /// Checks the signature of a certificate or revocation list. A high `s` is allowed here (Go: `checkSignature`).
    pub(crate) fn verifies(&self, algorithm: SignatureAlgorithm, signed: &[u8], signature: &[u8]) -> bool {
        use SignatureAlgorithm as A;
        let verification: &'static dyn VerificationAlgorithm = match (self.0.kind, algorithm) {
            (KeyKind::Ecdsa(Curve::P256), A::EcdsaSha256) => &lc::ECDSA_P256_SHA256_ASN1,
            (KeyKind::Ecdsa(Curve::P256), A::EcdsaSha384) => &lc::ECDSA_P256_SHA384_ASN1,
            (KeyKind::Ecdsa(Curve::P256), A::EcdsaSha512) => &lc::ECDSA_P256_SHA512_ASN1,
            (KeyKind::Ecdsa(Curve::P384), A::EcdsaSha256) => &lc::ECDSA_P384_SHA256_ASN1,
            (KeyKind::Ecdsa(Curve::P384), A::EcdsaSha384) => &lc::ECDSA_P384_SHA384_ASN1,
            (KeyKind::Ecdsa(Curve::P384), A::EcdsaSha512) => &lc::ECDSA_P384_SHA512_ASN1,
            (KeyKind::Ecdsa(Curve::P521), A::EcdsaSha256) => &lc::ECDSA_P521_SHA256_ASN1,
            (KeyKind::Ecdsa(Curve::P521), A::EcdsaSha384) => &lc::ECDSA_P521_SHA384_ASN1,
            (KeyKind::Ecdsa(Curve::P521), A::EcdsaSha512) => &lc::ECDSA_P521_SHA512_ASN1,
            (KeyKind::Ed25519, A::Ed25519) => &lc::ED25519,
            (KeyKind::Rsa, A::RsaSha256) => &lc::RSA_PKCS1_2048_8192_SHA256,
            (KeyKind::Rsa, A::RsaSha384) => &lc::RSA_PKCS1_2048_8192_SHA384,
            (KeyKind::Rsa, A::RsaSha512) => &lc::RSA_PKCS1_2048_8192_SHA512,
            _ => return false,
        };
        UnparsedPublicKey::new(verification, &self.0.key).verify(signed, signature).is_ok()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.spki == other.0.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} key {}", self.0.kind, self.identifier())
    }
}
