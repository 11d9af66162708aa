//! ECDSA signatures: their encoding, and the rule that `s` is low.

use ripstop_types::put_der;

use crate::Curve;
use crate::der::{self, Reader};

/// Why a signature over a message is refused. The texts are those of Fabric's crypto provider.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No signature at all.
    #[error("could not determine the validity of the signature: Invalid signature. Cannot be empty.")]
    Empty,
    /// The bytes are no `SEQUENCE { r, s }` of positive integers.
    #[error(
        "could not determine the validity of the signature: Failed verifing with opts [<nil>]: Failed unmashalling signature [it is no DER sequence of two positive integers]"
    )]
    Encoding,
    /// `s` is in the upper half of the group's order: someone could have made it from another signature without the key.
    #[error(
        "could not determine the validity of the signature: Failed verifing with opts [<nil>]: Invalid S. Must be smaller than half the order"
    )]
    HighS,
    /// The certificate's key is of a kind that does not sign messages in Fabric.
    #[error("could not determine the validity of the signature: a key of kind {0} does not sign messages")]
    KeyKind(crate::KeyKind),
    /// The signature was not made with this key over this message.
    #[error("The signature is invalid")]
    Wrong,
}

/// How a certificate or a revocation list is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// ECDSA with SHA-1; accepted nowhere, but still recognised as ECDSA.
    EcdsaSha1,
    /// ECDSA with SHA-256.
    EcdsaSha256,
    /// ECDSA with SHA-384.
    EcdsaSha384,
    /// ECDSA with SHA-512.
    EcdsaSha512,
    /// Ed25519.
    Ed25519,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RsaSha256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    RsaSha384,
    /// RSA PKCS #1 v1.5 with SHA-512.
    RsaSha512,
    /// Anything else.
    Unknown,
}

impl SignatureAlgorithm {
    pub(crate) fn from_oid(oid: &str) -> Self {
        match oid {
            "1.2.840.10045.4.1" => Self::EcdsaSha1,
            "1.2.840.10045.4.3.2" => Self::EcdsaSha256,
            "1.2.840.10045.4.3.3" => Self::EcdsaSha384,
            "1.2.840.10045.4.3.4" => Self::EcdsaSha512,
            "1.3.101.112" => Self::Ed25519,
            "1.2.840.113549.1.1.11" => Self::RsaSha256,
            "1.2.840.113549.1.1.12" => Self::RsaSha384,
            "1.2.840.113549.1.1.13" => Self::RsaSha512,
            _ => Self::Unknown,
        }
    }

    /// Whether the signature is a pair of numbers with a low and a high form.
    pub const fn is_ecdsa(self) -> bool {
        matches!(self, Self::EcdsaSha1 | Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512)
    }
}

/// The two numbers of an ECDSA signature, as magnitudes without leading zeros.
pub(crate) struct EcdsaSignature<'a> {
    pub(crate) r: &'a [u8],
    pub(crate) s: &'a [u8],
    /// Whether the bytes it was read from are exactly its encoding.
    pub(crate) exact: bool,
}

impl<'a> EcdsaSignature<'a> {
    /// Reads `SEQUENCE { r, s }` as Go does: what follows `s`, inside or behind the sequence, is ignored.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut outer = Reader(bytes);
        let mut inner = Reader(outer.expect(der::SEQUENCE)?);
        let r = inner.positive_integer()?;
        let s = inner.positive_integer()?;
        Some(Self { r, s, exact: outer.0.is_empty() && inner.0.is_empty() })
    }

    pub(crate) fn encode(r: &[u8], s: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(r.len() + s.len() + 6);
        der::put_positive_integer(&mut body, r);
        der::put_positive_integer(&mut body, s);
        let mut out = Vec::with_capacity(body.len() + 3);
        put_der(&mut out, der::SEQUENCE, &body);
        out
    }

    pub(crate) fn is_low(&self, curve: Curve) -> bool {
        let half = curve.half_order();
        let skip = half.iter().take_while(|byte| **byte == 0).count();
        let half = &half[skip..];
        (self.s.len(), self.s) <= (half.len(), half)
    }
}

/// Rewrites an ECDSA signature so that its `s` is low; a signature that is low already comes back re-encoded, equal where it
/// was canonical. `None` where the bytes are no signature or `s` is beyond the curve's order.
///
/// With any signature `(r, s)` also `(r, n - s)` is one, so only one of the two may count (Fabric: `utils.SignatureToLowS`).
pub fn to_low_s(curve: Curve, signature: &[u8]) -> Option<Vec<u8>> {
    let parsed = EcdsaSignature::parse(signature)?;
    if parsed.is_low(curve) {
        return Some(EcdsaSignature::encode(parsed.r, parsed.s));
    }
    let order = curve.order();
    let mut low = order.to_vec();
    let offset = order.len().checked_sub(parsed.s.len())?;
    let mut borrow = 0u16;
    for (index, digit) in low.iter_mut().enumerate().rev() {
        let subtrahend = index.checked_sub(offset).map_or(0, |at| u16::from(parsed.s[at])) + borrow;
        borrow = u16::from(u16::from(*digit) < subtrahend);
        *digit = (u16::from(*digit) + (borrow << 8) - subtrahend) as u8;
    }
    (borrow == 0).then(|| EcdsaSignature::encode(parsed.r, &low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_s_becomes_the_order_minus_s() {
        let mut high = Curve::P256.order().to_vec();
        *high.last_mut().unwrap() -= 5;
        let signature = EcdsaSignature::encode(&[7], &high);
        assert!(!EcdsaSignature::parse(&signature).unwrap().is_low(Curve::P256));
        let low = to_low_s(Curve::P256, &signature).unwrap();
        assert_eq!(low, EcdsaSignature::encode(&[7], &[5]));
        assert_eq!(to_low_s(Curve::P256, &low).unwrap(), low);
    }

    #[test]
    fn half_the_order_is_low_and_one_more_is_high() {
        for curve in [Curve::P256, Curve::P384, Curve::P521] {
            let mut s = curve.half_order().to_vec();
            let encode = |s: &[u8]| EcdsaSignature::encode(&[1], s);
            assert!(EcdsaSignature::parse(&encode(&s)).unwrap().is_low(curve));
            *s.last_mut().unwrap() += 1;
            assert!(!EcdsaSignature::parse(&encode(&s)).unwrap().is_low(curve));
        }
    }

    #[test]
    fn encodings_are_read_with_gos_leniency() {
        let good = [0x30, 6, 2, 1, 7, 2, 1, 5];
        assert!(EcdsaSignature::parse(&good).unwrap().exact);
        let behind = [&good[..], &[1, 2, 3]].concat();
        assert!(!EcdsaSignature::parse(&behind).unwrap().exact);
        let inside = [0x30, 8, 2, 1, 7, 2, 1, 5, 5, 0];
        assert!(!EcdsaSignature::parse(&inside).unwrap().exact);
        let refused: [&[u8]; 8] = [
            &[],
            &[0x30, 6, 2, 1, 7, 2, 1],
            &[0x30, 6, 2, 1, 0, 2, 1, 5],
            &[0x30, 6, 2, 1, 0x87, 2, 1, 5],
            &[0x30, 7, 2, 2, 0, 7, 2, 1, 5],
            &[0x30, 0x81, 6, 2, 1, 7, 2, 1, 5],
            &[0x30, 0x80, 2, 1, 7, 2, 1, 5, 0, 0],
            &[0x31, 6, 2, 1, 7, 2, 1, 5],
        ];
        for bytes in refused {
            assert!(EcdsaSignature::parse(bytes).is_none(), "{bytes:?}");
        }
    }
}
