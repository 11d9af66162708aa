use std::collections::BTreeMap;

use ripstop_types::ChannelId;

use super::members::Members;
use crate::election::{Election, ElectionEffect, ElectionInput};
use crate::{
    Contact, Content, Effect, Leadership, Logger, Message, Moment, Options, PeerTime, PkiId, SignedMessage,
    Surroundings, Tag,
};

/// Whether this peer leads its organization in a channel, and how that is decided.
#[derive(Debug)]
pub(crate) enum Leading {
    /// It does, always (`peer.gossip.orgLeader`).
    Always,
    /// It does not.
    Never,
    /// The peers of the organization agree on it (`peer.gossip.useLeaderElection`).
    Elected(Box<Elected>),
}

#[derive(Debug)]
pub(crate) struct Elected {
    election: Election,
    time: PeerTime,
    // When each living companion last spoke.
    heard: BTreeMap<PkiId, PeerTime>,
}

impl Leading {
    /// Begins, and says whether this peer leads where that is decided.
    pub(crate) fn begin(
        surroundings: &mut Surroundings<'_>,
        options: &Options,
        channel: &ChannelId,
        members: &Members,
    ) -> Self {
        let channel = channel.clone();
        if options.use_leader_election {
            let now = surroundings.now;
            let me = surroundings.me.member.pki_id.clone();
            let election = Election::new(now, me, options.election.clone(), members.companions().len());
            let time = PeerTime { incarnation: now.nanoseconds(), sequence: 0 };
            surroundings.effects.push(Effect::Follow { channel });
            Self::Elected(Box::new(Elected { election, time, heard: BTreeMap::new() }))
        } else if options.org_leader {
            surroundings.effects.push(Effect::Lead { channel });
            Self::Always
        } else {
            surroundings.effects.push(Effect::Follow { channel });
            Self::Never
        }
    }

    /// Whether this peer leads.
    pub(crate) fn leads(&self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Elected(elected) => elected.election.leads(),
        }
    }

    /// Takes what a peer says of who leads. Only members of the own organization are heard.
    pub(crate) fn receive(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        channel: &ChannelId,
        members: &Members,
        (from, message): (&Contact, &SignedMessage),
    ) {
        let (Self::Elected(elected), Content::Leadership(said)) = (&mut *self, &message.message().content) else {
            return;
        };
        if !surroundings.is_own(&from.organization) || !members.companions().contains(&said.pki_id) {
            return;
        }
        let Some(peer) = surroundings.alive.get(&said.pki_id) else { return };
        let is_stale = elected.heard.get(&said.pki_id).is_some_and(|heard| *heard >= said.time);
        if is_stale || !message.is_signed_by(&peer.identity, surroundings.trust) {
            return;
        }
        elected.heard.insert(said.pki_id.clone(), said.time);
        let input = match said.is_declaration {
            true => ElectionInput::Declaration(said.pki_id.clone()),
            false => ElectionInput::Proposal(said.pki_id.clone()),
        };
        elected.handle(surroundings, channel, members, input);
    }

    /// A peer is not alive any more. If it comes back, its clock may have been put back.
    pub(crate) fn vanished(&mut self, peer: &PkiId) {
        if let Self::Elected(elected) = self {
            elected.heard.remove(peer);
        }
    }

    /// Lets another peer lead: this one reaches no orderer.
    pub(crate) fn yield_leadership(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        channel: &ChannelId,
        members: &Members,
    ) {
        if let Self::Elected(elected) = self {
            elected.handle(surroundings, channel, members, ElectionInput::Yield);
        }
    }

    /// The moment came that `wake_at` named, or another machine's.
    pub(crate) fn wake(&mut self, surroundings: &mut Surroundings<'_>, channel: &ChannelId, members: &Members) {
        if let Self::Elected(elected) = self
            && elected.election.wake_at().is_some_and(|at| at <= surroundings.now)
        {
            elected.handle(surroundings, channel, members, ElectionInput::Wake);
        }
    }

    /// When time alone changes something.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        match self {
            Self::Always | Self::Never => None,
            Self::Elected(elected) => elected.election.wake_at(),
        }
    }

    /// The process ends: who was elected leads no more.
    pub(crate) fn stop(&mut self, surroundings: &mut Surroundings<'_>, channel: &ChannelId, members: &Members) {
        if let Self::Elected(elected) = self {
            elected.handle(surroundings, channel, members, ElectionInput::Stop);
        }
    }
}

impl Elected {
    fn handle(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        channel: &ChannelId,
        members: &Members,
        input: ElectionInput,
    ) {
        self.election.handle(surroundings.now, members.companions().len(), input);
        while let Some(effect) = self.election.poll_effect() {
            match effect {
                ElectionEffect::Propose => self.tell(surroundings, channel, members, false),
                ElectionEffect::Declare => self.tell(surroundings, channel, members, true),
                ElectionEffect::Lead => surroundings.effects.push(Effect::Lead { channel: channel.clone() }),
                ElectionEffect::Follow => surroundings.effects.push(Effect::Follow { channel: channel.clone() }),
                ElectionEffect::Note(level, text) => surroundings.effects.note(level, Logger::Election, text),
            }
        }
    }

    /// Tells all members of the own organization, not some: nobody passes it on.
    fn tell(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        channel: &ChannelId,
        members: &Members,
        is_declaration: bool,
    ) {
        self.time.sequence += 1;
        let pki_id = surroundings.me.member.pki_id.clone();
        let message = Message {
            nonce: 0,
            channel: Some(channel.clone()),
            tag: Tag::ChannelAndOrganization,
            content: Content::Leadership(Leadership { pki_id, time: self.time, is_declaration }),
        };
        let message = SignedMessage::signed(message, surroundings.trust);
        for peer in members.companions().iter() {
            surroundings.send(peer, message.clone());
        }
    }
}
