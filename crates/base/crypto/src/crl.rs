use std::collections::HashSet;

use bytes::Bytes;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::der::{self, Reader};
use crate::signature::EcdsaSignature;
use crate::{Certificate, SignatureAlgorithm, decode_pem};

/// Why bytes are no usable revocation list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// The bytes are no `CertificateList`.
    #[error("could not parse RevocationList: {0}")]
    Encoding(String),
    /// The list is signed with ECDSA, but its signature is no pair of numbers.
    #[error("failed unmashalling signature of the revocation list")]
    Signature,
}

/// A certificate revocation list (RFC 5280, section 5). When it was made and when it ends plays no part in Fabric.
#[derive(Debug, Clone)]
pub struct Crl {
    signed: Bytes,
    algorithm: SignatureAlgorithm,
    /// In canonical form where it is ECDSA.
    signature: Vec<u8>,
    authority_key_id: Option<Bytes>,
    revoked: HashSet<Vec<u8>>,
}

impl Crl {
    /// Parses DER, or PEM with the label `X509 CRL` (Go: `ParseCRL`).
    pub fn parse(bytes: &[u8]) -> Result<Self, CrlError> {
        let is_pem = bytes.starts_with(b"-----BEGIN X509 CRL");
        match decode_pem(bytes).filter(|(block, _)| is_pem && block.label == "X509 CRL") {
            Some((block, _)) => Self::from_der(&block.content),
            None => Self::from_der(bytes),
        }
    }

    fn from_der(bytes: &[u8]) -> Result<Self, CrlError> {
        let (rest, list) = CertificateRevocationList::from_der(bytes)
            .map_err(|error| CrlError::Encoding(format!("malformed revocation list: {error}")))?;
        if !rest.is_empty() {
            return Err(CrlError::Encoding("x509: trailing data after CRL".to_owned()));
        }
        let signed = Reader(bytes)
            .expect(der::SEQUENCE)
            .and_then(|inner| Reader(inner).next())
            .map(|element| Bytes::copy_from_slice(element.raw))
            .ok_or_else(|| CrlError::Encoding("malformed revocation list".to_owned()))?;
        let algorithm = SignatureAlgorithm::from_oid(&list.signature_algorithm.algorithm.to_id_string());
        let mut signature = list.signature_value.data.to_vec();
        if algorithm.is_ecdsa() {
            let parsed = EcdsaSignature::parse(&signature).ok_or(CrlError::Signature)?;
            signature = EcdsaSignature::encode(parsed.r, parsed.s);
        }
        let authority_key_id = list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                Some(id.key_identifier.as_ref().map(|id| Bytes::copy_from_slice(id.0)).unwrap_or_default())
            }
            _ => None,
        });
        let revoked = list.iter_revoked_certificates().map(|entry| entry.serial().to_bytes_be()).collect();
        Ok(Self { signed, algorithm, signature, authority_key_id, revoked })
    }

    /// The identifier of the issuer's key; `None` where the list does not have that extension.
    pub fn authority_key_id(&self) -> Option<&Bytes> {
        self.authority_key_id.as_ref()
    }

    /// Whether the certificate's serial number is listed.
    pub fn lists(&self, certificate: &Certificate) -> bool {
        self.revoked.contains(certificate.serial())
    }

    /// Whether the list is signed with the key of `issuer`.
    pub fn is_signed_by(&self, issuer: &Certificate) -> bool {
        issuer.public_key().verifies(self.algorithm, &self.signed, &self.signature)
    }
}
