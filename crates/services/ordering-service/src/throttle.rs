use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ripstop_crypto::Certificate;
use ripstop_ordering::SharedRate;
use ripstop_transport::PeerInfo;

/// Slows clients down so that all of them together, and in them all organizations, stay below a rate
/// (`General.Throttling`). Who shows no TLS certificate is not slowed down, as in Fabric.
#[derive(Debug)]
pub struct Throttle {
    began: Instant,
    clients: Mutex<SharedRate>,
    organizations: Mutex<SharedRate>,
}

/// Whose messages are slowed down: a client's key, and that of who issued its certificate.
#[derive(Debug, Clone)]
pub(crate) struct Throttled {
    client: Vec<u8>,
    organization: Vec<u8>,
}

impl Throttled {
    /// The client of a connection.
    pub(crate) fn of(peer: &PeerInfo) -> Option<Self> {
        let certificate = Certificate::from_der(peer.certificate()?).ok()?;
        let key = |id: Option<&bytes::Bytes>| id.map(|id| id.to_vec()).unwrap_or_default();
        Some(Self { client: key(certificate.subject_key_id()), organization: key(certificate.authority_key_id()) })
    }
}

impl Throttle {
    /// At most this many messages a second. A client that is silent for `inactivity_timeout` does not count.
    pub fn new(rate: u32, inactivity_timeout: Duration) -> Self {
        let shared = || Mutex::new(SharedRate::new(rate, inactivity_timeout));
        Self { began: Instant::now(), clients: shared(), organizations: shared() }
    }

    /// Waits until it is the turn of a message that just arrived.
    pub(crate) async fn wait(&self, whose: &Throttled) {
        let wait = self.admit(whose, self.began.elapsed());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// How long a message has to wait that arrives this long after the beginning.
    fn admit(&self, whose: &Throttled, now: Duration) -> Duration {
        let client = self.clients.lock().admit(&whose.client, now);
        client.max(self.organizations.lock().admit(&whose.organization, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_their_organizations_have_to_stay_below_the_rate() {
        let throttle = Throttle::new(2, Duration::from_secs(5));
        let whose = |client: &[u8]| Throttled { client: client.to_vec(), organization: b"org".to_vec() };
        let wait = |client: &[u8]| throttle.admit(&whose(client), Duration::ZERO).as_secs();
        // Three clients of one organization: each is within its own share, but not all are in the organization's.
        assert_eq!([wait(b"a"), wait(b"b"), wait(b"c")], [0, 0, 1]);
    }
}
