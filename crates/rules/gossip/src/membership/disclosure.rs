//! Who may be told of whom.
//!
//! A peer of another organization is told of peers of its own organization, and of those of ours that it can reach; and of
//! the latter only if it can be reached itself. Internal endpoints are told to nobody outside.

use ripstop_proto::gossip as wire;

use super::push::{Audience, Pending};
use super::{LOGGER, Membership};
use crate::turn::Turn;
use crate::{Alive, Contact, Content, Effect, KnownPeer, Message, NoteLevel, PkiId, SignedMessage, Tag};

/// How large an answer to a membership request becomes at most, in bytes. What is left out comes in other answers: peers are
/// listed from a random one on.
const MAX_RESPONSE_BYTES: usize = 32 << 20;

/// Somebody who wants to know.
struct Asker<'a> {
    contact: &'a Contact,
    has_external_endpoint: bool,
}

impl Membership {
    /// Answers a membership request, or closes the streams of a peer that should not have asked.
    pub(super) fn respond(
        &self,
        turn: &mut Turn<'_>,
        to: &Contact,
        about: &Alive,
        request: &SignedMessage,
        nonce: u64,
    ) {
        let is_own = to.organization == self.about_me.organization;
        let asker = Asker { contact: to, has_external_endpoint: !about.endpoint.is_empty() };
        if !self.may_know(&asker, &self.me) {
            let text = format!(
                "Got a membership request from a peer that shouldn't have sent one: {to:?}, closing connection to the peer as a result."
            );
            turn.note(NoteLevel::Warning, LOGGER, text);
            let reason = "it asked for members that it may not know".to_owned();
            return turn.effects.push(Effect::Close { pki_id: to.pki_id.clone(), reason });
        }
        let (mut alive, mut dead) = (vec![disclosed(&self.me, is_own)], Vec::new());
        let mut bytes = 0;
        let start = self.everybody.choose(turn.random, 1, 1, |_| true).pop();
        let start = start.unwrap_or_else(|| self.about_me.pki_id.clone());
        for (pki_id, tracked) in self.tracked.range(&start..).chain(self.tracked.range(..&start)) {
            if *pki_id == to.pki_id || !self.may_know(&asker, &tracked.peer) {
                continue;
            }
            let envelope = disclosed(&tracked.peer, is_own);
            bytes += envelope.payload.len() + envelope.signature.len();
            if bytes > MAX_RESPONSE_BYTES {
                break;
            }
            if tracked.is_alive { alive.push(envelope) } else { dead.push(envelope) }
        }
        let content = Content::MembershipResponse { alive, dead };
        let message = Message { nonce, channel: None, tag: Tag::Everybody, content };
        let internal = if is_own { request.internal_endpoint() } else { String::new() };
        let endpoint = if internal.is_empty() { &about.endpoint } else { &internal };
        turn.send(&to.pki_id, endpoint, SignedMessage::unsigned(message));
    }

    /// Pushes what waits, each message to some of those whom it concerns.
    pub(super) fn flush(&mut self, turn: &mut Turn<'_>) {
        let pending = self.push.take();
        let count = turn.options.propagate_peer_num;
        let own = self.per_organization.get(&self.about_me.organization);
        let for_own = own.map(|own| own.choose(turn.random, count, count, |_| true)).unwrap_or_default();
        for Pending { message, from, audience, .. } in &pending {
            match audience {
                Audience::Own => {
                    for peer in for_own.iter().filter(|peer| Some(*peer) != from.as_ref()) {
                        self.push_to(turn, peer, message);
                    }
                }
                Audience::Origin(organization) => {
                    for peer in self.audience(turn.random, organization, (message, from.as_ref()), count) {
                        self.push_to(turn, &peer, message);
                    }
                }
            }
        }
        self.push.put_back(turn.now, pending, turn.options.max_propagation_burst_latency);
    }

    /// Some of those whom an alive message of a peer of an organization concerns.
    fn audience(
        &self,
        random: &mut fastrand::Rng,
        organization: &ripstop_types::MspId,
        (message, from): (&SignedMessage, Option<&PkiId>),
        count: usize,
    ) -> Vec<PkiId> {
        let Content::Alive(alive) = &message.message().content else { return Vec::new() };
        let draws = count.saturating_mul(4);
        let is_from_own = *organization == self.about_me.organization;
        let accept = |peer: &PkiId| {
            Some(peer) != from
                && *peer != alive.pki_id
                && self
                    .alive
                    .get(peer)
                    .is_some_and(|known| self.can_talk_to(known) && (is_from_own || !known.member.endpoint.is_empty()))
        };
        if is_from_own {
            return self.everybody.choose(random, count, draws, accept);
        }
        // Its organization gets no more than its share of all peers: it hears of its own from everybody. As if both were one
        // organization, which is Fabric's rule, it would get so much that of ten organizations each other one hears three
        // quarters of all alive messages.
        let rosters = [&self.about_me.organization, organization].map(|name| self.per_organization.get(name));
        let [own, theirs] = rosters.map(|roster| roster.map_or(0, crate::roster::Roster::len));
        let from_own = (0..count).filter(|_| own > 0 && random.usize(..=self.everybody.len()) >= theirs).count();
        let counts = [from_own.min(own), (count - from_own).min(theirs)];
        let chosen = rosters.into_iter().zip(counts).filter_map(|(roster, count)| {
            roster.map(|roster| roster.choose(random, count, count.saturating_mul(4), accept))
        });
        chosen.flatten().collect()
    }

    fn push_to(&self, turn: &mut Turn<'_>, to: &PkiId, message: &SignedMessage) {
        let Some(peer) = self.alive.get(to) else { return };
        let message = match peer.organization == self.about_me.organization {
            true => message.clone(),
            false => message.without_secret(),
        };
        turn.send(to, peer.member.preferred_endpoint(), message);
    }

    fn may_know(&self, asker: &Asker<'_>, peer: &KnownPeer) -> bool {
        if peer.organization == asker.contact.organization {
            return true;
        }
        // To the own organization, peers of others are pushed; Fabric's peers do not list them.
        peer.organization == self.about_me.organization
            && asker.has_external_endpoint
            && !peer.member.endpoint.is_empty()
    }
}

/// What is told of a peer.
fn disclosed(peer: &KnownPeer, is_own: bool) -> wire::Envelope {
    match is_own {
        true => peer.alive.envelope().clone(),
        false => peer.alive.without_secret().envelope().clone(),
    }
}
