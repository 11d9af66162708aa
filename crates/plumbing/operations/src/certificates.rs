use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ripstop_crypto::Certificate;
use ripstop_transport::{KeyPair, Renewal, TlsFiles, TlsFilesError};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::signal::unix::{SignalKind, signal};

const LOG: &str = "certmonitor";
/// How long before its end a certificate is warned about.
const NOTICE: i64 = 7 * 24 * 3600;
/// How often the files are looked at, and the clock.
const LOOK: Duration = Duration::from_secs(10);

/// The end of a certificate, and what the operator knows of it.
#[derive(Debug)]
struct End {
    /// The last second at which it is valid, in Unix seconds.
    not_after: i64,
    /// How near it was when it was spoken of last; none before anything was said.
    said: Option<Stage>,
}

/// How near the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Later,
    WithinWeek,
    Expired,
}

/// What is to be said now.
#[derive(Debug, Default, PartialEq, Eq)]
struct Notice {
    information: Option<String>,
    warning: Option<String>,
}

impl End {
    /// What an operator should hear at this moment about the certificate in this role (Fabric: `trackCertExpiration`).
    fn notice(&mut self, role: &str, now: i64) -> Notice {
        let left = self.not_after.saturating_sub(now);
        let stage = match left {
            ..0 => Stage::Expired,
            0..NOTICE => Stage::WithinWeek,
            _ => Stage::Later,
        };
        let before = self.said.replace(stage);
        let will_expire = || Some(format!("The {role} certificate will expire on {}", self.text()));
        let (information, warning) = match (before, stage) {
            (Some(before), stage) if stage <= before => (None, None),
            (_, Stage::Expired) => (None, Some(format!("The {role} certificate has expired"))),
            (None, Stage::Later) => (will_expire(), None),
            (None, Stage::WithinWeek) => {
                let (days, hours) = (left / 86_400, left % 86_400 / 3600);
                let soon = format!("The {role} certificate expires within {days} days and {hours} hours");
                (will_expire(), Some(soon))
            }
            (Some(_), _) => (None, Some(format!("The {role} certificate will expire within one week"))),
        };
        Notice { information, warning }
    }

    /// As Go prints times.
    fn text(&self) -> String {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +0000 UTC");
        let time = OffsetDateTime::from_unix_timestamp(self.not_after).ok();
        time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| self.not_after.to_string())
    }
}

/// The certificates of a node: what each is used for, when it ends, and the files that some of them come from.
#[derive(Debug)]
pub struct Certificates {
    ends: BTreeMap<&'static str, End>,
    files: TlsFiles,
}

impl Certificates {
    /// The certificate with which the node signs ends at `enrollment`, in Unix seconds; those for TLS come from `files`.
    pub fn new(enrollment: i64, files: TlsFiles) -> Self {
        let mut certificates = Self { ends: BTreeMap::new(), files: TlsFiles::default() };
        certificates.take("enrollment", enrollment);
        for (roles, pair) in files.pairs() {
            for role in roles {
                certificates.take_pair(role, pair);
            }
        }
        Self { files, ..certificates }
    }

    fn take(&mut self, role: &'static str, not_after: i64) {
        self.ends.insert(role, End { not_after, said: None });
    }

    fn take_pair(&mut self, role: &'static str, pair: &KeyPair) {
        if let Ok(certificate) = Certificate::from_der(&pair.leaf()) {
            self.take(role, certificate.not_after());
        }
    }

    /// Watches the certificates for as long as the node runs. Says when they end, warns when one has a week left (Fabric:
    /// `crypto.TrackExpiration`), and takes up TLS files that change, at once on SIGHUP.
    ///
    /// # Errors
    /// The operating system refuses to tell about signals.
    pub async fn watch(mut self) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            self.speak(now());
            let asked = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                _ = hangup.recv() => true,
            };
            let mut files = std::mem::take(&mut self.files);
            let looked = tokio::task::spawn_blocking(move || {
                let renewals = files.renew();
                (files, renewals)
            });
            // Only a panic below could lose the files; then there is nothing left to renew.
            let Ok((files, renewals)) = looked.await else { return Ok(()) };
            self.files = files;
            if asked && renewals.is_empty() {
                tracing::info!(target: LOG, "Received SIGHUP: the TLS files are as they were");
            }
            for renewal in renewals {
                self.renewed(&renewal);
            }
        }
    }

    fn renewed(&mut self, renewal: &Renewal) {
        match renewal {
            Renewal::KeyPair { roles, outcome } => self.pair_renewed(roles, outcome),
            Renewal::ClientRoots { paths, outcome: Ok(()) } => {
                tracing::info!(target: LOG, "TLS clients are verified against the new root certificates in {paths}");
            }
            Renewal::ClientRoots { outcome: Err(error), .. } => {
                tracing::warn!(target: LOG, "TLS clients are verified as before, because changed files cannot be used: {error}");
            }
        }
    }

    fn pair_renewed(&mut self, roles: &[&'static str], outcome: &Result<KeyPair, TlsFilesError>) {
        let names = roles.join(" and ");
        match outcome {
            Ok(pair) => {
                tracing::info!(target: LOG, "The {names} certificate was replaced, because its files changed");
                for role in roles {
                    self.take_pair(role, pair);
                }
            }
            Err(error) => {
                // Not an error of the node: between the two writes of a renewal the files do not fit each other.
                tracing::warn!(target: LOG, "The {names} certificate stays as it is, because its changed files cannot be used: {error}");
            }
        }
    }

    fn speak(&mut self, now: i64) {
        for (role, end) in &mut self.ends {
            let notice = end.notice(role, now);
            if let Some(information) = notice.information {
                tracing::info!(target: LOG, function = "trackCertExpiration", "{information}");
            }
            if let Some(warning) = notice.warning {
                tracing::warn!(target: LOG, function = "trackCertExpiration", "{warning}");
            }
        }
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_towards_the_end_is_told_once() {
        let mut end = End { not_after: 2_000_000_000, said: None };
        let will = "The enrollment certificate will expire on 2033-05-18 03:33:20 +0000 UTC";
        for (left, information, warning) in [
            (NOTICE + 5, Some(will), None),
            (NOTICE, None, None),
            (NOTICE - 5, None, Some("The enrollment certificate will expire within one week")),
            (1, None, None),
            (-1, None, Some("The enrollment certificate has expired")),
            (-2, None, None),
        ] {
            let notice = end.notice("enrollment", end.not_after - left);
            assert_eq!((notice.information.as_deref(), notice.warning.as_deref()), (information, warning), "{left}");
        }
        let mut late = End { not_after: 2_000_000_000, said: None };
        let notice = late.notice("enrollment", late.not_after - 93_600);
        assert_eq!(notice.information.as_deref(), Some(will));
        assert_eq!(notice.warning.as_deref(), Some("The enrollment certificate expires within 1 days and 2 hours"));
    }
}
