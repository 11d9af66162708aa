//! What carries messages: streams between peers, links that lose, repeat, delay and are cut.

use std::time::Duration;

use ripstop_gossip::handshake::judge;
use ripstop_gossip::{Contact, Endpoint, Input, PkiId, SignedMessage};
use ripstop_proto::gossip as wire_format;

use super::{Event, World};
use crate::checks::{belief, load, private, reach};
use crate::peer::TLS;
use crate::story::Cut;

/// How long it takes to learn that nobody listens.
const REFUSED: Duration = Duration::from_millis(500);
/// How long it takes to give up a machine that does not answer at all.
const TIMED_OUT: Duration = Duration::from_secs(3);
/// Why nobody is reached.
enum Missed {
    /// A machine says that nobody listens there.
    Refused,
    /// There is no answer.
    Silent,
}

impl World {
    /// Sends what a peer's machine wants to be sent.
    pub(crate) fn send(&mut self, from: usize, to: &PkiId, endpoint: Endpoint, message: &SignedMessage) {
        let Some(other) = self.peer_of(to) else {
            return self.miss(from, endpoint, Some(to.clone()), &Missed::Refused);
        };
        if self.peers[other].about.pki_id != *to {
            return self.seek_former(from, to, other, endpoint);
        }
        self.said[from] += 1;
        if self.peers[from].mind.is_none() {
            private::inspect(self, from, other, message);
            belief::inspect_message(self, from, other, message);
            load::count(self, from, other, message);
        }
        if !self.is_linked(from, other) && self.weather.cut == Cut::Refused {
            self.close(from, other);
        }
        if self.is_streaming(from, other) {
            return self.say(from, other, message);
        }
        if endpoint.is_empty() {
            return self.miss(from, endpoint, Some(to.clone()), &Missed::Refused);
        }
        match self.dial(from, &endpoint, Some(other)) {
            Ok(found) if found == other && self.open(from, other, None) => {
                self.say(from, other, message);
            }
            Ok(_) => self.miss(from, endpoint, Some(to.clone()), &Missed::Refused),
            Err(missed) => self.miss(from, endpoint, Some(to.clone()), &missed),
        }
    }

    /// Dials where a peer was that has another identity now: whoever is there is met, and is not whom the message was for.
    fn seek_former(&mut self, from: usize, former: &PkiId, now: usize, endpoint: Endpoint) {
        let missed = match self.dial(from, &endpoint, Some(now)) {
            Ok(found) => {
                self.open(from, found, Some(endpoint.clone()));
                Missed::Refused
            }
            Err(missed) => missed,
        };
        self.miss(from, endpoint, Some(former.clone()), &missed);
    }

    /// Says something on a stream that is there.
    fn say(&mut self, from: usize, to: usize, message: &SignedMessage) {
        if self.peers[from].mind.is_none() {
            reach::inspect(self, from, to, message);
        }
        self.transmit(from, to, message.envelope().clone());
    }

    /// Opens a stream to whoever is at an endpoint.
    pub(super) fn connect(&mut self, from: usize, endpoint: Endpoint) {
        match self.dial(from, &endpoint, None) {
            Ok(found) if self.open(from, found, Some(endpoint.clone())) => {}
            Ok(_) => self.miss(from, endpoint, None, &Missed::Refused),
            Err(missed) => self.miss(from, endpoint, None, &missed),
        }
    }

    /// A message goes on its way over a stream that is there.
    pub(crate) fn transmit(&mut self, from: usize, to: usize, envelope: wire_format::Envelope) {
        let is_lost = self.random.u32(..1000) < self.weather.lost;
        if is_lost || !self.is_linked(from, to) || !self.peers[to].is_up() {
            return;
        }
        let copies = if self.random.u32(..1000) < self.weather.doubled { 2 } else { 1 };
        for _ in 0..copies {
            let delay = self.delay();
            let process = self.peers[from].process;
            self.after(delay, Event::Gossip { from, process, to, envelope: envelope.clone() });
        }
    }

    /// How long something is on its way.
    pub(crate) fn delay(&mut self) -> Duration {
        let most = u64::try_from(self.weather.delay.as_micros()).unwrap_or(u64::MAX);
        // Most are quick, some are late.
        let most = if self.random.u32(..10) == 0 { most } else { most / 10 };
        Duration::from_micros(500 + self.random.u64(..=most))
    }

    /// Whether there is a stream between two peers.
    pub(crate) fn is_streaming(&self, a: usize, b: usize) -> bool {
        self.streams.contains(&(a.min(b), a.max(b)))
    }

    /// Makes sure that there is a stream between two peers that reach each other. There is none if one of them does not trust
    /// the other.
    pub(crate) fn open(&mut self, from: usize, to: usize, dialled: Option<Endpoint>) -> bool {
        let is_new = from != to && !self.is_streaming(from, to);
        if !is_new && dialled.is_none() {
            return true;
        }
        let (Some(answers), Some(asks)) = (self.judged(from, to), self.judged(to, from)) else { return false };
        if is_new {
            self.streams.insert((from.min(to), from.max(to)));
            self.later(to, Input::Connected { contact: asks, dialled: None });
        }
        self.later(from, Input::Connected { contact: answers, dialled });
        true
    }

    /// Ends the stream between two peers.
    pub(crate) fn close(&mut self, a: usize, b: usize) {
        if self.streams.remove(&(a.min(b), a.max(b))) {
            for (to, other) in [(a, b), (b, a)] {
                let pki_id = self.peers[other].about.pki_id.clone();
                self.peers[to].inbox.forget(other);
                self.later(to, Input::Closed { pki_id });
            }
        }
    }

    /// Ends all streams of a peer.
    pub(crate) fn close_all(&mut self, peer: usize) {
        let all: Vec<_> = self.streams.iter().filter(|(a, b)| *a == peer || *b == peer).copied().collect();
        for (a, b) in all {
            self.close(a, b);
        }
    }

    /// Whom one end of a stream takes the other one for, if it trusts it.
    pub(crate) fn judged(&self, at: usize, other: usize) -> Option<Contact> {
        let (trust, handshake) = (&self.peers[at].voucher, &self.peers[other].handshake);
        judge(trust, self.now, handshake, Some(&TLS)).ok().map(|(contact, _)| contact)
    }

    fn later(&mut self, to: usize, input: Input) {
        let process = self.peers[to].process;
        self.after(Duration::ZERO, Event::Input { to, process, input });
    }

    fn miss(&mut self, from: usize, endpoint: Endpoint, pki_id: Option<PkiId>, missed: &Missed) {
        let (delay, reason) = match missed {
            Missed::Refused => (REFUSED, "connection refused"),
            Missed::Silent => (TIMED_OUT, "deadline exceeded"),
        };
        let process = self.peers[from].process;
        let input = Input::Unreachable { endpoint, pki_id, reason: reason.to_owned() };
        self.after(delay, Event::Input { to: from, process, input });
    }

    /// Who is at an endpoint. `wanted` is sought there; a hostile peer may say that it lives wherever it likes.
    fn dial(&mut self, from: usize, endpoint: &str, wanted: Option<usize>) -> Result<usize, Missed> {
        let is_at =
            |peer: &crate::peer::Peer| peer.about.endpoint == endpoint || peer.about.external_endpoint == endpoint;
        let found = self.peers.iter().position(is_at).ok_or(Missed::Refused)?;
        let (own, theirs) = (&self.peers[from].about.organization, &self.peers[found].about);
        let is_led_astray = [Some(from), wanted].into_iter().flatten().any(|peer| self.peers[peer].mind.is_some());
        if theirs.endpoint == endpoint && *own != theirs.organization && !is_led_astray {
            self.faults
                .push(format!("peer {from} dials the internal endpoint of peer {found} of another organisation"));
        }
        if !self.is_linked(from, found) {
            return Err(match self.weather.cut {
                Cut::Refused => Missed::Refused,
                Cut::Silent => Missed::Silent,
            });
        }
        match (self.peers[found].is_up(), self.peers[found].is_machine_down) {
            (true, _) => Ok(found),
            (false, true) => Err(Missed::Silent),
            (false, false) => Err(Missed::Refused),
        }
    }
}
