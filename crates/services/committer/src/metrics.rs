use std::time::Duration;

use prometheus::IntCounterVec;
use ripstop_ledger::CommitTimes;
use ripstop_operations::{HistogramVec, Metrics};
use ripstop_types::ValidationCode;
use ripstop_validation::ValidatedTransaction;

/// What the committers of a peer count, under Fabric's names. Clones are the same.
#[derive(Debug, Clone)]
pub struct CommitMetrics {
    processing: HistogramVec,
    blocks: HistogramVec,
    blocks_and_private: HistogramVec,
    state: HistogramVec,
    transactions: IntCounterVec,
    committing: HistogramVec,
}

const UNKNOWN: &str = "unknown";

impl CommitMetrics {
    /// The metrics in a registry.
    pub fn new(metrics: &Metrics) -> Self {
        let time = |name, help| metrics.histogram(name, help, &["channel"]);
        Self {
            processing: time("ledger_block_processing_time", "Time taken in seconds for ledger block processing."),
            blocks: time(
                "ledger_blockstorage_commit_time",
                "Time taken in seconds for committing the block to storage.",
            ),
            blocks_and_private: time(
                "ledger_blockstorage_and_pvtdata_commit_time",
                "Time taken in seconds for committing the block and private data to storage.",
            ),
            state: time(
                "ledger_statedb_commit_time",
                "Time taken in seconds for committing block changes to state db.",
            ),
            transactions: metrics.counter(
                "ledger_transaction_count",
                "Number of transactions processed.",
                &["channel", "transaction_type", "chaincode", "validation_code"],
            ),
            // Named after gossip, because on Fabric's peers blocks come to the committer through it.
            committing: time("gossip_state_commit_duration", "Time it takes to commit a block in seconds"),
        }
    }

    /// Counts the transactions of a block that is about to be written.
    pub(crate) fn count(&self, channel: &str, transactions: &[ValidatedTransaction]) {
        for transaction in transactions {
            let (kind, chaincode) = description(transaction);
            let code = transaction.code.to_string();
            self.transactions.with_label_values(&[channel, &kind, &chaincode, &code]).inc();
        }
    }

    /// Notes how long a block took: from its verification on, and the parts of its writing.
    pub(crate) fn observe(&self, channel: &str, processing: Duration, times: CommitTimes) {
        let channel = [channel];
        self.processing.with_label_values(&channel).observe(processing.as_secs_f64());
        self.committing.with_label_values(&channel).observe(processing.as_secs_f64());
        self.blocks.with_label_values(&channel).observe(times.blocks.as_secs_f64());
        let both = times.blocks + times.private;
        self.blocks_and_private.with_label_values(&channel).observe(both.as_secs_f64());
        self.state.with_label_values(&channel).observe(times.state.as_secs_f64());
    }
}

/// The type and the chaincode of a transaction as Fabric counts them: of one that did not come as far as the comparison of
/// what it read, both are unknown.
fn description(transaction: &ValidatedTransaction) -> (String, String) {
    let compared = matches!(
        transaction.code,
        ValidationCode::Valid | ValidationCode::MvccReadConflict | ValidationCode::PhantomReadConflict
    );
    let kind = transaction.kind.filter(|_| compared).map_or_else(|| UNKNOWN.to_owned(), |kind| kind.to_string());
    let chaincode = transaction.chaincode.as_ref().filter(|_| compared);
    (
        kind,
        chaincode.map_or_else(|| UNKNOWN.to_owned(), |chaincode| format!("{}:{}", chaincode.name, chaincode.version)),
    )
}

#[cfg(test)]
mod tests {
    use ripstop_types::{ChaincodeName, HeaderType, TxId};

    use super::*;

    #[test]
    fn transactions_are_counted_by_what_fabric_knows_of_them() {
        let metrics = Metrics::new();
        let transaction = |kind, chaincode: Option<&str>, code| ValidatedTransaction {
            tx_id: TxId::new(""),
            kind: Some(kind),
            chaincode: chaincode.map(|name| ChaincodeName { name: name.to_owned(), version: "1.0".to_owned() }),
            code,
            refusal: None,
        };
        let transactions = [
            transaction(HeaderType::EndorserTransaction, Some("basic"), ValidationCode::Valid),
            transaction(HeaderType::EndorserTransaction, Some("basic"), ValidationCode::DuplicateTxid),
            transaction(HeaderType::Config, None, ValidationCode::Valid),
        ];
        CommitMetrics::new(&metrics).count("ch", &transactions);
        let text = metrics.text();
        for labels in [
            r#"chaincode="basic:1.0",channel="ch",transaction_type="ENDORSER_TRANSACTION",validation_code="VALID""#,
            r#"chaincode="unknown",channel="ch",transaction_type="unknown",validation_code="DUPLICATE_TXID""#,
            r#"chaincode="unknown",channel="ch",transaction_type="CONFIG",validation_code="VALID""#,
        ] {
            assert!(text.contains(&format!("ledger_transaction_count{{{labels}}} 1")), "{labels} in {text}");
        }
    }
}
