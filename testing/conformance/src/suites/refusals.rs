//! Proposals that Fabric's endorser refused before anything ran, given to ours at the end of the golden chain.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use ripstop_chaincode::{ChaincodeHost, HostOptions, NodeParts};
use ripstop_endorser::{EndorserConfig, EndorserService, Filters};
use ripstop_ledger::{Ledger, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_operations::Metrics;
use ripstop_private_data::PrivateDataService;
use ripstop_proto::common;
use ripstop_proto::protos::{self, endorser_server::Endorser};
use ripstop_testkit::Organization;
use ripstop_transport::ConcurrencyLimit;
use serde_json::Value;

use super::execution::{NoJoin, local_msp};
use crate::{Report, hex_bytes};

const TOPIC: &str = "proposals refused before they are executed: text";
/// What Go's decoder says about garbage, and what a clock says, is their own affair: texts are compared up to there.
const NOT_OURS: [&str; 2] = ["proto:", "peer time"];
/// The fixture has the answer only; any proposal for a channel of this name is answered so.
const UNKNOWN_CHANNEL: &str = "unknown channel";

/// Lines without arguments are refusals.
pub(crate) fn refusals(report: &mut Report, lines: &[Value], ledgers: &Arc<Ledgers>, ledger: &Arc<Ledger>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Some(runtime) = report.check("execution", "runtime", runtime) else { return };
    let packages = tempfile::tempdir().expect("a temporary directory can be made");
    let Some(local_msp) = report.check("execution", "local MSP", local_msp(&ledger.config())) else { return };
    let local_msp = Arc::new(local_msp);
    let node = NodeParts {
        ledgers: ledgers.clone(),
        local_msp: local_msp.clone(),
        join: Arc::new(NoJoin),
        metrics: Metrics::new(),
    };
    let host = ChaincodeHost::new(HostOptions::new(packages.path().to_owned()), node);
    let Some(chaincode) = report.check("execution", "host", host) else { return };
    let endorser = |time_window| endorser(ledgers, &local_msp, &chaincode, time_window);
    runtime.block_on(async {
        for line in lines.iter().filter(|line| line["args"].is_null()) {
            let name = line["note"].as_str().unwrap_or_default();
            let signed = match name {
                UNKNOWN_CHANNEL => elsewhere(&hex_bytes(&lines[0]["signed_proposal_hex"])),
                _ => protos::SignedProposal::decode(hex_bytes(&line["signed_proposal_hex"])).unwrap_or_default(),
            };
            // The others are as old as the fixture.
            let endorser = match signed.proposal_bytes.is_empty() {
                true => endorser(Some(Duration::from_secs(15 * 60))),
                false => endorser(None),
            };
            let answer = endorser.process_proposal(tonic::Request::new(signed)).await;
            let actual = match answer {
                Ok(answer) => answer.into_inner().response.unwrap_or_default().message,
                Err(status) => status.message().to_owned(),
            };
            let refused = line["grpc_message"].as_str().or(line["message"]["response"]["message"].as_str());
            let mut expected = refused.unwrap_or_default();
            for theirs in NOT_OURS {
                expected = expected.split_once(theirs).map_or(expected, |(before, _)| before);
            }
            report.compare(TOPIC, name, expected, actual.get(..expected.len()).unwrap_or(&actual), "");
        }
    });
}

fn endorser(
    ledgers: &Arc<Ledgers>,
    local_msp: &Arc<LocalMsp>,
    chaincode: &ChaincodeHost,
    time_window: Option<Duration>,
) -> EndorserService {
    let config = EndorserConfig {
        ledgers: ledgers.clone(),
        local_msp: local_msp.clone(),
        // Whoever signs: nothing is endorsed here.
        signer: Organization::new("Org1MSP").peer("peer0"),
        chaincode: chaincode.clone(),
        private_data: PrivateDataService::alone(local_msp.id().clone()),
        filters: Filters { expiration: true, time_window },
        limit: ConcurrencyLimit::new("/protos.Endorser", 1),
    };
    EndorserService::new(config, &Metrics::new())
}

/// The same proposal for a channel that the peer is not in.
fn elsewhere(signed: &Bytes) -> protos::SignedProposal {
    let mut signed = protos::SignedProposal::decode(signed.clone()).expect("the fixture decodes");
    let mut proposal = protos::Proposal::decode(signed.proposal_bytes).expect("the fixture decodes");
    let mut header = common::Header::decode(proposal.header).expect("the fixture decodes");
    let mut channel_header = common::ChannelHeader::decode(header.channel_header).expect("the fixture decodes");
    channel_header.channel_id = "nochannel".to_owned();
    header.channel_header = channel_header.encode_to_vec().into();
    proposal.header = header.encode_to_vec().into();
    signed.proposal_bytes = proposal.encode_to_vec().into();
    signed
}
