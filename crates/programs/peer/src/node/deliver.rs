//! The channels' blocks, for those who may read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ripstop_channel_config::acl::{self, Resource};
use ripstop_deliver::{BlockForm, BlockSource, Channels, Refusal, SourceError};
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_policy::Reader;
use ripstop_proto::rwset;
use ripstop_types::{Block, BlockNumber, ChannelId, SignedData};
use tokio::sync::watch;

/// The channels as the deliver service sees them.
pub(super) struct DeliverChannels {
    pub(super) ledgers: Arc<Ledgers>,
    pub(super) local_msp: Arc<LocalMsp>,
}

impl Channels for DeliverChannels {
    fn source(&self, channel: &str) -> Option<Arc<dyn BlockSource>> {
        let ledger = self.ledgers.get(&ChannelId::new(channel).ok()?)?;
        Some(Arc::new(LedgerSource { ledger, local_msp: Arc::clone(&self.local_msp) }))
    }
}

/// A ledger's blocks, for those who may read them.
struct LedgerSource {
    ledger: Arc<Ledger>,
    local_msp: Arc<LocalMsp>,
}

impl BlockSource for LedgerSource {
    fn heights(&self) -> watch::Receiver<u64> {
        self.ledger.heights()
    }

    fn first_block(&self) -> BlockNumber {
        self.ledger.first_block()
    }

    fn block(&self, number: BlockNumber) -> Result<Arc<Block>, SourceError> {
        match self.ledger.block(number) {
            Ok(Some(block)) => Ok(block),
            Ok(None) => Err(SourceError(format!("block [{number}] is not there"))),
            Err(error) => Err(SourceError(error.to_string())),
        }
    }

    fn config_sequence(&self) -> u64 {
        self.ledger.config().sequence()
    }

    fn private_data(
        &self,
        number: BlockNumber,
        request: &SignedData,
    ) -> Result<BTreeMap<u64, rwset::TxPvtReadWriteSet>, SourceError> {
        ripstop_private_data::readable(&self.ledger, number, request).map_err(|error| SourceError(error.to_string()))
    }

    fn authorize(&self, form: BlockForm, request: &SignedData) -> Result<(), Refusal> {
        let resource = match form {
            BlockForm::Full | BlockForm::WithPrivateData => Resource::EventBlock,
            BlockForm::Filtered => Resource::EventFilteredBlock,
        };
        acl::check(resource, Some(&self.ledger.config()), &self.local_msp, request)
            .map_err(|refusal| Refusal(refusal.text(Reader::Member)))
    }
}
