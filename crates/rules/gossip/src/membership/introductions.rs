use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ripstop_types::{ChannelId, MspId};

use crate::turn::Turn;
use crate::{
    AnchorPeer, ChannelOrganizations, Contact, Effect, Endpoint, Logger, Moment, NoteLevel, PkiId, SelfDescription,
};

/// The logger of what concerns finding peers.
const LOGGER: Logger = Logger::Gossip;
/// How long an answer to a membership request is waited for before the next attempt is thought of.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// How many endpoints are tried at the same time; those beyond, which a configuration would have to name, are not tried.
const MAX_TARGETS: usize = 4096;

/// The peers that introduce this one to the network: bootstrap peers of the own organization, and the anchor peers that
/// configurations name. Each is tried again and again until it has answered once, or too often.
#[derive(Debug, Default)]
pub(crate) struct Introductions {
    targets: BTreeMap<Endpoint, Target>,
    anchors: BTreeMap<ChannelId, Anchors>,
}

/// The anchor peers of a channel, as its configuration of that sequence number names them.
#[derive(Debug)]
struct Anchors {
    sequence: u64,
    peers: BTreeMap<MspId, Vec<AnchorPeer>>,
}

impl Anchors {
    fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.peers.values().flatten().map(AnchorPeer::endpoint)
    }
}

#[derive(Debug)]
struct Target {
    role: Role,
    attempts: u32,
    next: Moment,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    peer: PkiId,
    own: bool,
    nonce: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    Bootstrap,
    Anchor { channel: ChannelId, organization: MspId },
}

/// A membership request that is to be sent.
pub(crate) struct Request {
    /// To which peer.
    pub(crate) peer: PkiId,
    /// Where.
    pub(crate) endpoint: Endpoint,
    /// Whether it is of the own organization.
    pub(crate) own: bool,
    /// Joins it and its answer.
    pub(crate) nonce: u64,
}

impl Introductions {
    /// Begins with the bootstrap peers.
    pub(crate) fn new(now: Moment, me: &SelfDescription, bootstrap: &[Endpoint]) -> Self {
        let mut this = Self::default();
        for endpoint in bootstrap {
            if !is_own_endpoint(me, endpoint) {
                this.add(now, endpoint.clone(), Role::Bootstrap);
            }
        }
        this
    }

    /// Takes the anchor peers of a channel. They take the place of those it had before, unless these are newer. Where they are
    /// the same nobody is asked again: something else was configured.
    pub(crate) fn configure(
        &mut self,
        turn: &mut Turn<'_>,
        me: &SelfDescription,
        channel: &ChannelId,
        organizations: &ChannelOrganizations,
    ) {
        if let Some(known) = self.anchors.get_mut(channel) {
            if known.sequence > organizations.sequence {
                return;
            }
            if known.peers == organizations.anchors {
                known.sequence = organizations.sequence;
                return;
            }
        }
        let text =
            format!("Joining gossip network of channel {channel} with {} organizations", organizations.anchors.len());
        turn.note(NoteLevel::Info, LOGGER, text);
        for (organization, anchors) in &organizations.anchors {
            if anchors.is_empty() {
                let text = format!("No configured anchor peers of {organization} for channel {channel} to learn about");
                turn.note(NoteLevel::Info, LOGGER, text);
                continue;
            }
            let listed: Vec<_> = anchors.iter().map(|anchor| format!("{{{} {}}}", anchor.host, anchor.port)).collect();
            let text = format!(
                "Learning about the configured anchor peers of {organization} for channel {channel}: [{}]",
                listed.join(" ")
            );
            turn.note(NoteLevel::Info, LOGGER, text);
            for anchor in anchors {
                self.learn_anchor(turn, me, channel, organization, anchor);
            }
        }
        let peers = organizations.anchors.clone();
        self.anchors.insert(channel.clone(), Anchors { sequence: organizations.sequence, peers });
        self.drop_former(channel);
    }

    fn learn_anchor(
        &mut self,
        turn: &mut Turn<'_>,
        me: &SelfDescription,
        channel: &ChannelId,
        organization: &MspId,
        anchor: &AnchorPeer,
    ) {
        let endpoint = anchor.endpoint();
        if anchor.host.is_empty() || !u16::try_from(anchor.port).is_ok_and(|port| port != 0) {
            let text = format!("Got an invalid anchor peer {endpoint:?} for channel {channel}, skipping it");
            turn.note(NoteLevel::Warning, LOGGER, text);
        } else if is_own_endpoint(me, &endpoint) {
            let text = format!("Anchor peer for channel {channel} with same endpoint, skipping connecting to myself");
            turn.note(NoteLevel::Info, LOGGER, text);
        } else if *organization != me.organization && me.external_endpoint.is_empty() {
            let text = format!(
                "Anchor peer {endpoint} isn't in our org({organization}) and we have no external endpoint, skipping"
            );
            turn.note(NoteLevel::Info, LOGGER, text);
        } else {
            let role = Role::Anchor { channel: channel.clone(), organization: organization.clone() };
            self.add(turn.now, endpoint, role);
        }
    }

    /// Whether an endpoint is that of an anchor peer.
    pub(crate) fn is_anchor(&self, endpoint: &str) -> bool {
        self.anchors.values().flat_map(Anchors::endpoints).any(|anchor| anchor == endpoint)
    }

    /// A stream was opened at an endpoint. The request that is to be sent, if this is what was waited for.
    pub(crate) fn connected(
        &mut self,
        turn: &mut Turn<'_>,
        me: &SelfDescription,
        endpoint: &str,
        contact: &Contact,
    ) -> Option<Request> {
        let target = self.targets.get_mut(endpoint)?;
        let own = contact.organization == me.organization;
        if target.asked.as_ref().is_some_and(|asked| asked.peer == contact.pki_id) && target.next > turn.now {
            // It was asked already, and may have closed the stream because of that.
            return None;
        }
        let wrong = match &target.role {
            Role::Bootstrap if !own => {
                Some(format!("{endpoint} isn't in our organization, cannot be a bootstrap peer"))
            }
            Role::Anchor { channel, organization } if *organization == me.organization && !own => {
                Some(format!("Anchor peer {endpoint} for channel {channel} isn't in our org, but is claimed to be"))
            }
            Role::Bootstrap | Role::Anchor { .. } => None,
        };
        if let Some(text) = wrong {
            turn.note(NoteLevel::Warning, LOGGER, text);
            target.next = turn.now + turn.options.reconnect_interval;
            return None;
        }
        let nonce = turn.random.u64(1..);
        target.asked = Some(Asked { peer: contact.pki_id.clone(), own, nonce });
        target.next = turn.now + ANSWER_TIME;
        Some(Request { peer: contact.pki_id.clone(), endpoint: endpoint.to_owned(), own, nonce })
    }

    /// An endpoint turned out to be this peer's own.
    pub(crate) fn is_myself(&mut self, endpoint: &str) {
        self.targets.remove(endpoint);
    }

    /// Nobody answered at an endpoint.
    pub(crate) fn unreachable(&mut self, turn: &mut Turn<'_>, endpoint: &str, reason: &str) {
        let Some(target) = self.targets.get_mut(endpoint) else { return };
        target.next = turn.now + turn.options.reconnect_interval;
        let text = format!(
            "Could not connect to Endpoint: {endpoint}, InternalEndpoint: {endpoint}, PKI-ID: <nil>, Metadata:  : {reason}"
        );
        turn.note(NoteLevel::Warning, Logger::Discovery, text);
    }

    /// A peer answered a membership request.
    pub(crate) fn answered(&mut self, from: &PkiId, nonce: u64) {
        self.targets.retain(|_, target| {
            !target.asked.as_ref().is_some_and(|asked| asked.nonce == nonce && asked.peer == *from)
        });
    }

    /// Tries what is due: dials, or asks again whom it had dialled. Gives back the requests that are to be sent.
    pub(crate) fn wake(&mut self, turn: &mut Turn<'_>) -> Vec<Request> {
        let mut requests = Vec::new();
        let most = turn.options.max_connection_attempts;
        self.targets.retain(|endpoint, target| {
            target.next > turn.now || {
                target.attempts += 1;
                if target.attempts > most {
                    let text = format!("{endpoint} did not answer {most} times: it is tried no more");
                    turn.effects.note(NoteLevel::Warning, LOGGER, text);
                    return false;
                }
                // The driver answers each of these; that it might not is only provided for.
                let patience = turn.options.dial_timeout + turn.options.conn_timeout + ANSWER_TIME;
                target.next = turn.now + patience + turn.options.reconnect_interval;
                match &target.asked {
                    Some(Asked { peer, own, nonce }) => {
                        let (peer, own, nonce) = (peer.clone(), *own, *nonce);
                        requests.push(Request { peer, endpoint: endpoint.clone(), own, nonce });
                    }
                    None => turn.effects.push(Effect::Connect { endpoint: endpoint.clone() }),
                }
                true
            }
        });
        requests
    }

    /// When time alone changes something.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        self.targets.values().map(|target| target.next).min()
    }

    fn add(&mut self, now: Moment, endpoint: Endpoint, role: Role) {
        if self.targets.len() < MAX_TARGETS && !self.targets.contains_key(&endpoint) {
            self.targets.insert(endpoint, Target { role, attempts: 0, next: now, asked: None });
        }
    }

    fn drop_former(&mut self, of: &ChannelId) {
        let anchors: BTreeSet<_> = self.anchors.get(of).into_iter().flat_map(Anchors::endpoints).collect();
        self.targets.retain(|endpoint, target| match &target.role {
            Role::Anchor { channel, .. } if channel == of => anchors.contains(endpoint),
            Role::Bootstrap | Role::Anchor { .. } => true,
        });
    }
}

/// Whether an endpoint leads to this peer itself (Fabric: `isMyOwnEndpoint`).
fn is_own_endpoint(me: &SelfDescription, endpoint: &str) -> bool {
    let local = me.endpoint.rsplit_once(':').is_some_and(|(_, port)| {
        endpoint
            .rsplit_once(':')
            .is_some_and(|(host, other)| other == port && matches!(host, "127.0.0.1" | "localhost"))
    });
    local || endpoint == me.endpoint || endpoint == me.external_endpoint
}
