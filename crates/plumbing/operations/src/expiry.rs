use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::macros::format_description;

/// How long before its end a certificate is warned about.
const NOTICE: i64 = 7 * 24 * 3600;

/// A certificate of this node, and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateEnd {
    /// What the node uses it for: `enrollment`, `server TLS` or `client TLS`.
    pub role: &'static str,
    /// The last second at which it is valid, in Unix seconds.
    pub not_after: i64,
}

/// How near the end is.
#[derive(Debug, PartialEq, Eq)]
enum Notice {
    Expired,
    WithinWeek {
        days: i64,
        hours: i64,
    },
    /// The week begins after this many seconds.
    Later(i64),
}

impl CertificateEnd {
    fn notice(self, now: i64) -> Notice {
        let left = self.not_after.saturating_sub(now);
        match left {
            ..0 => Notice::Expired,
            0..NOTICE => Notice::WithinWeek { days: left / 86_400, hours: left % 86_400 / 3600 },
            _ => Notice::Later(left - NOTICE),
        }
    }

    /// As Go prints times.
    fn text(self) -> String {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +0000 UTC");
        let time = OffsetDateTime::from_unix_timestamp(self.not_after).ok();
        time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| self.not_after.to_string())
    }
}

/// Logs when the node's certificates end, and warns when one has a week left (Fabric: `crypto.TrackExpiration`). Completes
/// when there is nothing left to warn about.
pub async fn watch_certificates(certificates: Vec<CertificateEnd>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let mut later = Vec::new();
    for certificate in certificates {
        let CertificateEnd { role, .. } = certificate;
        let end = certificate.text();
        match certificate.notice(now) {
            Notice::Expired => {
                tracing::warn!(target: "certmonitor", "The {role} certificate has expired, on {end}");
            }
            Notice::WithinWeek { days, hours } => {
                tracing::info!(target: "certmonitor", "The {role} certificate will expire on {end}");
                tracing::warn!(target: "certmonitor", "The {role} certificate expires within {days} days and {hours} hours");
            }
            Notice::Later(wait) => {
                tracing::info!(target: "certmonitor", "The {role} certificate will expire on {end}");
                later.push((wait, role));
            }
        }
    }
    later.sort_unstable();
    let mut waited = 0;
    for (wait, role) in later {
        tokio::time::sleep(Duration::from_secs(u64::try_from(wait - waited).unwrap_or_default())).await;
        waited = wait;
        tracing::warn!(target: "certmonitor", "The {role} certificate will expire within one week");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_before_its_end_a_certificate_is_warned_about() {
        let end = CertificateEnd { role: "enrollment", not_after: 2_000_000_000 };
        assert_eq!(end.notice(2_000_000_001), Notice::Expired);
        assert_eq!(end.notice(2_000_000_000), Notice::WithinWeek { days: 0, hours: 0 });
        assert_eq!(end.notice(2_000_000_000 - 93_600), Notice::WithinWeek { days: 1, hours: 2 });
        assert_eq!(end.notice(2_000_000_000 - NOTICE - 5), Notice::Later(5));
        assert_eq!(end.text(), "2033-05-18 03:33:20 +0000 UTC");
    }
}
