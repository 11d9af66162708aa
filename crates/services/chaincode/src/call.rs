//! What all chaincodes called by one proposal on one channel share.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use ripstop_ledger::{Ledger, Simulator};
use ripstop_proto::protos;
use ripstop_types::{SignedData, TxId};

/// The proposal behind a call, and the simulation it works on.
pub(crate) struct Call {
    /// The transaction.
    pub(crate) tx_id: TxId,
    /// The proposal as signed, handed on to chaincode.
    pub(crate) proposal: protos::SignedProposal,
    /// The same as data to check access with.
    pub(crate) signed: SignedData,
    /// The chaincode the proposal names.
    pub(crate) proposed: String,
    /// The ledger of the channel; none for a call outside of any.
    pub(crate) ledger: Option<Arc<Ledger>>,
    simulator: Mutex<Option<Simulator>>,
}

impl Call {
    pub(crate) fn new(
        tx_id: TxId,
        proposal: protos::SignedProposal,
        signed: SignedData,
        proposed: String,
        ledger: Option<Arc<Ledger>>,
        simulator: Option<Simulator>,
    ) -> Self {
        Self { tx_id, proposal, signed, proposed, ledger, simulator: Mutex::new(simulator) }
    }

    /// The same proposal on another channel, with a simulation of its own.
    pub(crate) fn on_channel(&self, ledger: Arc<Ledger>) -> Self {
        let simulator = ledger.simulate(self.tx_id.clone());
        Self::new(
            self.tx_id.clone(),
            self.proposal.clone(),
            self.signed.clone(),
            self.proposed.clone(),
            Some(ledger),
            Some(simulator),
        )
    }

    /// The channel's name, empty for none.
    pub(crate) fn channel(&self) -> &str {
        self.ledger.as_ref().map(|ledger| ledger.channel_id().as_str()).unwrap_or_default()
    }

    /// The simulation, locked for one operation; none when there never was one or it was taken back.
    pub(crate) fn simulator(&self) -> MutexGuard<'_, Option<Simulator>> {
        self.simulator.lock()
    }

    /// Takes the simulation back: what comes later finds none.
    pub(crate) fn end(&self) -> Option<Simulator> {
        self.simulator.lock().take()
    }
}
