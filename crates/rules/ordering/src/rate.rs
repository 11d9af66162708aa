use std::collections::HashMap;
use std::time::Duration;

/// How many clients have shares of their own; those beyond have one together.
const MAX_CLIENTS: usize = 10_000;
/// Shares are counted anew after this time.
const WINDOW: Duration = Duration::from_secs(1);

/// A rate of messages, shared equally by the clients that are active (Fabric: `throttle.SharedRateLimiter`).
///
/// Times are durations since any moment before the first message.
#[derive(Debug)]
pub struct SharedRate {
    /// Messages a second over all clients.
    limit: u32,
    /// A client that is silent for this long has no share any more.
    inactivity_timeout: Duration,
    shares: HashMap<Vec<u8>, Share>,
    /// When silent clients were looked for last.
    pruned: Duration,
}

/// The share of a client.
#[derive(Debug)]
struct Share {
    window_began: Duration,
    /// Messages that were let through, or were promised to be, since then.
    used: u32,
    seen: Duration,
}

impl SharedRate {
    /// This many messages a second.
    pub fn new(limit: u32, inactivity_timeout: Duration) -> Self {
        Self { limit, inactivity_timeout, shares: HashMap::new(), pruned: Duration::ZERO }
    }

    /// How long a message of `client` that arrives `now` has to wait for its turn. It counts against the client's share.
    pub fn admit(&mut self, client: &[u8], now: Duration) -> Duration {
        self.prune(now);
        let known = self.shares.contains_key(client) || self.shares.len() < MAX_CLIENTS;
        let client = if known { client } else { &[] };
        if !self.shares.contains_key(client) {
            self.shares.insert(client.to_owned(), Share { window_began: now, used: 0, seen: now });
        }
        let clients = u32::try_from(self.shares.len()).unwrap_or(u32::MAX);
        let budget = (self.limit / clients).max(1);
        let Some(share) = self.shares.get_mut(client) else { return Duration::ZERO };
        share.seen = now;
        let past = now.saturating_sub(share.window_began).as_secs();
        share.window_began += WINDOW * u32::try_from(past).unwrap_or(u32::MAX);
        share.used = share.used.saturating_sub(budget.saturating_mul(u32::try_from(past).unwrap_or(u32::MAX)));
        let turn = share.window_began + WINDOW * (share.used / budget);
        share.used = share.used.saturating_add(1);
        turn.saturating_sub(now)
    }

    /// Forgets clients that were silent for too long. Once a window is often enough.
    fn prune(&mut self, now: Duration) {
        if now.saturating_sub(self.pruned) < WINDOW {
            return;
        }
        self.pruned = now;
        let timeout = self.inactivity_timeout;
        self.shares.retain(|_, share| now.saturating_sub(share.seen) <= timeout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_client_alone_has_the_whole_rate() {
        let mut rate = SharedRate::new(3, ms(5000));
        let waits: Vec<Duration> = (0..7).map(|_| rate.admit(b"a", ms(100))).collect();
        assert_eq!(waits, [0, 0, 0, 1000, 1000, 1000, 2000].map(ms));
        // Its turns of the next windows are taken; what was promised is kept.
        assert_eq!(rate.admit(b"a", ms(1100)), ms(1000));
        assert_eq!(rate.admit(b"a", ms(9000)), ms(0), "an idle time makes no debt");
    }

    #[test]
    fn active_clients_have_equal_shares_and_silent_ones_none() {
        let mut rate = SharedRate::new(4, ms(5000));
        rate.admit(b"a", ms(0));
        let waits: Vec<Duration> = (0..3).map(|_| rate.admit(b"b", ms(0))).collect();
        assert_eq!(waits, [0, 0, 1000].map(ms));
        let alone: Vec<Duration> = (0..5).map(|_| rate.admit(b"b", ms(9000))).collect();
        assert_eq!(alone, [0, 0, 0, 0, 1000].map(ms), "a was silent for nine seconds");
    }

    #[test]
    fn a_share_is_never_nothing() {
        let mut rate = SharedRate::new(1, ms(5000));
        let waits: Vec<Duration> = [b"a", b"b", b"c"].iter().map(|client| rate.admit(*client, ms(0))).collect();
        assert_eq!(waits, [ms(0); 3]);
        assert_eq!(rate.admit(b"a", ms(0)), ms(1000));
    }

    #[test]
    fn strangers_in_masses_share_one_share() {
        let mut rate = SharedRate::new(1000, ms(5000));
        for number in 0..2 * MAX_CLIENTS as u32 {
            rate.admit(&number.to_be_bytes(), ms(0));
        }
        assert!(rate.shares.len() <= MAX_CLIENTS + 1);
    }
}
