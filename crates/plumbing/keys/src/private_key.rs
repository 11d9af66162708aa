use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as lc, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _};
use bytes::Bytes;
use p384::ecdsa::signature::hazmat::PrehashSigner;
use ripstop_crypto::{Curve, KeyKind, PublicKey, PublicKeyError, SignError, Signer, decode_pem, encode_pem, to_low_s};
use ripstop_types::Digest;

/// Why bytes are no usable private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrivateKeyError {
    /// There is no PEM block.
    #[error("failed decoding PEM. Block must be different from nil")]
    Pem,
    /// Neither PKCS #8 nor SEC 1 of a supported kind.
    #[error("invalid key type. The DER must contain an ecdsa.PrivateKey or an ed25519.PrivateKey")]
    Encoding,
    /// The key cannot be turned into its public form.
    #[error(transparent)]
    Public(#[from] PublicKeyError),
    /// The system did not make a key.
    #[error("no {0} key could be made")]
    Generate(KeyKind),
}

/// A private key in memory. Never printed.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ecdsa(Curve, EcdsaKeyPair),
    /// Fabric signs SHA-256 with this curve too, which the main provider does not offer.
    P384 {
        pair: EcdsaKeyPair,
        signing: Box<p384::ecdsa::SigningKey>,
    },
    Ed25519(Ed25519KeyPair),
}

const fn algorithm(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P384 => &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
        Curve::P521 => &lc::ECDSA_P521_SHA256_ASN1_SIGNING,
    }
}

impl PrivateKey {
    /// Takes the first PEM block of a text: PKCS #8, or SEC 1 for ECDSA.
    pub fn from_pem(text: &[u8]) -> Result<Self, PrivateKeyError> {
        let (block, _) = decode_pem(text).ok_or(PrivateKeyError::Pem)?;
        Self::from_der(&block.content)
    }

    /// Takes DER: PKCS #8, or SEC 1 for ECDSA.
    pub fn from_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Self::new(Pair::Ed25519(pair));
        }
        for curve in [Curve::P256, Curve::P521] {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(algorithm(curve), der) {
                return Self::new(Pair::Ecdsa(curve, pair));
            }
        }
        let rejected = |_| PrivateKeyError::Encoding;
        let pair = EcdsaKeyPair::from_private_key_der(algorithm(Curve::P384), der).map_err(rejected)?;
        let number: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| PrivateKeyError::Encoding)?;
        let signing = p384::ecdsa::SigningKey::from_slice(number.as_ref()).map_err(|_| PrivateKeyError::Encoding)?;
        Self::new(Pair::P384 { pair, signing: Box::new(signing) })
    }

    /// Makes a key. RSA keys are not made.
    pub fn generate(kind: KeyKind) -> Result<Self, PrivateKeyError> {
        let failed = |_| PrivateKeyError::Generate(kind);
        match kind {
            KeyKind::Ecdsa(curve) => {
                let pair = EcdsaKeyPair::generate(algorithm(curve)).map_err(failed)?;
                Self::from_der(pair.to_pkcs8v1().map_err(failed)?.as_ref())
            }
            KeyKind::Ed25519 => Self::new(Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?)),
            KeyKind::Rsa => Err(PrivateKeyError::Generate(kind)),
        }
    }

    fn new(pair: Pair) -> Result<Self, PrivateKeyError> {
        let spki = match &pair {
            Pair::Ecdsa(_, pair) | Pair::P384 { pair, .. } => {
                AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map(|der| der.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => {
                AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map(|der| der.as_ref().to_vec())
            }
        };
        let public = PublicKey::from_spki(&spki.map_err(|_| PrivateKeyError::Encoding)?)?;
        Ok(Self { pair, public })
    }

    /// The public half.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The key as PKCS #8 PEM, as it lies in a keystore.
    pub fn to_pem(&self) -> Result<String, PrivateKeyError> {
        Ok(encode_pem("PRIVATE KEY", &self.to_pkcs8()?))
    }

    /// The key as PKCS #8 DER.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, PrivateKeyError> {
        let der = match &self.pair {
            Pair::Ecdsa(_, pair) | Pair::P384 { pair, .. } => pair.to_pkcs8v1(),
            Pair::Ed25519(pair) => pair.to_pkcs8v1(),
        };
        der.map(|der| der.as_ref().to_vec()).map_err(|_| PrivateKeyError::Encoding)
    }
}

impl Signer for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Bytes, SignError> {
        let failed = |reason: &str| SignError { reason: reason.to_owned() };
        let (curve, signature) = match &self.pair {
            Pair::Ed25519(pair) => return Ok(Bytes::copy_from_slice(pair.sign(message).as_ref())),
            Pair::Ecdsa(curve, pair) => {
                let signature = pair
                    .sign(&SystemRandom::new(), message)
                    .map_err(|_| failed("the crypto library refused the key"))?;
                (*curve, signature.as_ref().to_vec())
            }
            Pair::P384 { signing, .. } => {
                let signature: p384::ecdsa::DerSignature =
                    signing.sign_prehash(Digest::of(message).as_bytes()).map_err(|error| failed(&error.to_string()))?;
                (Curve::P384, signature.as_bytes().to_vec())
            }
        };
        to_low_s(curve, &signature).map(Bytes::from).ok_or_else(|| failed("the crypto library made no signature"))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "private half of {:?}", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_key_signs_and_survives_its_encoding() {
        for kind in
            [KeyKind::Ecdsa(Curve::P256), KeyKind::Ecdsa(Curve::P384), KeyKind::Ecdsa(Curve::P521), KeyKind::Ed25519]
        {
            let key = PrivateKey::generate(kind).unwrap();
            assert_eq!(key.public_key().kind(), kind);
            let again = PrivateKey::from_pem(key.to_pem().unwrap().as_bytes()).unwrap();
            assert_eq!(again.public_key(), key.public_key());
            for round in 0..8u8 {
                let message = [round; 40];
                let signature = again.sign(&message).unwrap();
                key.public_key().verify(&message, &signature).unwrap();
                assert!(key.public_key().verify(b"other", &signature).is_err());
            }
        }
        assert!(PrivateKey::generate(KeyKind::Rsa).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(PrivateKey::from_pem(b"nonsense").unwrap_err(), PrivateKeyError::Pem);
        assert_eq!(PrivateKey::from_der(&[0x30, 0]).unwrap_err(), PrivateKeyError::Encoding);
    }
}
