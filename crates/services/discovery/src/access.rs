use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_channel_config::ChannelConfig;
use ripstop_msp::{LocalMsp, LocalPolicy};
use ripstop_policy::Reader;
use ripstop_types::SignedData;

use crate::cache::{CacheSize, Decision, Decisions};

/// Who may ask about a channel.
const CHANNEL_POLICY: &str = "/Channel/Application/Writers";

/// Decides who may ask what.
#[derive(Debug)]
pub(crate) struct Access {
    local_msp: Arc<LocalMsp>,
    /// Who may ask about no channel.
    local_policy: LocalPolicy,
    decisions: Option<Mutex<Decisions>>,
}

impl Access {
    pub(crate) fn new(local_msp: Arc<LocalMsp>, local_policy: LocalPolicy, cache: Option<CacheSize>) -> Self {
        Self { local_msp, local_policy, decisions: cache.map(|size| Mutex::new(Decisions::new(size))) }
    }

    /// Whether who signed the request may ask about a channel, or, without one, about peers as such.
    pub(crate) fn check(&self, channel: Option<&ChannelConfig>, request: &SignedData) -> Decision {
        // Nothing about the own organization changes while the peer runs.
        let (name, sequence) = match channel {
            Some(config) => (config.channel_id().as_str(), config.sequence()),
            None => ("", 0),
        };
        if let Some(decisions) = &self.decisions
            && let Some(decision) = decisions.lock().find(name, sequence, request)
        {
            return decision;
        }
        let decision = self.decide(channel, request);
        if let Some(decisions) = &self.decisions {
            decisions.lock().remember(name, sequence, request, decision.clone());
        }
        decision
    }

    fn decide(&self, channel: Option<&ChannelConfig>, request: &SignedData) -> Decision {
        match channel {
            Some(config) => config
                .policies()
                .evaluate(CHANNEL_POLICY, std::slice::from_ref(request), config.msps())
                .map_err(|refusal| refusal.text(Reader::Member).into()),
            None => {
                let checked = self.local_msp.check(self.local_policy, request);
                checked.map(drop).map_err(|refusal| refusal.to_string().into())
            }
        }
    }

    /// What whoever is refused is told. The same whether a channel is not there or not for them.
    pub(crate) fn denial(&self, channel: &str) -> String {
        let rest = match (channel, self.local_policy) {
            ("", LocalPolicy::Admins) => format!(
                "peers as such are told to administrators of {} only, unless peer.discovery.orgMembersAllowedAccess lets \
                 all of its members ask",
                self.local_msp.id()
            ),
            ("", LocalPolicy::Members) => format!("peers as such are told to members of {} only", self.local_msp.id()),
            _ => format!(
                "this peer has not joined channel '{channel}', or the signature on the request does not satisfy the \
                 channel's policy {CHANNEL_POLICY}"
            ),
        };
        format!("access denied: {rest}")
    }
}
