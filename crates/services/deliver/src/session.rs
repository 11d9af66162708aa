use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ripstop_crypto::expires_at;
use ripstop_msp::Expired;
use ripstop_transport::PeerInfo;
use ripstop_types::{Envelope, SignedData, rfc3339};

use crate::service::{ExpirationCheck, TlsBinding};
use crate::source::{BlockForm, BlockSource, Refusal};

/// Why a request is answered with `BAD_REQUEST` before its channel is looked at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("channel header in envelope must contain timestamp")]
    NoTimestamp,
    #[error(
        "envelope timestamp {} is more than {window:?} apart from current server time {}: the client's clock, or this one, is wrong",
        rfc3339(*.stated),
        rfc3339(*.now)
    )]
    Timestamp { stated: i64, window: Duration, now: i64 },
    #[error("client didn't include its TLS cert hash")]
    NoCertificateHash,
    #[error("client didn't send a TLS certificate")]
    NoCertificate,
    #[error("claimed TLS cert hash is {claimed} but actual TLS cert hash is {actual}")]
    OtherCertificate { claimed: String, actual: String },
}

/// Checks time and TLS binding of a request.
pub(crate) fn check_header(
    envelope: &Envelope,
    window: Duration,
    binding: TlsBinding,
    peer: Option<&PeerInfo>,
    now: SystemTime,
) -> Result<(), BadRequest> {
    let header = &envelope.channel_header;
    let stated = header.timestamp.ok_or(BadRequest::NoTimestamp)?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let stated_nanos = i128::from(stated.seconds) * 1_000_000_000 + i128::from(stated.nanos);
    let apart = (now.as_nanos() as i128).abs_diff(stated_nanos);
    if apart > window.as_nanos() {
        return Err(BadRequest::Timestamp { stated: stated.seconds, window, now: now.as_secs() as i64 });
    }
    if binding == TlsBinding::NotChecked {
        return Ok(());
    }
    let claimed = &header.tls_cert_hash;
    if claimed.is_empty() {
        return Err(BadRequest::NoCertificateHash);
    }
    let actual = peer.and_then(PeerInfo::certificate_hash).ok_or(BadRequest::NoCertificate)?;
    if claimed.as_ref() != actual.as_bytes() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        return Err(BadRequest::OtherCertificate { claimed: hex(claimed), actual: hex(actual.as_bytes()) });
    }
    Ok(())
}

/// Why a client may not read, or not any longer. For the log: clients are told a status only.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAuthorized {
    #[error("deliver client identity expired {seconds}s before: {expired}")]
    Expired { seconds: i64, expired: Expired },
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// The right of one client to go on reading one channel.
pub(crate) struct Session {
    source: Arc<dyn BlockSource>,
    form: BlockForm,
    request: SignedData,
    /// When the client's certificate ends, in Unix seconds.
    ends: Option<i64>,
    /// The configuration under which the client was authorised last.
    checked_at: Option<u64>,
}

impl Session {
    pub(crate) fn new(
        source: Arc<dyn BlockSource>,
        form: BlockForm,
        envelope: &Envelope,
        expiration: ExpirationCheck,
    ) -> Self {
        let ends = match expiration {
            ExpirationCheck::On => expires_at(&envelope.signature_header.creator),
            ExpirationCheck::Off => None,
        };
        Self { source, form, request: envelope.signed_data(), ends, checked_at: None }
    }

    /// Checks expiry always, and the policy at first and whenever the configuration moved on.
    pub(crate) fn evaluate(&mut self, now: SystemTime) -> Result<(), NotAuthorized> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
        if let Some(ends) = self.ends
            && now > ends
        {
            let seconds = now - ends;
            Expired::check(&self.request.identity, now)
                .map_err(|expired| NotAuthorized::Expired { seconds, expired })?;
        }
        let sequence = self.source.config_sequence();
        if self.checked_at.is_some_and(|checked| sequence <= checked) {
            return Ok(());
        }
        self.checked_at = Some(sequence);
        Ok(self.source.authorize(self.form, &self.request)?)
    }
}
