//! What carries messages: streams between peers, links that lose, repeat, delay and are cut.

use std::time::Duration;

use bytes::Bytes;
use ripstop_gossip::handshake::{Purpose, judge, offer};
use ripstop_gossip::{Endpoint, Input, PkiId, SignedMessage};
use ripstop_proto::gossip as wire_format;

use super::{Event, World};
use crate::checks::{belief, private};
use crate::story::Cut;

/// How long it takes to learn that nobody listens.
const REFUSED: Duration = Duration::from_millis(500);
/// How long it takes to give up a machine that does not answer at all.
const TIMED_OUT: Duration = Duration::from_secs(3);
/// The hash of the TLS certificate that everybody shows.
const TLS: [u8; 32] = [7; 32];

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
        self.said[from] += 1;
        if self.peers[from].mind.is_none() {
            private::inspect(self, from, other, message);
            belief::inspect_message(self, from, other, message);
        }
        if !self.is_linked(from, other) && self.weather.cut == Cut::Refused {
            self.close(from, other);
        }
        if self.is_streaming(from, other) {
            return self.transmit(from, other, message.envelope().clone());
        }
        if endpoint.is_empty() {
            return self.miss(from, endpoint, Some(to.clone()), &Missed::Refused);
        }
        match self.dial(from, &endpoint, Some(other)) {
            Ok(found) if found == other => {
                self.open(from, other, None);
                self.transmit(from, other, message.envelope().clone());
            }
            Ok(_) => self.miss(from, endpoint, Some(to.clone()), &Missed::Refused),
            Err(missed) => self.miss(from, endpoint, Some(to.clone()), &missed),
        }
    }

    /// Opens a stream to whoever is at an endpoint.
    pub(super) fn connect(&mut self, from: usize, endpoint: Endpoint) {
        match self.dial(from, &endpoint, None) {
            Ok(found) => self.open(from, found, Some(endpoint)),
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
            self.after(delay, Event::Gossip { from, to, envelope: envelope.clone() });
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

    /// Makes sure that there is a stream between two peers that reach each other.
    pub(crate) fn open(&mut self, from: usize, to: usize, dialled: Option<Endpoint>) {
        let is_new = from != to && self.streams.insert((from.min(to), from.max(to)));
        if is_new {
            self.meet(to, from, None);
        }
        if is_new || dialled.is_some() {
            self.meet(from, to, dialled);
        }
    }

    /// Ends the stream between two peers.
    pub(crate) fn close(&mut self, a: usize, b: usize) {
        if self.streams.remove(&(a.min(b), a.max(b))) {
            for (to, other) in [(a, b), (b, a)] {
                let pki_id = self.peers[other].about.pki_id.clone();
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

    /// One end of a stream learns who is at the other one.
    fn meet(&mut self, at: usize, other: usize, dialled: Option<Endpoint>) {
        let (trust, peer) = (&self.peers[at].credentials, &self.peers[other]);
        let offered = offer(&peer.about, Bytes::from_static(&TLS), Purpose::Talk, &peer.credentials);
        let (contact, _) = judge(trust, self.now, &offered, Some(&TLS)).expect("those who take part have identities");
        self.later(at, Input::Connected { contact, dialled });
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
