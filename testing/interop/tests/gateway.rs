//! A gateway whose endorsers are killed, one after the other: it goes on with others, and says whom it lacks when nobody is left.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_interop::{CHANNEL, Load, Processes, Site, Work};
use ripstop_peer::client::Invocation;
use ripstop_proto::gateway::gateway_client::GatewayClient;
use ripstop_proto::{Message, common, gateway, protos};
use ripstop_types::HeaderType;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// How often an endorser is killed.
const ROUNDS: usize = 4;
/// How many applications submit transactions, each one after the other.
const CLIENTS: usize = 4;
/// How many transactions have to be committed between two kills.
const BETWEEN: usize = 12;
/// How long anything may take before the test fails: far above what a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn a_gateway_goes_on_with_other_endorsers_when_some_are_killed() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_BIN_EXE_ripstop-under-test"));
    let site = Site::make(program, &scratch.path().join("network"), &["--peers", "2"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there is a runtime").block_on(kill_endorsers(program, &site));
}

async fn kill_endorsers(program: &Path, site: &Site) {
    let mut processes = Processes::new(program, site);
    let (own, others) =
        ([0, 1].map(|place| site.peer_name_at(1, place)), [0, 1].map(|place| site.peer_name_at(2, place)));
    processes.start_node(site.orderer_name());
    own.iter().chain(&others).for_each(|peer| processes.start_node(peer));
    processes.start_contract();

    // Applications use the first peer of the first organization: whoever else it asks, it has learnt of by gossip.
    let endorsers = SharedEndorsers::default();
    let load = Load::begin((0..CLIENTS).map(|number| Application::new(site, number, &endorsers)));
    for round in 0..ROUNDS {
        let victim = &others[round % 2];
        wait_for(&load, &mut processes, &format!("round {round}")).await;
        processes.kill(victim);
        endorsers.lock().expect("no client panics").clear();
        wait_for(&load, &mut processes, &format!("without {victim}")).await;
        let survivor = site.endorser_at(2, (round + 1) % 2).identity().raw.clone();
        let seen = endorsers.lock().expect("no client panics").clone();
        assert!(seen.contains(&survivor), "the other peer of its organisation endorsed after {victim} was killed");
        processes.start_node(victim);
    }
    wait_for(&load, &mut processes, "after the last restart").await;
    load.end().await;

    // The own organization alone is no majority, and says so.
    others.iter().for_each(|peer| processes.kill(peer));
    let mut last = Application::new(site, CLIENTS, &endorsers);
    let refusal = last.attempt().await.expect_err("two organisations have to endorse");
    // Gossip may have noticed by now that they are gone, or may not yet.
    let (words, explanation) = match refusal.code() {
        Code::FailedPrecondition => ("no combination of peers can be derived", refusal.message().to_owned()),
        _ => {
            assert_eq!(refusal.code(), Code::Aborted, "{refusal}");
            let details = String::from_utf8_lossy(refusal.details()).into_owned();
            ("failed to collect enough transaction endorsements", details)
        }
    };
    assert!(refusal.message().starts_with(words), "{refusal}");
    assert!(explanation.contains("Org2MSP"), "{explanation:?} does not say who is missing");
    assert!(processes.ended().is_empty(), "{:?} ended by themselves", processes.ended());
    assert_eq!(site.panics(), Vec::<String>::new());
}

/// Waits until a few transactions more are committed.
async fn wait_for(load: &Load, processes: &mut Processes, when: &str) {
    let target = load.done() + BETWEEN;
    assert!(
        load.reaches(target, LIMIT).await,
        "{when}: only {} of {target} transactions; ended by themselves: {:?}; applications last saw: {}",
        load.done(),
        processes.ended(),
        load.last_failure()
    );
}

/// Who endorsed, as identities.
type SharedEndorsers = Arc<Mutex<BTreeSet<Bytes>>>;

/// Creates assets through the gateway, as applications do: it knows one peer and nobody else.
struct Application {
    gateway: GatewayClient<Channel>,
    user: SigningIdentity,
    number: usize,
    turn: usize,
    endorsers: SharedEndorsers,
}

impl Application {
    fn new(site: &Site, number: usize, endorsers: &SharedEndorsers) -> Self {
        Self {
            gateway: GatewayClient::new(site.peer(1).channel()),
            user: site.user(1, "User1"),
            number,
            turn: 0,
            endorsers: Arc::clone(endorsers),
        }
    }

    async fn attempt(&mut self) -> Result<(), Status> {
        let internal = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
        let asset = format!("asset-{}-{}", self.number, self.turn);
        self.turn += 1;
        let args = [&asset, "blue", "5", "Tomoko", "300"].map(|arg| Bytes::copy_from_slice(arg.as_bytes()));
        let call = Invocation::new(CHANNEL, "asset-transfer", "CreateAsset", args);
        let proposal = call.propose(&self.user, HeaderType::EndorserTransaction).map_err(|error| internal(&error))?;
        let request = gateway::EndorseRequest {
            channel_id: CHANNEL.to_owned(),
            transaction_id: proposal.tx_id.as_str().to_owned(),
            proposed_transaction: Some(proposal.signed.clone()),
            ..Default::default()
        };
        let prepared = self.gateway.endorse(request).await?.into_inner().prepared_transaction.unwrap_or_default();
        let signature = self.user.sign(&prepared.payload).map_err(|error| internal(&error))?;
        self.note(&prepared);
        let request = gateway::SubmitRequest {
            channel_id: CHANNEL.to_owned(),
            transaction_id: proposal.tx_id.as_str().to_owned(),
            prepared_transaction: Some(common::Envelope { signature, ..prepared }),
        };
        self.gateway.submit(request).await?;
        let request = gateway::CommitStatusRequest {
            channel_id: CHANNEL.to_owned(),
            transaction_id: proposal.tx_id.as_str().to_owned(),
            identity: self.user.identity().raw.clone(),
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = self.user.sign(&request).map_err(|error| internal(&error))?;
        let signed = gateway::SignedCommitStatusRequest { request, signature };
        let committed = self.gateway.commit_status(signed).await?.into_inner();
        match committed.result() {
            protos::TxValidationCode::Valid => Ok(()),
            code => Err(Status::aborted(format!("{asset} is {}", code.as_str_name()))),
        }
    }

    fn note(&self, prepared: &common::Envelope) {
        let payload = common::Payload::decode(prepared.payload.clone()).unwrap_or_default();
        let transaction = protos::Transaction::decode(payload.data).unwrap_or_default();
        let actions = transaction.actions.into_iter();
        let actions = actions.filter_map(|action| protos::ChaincodeActionPayload::decode(action.payload).ok()?.action);
        let signers = actions.flat_map(|action| action.endorsements).map(|endorsement| endorsement.endorser);
        self.endorsers.lock().expect("no client panics").extend(signers);
    }
}

impl Work for Application {
    async fn turn(&mut self) -> Result<(), String> {
        self.attempt().await.map_err(|status| status.to_string())
    }
}
