//! One channel: who is in it at which height, its blocks, its leader.
#![allow(dead_code, reason = "nothing is routed here yet")]

use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_types::ChannelId;

use crate::{ChannelInput, ChannelMember, Moment, Options, PkiId, Sender, SignedMessage, StateInfo, Surroundings};

/// The machine of one channel that this peer is in, or was in.
pub(crate) struct Channel {
    id: ChannelId,
}

impl Channel {
    /// Begins. `ChannelInput::Joined` follows at once.
    pub(crate) fn new(id: ChannelId, _options: Arc<Options>, _surroundings: &mut Surroundings<'_>) -> Self {
        Self { id }
    }

    /// Takes what happened.
    pub(crate) fn handle(&mut self, _surroundings: &mut Surroundings<'_>, _input: ChannelInput) {}

    /// Whether a state info would be taken if its signature is right: it has this channel's MAC (the node checked that), and
    /// is newer than what is known. Asked before the signature is verified, to save the verification.
    pub(crate) fn is_news(&self, _state_info: &StateInfo) -> bool {
        true
    }

    /// Takes a message of this channel. What the node checked before: the sender is authenticated and its identity valid,
    /// the tag is legal, the channel (or the MAC) is this one, the signatures of a state info and of a leadership message
    /// are those of the peers that they name. What is left: whether the sender's organisation is in the channel, and
    /// everything that depends on the kind.
    pub(crate) fn receive(&mut self, _surroundings: &mut Surroundings<'_>, _from: &Sender, _message: SignedMessage) {}

    /// Identities or the membership changed: forget state infos of peers that are not trusted any more. Comes behind each
    /// `TrustChanged`, and whenever an identity was purged.
    pub(crate) fn trust_changed(&mut self, _surroundings: &mut Surroundings<'_>) {}

    /// The moment came that `wake_at` named, or another machine's.
    pub(crate) fn wake(&mut self, _surroundings: &mut Surroundings<'_>) {}

    /// When time alone changes something.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        None
    }

    /// The members of the channel that are alive, this peer among them, if that changed since the last call. Membership
    /// changes make it change, too.
    pub(crate) fn members(&mut self, _surroundings: &Surroundings<'_>) -> Option<BTreeMap<PkiId, ChannelMember>> {
        None
    }
}
