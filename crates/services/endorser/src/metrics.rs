use std::collections::HashSet;

use parking_lot::RwLock;
use prometheus::IntCounterVec;
use ripstop_chaincode::is_system_chaincode;
use ripstop_operations::{HistogramVec, Metrics};

/// The label of chaincode that has never run here.
const UNKNOWN: &str = "unknown";

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
    pub(crate) names: Names,
}

/// The chaincodes that may be named in labels: those that ran here once. What clients make up must not become labels, each
/// of which stays in memory; channels define no more chaincodes than their administrators agree on.
#[derive(Default)]
pub(crate) struct Names(RwLock<HashSet<String>>);

impl Names {
    /// A chaincode ran.
    pub(crate) fn ran(&self, name: &str) {
        // Looked up first: this is asked for every proposal.
        let known = self.0.read().contains(name);
        if !known {
            self.0.write().insert(name.to_owned());
        }
    }

    /// How labels name a chaincode.
    pub(crate) fn label<'a>(&self, name: &'a str) -> &'a str {
        if is_system_chaincode(name) || self.0.read().contains(name) { name } else { UNKNOWN }
    }
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
            names: Names::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_what_ran_here_and_not_what_clients_make_up() {
        let names = Names::default();
        assert_eq!(names.label("asset-transfer"), UNKNOWN);
        names.ran("asset-transfer");
        for (name, label) in [("asset-transfer", "asset-transfer"), ("qscc", "qscc"), ("made-up", UNKNOWN)] {
            assert_eq!(names.label(name), label);
        }
    }
}
