use bytes::Bytes;
use ripstop_proto::gossip as wire;

use super::Channel;
use crate::transfer::Origin;
use crate::{Contact, Content, DataKind, PkiId, SignedMessage, Surroundings};

/// How many digits the number of a block has at most.
const DIGITS: usize = 20;

impl Channel {
    /// Takes a step of a pull of blocks. Only members of the own organization pull from each other.
    pub(super) fn receive_pull(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        from: &Contact,
        message: &SignedMessage,
    ) {
        let peer = &from.pki_id;
        if !self.members.companions().contains(peer) {
            return;
        }
        match &message.message().content {
            Content::Hello { nonce, kind: DataKind::Blocks, .. } => self.answer_hello(surroundings, peer, *nonce),
            Content::Digest { nonce, digests, kind: DataKind::Blocks } => {
                let transfer = &self.transfer;
                let wanted = |digest: &&Bytes| number_of(digest).is_some_and(|number| transfer.wants(number));
                self.pull.take_digest(peer, *nonce, digests.iter().filter(wanted).cloned());
            }
            Content::Request { nonce, digests, kind: DataKind::Blocks } => {
                self.answer_request(surroundings, peer, *nonce, digests);
            }
            Content::Update { nonce, data, kind: DataKind::Blocks } => {
                self.take_update(surroundings, peer, *nonce, data);
            }
            _ => {}
        }
    }

    fn answer_hello(&mut self, surroundings: &mut Surroundings<'_>, peer: &PkiId, nonce: u64) {
        if self.pull.take_hello(surroundings.now, peer, nonce) {
            let digests = self.blocks.numbers().map(digest_of).collect();
            self.pull.answer_hello(surroundings, peer, nonce, digests);
        }
    }

    fn answer_request(&mut self, surroundings: &mut Surroundings<'_>, peer: &PkiId, nonce: u64, digests: &[Bytes]) {
        if self.pull.take_request(surroundings.now, peer, nonce) {
            let kept = digests.iter().filter_map(number_of).filter_map(|number| self.blocks.get(number));
            let items = kept.map(|message| message.envelope().clone());
            self.pull.answer_request(surroundings, peer, nonce, items);
        }
    }

    fn take_update(&mut self, surroundings: &mut Surroundings<'_>, peer: &PkiId, nonce: u64, data: &[wire::Envelope]) {
        let Some(asked) = self.pull.take_update(peer, nonce) else { return };
        for envelope in data.iter().take(asked.len()) {
            let Ok(item) = SignedMessage::parse(envelope.clone()) else { return };
            let Content::Block(payload) = &item.message().content else { return };
            let is_here = item.message().channel.as_ref() == Some(&self.id);
            if is_here && asked.contains(&digest_of(payload.number)) {
                self.transfer.offer(surroundings, payload.clone(), peer, Origin::Pulled);
            }
        }
    }
}

fn digest_of(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}

fn number_of(digest: &Bytes) -> Option<u64> {
    let digits = digest.len() <= DIGITS && digest.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(digest).ok()?.parse().ok()).flatten()
}
