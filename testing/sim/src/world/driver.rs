//! What a peer's driver does: input for its machine, and the machine's effects.

use std::time::Duration;

use ripstop_gossip::{
    ChannelInput, Content, Effect, Input, Message, NoteLevel, PkiId, SignedMessage, StatePayload, Tag,
};
use ripstop_proto::gossip as wire_format;

use super::{Event, World};
use crate::checks::private;

/// How long a machine is at work with a message.
const WORK: Duration = Duration::from_micros(200);

impl World {
    /// Something happens to a peer, if it is up.
    pub(crate) fn input(&mut self, index: usize, input: Input) {
        let peer = &mut self.peers[index];
        let Some(node) = peer.node.as_mut() else { return };
        node.handle(self.now, input, &peer.voucher);
        self.drain(index);
    }

    pub(crate) fn channel_input(&mut self, index: usize, input: ChannelInput) {
        self.input(index, Input::Channel(self.channel.clone(), input));
    }

    /// A message arrives, as bytes.
    pub(super) fn arrive(&mut self, from: usize, to: usize, envelope: wire_format::Envelope) {
        if !self.peers[to].is_up() || !self.is_streaming(from, to) {
            return;
        }
        if let Some(mind) = &mut self.peers[to].mind {
            mind.hear(&envelope);
        }
        // What cannot be read ends here, as at the edge of a peer.
        let Ok(message) = SignedMessage::parse(envelope) else { return };
        match &message.message().content {
            Content::PrivateData(_)
            | Content::PrivateRequest(_)
            | Content::PrivateResponse(_)
            | Content::Acknowledgement { .. } => self.take_private(from, to, &message),
            _ => {
                let peer = &mut self.peers[to];
                peer.inbox.push(from, message);
                if !std::mem::replace(&mut peer.inbox.is_busy, true) {
                    self.take_turn(to);
                }
            }
        }
    }

    /// A peer's machine takes the next message that waits, and is at work for a while.
    pub(super) fn take_turn(&mut self, index: usize) {
        let Some((from, message)) = self.peers[index].inbox.pop() else {
            self.peers[index].inbox.is_busy = false;
            return;
        };
        let from = self.peers[from].about.pki_id.clone();
        self.input(index, Input::Received { from, message });
        let process = self.peers[index].process;
        self.after(WORK, Event::Turn { peer: index, process });
    }

    /// Carries out what a peer's machine wants.
    pub(super) fn drain(&mut self, index: usize) {
        while let Some(effect) = self.peers[index].node.as_mut().and_then(ripstop_gossip::Node::poll_effect) {
            match effect {
                Effect::Send { to, endpoint, message } => {
                    if !self.holds_back(index, &message) {
                        self.send(index, &to, endpoint, &message);
                    }
                }
                Effect::Connect { endpoint } => self.connect(index, endpoint),
                Effect::Close { pki_id, .. } => {
                    let current = self.peer_of(&pki_id).filter(|other| self.peers[*other].about.pki_id == pki_id);
                    if let Some(other) = current {
                        self.close(index, other);
                    }
                }
                Effect::Block { channel, number, block, private_data, from } => {
                    if channel != self.channel {
                        self.faults.push(format!("peer {index} gets a block of {channel}, which has none"));
                    }
                    self.take_block(index, number, &block, &private_data, from);
                }
                Effect::ServeBlocks { to, nonce, start, end, .. } => self.serve(index, &to, nonce, (start, end)),
                // Nobody orders blocks of another channel.
                Effect::Lead { channel } if channel != self.channel => {}
                Effect::Lead { .. } => {
                    self.peers[index].leads = true;
                    self.peers[index].orderer_seen = self.now;
                }
                Effect::Follow { .. } => self.peers[index].leads = false,
                Effect::Note(note) => {
                    private::inspect_note(self, index, &note.text);
                    if note.level == NoteLevel::Error && self.peers[index].mind.is_none() {
                        self.faults.push(format!("peer {index} says: {}", note.text));
                    }
                }
            }
        }
        let Some(node) = &self.peers[index].node else { return };
        let at = node.wake_at().map(|at| at.max(self.now));
        if let Some(at) = at.filter(|at| self.peers[index].wakes_at != Some(*at)) {
            self.peers[index].wakes_at = Some(at);
            self.at(at, Event::Wake(index));
        }
    }

    /// The committer gets a block of a peer.
    fn take_block(
        &mut self,
        index: usize,
        number: u64,
        block: &bytes::Bytes,
        private_data: &[bytes::Bytes],
        from: PkiId,
    ) {
        let height = self.peers[index].ledger.height();
        // One that stands on a block that was refused comes again.
        if number != height {
            return;
        }
        if self.commit(index, block) {
            self.shelve(index, number, private_data);
            self.learn_configuration(index);
            self.channel_input(index, ChannelInput::Height(number + 1));
        } else {
            self.peers[index].refused += 1;
            self.channel_input(index, ChannelInput::Refused { number, from });
        }
    }

    /// Sends a peer blocks that it asked for, with the private values that it may have.
    fn serve(&mut self, index: usize, to: &PkiId, nonce: u64, (start, end): (u64, u64)) {
        let Some(other) = self.peer_of(to) else { return };
        let mut payloads = Vec::new();
        for number in start..=end {
            let block = match &self.peers[index].mind {
                Some(mind) => mind.made_up(number),
                None => self.peers[index].ledger.block(number).cloned(),
            };
            let Some(block) = block else { continue };
            payloads.push(StatePayload { number, block, private_data: self.values_for(index, other, number) });
        }
        let content = Content::StateResponse(payloads);
        let channel = Some(self.channel.clone());
        let message = Message { nonce, channel, tag: Tag::ChannelOrOrganization, content };
        self.send(index, to, String::new(), &SignedMessage::unsigned(message));
    }
}
