use prometheus::IntCounterVec;
use ripstop_operations::{HistogramVec, Metrics};

/// The endorser's metrics, under Fabric's names.
pub(crate) struct EndorserMetrics {
    pub(crate) duration: HistogramVec,
    pub(crate) received: IntCounterVec,
    pub(crate) successful: IntCounterVec,
    pub(crate) validation_failures: IntCounterVec,
    pub(crate) acl_failures: IntCounterVec,
    pub(crate) endorsement_failures: IntCounterVec,
    pub(crate) duplicates: IntCounterVec,
    pub(crate) simulation_failures: IntCounterVec,
}

/// The label values of a metric without labels.
pub(crate) const NONE: [&str; 0] = [];

impl EndorserMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let call = ["channel", "chaincode"];
        Self {
            duration: metrics.histogram(
                "endorser_proposal_duration",
                "The time to complete a proposal.",
                &["channel", "chaincode", "success"],
            ),
            received: metrics.counter("endorser_proposals_received", "The number of proposals received.", &[]),
            successful: metrics.counter("endorser_successful_proposals", "The number of successful proposals.", &[]),
            validation_failures: metrics.counter(
                "endorser_proposal_validation_failures",
                "The number of proposals that have failed initial validation.",
                &[],
            ),
            acl_failures: metrics.counter(
                "endorser_proposal_acl_failures",
                "The number of proposals that failed ACL checks.",
                &call,
            ),
            endorsement_failures: metrics.counter(
                "endorser_endorsement_failures",
                "The number of failed endorsements.",
                &["channel", "chaincode", "chaincodeerror"],
            ),
            duplicates: metrics.counter(
                "endorser_duplicate_transaction_failures",
                "The number of failed proposals due to duplicate transaction ID.",
                &call,
            ),
            simulation_failures: metrics.counter(
                "endorser_proposal_simulation_failures",
                "The number of failed proposal simulations",
                &call,
            ),
        }
    }
}
