use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::{Moment, PeerTime, PkiId, StateInfo};

/// How many state infos are remembered. When there are more, those of further peers are not passed on.
const MAX_STATE_INFOS: usize = 1 << 14;

/// Of how many channels they are remembered of one peer.
const MAX_CHANNELS: usize = 512;

/// State infos of channels that this peer is not in, as far as needed to pass each on once.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    passed_on: BTreeMap<(PkiId, Bytes), (PeerTime, Moment)>,
    next_sweep: Moment,
}

impl Strangers {
    /// Whether a state info is newer than the one passed on before.
    pub(crate) fn is_news(&self, info: &StateInfo) -> bool {
        let key = (info.pki_id.clone(), info.channel_mac.clone());
        self.passed_on.get(&key).is_none_or(|(time, _)| info.time > *time)
    }

    /// Remembers that a state info was passed on. Says whether there is room for that.
    pub(crate) fn remember(&mut self, now: Moment, info: &StateInfo) -> bool {
        let key = (info.pki_id.clone(), info.channel_mac.clone());
        let of_peer = (info.pki_id.clone(), Bytes::new())..=(info.pki_id.clone(), Bytes::from_static(&[0xff; 33]));
        let has_room = self.passed_on.contains_key(&key)
            || (self.passed_on.len() < MAX_STATE_INFOS && self.passed_on.range(of_peer).count() < MAX_CHANNELS);
        if has_room {
            self.passed_on.insert(key, (info.time, now));
        }
        has_room
    }

    /// Forgets those that are older than a lifetime; looks for them ten times in one.
    pub(crate) fn forget(&mut self, now: Moment, lifetime: Duration) {
        if self.next_sweep <= now {
            self.next_sweep = now + lifetime / 10;
            self.passed_on.retain(|_, (_, since)| now.since(*since) <= lifetime);
        }
    }
}
