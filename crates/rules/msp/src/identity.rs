use bytes::Bytes;
use ripstop_crypto::{Certificate, SignatureError, decode_pem};
use ripstop_types::{Digest, MspId, SerializedIdentity};

use crate::{InvalidIdentity, NotWellFormed};

/// A unit of an organization that a certificate names, and who certified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationalUnit {
    /// The name.
    pub name: String,
    /// SHA-256 over the DER of the chain from the issuing authority up to the root.
    pub certifiers: Digest,
}

/// Someone an MSP knows. Everything about it was found out when it was identified.
#[derive(Debug, Clone)]
pub struct Identity {
    pub(crate) msp_id: MspId,
    pub(crate) certificate: Certificate,
    pub(crate) validity: Result<(), InvalidIdentity>,
    pub(crate) units: Vec<OrganizationalUnit>,
    pub(crate) is_listed_admin: bool,
}

impl Identity {
    /// The organization.
    pub fn msp_id(&self) -> &MspId {
        &self.msp_id
    }

    /// The certificate, in low-S form.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// What tells this identity apart from others of its organization: the digest of the certificate in low-S form.
    pub fn digest(&self) -> Digest {
        self.certificate.digest()
    }

    /// Whether it is valid under its MSP. Expiry plays no part.
    pub fn validate(&self) -> Result<(), InvalidIdentity> {
        self.validity.clone()
    }

    /// The organizational units, with who certified them; none where there is no chain to a root.
    pub fn organizational_units(&self) -> &[OrganizationalUnit] {
        &self.units
    }

    /// Checks a signature over a message. Says nothing on whether the identity is valid.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.certificate.public_key().verify(message, signature)
    }

    /// The identity as it travels, from the certificate in low-S form.
    pub fn serialize(&self) -> Bytes {
        SerializedIdentity::new(self.msp_id.clone(), self.certificate.to_pem().into()).raw
    }

    /// The units as error texts print them: names with the first eight bytes of the certifiers.
    pub(crate) fn units_text(&self) -> String {
        let units: Vec<String> = self
            .units
            .iter()
            .map(|unit| {
                let head: String = unit.certifiers.as_bytes()[..8].iter().map(|byte| format!("{byte:02X}")).collect();
                format!("{}({head})", unit.name)
            })
            .collect();
        format!("[{}]", units.join(" "))
    }
}

/// Checks that an identity is encoded in the only way there is for it: one PEM block of the right kind, nothing behind it,
/// and a canonical signature in the certificate. Where identities are spread and kept by their bytes, as gossip does, two
/// encodings of one identity would count twice (Fabric: `IsWellFormed`).
pub fn check_well_formed(identity: &SerializedIdentity) -> Result<(), NotWellFormed> {
    let (block, rest) = decode_pem(&identity.id_bytes).ok_or(NotWellFormed::NoPem)?;
    let text = || (String::from_utf8_lossy(&identity.id_bytes).into_owned(), identity.msp_id.clone());
    if !rest.is_empty() {
        let (identity, msp_id) = text();
        return Err(NotWellFormed::TrailingBytes { identity, msp_id });
    }
    if block.label != "CERTIFICATE" && !block.label.is_empty() {
        return Err(NotWellFormed::Label(block.label));
    }
    if Certificate::from_der(&block.content)?.has_canonical_signature() {
        Ok(())
    } else {
        let (identity, msp_id) = text();
        Err(NotWellFormed::Signature { identity, msp_id })
    }
}
