//! Proposals that Fabric's endorser refused before anything ran, given to ours at the end of the golden chain.

use std::sync::Arc;

use prost::Message;
use ripstop_chaincode::{ChaincodeHost, HostOptions, NodeParts};
use ripstop_endorser::{EndorserConfig, EndorserService, Filters};
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_operations::Metrics;
use ripstop_proto::protos::{self, endorser_server::Endorser};
use ripstop_testkit::Organization;
use ripstop_transport::ConcurrencyLimit;
use serde_json::Value;

use super::execution::{NoJoin, local_msp};
use crate::{Report, hex_bytes};

const TOPIC: &str = "proposals refused before they are executed: text";
const NOT_YET: &str = "proposals refused by the clock or without their bytes in the fixture";

/// Lines without arguments are refusals.
pub(crate) fn refusals(report: &mut Report, lines: &[Value], ledgers: &Arc<Ledgers>, ledger: &Arc<Ledger>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Some(runtime) = report.check("execution", "runtime", runtime) else { return };
    let packages = tempfile::tempdir().expect("a temporary directory can be made");
    let Some(local_msp) = report.check("execution", "local MSP", local_msp(&ledger.config())) else { return };
    let local_msp = Arc::new(local_msp);
    let node = NodeParts { ledgers: ledgers.clone(), local_msp: local_msp.clone(), join: Arc::new(NoJoin) };
    let host = ChaincodeHost::new(HostOptions::new(packages.path().to_owned()), node);
    let Some(chaincode) = report.check("execution", "host", host) else { return };
    runtime.block_on(async {
        let config = EndorserConfig {
            ledgers: ledgers.clone(),
            local_msp,
            // Whoever signs: nothing is endorsed here.
            signer: Organization::new("Org1MSP").peer("peer0"),
            chaincode,
            filters: Filters { expiration: true, time_window: None },
            limit: ConcurrencyLimit::new("/protos.Endorser", 1),
        };
        let endorser = EndorserService::new(config, &Metrics::new());
        for line in lines.iter().filter(|line| line["args"].is_null()) {
            let signed = protos::SignedProposal::decode(hex_bytes(&line["signed_proposal_hex"])).unwrap_or_default();
            let expected = line["grpc_message"].as_str().unwrap_or_default();
            if signed.proposal_bytes.is_empty() || expected.is_empty() {
                report.not_yet(NOT_YET, 1);
                continue;
            }
            let answer = endorser.process_proposal(tonic::Request::new(signed)).await;
            let actual = answer.map_or_else(|status| status.message().to_owned(), |_| "it was endorsed".to_owned());
            // What Go's decoder says about garbage is its own affair.
            let expected = expected.split_once("proto:").map_or(expected, |(before, _)| before);
            let name = line["note"].as_str().unwrap_or_default();
            report.compare(TOPIC, name, expected, actual.get(..expected.len()).unwrap_or(&actual), "");
        }
    });
}
