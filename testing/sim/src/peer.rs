//! A model peer: the gossip machine as it is, a ledger, and a shelf for private values. Ledger and shelf survive crashes.

use ripstop_gossip::{Moment, Node, Options, SelfDescription, View};

use crate::chain::Ledger;
use crate::hostile::Mind;
use crate::trust::Credentials;
use crate::values::Shelf;

/// A peer.
pub(crate) struct Peer {
    /// Who it is.
    pub(crate) about: SelfDescription,
    /// Its identity and key.
    pub(crate) credentials: Credentials,
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
    pub(crate) fn new(about: SelfDescription, credentials: Credentials, options: Options, mind: Option<Mind>) -> Self {
        Self {
            about,
            credentials,
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
        self.node.as_mut().map(|node| node.view(&self.credentials)).unwrap_or_default()
    }
}
