use std::time::Duration;

use ripstop_operations::{HistogramVec, Metrics};

/// What is measured of private data, under Fabric's names. Clones are the same.
#[derive(Debug, Clone)]
pub struct PrivateDataMetrics {
    validation: HistogramVec,
    listing: HistogramVec,
    fetching: HistogramVec,
    committing: HistogramVec,
    purging: HistogramVec,
    sending: HistogramVec,
    reconciling: HistogramVec,
    pulling: HistogramVec,
    retrieving: HistogramVec,
}

impl PrivateDataMetrics {
    /// The metrics in a registry.
    pub fn new(metrics: &Metrics) -> Self {
        let time = |name: &str, help| metrics.histogram(name, help, &["channel"]);
        Self {
            validation: time("gossip_privdata_validation_duration", "Time it takes to validate a block (in seconds)"),
            listing: time(
                "gossip_privdata_list_missing_duration",
                "Time it takes to list the missing private data (in seconds)",
            ),
            fetching: time(
                "gossip_privdata_fetch_duration",
                "Time it takes to fetch missing private data from peers (in seconds)",
            ),
            committing: time(
                "gossip_privdata_commit_block_duration",
                "Time it takes to commit private data and the corresponding block (in seconds)",
            ),
            purging: time("gossip_privdata_purge_duration", "Time it takes to purge private data (in seconds)"),
            sending: time(
                "gossip_privdata_send_duration",
                "Time it takes to send a missing private data element (in seconds)",
            ),
            reconciling: time(
                "gossip_privdata_reconciliation_duration",
                "Time it takes for reconciliation to complete (in seconds)",
            ),
            pulling: time(
                "gossip_privdata_pull_duration",
                "Time it takes to pull a missing private data element (in seconds)",
            ),
            retrieving: time(
                "gossip_privdata_retrieve_duration",
                "Time it takes to retrieve missing private data elements from the ledger (in seconds)",
            ),
        }
    }

    /// A block was validated.
    pub fn validated(&self, channel: &str, took: Duration) {
        observe(&self.validation, channel, took);
    }

    /// A block was written with its private data.
    pub fn committed(&self, channel: &str, took: Duration) {
        observe(&self.committing, channel, took);
    }

    /// What a block has no use for any more was forgotten.
    pub fn purged(&self, channel: &str, took: Duration) {
        observe(&self.purging, channel, took);
    }

    /// It was found out what of a block's private data is missing.
    pub fn listed(&self, channel: &str, took: Duration) {
        observe(&self.listing, channel, took);
    }

    pub(crate) fn fetched(&self, channel: &str, took: Duration) {
        observe(&self.fetching, channel, took);
    }

    pub(crate) fn sent(&self, channel: &str, took: Duration) {
        observe(&self.sending, channel, took);
    }

    pub(crate) fn reconciled(&self, channel: &str, took: Duration) {
        observe(&self.reconciling, channel, took);
    }

    pub(crate) fn pulled(&self, channel: &str, took: Duration) {
        observe(&self.pulling, channel, took);
    }

    pub(crate) fn retrieved(&self, channel: &str, took: Duration) {
        observe(&self.retrieving, channel, took);
    }
}

fn observe(histogram: &HistogramVec, channel: &str, took: Duration) {
    histogram.with_label_values(&[channel]).observe(took.as_secs_f64());
}
