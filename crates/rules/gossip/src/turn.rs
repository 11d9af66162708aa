use crate::identities::Identities;
use crate::{
    Counters, Culprit, Effect, Effects, Endpoint, Logger, Malformed, Moment, NoteLevel, Options, PkiId, SignedMessage,
    Trust,
};

/// What the machines have at hand while one input is handled.
pub(crate) struct Turn<'a> {
    /// The present moment.
    pub(crate) now: Moment,
    /// Who vouches.
    pub(crate) trust: &'a dyn Trust,
    /// The settings.
    pub(crate) options: &'a Options,
    /// Where random choices come from.
    pub(crate) random: &'a mut fastrand::Rng,
    /// Where effects go.
    pub(crate) effects: &'a mut Effects,
    /// Who is behind a PKI-ID.
    pub(crate) identities: &'a mut Identities,
    /// What is counted.
    pub(crate) counters: &'a mut Counters,
    /// Peers that sent something that no honest peer sends.
    pub(crate) blamed: &'a mut Vec<PkiId>,
}

impl Turn<'_> {
    /// Sends a message. An empty endpoint means: on a stream that is there.
    pub(crate) fn send(&mut self, to: &PkiId, endpoint: &str, message: SignedMessage) {
        self.effects.push(Effect::Send { to: to.clone(), endpoint: Endpoint::from(endpoint), message });
    }

    /// Notes that a peer sent something that no honest peer sends.
    pub(crate) fn blame(&mut self, peer: &PkiId) {
        self.counters.refused += 1;
        self.blamed.push(peer.clone());
    }

    /// A peer sent what cannot be read: that counts against it if it made it.
    pub(crate) fn blame_for(&mut self, peer: &PkiId, malformed: &Malformed) {
        match malformed.culprit {
            Culprit::Sender => self.blame(peer),
            Culprit::Author => self.counters.refused += 1,
        }
    }

    /// Adds a line for the log.
    pub(crate) fn note(&mut self, level: NoteLevel, logger: Logger, text: String) {
        self.effects.note(level, logger, text);
    }
}
