//! A model peer: the gossip machine as it is, a ledger, and a shelf for private values. Ledger and shelf survive crashes.

use std::rc::Rc;

use bytes::Bytes;
use ripstop_gossip::handshake::{Purpose, offer};
use ripstop_gossip::{Moment, Node, Options, SelfDescription, SignedMessage, View};

use crate::chain::Ledger;
use crate::configuration::Configuration;
use crate::hostile::Mind;
use crate::values::Shelf;
use crate::voucher::{Opening, Voucher};
use crate::world::inbox::Inbox;

/// The hash of the TLS certificate that everybody shows.
pub(crate) const TLS: [u8; 32] = [7; 32];

/// A peer.
pub(crate) struct Peer {
    /// Who it is.
    pub(crate) about: SelfDescription,
    /// Its identity and key, and whom it trusts.
    pub(crate) voucher: Voucher,
    /// With what it opens streams.
    pub(crate) handshake: SignedMessage,
    /// The configuration that its machine was told.
    pub(crate) told: Rc<Configuration>,
    /// Whether it begins with a new certificate the next time.
    pub(crate) renews: bool,
    /// Messages that wait for its machine.
    pub(crate) inbox: Inbox,
    /// How many blocks of others it refused since its process began.
    pub(crate) refused: u32,
    /// Its settings.
    pub(crate) options: Options,
    /// Its gossip; `None` while it is down.
    pub(crate) node: Option<Node>,
    /// Its ledger.
    pub(crate) ledger: Ledger,
    /// Its private values.
    pub(crate) shelf: Shelf,
    /// What it does beside what a peer does, if it is hostile.
    pub(crate) mind: Option<Mind>,
    /// Whether it pulls blocks from orderers.
    pub(crate) leads: bool,
    /// Grows with each start.
    pub(crate) process: u64,
    /// Whether its machine is down too, so that nobody is told.
    pub(crate) is_machine_down: bool,
    /// When it wants to be woken.
    pub(crate) wakes_at: Option<Moment>,
    /// When it last reached an orderer.
    pub(crate) orderer_seen: Moment,
}

impl Peer {
    /// A peer that does not run yet.
    pub(crate) fn new(about: SelfDescription, voucher: Voucher, options: Options, mind: Option<Mind>) -> Self {
        Self {
            handshake: handshake(&about, &voucher),
            told: Rc::clone(&voucher.configuration),
            renews: false,
            inbox: Inbox::default(),
            refused: 0,
            about,
            voucher,
            options,
            node: None,
            ledger: Ledger::default(),
            shelf: Shelf::default(),
            mind,
            leads: false,
            process: 0,
            is_machine_down: false,
            wakes_at: None,
            orderer_seen: Moment::default(),
        }
    }

    /// Whether its process runs.
    pub(crate) const fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// What it knows of the network.
    pub(crate) fn view(&mut self) -> std::sync::Arc<View> {
        self.node.as_mut().map(|node| node.view(&self.voucher)).unwrap_or_default()
    }
}

/// What a peer opens streams with.
pub(crate) fn handshake(about: &SelfDescription, voucher: &Voucher) -> SignedMessage {
    offer(about, Bytes::from_static(&TLS), Purpose::Talk, &Opening(voucher))
}
