use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ripstop_types::{ChannelId, MspId};

use crate::{Endpoint, KnownPeer, Moment, PkiId, SignedMessage, Trust};

/// What a driver has to do. Effects are carried out in the order in which they come.
#[derive(Debug)]
pub enum Effect {
    /// Send a message to a peer, on a stream that is there or a new one. When that fails the driver says so
    /// (`Unreachable`); nothing waits for it.
    Send {
        /// Which peer. Whoever answers at the endpoint must be it.
        to: PkiId,
        /// Where it is reached. Empty when that is not known: then only a stream that is there will do.
        endpoint: Endpoint,
        /// The message.
        message: SignedMessage,
    },
    /// Open a stream to whoever is at an endpoint; the driver says who it is, or that nobody answered.
    Connect {
        /// Where.
        endpoint: Endpoint,
    },
    /// Close the streams of a peer. A new one begins with a new handshake, which is judged anew.
    Close {
        /// Which peer.
        pki_id: PkiId,
        /// Why, for the log.
        reason: String,
    },
    /// The next block of a channel, in order, for the committer, which verifies it, its number included.
    Block {
        /// The channel.
        channel: ChannelId,
        /// Its number.
        number: u64,
        /// The encoded block.
        block: Bytes,
        /// Encoded `PvtDataPayload`s that came with it, unverified.
        private_data: Vec<Bytes>,
        /// Who sent it.
        from: PkiId,
    },
    /// A peer asks for blocks that this one has: send them, in one message, with the private data that it may have.
    ServeBlocks {
        /// The channel.
        channel: ChannelId,
        /// Who asks.
        to: PkiId,
        /// Joins question and answer.
        nonce: u64,
        /// The first block.
        start: u64,
        /// The last block.
        end: u64,
    },
    /// This peer leads its organization in a channel from now on: pull blocks from the orderers.
    Lead {
        /// The channel.
        channel: ChannelId,
    },
    /// This peer leads no longer: pull no blocks from the orderers.
    Follow {
        /// The channel.
        channel: ChannelId,
    },
    /// Something that an operator may want to know.
    Note(Note),
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How important it is.
    pub level: NoteLevel,
    /// Who says it.
    pub logger: Logger,
    /// The text. Scripts wait for some of them.
    pub text: String,
}

/// Who says something: Fabric's loggers whose names begin with `gossip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logger {
    /// `gossip.channel`: of the members of a channel.
    Channel,
    /// `gossip.comm`: of streams.
    Comm,
    /// `gossip.discovery`: of who lives.
    Discovery,
    /// `gossip.election`: of leaders.
    Election,
    /// `gossip.gossip`: of who takes part.
    Gossip,
    /// `gossip.state`: of blocks.
    State,
}

/// How important a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteLevel {
    /// For those who look for a fault.
    Debug,
    /// For everybody.
    Info,
    /// Something may be wrong.
    Warning,
    /// Something is wrong.
    Error,
}

/// Effects that wait for the driver.
#[derive(Debug, Default)]
pub(crate) struct Effects(VecDeque<Effect>);

impl Effects {
    /// Adds one.
    pub(crate) fn push(&mut self, effect: Effect) {
        self.0.push_back(effect);
    }

    /// Adds a line for the log.
    pub(crate) fn note(&mut self, level: NoteLevel, logger: Logger, text: String) {
        self.push(Effect::Note(Note { level, logger, text }));
    }

    /// Takes the next one.
    pub(crate) fn poll(&mut self) -> Option<Effect> {
        self.0.pop_front()
    }
}

/// What the machines inside of a peer see of it while they handle an input.
pub(crate) struct Surroundings<'a> {
    /// The present moment.
    pub(crate) now: Moment,
    /// Who vouches.
    pub(crate) trust: &'a dyn Trust,
    /// This peer.
    pub(crate) me: &'a Arc<KnownPeer>,
    /// The peers that are alive and whose identities are known, without this one.
    pub(crate) alive: &'a BTreeMap<PkiId, Arc<KnownPeer>>,
    /// Where random choices come from.
    pub(crate) random: &'a mut fastrand::Rng,
    /// Where effects go.
    pub(crate) effects: &'a mut Effects,
}

impl Surroundings<'_> {
    /// Sends a message to a peer, where it is reached if that is known, else on its stream.
    pub(crate) fn send(&mut self, to: &PkiId, message: SignedMessage) {
        let endpoint = self.alive.get(to).map(|peer| peer.member.preferred_endpoint().to_owned()).unwrap_or_default();
        self.effects.push(Effect::Send { to: to.clone(), endpoint, message });
    }

    /// Whether a peer is of this peer's organization.
    pub(crate) fn is_own(&self, organization: &MspId) -> bool {
        self.me.organization == *organization
    }
}
