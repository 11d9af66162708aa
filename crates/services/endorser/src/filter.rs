use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ripstop_msp::Expired;
use ripstop_proto::{common, protos};
use ripstop_types::{GoDuration, Timestamp, rfc3339};

/// What is asked of every proposal before the endorser sees it (`peer.handlers.authFilters`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filters {
    /// Whether proposals of expired identities are refused (`ExpirationCheck`).
    pub expiration: bool,
    /// How far a proposal's time may be off (`TimeWindowCheck`, `peer.authentication.timewindow`); `None`: any time.
    pub time_window: Option<Duration>,
}

/// Why a filter refuses. Sent as a gRPC error; begins with Fabric's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FilterRefusal {
    #[error("failed parsing {what}: error unmarshalling {message}: {reason}")]
    Malformed { what: &'static str, message: &'static str, reason: String },
    #[error("proposal client identity expired: {0}")]
    Expired(#[from] Expired),
    #[error(
        "request unauthorized due to incorrect timestamp {stated}, peer time {now}, peer.authentication.timewindow {window}"
    )]
    Timestamp { stated: String, now: String, window: GoDuration },
}

impl Filters {
    /// Applies the filters to a proposal that nobody has parsed yet.
    pub(crate) fn check(self, signed: &protos::SignedProposal, now: SystemTime) -> Result<(), FilterRefusal> {
        if !self.expiration && self.time_window.is_none() {
            return Ok(());
        }
        let malformed = |what, message| {
            move |error: prost::DecodeError| FilterRefusal::Malformed { what, message, reason: error.to_string() }
        };
        let proposal = ripstop_proto::read::<protos::Proposal>(signed.proposal_bytes.clone())
            .map_err(malformed("proposal", "Proposal"))?;
        let header = ripstop_proto::read::<common::Header>(proposal.header).map_err(malformed("header", "Header"))?;
        if self.expiration {
            let creator = ripstop_proto::read::<common::SignatureHeader>(header.signature_header)
                .map_err(malformed("signature header", "SignatureHeader"))?
                .creator;
            Expired::check(&creator, unix(now).as_secs() as i64)?;
        }
        if let Some(window) = self.time_window {
            let channel_header = ripstop_proto::read::<common::ChannelHeader>(header.channel_header)
                .map_err(malformed("channel header", "ChannelHeader"))?;
            let stated = channel_header.timestamp.unwrap_or_default();
            check_time(Timestamp { seconds: stated.seconds, nanos: stated.nanos }, window, now)?;
        }
        Ok(())
    }
}

fn unix(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn check_time(stated: Timestamp, window: Duration, now: SystemTime) -> Result<(), FilterRefusal> {
    let now = unix(now);
    let stated_nanos = i128::from(stated.seconds) * 1_000_000_000 + i128::from(stated.nanos);
    if (now.as_nanos() as i128).abs_diff(stated_nanos) <= window.as_nanos() {
        return Ok(());
    }
    Err(FilterRefusal::Timestamp {
        stated: rfc3339(stated.seconds),
        now: rfc3339(now.as_secs() as i64),
        window: GoDuration::from(window),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    fn proposal_at(seconds: i64) -> protos::SignedProposal {
        let timestamp = Some(prost_types::Timestamp { seconds, nanos: 0 });
        let channel_header = common::ChannelHeader { timestamp, ..Default::default() }.encode_to_vec().into();
        let header = common::Header { channel_header, ..Default::default() }.encode_to_vec().into();
        let proposal = protos::Proposal { header, ..Default::default() }.encode_to_vec();
        protos::SignedProposal { proposal_bytes: proposal.into(), signature: Default::default() }
    }

    #[test]
    fn times_outside_of_the_window_are_refused_with_fabrics_words() {
        let filters = Filters { expiration: true, time_window: Some(Duration::from_secs(900)) };
        let now = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        for good in [1_600_000_000, 1_600_000_900, 1_599_999_100] {
            assert_eq!(filters.check(&proposal_at(good), now), Ok(()));
        }
        assert_eq!(
            filters.check(&proposal_at(1_600_000_901), now).unwrap_err().to_string(),
            "request unauthorized due to incorrect timestamp 2020-09-13T12:41:41Z, peer time 2020-09-13T12:26:40Z, peer.authentication.timewindow 15m0s"
        );
        assert!(filters.check(&proposal_at(i64::MIN), now).is_err());
        assert_eq!(Filters::default().check(&proposal_at(0), now), Ok(()));
    }
}
