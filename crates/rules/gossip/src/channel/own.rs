use std::time::Duration;

use ripstop_types::ChannelId;

use super::members::channel_mac;
use crate::{AnnouncedChaincode, Content, Message, Moment, PeerTime, SignedMessage, StateInfo, Surroundings, Tag};

/// What this peer says of itself in a channel.
#[derive(Debug)]
pub(crate) struct Own {
    info: StateInfo,
    message: SignedMessage,
    is_signed: bool,
    is_published: bool,
    // Whether more than the height changed.
    is_urgent: bool,
    published_at: Moment,
    revision: u64,
}

impl Own {
    /// Nothing yet.
    pub(crate) fn new(surroundings: &Surroundings<'_>, channel: &ChannelId) -> Self {
        let pki_id = surroundings.me.member.pki_id.clone();
        let info = StateInfo {
            channel_mac: channel_mac(&pki_id, channel),
            pki_id,
            time: PeerTime { incarnation: surroundings.now.nanoseconds(), sequence: surroundings.now.nanoseconds() },
            height: 1,
            left_channel: false,
            chaincodes: Vec::new(),
        };
        let message = SignedMessage::unsigned(message(&info));
        let published_at = Moment::default();
        Self { info, message, is_signed: false, is_published: false, is_urgent: true, published_at, revision: 0 }
    }

    /// This peer is in the channel.
    pub(crate) fn join(&mut self, surroundings: &Surroundings<'_>, height: u64, chaincodes: Vec<AnnouncedChaincode>) {
        self.info.height = height;
        self.info.chaincodes = chaincodes;
        self.is_urgent = true;
        self.changed(surroundings.now);
        self.sign(surroundings);
    }

    pub(crate) fn set_height(&mut self, now: Moment, height: u64) {
        if self.info.height < height {
            self.info.height = height;
            self.changed(now);
        }
    }

    pub(crate) fn set_chaincodes(&mut self, now: Moment, chaincodes: Vec<AnnouncedChaincode>) {
        self.info.chaincodes = chaincodes;
        self.is_urgent = true;
        self.changed(now);
    }

    /// What is said, as it was signed last.
    pub(crate) const fn message(&self) -> &SignedMessage {
        &self.message
    }

    /// Signs what is to be said now.
    pub(crate) fn sign(&mut self, surroundings: &Surroundings<'_>) {
        if !self.is_signed {
            self.message = SignedMessage::signed(message(&self.info), surroundings.trust);
            self.is_signed = true;
            self.revision += 1;
        }
    }

    /// Whether others are to be told something new, a new height not sooner than `pause` after the last time.
    pub(crate) fn is_due(&self, now: Moment, pause: Duration) -> bool {
        !self.is_published && (self.is_urgent || now.since(self.published_at) >= pause)
    }

    /// Others were told.
    pub(crate) const fn set_published(&mut self, now: Moment) {
        self.is_published = true;
        self.is_urgent = false;
        self.published_at = now;
    }

    /// A number that grows whenever something else is signed.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    fn changed(&mut self, now: Moment) {
        self.info.time.sequence = now.nanoseconds().max(self.info.time.sequence + 1);
        self.is_signed = false;
        self.is_published = false;
    }
}

fn message(info: &StateInfo) -> Message {
    let content = Content::StateInfo(info.clone());
    Message { nonce: 0, channel: None, tag: Tag::ChannelOrOrganization, content }
}
