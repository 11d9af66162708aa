//! What is made of alive messages, membership requests and their answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ripstop_proto::gossip as wire;
use ripstop_types::MspId;

use super::push::Audience;
use super::{Change, Heard, LOGGER, Membership, PUSHED, Tracked};
use crate::allowance::Allowance;
use crate::identities::Known;
use crate::turn::Turn;
use crate::{
    Alive, Contact, Content, IdentityRefusal, KnownPeer, Logger, Member, Moment, NoteLevel, PkiId, SignedMessage,
};

/// How long an answer to a membership request is taken at least.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How many alive messages out of answers are looked at in one go; they may all have to be verified.
const SLICE: usize = 256;
/// How many of them wait at most. Answers for which there is no room are dropped; others follow.
const MAX_BACKLOG: usize = 1 << 17;

/// What became of an alive message.
enum Outcome {
    /// It says nothing new.
    Stale,
    /// It is about this peer, or about what it was before.
    Mine,
    /// Its signer is not known, or not trusted. That is nobody's fault.
    Stranger,
    /// It was not signed by whom it names.
    Forged,
    /// It is believed.
    Authentic(Voice),
}

/// Who signed an alive message.
struct Voice {
    pki_id: PkiId,
    identity: Bytes,
    organization: MspId,
}

impl Voice {
    fn of(known: &Known) -> Self {
        let Known { pki_id, identity, organization, .. } = known;
        Self { pki_id: pki_id.clone(), identity: identity.clone(), organization: organization.clone() }
    }
}

impl Membership {
    /// Takes an alive message that a peer pushed, its own or another's, and passes it on if it is news.
    pub(crate) fn hear(&mut self, turn: &mut Turn<'_>, from: &PkiId, message: &SignedMessage) {
        let Content::Alive(alive) = &message.message().content else { return };
        // Most of what is pushed came before on another way. Only what is authentic uses the allowance up, so that nobody can
        // use up another's.
        let says_nothing = |known: &Tracked| alive.time <= known.time || !known.pushed.clone().take(turn.now, PUSHED);
        if self.tracked.get(&alive.pki_id).is_some_and(says_nothing) {
            turn.counters.stale += 1;
            return;
        }
        match self.judge(turn, message, alive) {
            Outcome::Authentic(voice) => {
                let audience = match voice.organization == self.about_me.organization && alive.endpoint.is_empty() {
                    true => Audience::Own,
                    false => Audience::Origin(voice.organization.clone()),
                };
                let message = self.believe(turn, message, alive, voice, turn.now);
                if let Some(tracked) = self.tracked.get_mut(&alive.pki_id) {
                    tracked.pushed.take(turn.now, PUSHED);
                }
                self.push(turn, message, Some(from.clone()), audience);
            }
            Outcome::Stale | Outcome::Mine => turn.counters.stale += 1,
            Outcome::Stranger => turn.counters.refused += 1,
            Outcome::Forged => turn.blame(from),
        }
    }

    /// Takes a membership request, and answers it with what its sender may know.
    pub(crate) fn take_request(&mut self, turn: &mut Turn<'_>, from: &Contact, about: &SignedMessage, nonce: u64) {
        let Content::Alive(alive) = &about.message().content else { return turn.blame(&from.pki_id) };
        if alive.pki_id != from.pki_id || !about.is_signed_by(&from.identity, turn.trust) {
            let text = format!("Got membership request with selfInfo that doesn't match the handshake of {from:?}");
            turn.note(NoteLevel::Warning, Logger::Gossip, text);
            return turn.blame(&from.pki_id);
        }
        let known = turn.identities.use_one(turn.now, &from.pki_id).map(Voice::of);
        if let Some(voice) = known.filter(|_| self.is_news(alive)) {
            self.believe(turn, about, alive, voice, turn.now);
        }
        self.respond(turn, from, alive, about, nonce);
    }

    /// Takes the answer to a membership request.
    pub(crate) fn take_response(
        &mut self,
        turn: &mut Turn<'_>,
        from: &PkiId,
        nonce: u64,
        (alive, dead): (&[wire::Envelope], &[wire::Envelope]),
    ) {
        let Some(outstanding) = self.asked.get_mut(from).filter(|outstanding| outstanding.until > turn.now) else {
            return turn.blame(from);
        };
        outstanding.count -= 1;
        if outstanding.count == 0 {
            self.asked.remove(from);
        }
        self.introductions.answered(from, nonce);
        if self.backlog.len() + alive.len() + dead.len() > MAX_BACKLOG {
            turn.counters.refused += 1;
            return;
        }
        let heard =
            |envelope: &wire::Envelope, is_alive| Heard { from: from.clone(), envelope: envelope.clone(), is_alive };
        self.backlog.extend(alive.iter().map(|envelope| heard(envelope, true)));
        self.backlog.extend(dead.iter().map(|envelope| heard(envelope, false)));
        self.work_off_backlog(turn);
    }

    /// Looks at some of what came in answers.
    pub(super) fn work_off_backlog(&mut self, turn: &mut Turn<'_>) {
        for _ in 0..SLICE {
            let Some(Heard { from, envelope, is_alive }) = self.backlog.pop_front() else { return };
            let message = match SignedMessage::parse(envelope) {
                Ok(message) => message,
                Err(malformed) => {
                    turn.blame_for(&from, &malformed);
                    continue;
                }
            };
            let Content::Alive(alive) = &message.message().content else {
                turn.blame(&from);
                continue;
            };
            // That a peer is dead is taken only of one that nothing is known of.
            if !is_alive && self.tracked.contains_key(&alive.pki_id) {
                continue;
            }
            match self.judge(turn, &message, alive) {
                Outcome::Authentic(voice) if is_alive => self.believe_copy(turn, &message, alive, voice),
                Outcome::Authentic(voice) => self.learn_dead(&message, alive, voice, turn.now),
                Outcome::Stale | Outcome::Mine | Outcome::Stranger => {}
                Outcome::Forged => turn.blame(&from),
            }
        }
    }

    /// Whether an alive message is newer than all that is known of its peer.
    fn is_news(&self, alive: &Alive) -> bool {
        match self.tracked.get(&alive.pki_id) {
            Some(tracked) => alive.time > tracked.time,
            None => self.graves.get(&alive.pki_id).is_none_or(|grave| alive.time > grave.time),
        }
    }

    fn judge(&self, turn: &mut Turn<'_>, message: &SignedMessage, alive: &Alive) -> Outcome {
        if alive.pki_id == self.about_me.pki_id {
            self.note_double(turn, message, alive);
            return Outcome::Mine;
        }
        if !self.is_news(alive) {
            return Outcome::Stale;
        }
        let (now, trust) = (turn.now, turn.trust);
        if !alive.identity.is_empty() {
            match turn.identities.put(now, trust, &alive.pki_id, &alive.identity) {
                Ok(_) => {}
                Err(IdentityRefusal::Stolen | IdentityRefusal::Unreadable(_)) => return Outcome::Forged,
                Err(_) => return Outcome::Stranger,
            }
        }
        let Some(known) = turn.identities.use_one(now, &alive.pki_id) else { return Outcome::Stranger };
        if !message.is_signed_by(&known.identity, trust) {
            return Outcome::Forged;
        }
        let voice = Voice::of(known);
        match voice.organization == self.about_me.organization && self.is_reached_as_me(message, alive) {
            true => Outcome::Mine,
            false => Outcome::Authentic(voice),
        }
    }

    /// Whether a peer of the own organization is reached where this one is: it is what this one was before its identity changed.
    fn is_reached_as_me(&self, message: &SignedMessage, alive: &Alive) -> bool {
        let internal = message.internal_endpoint();
        match internal.is_empty() {
            true => !alive.endpoint.is_empty() && alive.endpoint == self.about_me.external_endpoint,
            false => internal == self.about_me.endpoint,
        }
    }

    /// Says that somebody else uses this peer's identity, if that is so.
    fn note_double(&self, turn: &mut Turn<'_>, message: &SignedMessage, alive: &Alive) {
        let internal = message.internal_endpoint();
        let differs = alive.endpoint != self.about_me.external_endpoint
            || (!internal.is_empty() && internal != self.about_me.endpoint);
        // What anybody may claim is no reason to alarm an operator.
        if differs && message.is_signed_by(&self.about_me.identity, turn.trust) {
            let text = format!(
                "Bad configuration detected: Received AliveMessage from a peer with the same PKI-ID as myself: {alive:?}"
            );
            turn.note(NoteLevel::Error, LOGGER, text);
        }
    }

    /// Takes an authentic and new alive message out of an answer, which may be older than the answer.
    ///
    /// Answers hold messages that are nearly as old as the expiration time-out. If they counted from when they came, the last
    /// words of a dead peer would keep it alive with one peer after the other for minutes. (They do with Fabric's peers.)
    fn believe_copy(&mut self, turn: &mut Turn<'_>, message: &SignedMessage, alive: &Alive, voice: Voice) {
        let said = self.said_at_the_latest(turn, alive);
        let is_dead = self.tracked.get(&alive.pki_id).is_some_and(|tracked| !tracked.is_alive);
        match is_dead && turn.now.since(said) > turn.options.alive_expiration_timeout {
            true => self.learn_dead(message, alive, voice, said),
            false => drop(self.believe(turn, message, alive, voice, said)),
        }
    }

    /// When a peer said something new at the latest. It uses a number up in each interval at least.
    fn said_at_the_latest(&self, turn: &Turn<'_>, alive: &Alive) -> Moment {
        let known = self.tracked.get(&alive.pki_id).filter(|known| known.time.incarnation == alive.time.incarnation);
        let Some(known) = known else { return turn.now };
        let numbers = alive.time.sequence.saturating_sub(known.time.sequence);
        let later = turn.options.alive_time_interval.saturating_mul(u32::try_from(numbers).unwrap_or(u32::MAX));
        turn.now.min(known.heard + later)
    }

    /// Takes an authentic and new alive message that was said at a moment: its peer lives. Gives back the message as it may be
    /// kept and passed on: the internal endpoint of a peer of another organization is none of ours.
    fn believe(
        &mut self,
        turn: &mut Turn<'_>,
        message: &SignedMessage,
        alive: &Alive,
        voice: Voice,
        said: Moment,
    ) -> SignedMessage {
        let was_alone = self.alive.is_empty();
        self.revision += 1;
        let (peer, message) = self.known_peer(message, alive, voice);
        let is_changed = self.alive.get(&alive.pki_id).is_none_or(|known| known.member != peer.member);
        self.graves.remove(&alive.pki_id);
        let peer = Arc::new(peer);
        let pki_id = &peer.member.pki_id;
        self.alive.insert(pki_id.clone(), Arc::clone(&peer));
        if is_changed {
            self.everybody.add(pki_id);
            self.per_organization.entry(peer.organization.clone()).or_default().add(pki_id);
            self.changes.push(Change::Appeared(pki_id.clone()));
        }
        let pushed = self.tracked.get(&alive.pki_id).map(|tracked| tracked.pushed.clone()).unwrap_or_default();
        let tracked = Tracked { peer, time: alive.time, heard: said, is_alive: true, pushed, is_kept: false };
        self.track(tracked);
        if was_alone {
            // The first to be met need not wait for the next heartbeat to know of this peer.
            self.timers.alive = self.timers.alive.min(turn.now + turn.options.max_propagation_burst_latency);
        }
        message
    }

    fn learn_dead(&mut self, message: &SignedMessage, alive: &Alive, voice: Voice, said: Moment) {
        let (peer, _) = self.known_peer(message, alive, voice);
        let tracked = Tracked {
            peer: Arc::new(peer),
            time: alive.time,
            heard: said,
            is_alive: false,
            pushed: Allowance::default(),
            is_kept: false,
        };
        self.track(tracked);
    }

    fn known_peer(&self, message: &SignedMessage, alive: &Alive, voice: Voice) -> (KnownPeer, SignedMessage) {
        let is_own = voice.organization == self.about_me.organization;
        // On its way through other organizations the message lost its internal endpoint.
        let message = match (is_own, self.tracked.get(&alive.pki_id)) {
            (true, Some(known)) => message.clone().with_secret_of(&known.peer.alive),
            (true, None) => message.clone(),
            (false, _) => message.without_secret(),
        };
        let internal_endpoint = message.internal_endpoint();
        let peer = KnownPeer {
            member: Member {
                pki_id: voice.pki_id,
                endpoint: alive.endpoint.clone(),
                internal_endpoint,
                metadata: alive.metadata.clone(),
            },
            identity: voice.identity,
            organization: voice.organization,
            alive: message.clone(),
        };
        (peer, message)
    }
}
