use std::collections::HashMap;
use std::sync::Arc;

use ripstop_types::{Digest, SignedData};

/// How many decisions are remembered, and how many of them stay when there are too many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CacheSize {
    /// How many decisions of each channel are kept (`peer.discovery.authCacheMaxSize`).
    pub max: usize,
    /// The share of them, 0 to 1, that stays when one more comes (`peer.discovery.authCachePurgeRetentionRatio`).
    pub retention: f64,
}

/// Whether somebody may ask, and if not, why.
pub(crate) type Decision = Result<(), Arc<str>>;

/// Who may ask, decided once for the same signed bytes under one configuration of a channel. Which decisions go when there are
/// too many is left to chance, as in Fabric.
#[derive(Debug)]
pub(crate) struct Decisions {
    size: CacheSize,
    channels: HashMap<String, OfChannel>,
}

#[derive(Debug, Default)]
struct OfChannel {
    /// The configuration's sequence.
    sequence: u64,
    decisions: HashMap<Digest, Decision>,
}

impl Decisions {
    pub(crate) fn new(size: CacheSize) -> Self {
        Self { size, channels: HashMap::new() }
    }

    /// The decision on a request under the configuration of that sequence, if it was taken before.
    pub(crate) fn find(&self, channel: &str, sequence: u64, request: &SignedData) -> Option<Decision> {
        let of_channel = self.channels.get(channel).filter(|known| known.sequence == sequence)?;
        of_channel.decisions.get(&key(request)).cloned()
    }

    /// Remembers a decision that was taken under the configuration of that sequence. Older decisions are forgotten.
    pub(crate) fn remember(&mut self, channel: &str, sequence: u64, request: &SignedData, decision: Decision) {
        if self.size.max == 0 {
            return;
        }
        let of_channel = self.channels.entry(channel.to_owned()).or_default();
        if sequence < of_channel.sequence {
            return;
        }
        if sequence > of_channel.sequence {
            *of_channel = OfChannel { sequence, decisions: HashMap::new() };
        }
        let decisions = &mut of_channel.decisions;
        if decisions.len() >= self.size.max {
            let kept = (self.size.retention.clamp(0.0, 1.0) * self.size.max as f64) as usize;
            // Room for this one at least.
            let mut left = kept.min(self.size.max - 1);
            decisions.retain(|_, _| {
                let stays = left > 0;
                left = left.saturating_sub(1);
                stays
            });
        }
        decisions.insert(key(request), decision);
    }
}

/// What tells signed requests apart.
fn key(request: &SignedData) -> Digest {
    let lengths = [request.message.len(), request.identity.len()].map(|length| (length as u64).to_be_bytes());
    let [message, identity] = &lengths;
    Digest::of_parts([message.as_slice(), identity, &request.message, &request.identity, &request.signature])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(number: usize) -> SignedData {
        SignedData { message: number.to_string().into(), identity: "me".into(), signature: "signed".into() }
    }

    #[test]
    fn decisions_hold_for_the_same_bytes_under_the_same_configuration() {
        let mut decisions = Decisions::new(CacheSize { max: 10, retention: 0.5 });
        assert_eq!(decisions.find("c", 1, &request(0)), None);
        decisions.remember("c", 1, &request(0), Ok(()));
        decisions.remember("c", 1, &request(1), Err("no".into()));
        assert_eq!(decisions.find("c", 1, &request(0)), Some(Ok(())));
        assert_eq!(decisions.find("c", 1, &request(1)), Some(Err("no".into())));
        assert_eq!(decisions.find("c", 2, &request(0)), None);
        assert_eq!(decisions.find("d", 1, &request(0)), None);
        let other = SignedData { signature: "other".into(), ..request(0) };
        assert_eq!(decisions.find("c", 1, &other), None);
        decisions.remember("c", 2, &request(2), Ok(()));
        assert_eq!(decisions.find("c", 1, &request(0)), None);
        // One that was taken under an older configuration comes too late.
        decisions.remember("c", 1, &request(0), Ok(()));
        assert_eq!(decisions.find("c", 2, &request(0)), None);
        assert_eq!(decisions.find("c", 2, &request(2)), Some(Ok(())));
    }

    #[test]
    fn no_more_decisions_are_kept_than_the_size_says() {
        for (max, retention, kept) in [(100, 0.75, 76), (100, 1.0, 100), (100, 0.0, 1), (1, 0.75, 1), (0, 0.75, 0)] {
            let mut decisions = Decisions::new(CacheSize { max, retention });
            for number in 0..=max {
                decisions.remember("c", 1, &request(number), Ok(()));
            }
            let found = (0..=max).filter(|number| decisions.find("c", 1, &request(*number)).is_some()).count();
            assert_eq!(found, kept, "{max} and {retention}");
        }
    }
}
