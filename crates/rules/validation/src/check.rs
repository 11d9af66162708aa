use std::sync::{Arc, OnceLock};

use ripstop_channel_config::{ChannelConfig, update};
use ripstop_proto::common;
use ripstop_rwset::{StateError, StateView};
use ripstop_types::{Block, BlockNumber, HeaderType, TxId};

use crate::endorsement::{Judge, NamespaceVerdict};
use crate::form::{Content, Form, Prepared, prepare};
use crate::verify::ParsedTransaction;
use crate::{Refusal, VerifiedBlock};

/// Why nothing can be said about a block. The channel stops here: a peer never guesses.
#[derive(Debug, thiserror::Error)]
pub enum Undecided {
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// A configuration transaction does not decode.
    #[error("error unmarshalling config of block [{block}] which passed initial validity checks: {source}")]
    ConfigUndecodable {
        /// The block.
        block: BlockNumber,
        /// Why not.
        source: prost::DecodeError,
    },
    /// The orderers signed a configuration that the present one does not allow.
    #[error("error validating config of block [{block}] which passed initial validity checks: {source}")]
    Config {
        /// The block.
        block: BlockNumber,
        /// Why not.
        source: update::UpdateError,
    },
    /// A configuration transaction among others.
    #[error(
        "transaction {index} of block [{block}] is a configuration transaction among others; orderers never make such a block"
    )]
    ConfigAmongOthers {
        /// The block.
        block: BlockNumber,
        /// The transaction.
        index: usize,
    },
    /// A definition names a validation plugin that does not exist here.
    #[error(
        "chaincode {chaincode} is to be validated by plugin '{plugin}', which this peer does not have (only 'vscc' is built in)"
    )]
    Plugin {
        /// The chaincode.
        chaincode: String,
        /// The plugin.
        plugin: String,
    },
}

/// A block whose transactions were judged each on its own, against the state before the block.
#[derive(Debug)]
pub struct CheckedBlock {
    pub(crate) block: Block,
    pub(crate) transactions: Vec<CheckedTransaction>,
    /// The configuration that the block puts in place.
    pub(crate) config: Option<Arc<ChannelConfig>>,
}

/// One transaction, judged on its own.
#[derive(Debug)]
pub(crate) struct CheckedTransaction {
    /// As the header says; empty where there is none.
    pub(crate) tx_id: TxId,
    pub(crate) kind: Option<HeaderType>,
    pub(crate) verdict: Result<Accepted, Refusal>,
}

/// A transaction that passed all checks that need no other transaction.
#[derive(Debug)]
pub(crate) enum Accepted {
    Config(bytes::Bytes, Arc<ChannelConfig>),
    /// The policies of the namespaces were asked; their verdicts still depend on earlier transactions of the block.
    Endorsed {
        content: Arc<Content>,
        namespaces: Vec<NamespaceVerdict>,
    },
}

impl VerifiedBlock {
    /// Does ahead what needs no state: form, creators' and endorsers' signatures. Optional: [`Self::check`] does what is
    /// missing, also when the configuration has changed since.
    ///
    /// `run` must call the function that it gets for each number from 0 up to, but without, the one it gets; in any
    /// order, on any threads.
    pub fn prepare_with(&self, config: &ChannelConfig, run: impl FnOnce(usize, &(dyn Fn(usize) + Sync))) {
        run(self.transactions.len(), &|index| {
            if let Some(transaction) = self.transactions.get(index) {
                transaction.prepared.get_or_init(|| prepare(&transaction.envelope, config));
            }
        });
    }

    /// Judges each transaction on its own, one after the other.
    pub fn check(self, config: &ChannelConfig, before: &dyn StateView) -> Result<CheckedBlock, Undecided> {
        self.check_with(config, before, run_in_order)
    }

    /// Judges each transaction on its own; `run` as in [`Self::prepare_with`].
    ///
    /// `config` is the channel's configuration and `before` its state after the block before.
    pub fn check_with(
        self,
        config: &ChannelConfig,
        before: &dyn StateView,
        run: impl FnOnce(usize, &(dyn Fn(usize) + Sync)),
    ) -> Result<CheckedBlock, Undecided> {
        let (block, parsed) = self.into_parts();
        let check = BlockCheck { number: block.number(), alone: parsed.len() == 1, config, before };
        let judge = Judge::new(config, before);
        let results: Vec<OnceLock<_>> = parsed.iter().map(|_| OnceLock::new()).collect();
        let one = |index: usize| {
            if let (Some(transaction), Some(result)) = (parsed.get(index), results.get(index)) {
                result.get_or_init(|| check.transaction(index, transaction, &judge));
            }
        };
        run(parsed.len(), &one);
        // What the runner left out is done here; without effect on the others.
        run_in_order(parsed.len(), &one);
        // Of several transactions that cannot be decided the first one counts.
        let transactions: Vec<_> =
            results.into_iter().filter_map(OnceLock::into_inner).collect::<Result<_, Undecided>>()?;
        let config = transactions.iter().find_map(|transaction| match &transaction.verdict {
            Ok(Accepted::Config(_, config)) => Some(config.clone()),
            _ => None,
        });
        Ok(CheckedBlock { block, transactions, config })
    }
}

fn run_in_order(count: usize, one: &(dyn Fn(usize) + Sync)) {
    (0..count).for_each(one);
}

impl CheckedBlock {
    /// The block as received.
    pub const fn block(&self) -> &Block {
        &self.block
    }
}

struct BlockCheck<'a> {
    number: BlockNumber,
    alone: bool,
    config: &'a ChannelConfig,
    before: &'a dyn StateView,
}

impl BlockCheck<'_> {
    fn transaction(
        &self,
        index: usize,
        transaction: &ParsedTransaction,
        judge: &Judge<'_>,
    ) -> Result<CheckedTransaction, Undecided> {
        let header = transaction.envelope.as_ref().ok().map(|envelope| &envelope.channel_header);
        let fresh;
        let prepared = match transaction.prepared.get() {
            Some(prepared) if prepared.config_sequence == self.config.sequence() => prepared,
            _ => {
                fresh = prepare(&transaction.envelope, self.config);
                &fresh
            }
        };
        Ok(CheckedTransaction {
            tx_id: header.map_or_else(|| TxId::new(""), |header| header.tx_id.clone()),
            kind: header.map(|header| header.kind),
            verdict: self.verdict(index, prepared, judge)?,
        })
    }

    fn verdict(
        &self,
        index: usize,
        prepared: &Prepared,
        judge: &Judge<'_>,
    ) -> Result<Result<Accepted, Refusal>, Undecided> {
        match &prepared.form {
            Err(refusal) => Ok(Err(refusal.clone())),
            Ok(Form::Config(envelope)) => self.accept_config(index, envelope).map(Ok),
            Ok(Form::Endorsed { tx_id, content }) => {
                if self.before.has_transaction(tx_id)? {
                    return Ok(Err(Refusal::SeenInLedger(tx_id.clone())));
                }
                match content {
                    Err(refusal) => Ok(Err(refusal.clone())),
                    Ok(content) => {
                        let namespaces = judge.namespaces(content)?;
                        Ok(Ok(Accepted::Endorsed { content: content.clone(), namespaces }))
                    }
                }
            }
        }
    }

    fn accept_config(&self, index: usize, raw: &bytes::Bytes) -> Result<Accepted, Undecided> {
        if !self.alone {
            return Err(Undecided::ConfigAmongOthers { block: self.number, index });
        }
        let envelope = ripstop_proto::read::<common::ConfigEnvelope>(raw.clone())
            .map_err(|source| Undecided::ConfigUndecodable { block: self.number, source })?;
        let config = update::accept(self.config, &envelope)
            .map_err(|source| Undecided::Config { block: self.number, source })?;
        Ok(Accepted::Config(raw.clone(), Arc::new(config)))
    }
}
