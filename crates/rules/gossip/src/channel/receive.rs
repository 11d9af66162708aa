use std::time::Duration;

use bytes::Bytes;
use ripstop_proto::gossip as wire;

use super::emitter::Route;
use super::members::{Audience, Learned, channel_mac, is_too_large, state_info};
use super::{Channel, EARLY, LOGGER};
use crate::allowance::{Allowance, Rate};
use crate::crowd::MANY;
use crate::transfer::{Offered, Origin};
use crate::{Contact, Content, Culprit, Message, Moment, NoteLevel, SignedMessage, Surroundings, Tag};

/// Of how many peers it is remembered how they behave. All of it is forgotten when there are more.
const CONDUCTS: usize = 16_384;

/// How often one peer gets all state infos, and how often they are taken from one.
const SNAPSHOTS: Rate = Rate { burst: 8, every: Duration::from_millis(500) };

/// How often one peer gets a range of blocks: a peer that lags behind asks for the next range with each answer.
const RANGES: Rate = Rate { burst: 100, every: Duration::from_millis(4) };

/// How often one peer is heard about who leads.
const LEADERSHIP: Rate = Rate { burst: 32, every: Duration::from_millis(200) };

/// How many state infos that are not believed one peer may send. If it sends more, its state infos are not verified for
/// [`MUTED`].
const REFUSALS: Rate = Rate { burst: 32, every: Duration::from_secs(1) };

/// For how long state infos of a peer are not looked at that sent too many bad ones.
const MUTED: Duration = Duration::from_secs(10);

/// How often a line is logged about messages that are not taken.
const COMPLAINTS: Rate = Rate { burst: 10, every: Duration::from_secs(1) };

/// For how long an answer with many state infos is given again though some of them changed.
const SNAPSHOT_AGE: Duration = Duration::from_secs(1);

/// How a peer at the other end of a stream behaves.
#[derive(Debug, Default)]
pub(crate) struct Conduct {
    // Whether it satisfies the channel's readers policy; `None` when that was not asked since the last change.
    is_reader: Option<bool>,
    snapshots_given: Allowance,
    snapshots_taken: Allowance,
    ranges: Allowance,
    leadership: Allowance,
    refusals: Allowance,
    // Until when its state infos are not looked at.
    muted_until: Moment,
}

/// An answer with state infos that may be given again.
#[derive(Debug)]
pub(crate) struct Snapshot {
    message: SignedMessage,
    made_at: Moment,
    revision: u64,
    elements: usize,
}

impl Snapshot {
    fn is_fresh(&self, now: Moment, revision: u64) -> bool {
        self.revision == revision || (self.elements >= MANY && now.since(self.made_at) < SNAPSHOT_AGE)
    }
}

impl Channel {
    /// Takes a message of this channel. What the node checked before: the sender is authenticated and its identity valid,
    /// the tag is legal, and the channel (or the MAC) is this one. All else is checked here, signatures included.
    pub(crate) fn receive(&mut self, surroundings: &mut Surroundings<'_>, from: &Contact, message: &SignedMessage) {
        if !self.members.has_organization(&from.organization) {
            let text = format!("Message of {from:?} is not taken: its organisation is not in the channel");
            return self.complain(surroundings, &text);
        }
        if let Content::StateInfo(_) = message.message().content {
            return self.take_state_info(surroundings, Some(from), message);
        }
        if !self.admits(surroundings, from) {
            let text = format!("Message of {from:?} is not taken: it does not satisfy the readers policy");
            return self.complain(surroundings, &text);
        }
        let nonce = message.message().nonce;
        match &message.message().content {
            Content::StateInfoRequest { channel_mac } => self.give_snapshot(surroundings, from, channel_mac),
            Content::StateInfoSnapshot(elements) => self.take_snapshot(surroundings, from, elements),
            _ if message.message().channel.as_ref() != Some(&self.id) => {}
            Content::Block(payload) => {
                let offered = self.transfer.offer(surroundings, payload.clone(), &from.pki_id, Origin::Pushed);
                if let Offered::TooFar | Offered::NoRoom | Offered::Distrusted = offered {
                    let text = format!("Block [{}] of {from:?} is not taken: {offered:?}", payload.number);
                    self.complain(surroundings, &text);
                }
            }
            Content::StateRequest { start, end } => self.serve(surroundings, from, nonce, (*start, *end)),
            Content::StateResponse(payloads) => {
                let answer = (nonce, payloads.clone());
                self.transfer.answered(surroundings, &self.members, &from.pki_id, answer);
            }
            Content::Leadership(_) => self.hear_leadership(surroundings, from, message),
            _ => self.receive_pull(surroundings, from, message),
        }
    }

    /// Takes a state info, and says it further when it is news. `from` is who sent it, which need not be who it is about.
    pub(super) fn take_state_info(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        from: Option<&Contact>,
        message: &SignedMessage,
    ) {
        match self.learn(surroundings, from, message) {
            Learned::News => {
                let Some(info) = state_info(message) else { return };
                let has_external = |peer: &crate::KnownPeer| !peer.member.endpoint.is_empty();
                let route = match surroundings.alive.get(&info.pki_id).is_some_and(|peer| has_external(peer)) {
                    true => Route::Neighbours,
                    false => Route::Colleagues,
                };
                self.emit(surroundings, message.clone(), from.map(|from| &from.pki_id), route);
                self.transfer.learned_heights(surroundings, &self.members);
            }
            Learned::Unknown => self.keep_early(message),
            Learned::Stale | Learned::Refused(_) => {}
        }
    }

    fn serve(&mut self, surroundings: &mut Surroundings<'_>, to: &Contact, nonce: u64, range: (u64, u64)) {
        if self.conduct_of(to).ranges.take(surroundings.now, RANGES) {
            self.transfer.serve(surroundings, &to.pki_id, nonce, range);
        }
    }

    fn hear_leadership(&mut self, surroundings: &mut Surroundings<'_>, from: &Contact, message: &SignedMessage) {
        if self.conduct_of(from).leadership.take(surroundings.now, LEADERSHIP) {
            self.leading.receive(surroundings, &self.id, &self.members, (from, message));
            self.note_role();
        }
    }

    fn take_snapshot(&mut self, surroundings: &mut Surroundings<'_>, from: &Contact, elements: &[wire::Envelope]) {
        if !self.conduct_of(from).snapshots_taken.take(surroundings.now, SNAPSHOTS) {
            return;
        }
        for element in elements {
            let message = match SignedMessage::parse(element.clone()) {
                Ok(message) => message,
                // The rest is of others.
                Err(malformed) if malformed.culprit == Culprit::Author => continue,
                Err(_) => {
                    let text =
                        format!("Channel {} : StateInfo snapshot of {from:?} contains an invalid message", self.id);
                    return self.complain(surroundings, &text);
                }
            };
            if self.learn(surroundings, Some(from), &message) == Learned::Unknown {
                self.keep_early(&message);
            }
        }
        self.transfer.learned_heights(surroundings, &self.members);
    }

    fn learn(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        from: Option<&Contact>,
        message: &SignedMessage,
    ) -> Learned {
        let now = surroundings.now;
        if from.is_some_and(|from| self.conduct_of(from).muted_until > now) {
            return Learned::Stale;
        }
        let learned = self.members.learn(surroundings, message);
        if let Learned::Refused(why) = learned {
            if let Some(conduct) = from.map(|from| self.conduct_of(from))
                && !conduct.refusals.take(now, REFUSALS)
            {
                conduct.muted_until = now + MUTED;
            }
            let about = state_info(message).map(|info| info.pki_id.to_string()).unwrap_or_default();
            self.complain(surroundings, &format!("State info of {about} is not taken: {why}"));
        }
        learned
    }

    /// Keeps a state info until its sender is known to be alive.
    fn keep_early(&mut self, message: &SignedMessage) {
        let Some(info) = state_info(message) else { return };
        let is_known = |known: &SignedMessage| state_info(known).is_some_and(|known| known.time >= info.time);
        if is_too_large(message) || self.early.get(&info.pki_id).is_some_and(is_known) {
            return;
        }
        self.early.insert(info.pki_id.clone(), message.clone());
        if self.early.len() > EARLY {
            self.early.pop_first();
        }
    }

    /// Answers with the state infos that a peer of that organization may see.
    fn give_snapshot(&mut self, surroundings: &mut Surroundings<'_>, to: &Contact, mac: &Bytes) {
        let now = surroundings.now;
        if *mac != channel_mac(&to.pki_id, &self.id) || !self.conduct_of(to).snapshots_given.take(now, SNAPSHOTS) {
            return;
        }
        let (audience, slot) = match surroundings.is_own(&to.organization) {
            true => (Audience::Colleagues, 0),
            false => (Audience::Others, 1),
        };
        let message = match &self.snapshots[slot] {
            Some(made) if made.is_fresh(now, self.revision()) => made.message.clone(),
            Some(_) | None => self.make_snapshot(surroundings, audience, slot),
        };
        surroundings.send(&to.pki_id, message);
    }

    fn make_snapshot(&mut self, surroundings: &mut Surroundings<'_>, audience: Audience, slot: usize) -> SignedMessage {
        let mut elements = self.members.snapshot(surroundings, audience);
        if audience == Audience::Colleagues || !surroundings.me.member.endpoint.is_empty() {
            self.own.sign(surroundings);
            elements.push(self.own.message().envelope().clone());
        }
        let count = elements.len();
        let content = Content::StateInfoSnapshot(elements);
        let (channel, tag) = (Some(self.id.clone()), Tag::ChannelOrOrganization);
        let message = SignedMessage::unsigned(Message { nonce: 0, channel, tag, content });
        self.snapshots[slot] = Some(Snapshot {
            message: message.clone(),
            made_at: surroundings.now,
            revision: self.revision(),
            elements: count,
        });
        message
    }

    /// Whether a peer satisfies the channel's readers policy, by what it began its stream with.
    fn admits(&mut self, surroundings: &Surroundings<'_>, from: &Contact) -> bool {
        if let Some(is_reader) = self.conduct_of(from).is_reader {
            return is_reader;
        }
        let handshake = from.handshake.envelope();
        let is_reader =
            surroundings.trust.verify_reader(&self.id, &from.identity, &handshake.payload, &handshake.signature);
        self.conduct_of(from).is_reader = Some(is_reader);
        is_reader
    }

    fn conduct_of(&mut self, peer: &Contact) -> &mut Conduct {
        if self.conduct.len() >= CONDUCTS && !self.conduct.contains_key(&peer.pki_id) {
            self.conduct.clear();
        }
        self.conduct.entry(peer.pki_id.clone()).or_default()
    }

    fn complain(&mut self, surroundings: &mut Surroundings<'_>, text: &str) {
        if self.complaints.take(surroundings.now, COMPLAINTS) {
            surroundings.effects.note(NoteLevel::Warning, LOGGER, format!("[{}] {text}", self.id));
        }
    }
}
