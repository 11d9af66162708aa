use std::fmt;

use bytes::Bytes;
use ripstop_crypto::{Certificate, CertificateError};
use ripstop_types::{MspId, SerializedIdentity, rfc3339, shortened};

/// How many characters of a name are repeated: nobody checked it, and no honest one is longer.
const MAX_SHOWN: usize = 300;

/// A name that anybody may have made up, as texts repeat it.
pub(crate) fn shown(name: impl fmt::Display) -> String {
    shortened(name.to_string(), MAX_SHOWN)
}

/// Whom the bytes of an identity claim to be, for people who look for what went wrong: nothing of it was checked. It repeats
/// only what stands in the bytes, so whoever sent them may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// `None` where the bytes are no `SerializedIdentity`.
    identity: Option<(MspId, Result<Certificate, CertificateError>)>,
}

impl Claim {
    /// Reads what the bytes say.
    pub fn of(serialized: &Bytes) -> Self {
        let identity = SerializedIdentity::parse(serialized.clone()).ok();
        Self { identity: identity.map(|identity| (identity.msp_id, Certificate::from_pem(&identity.id_bytes))) }
    }

    /// The organization it names.
    pub fn msp_id(&self) -> Option<&MspId> {
        self.identity.as_ref().map(|(msp_id, _)| msp_id)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.identity {
            None => f.write_str("somebody without a name"),
            Some((msp_id, Err(error))) => {
                write!(f, "somebody of {} without a readable certificate ({error})", shown(msp_id))
            }
            Some((msp_id, Ok(certificate))) => write!(
                f,
                "'{}' of {} (issued by '{}', serial number {}, valid until {})",
                shown(certificate.subject()),
                shown(msp_id),
                shown(certificate.issuer()),
                shown(certificate.serial_decimal()),
                rfc3339(certificate.not_after())
            ),
        }
    }
}

/// A certificate whose time is over. MSPs do not judge that; services do, of signers of new things.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate of '{subject}' of {msp_id} was valid until {}; enroll again", rfc3339(*.not_after))]
pub struct Expired {
    subject: String,
    msp_id: String,
    not_after: i64,
}

impl Expired {
    /// The certificate of a member of an organization.
    pub fn new(certificate: &Certificate, msp_id: &MspId) -> Self {
        let subject = shown(certificate.subject());
        Self { subject, msp_id: shown(msp_id), not_after: certificate.not_after() }
    }

    /// Checks the bytes of an identity at a time in seconds since the Unix epoch. What cannot be read has no end here: whoever
    /// checks its signature refuses it (Fabric: `crypto.ExpiresAt`).
    pub fn check(serialized: &Bytes, now: i64) -> Result<(), Self> {
        match Claim::of(serialized).identity {
            Some((msp_id, Ok(certificate))) if now > certificate.not_after() => Err(Self::new(&certificate, &msp_id)),
            _ => Ok(()),
        }
    }
}
