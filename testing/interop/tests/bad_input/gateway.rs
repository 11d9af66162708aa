//! What the gateway says.

use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_interop::{CHANNEL, DraftEnvelope, DraftProposal, Level};
use ripstop_proto::gateway::gateway_client::GatewayClient;
use ripstop_proto::orderer::seek_position::Type;
use ripstop_proto::{Message, common, gateway, orderer, protos};
use ripstop_testkit::Organization;
use tonic::{Response, Status};

use crate::world::{Outcome, World, outcome_of};

fn outcome<T>(answer: Result<Response<T>, Status>) -> Outcome {
    answer.map_or_else(|status| outcome_of(&status), |_| ("Ok".to_owned(), String::new()))
}

pub(crate) async fn calls(world: &World) {
    proposals(world).await;
    submissions(world).await;
    statuses(world).await;
    events(world).await;
}

impl World {
    pub(crate) async fn endorse(&self, signed: Option<protos::SignedProposal>, organizations: &[&str]) -> Outcome {
        let request = gateway::EndorseRequest {
            proposed_transaction: signed,
            channel_id: CHANNEL.to_owned(),
            endorsing_organizations: organizations.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        outcome(GatewayClient::new(self.peer.clone()).endorse(request).await)
    }

    pub(crate) async fn evaluate(&self, signed: Option<protos::SignedProposal>) -> Outcome {
        let request = gateway::EvaluateRequest {
            proposed_transaction: signed,
            channel_id: CHANNEL.to_owned(),
            ..Default::default()
        };
        outcome(GatewayClient::new(self.peer.clone()).evaluate(request).await)
    }

    async fn submit(&self, channel: &str, transaction: Option<common::Envelope>) -> Outcome {
        let request = gateway::SubmitRequest {
            prepared_transaction: transaction,
            channel_id: channel.to_owned(),
            ..Default::default()
        };
        outcome(GatewayClient::new(self.peer.clone()).submit(request).await)
    }
}

async fn proposals(world: &World) {
    let query = || DraftProposal::new(&world.user, CHANNEL, "asset-transfer", &[b"AssetExists", b"asset1"]);
    let garbage = Bytes::from_static(b"\xff\xff");
    let spoilt = |level| Some(query().with(level, garbage.clone()).sign(&world.user));
    let by = |identity: &SigningIdentity| Some(query().by(identity.identity().raw.clone()).sign(identity));
    let mut unsigned = query().sign(&world.user);
    unsigned.signature.clear();
    let mut elsewhere = query();
    elsewhere.channel_header.channel_id = "nochannel".to_owned();
    let unknown = DraftProposal::new(&world.user, CHANNEL, "nothing", &[b"f"]);
    let aborted = "failed to endorse transaction, see attached details for more info";
    let returned = "evaluate call to endorser returned error: ";
    let cases = [
        ("nothing", None, "InvalidArgument", "signed proposal", "InvalidArgument", "signed proposal"),
        ("proposal", spoilt(Level::Proposal), "InvalidArgument", "Proposal", "InvalidArgument", "Proposal"),
        ("header", spoilt(Level::Header), "InvalidArgument", "Header", "InvalidArgument", "Header"),
        ("channel header", spoilt(Level::ChannelHeader), "InvalidArgument", "Channel", "InvalidArgument", "Channel"),
        ("payload", spoilt(Level::Payload), "InvalidArgument", "Payload", "InvalidArgument", "Payload"),
        ("input", spoilt(Level::Input), "InvalidArgument", "Invocation", "InvalidArgument", "Invocation"),
        ("signature header", spoilt(Level::SignatureHeader), "Aborted", aborted, "FailedPrecondition", returned),
        ("unsigned", Some(unsigned), "Aborted", aborted, "FailedPrecondition", "empty signature bytes"),
        ("expired", by(&world.expired), "Aborted", aborted, "FailedPrecondition", "client identity expired"),
        ("forged", by(&world.forged), "Aborted", aborted, "FailedPrecondition", "creator is malformed"),
        (
            "unknown chaincode",
            Some(unknown.sign(&world.user)),
            "FailedPrecondition",
            "No metadata was found for chaincode nothing in channel mychannel",
            "FailedPrecondition",
            "no peers available to evaluate chaincode nothing in channel mychannel",
        ),
        (
            "unknown channel",
            Some(elsewhere.sign(&world.user)),
            "FailedPrecondition",
            "nochannel",
            "Unavailable",
            "failed to get config for channel [nochannel]",
        ),
    ];
    for (name, proposal, endorse, endorse_words, evaluate, evaluate_words) in cases {
        let answer = world.endorse(proposal.clone(), &[]).await;
        world.expect(&format!("Endorse, {name}"), &answer, endorse, endorse_words);
        let answer = world.evaluate(proposal).await;
        world.expect(&format!("Evaluate, {name}"), &answer, evaluate, evaluate_words);
    }
    let answer = world.endorse(Some(query().sign(&world.user)), &["NobodyMSP"]).await;
    let words = "failed to find any endorsing peers for org(s): NobodyMSP";
    world.expect("Endorse, unknown organisation", &answer, "Unavailable", words);
}

async fn submissions(world: &World) {
    let draft =
        |by: &SigningIdentity| DraftEnvelope::new(by, common::HeaderType::Message, CHANNEL, Bytes::new()).sign(by);
    let mut unsigned = draft(&world.user);
    unsigned.signature.clear();
    let garbage = common::Envelope { payload: Bytes::from_static(b"\xff"), signature: Bytes::from_static(b"x") };
    let refused = "received unsuccessful response from orderer: status=";
    let cases = [
        ("nothing", CHANNEL, None, "InvalidArgument", "a prepared transaction is required".to_owned()),
        ("unsigned", CHANNEL, Some(unsigned), "InvalidArgument", "prepared transaction must be signed".to_owned()),
        ("garbage", CHANNEL, Some(garbage), "Aborted", format!("{refused}BAD_REQUEST")),
        ("foreign", CHANNEL, Some(draft(&world.foreign)), "Aborted", format!("{refused}FORBIDDEN")),
        ("unknown channel", "nochannel", Some(draft(&world.user)), "FailedPrecondition", "nochannel".to_owned()),
        ("no channel", "", Some(draft(&world.user)), "FailedPrecondition", String::new()),
    ];
    for (name, channel, transaction, status, words) in cases {
        let answer = world.submit(channel, transaction).await;
        world.expect(&format!("Submit, {name}"), &answer, status, &words);
    }
}

async fn statuses(world: &World) {
    let request = |by: &SigningIdentity, channel: &str, tx_id: &str| {
        let request = gateway::CommitStatusRequest {
            transaction_id: tx_id.to_owned(),
            channel_id: channel.to_owned(),
            identity: by.identity().raw.clone(),
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = by.sign(&request).expect("the key signs");
        gateway::SignedCommitStatusRequest { request, signature }
    };
    let user = &world.user;
    let long = Organization::new(&"M".repeat(100_000)).client("c");
    let mut unsigned = request(user, CHANNEL, "a");
    unsigned.signature.clear();
    let mut nobody = gateway::CommitStatusRequest { channel_id: CHANNEL.to_owned(), ..Default::default() };
    nobody.transaction_id = "a".to_owned();
    let nobody = gateway::SignedCommitStatusRequest { request: nobody.encode_to_vec().into(), ..Default::default() };
    let garbage = gateway::SignedCommitStatusRequest { request: Bytes::from_static(b"\xff"), signature: Bytes::new() };
    let cases = [
        ("nothing", Default::default(), "InvalidArgument", "a commit status request is required"),
        ("garbage", garbage, "InvalidArgument", "invalid status request"),
        ("nobody", nobody, "InvalidArgument", "no identity provided"),
        ("no channel", request(user, "", "a"), "InvalidArgument", "no channel ID provided"),
        ("no transaction", request(user, CHANNEL, ""), "InvalidArgument", "transaction ID should not be empty"),
        ("unsigned", unsigned, "PermissionDenied", "Org1MSP"),
        ("foreign", request(&world.foreign, CHANNEL, "a"), "PermissionDenied", "NobodyMSP"),
        ("forged", request(&world.forged, CHANNEL, "a"), "PermissionDenied", "forger"),
        ("long", request(&long, CHANNEL, "a"), "PermissionDenied", "Failed evaluating policy"),
        ("unknown channel", request(user, "nochannel", "a"), "PermissionDenied", "channel [nochannel]"),
    ];
    for (name, request, status, words) in cases {
        let answer = outcome(GatewayClient::new(world.peer.clone()).commit_status(request).await);
        world.expect(&format!("CommitStatus, {name}"), &answer, status, words);
    }
}

async fn events(world: &World) {
    let request = |by: &SigningIdentity, channel: &str, start: Option<Type>| {
        let request = gateway::ChaincodeEventsRequest {
            channel_id: channel.to_owned(),
            chaincode_id: "asset-transfer".to_owned(),
            identity: by.identity().raw.clone(),
            start_position: start.map(|place| orderer::SeekPosition { r#type: Some(place) }),
            after_transaction_id: String::new(),
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = by.sign(&request).expect("the key signs");
        gateway::SignedChaincodeEventsRequest { request, signature }
    };
    let user = &world.user;
    let mut unsigned = request(user, CHANNEL, None);
    unsigned.signature.clear();
    let garbage =
        gateway::SignedChaincodeEventsRequest { request: Bytes::from_static(b"\xff"), signature: Bytes::new() };
    let oldest = Some(Type::Oldest(orderer::SeekOldest {}));
    let last = Some(Type::Specified(orderer::SeekSpecified { number: u64::MAX }));
    let cases = [
        ("nothing", Default::default(), "InvalidArgument", "a chaincode events request is required"),
        ("garbage", garbage, "InvalidArgument", "invalid chaincode events request"),
        ("unsigned", unsigned, "PermissionDenied", "Org1MSP"),
        ("foreign", request(&world.foreign, CHANNEL, None), "PermissionDenied", "NobodyMSP"),
        ("unknown channel", request(user, "nochannel", None), "PermissionDenied", "channel [nochannel]"),
        ("oldest", request(user, CHANNEL, oldest), "InvalidArgument", "invalid start position type"),
        ("the end of numbers", request(user, CHANNEL, last), "Ok", ""),
    ];
    for (name, request, status, words) in cases {
        let answer = outcome(GatewayClient::new(world.peer.clone()).chaincode_events(request).await);
        world.expect(&format!("ChaincodeEvents, {name}"), &answer, status, words);
    }
}
