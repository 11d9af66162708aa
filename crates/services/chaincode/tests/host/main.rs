//! Contracts and a peer's chaincode host, over real streams on loopback, on a real ledger.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the right answer")]

mod hostile;
mod peer;
mod private;
mod processes;
mod registrations;

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use bytes::Bytes;
use peer::{Peer, archive, package, package_with_connection, service_package};
use prost::Message;
use ripstop_chaincode::Registration;
use ripstop_contract::{Context, Contract, Result, Server};
use ripstop_msp::Claim;
use ripstop_proto::{common, lifecycle, protos};
use ripstop_testkit::{Organization, Proposal, in_time};
use ripstop_transport::{ClientAuth, ClientRoots, Endpoint, KeyPair, Listener, ServerKeepalive, ServerTls, serve_grpc};

fn contract() -> Contract {
    fn put(ctx: &Context, key: String, value: String) -> Result<()> {
        ctx.set_event("put", key.clone())?;
        ctx.put(&key, value)
    }
    fn get(ctx: &Context, key: String) -> Result<Option<String>> {
        Ok(ctx.get(&key)?.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }
    fn fill(ctx: &Context, count: u32) -> Result<()> {
        (0..count).try_for_each(|number| ctx.put(&format!("k{number:04}"), number.to_string()))
    }
    fn keys(ctx: &Context, start: String, end: String) -> Result<Vec<String>> {
        ctx.range(&start, &end)?.map(|entry| Ok(entry?.key)).collect()
    }
    fn first(ctx: &Context) -> Result<Option<String>> {
        ctx.range("", "")?.next().map(|entry| Ok(entry?.key)).transpose()
    }
    fn page(ctx: &Context, size: i32, bookmark: String) -> Result<(Vec<String>, String)> {
        let page = ctx.range_page("k", "l", size, &bookmark)?;
        Ok((page.entries.into_iter().map(|entry| entry.key).collect(), page.bookmark))
    }
    fn history(ctx: &Context, key: String) -> Result<Vec<String>> {
        ctx.history(&key)?.map(|entry| Ok(String::from_utf8_lossy(&entry?.value).into_owned())).collect()
    }
    fn many(ctx: &Context, keys: Vec<String>) -> Result<Vec<bool>> {
        Ok(ctx.get_many(&keys)?.into_iter().map(|value| value.is_some()).collect())
    }
    fn call(ctx: &Context, chaincode: String, function: String, argument: String) -> Result<String> {
        let answer = ctx.invoke(&chaincode, vec![function.into(), argument.into()], "")?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
    fn policy(ctx: &Context, key: String, policy: Option<String>) -> Result<bool> {
        if let Some(policy) = policy {
            ctx.set_key_policy(&key, policy)?;
        }
        Ok(ctx.key_policy(&key)?.is_some())
    }
    fn who(ctx: &Context) -> Result<String> {
        let creator = ctx.creator()?;
        Ok(format!("{} {} {}", creator.msp_id(), ctx.channel_id(), ctx.timestamp().seconds))
    }
    fn rich(ctx: &Context) -> Result<()> {
        ctx.query("{}").map(drop)
    }
    fn panics(_: &Context) -> Result<()> {
        panic!("on purpose")
    }
    Contract::new("test")
        .function("put", put)
        .function("get", get)
        .function("fill", fill)
        .function("keys", keys)
        .function("first", first)
        .function("page", page)
        .function("history", history)
        .function("many", many)
        .function("call", call)
        .function("policy", policy)
        .function("who", who)
        .function("rich", rich)
        .function("panics", panics)
}

/// Serves a contract on a free port; it stops when the returned sender is dropped. The id is filled in by `name`, because a
/// package names its address before it has an id.
async fn serve(name: &str, contract: Contract, peer: &Peer) -> tokio::sync::oneshot::Sender<()> {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    drop(listener);
    let id = peer.deploy(name, &address).await;
    serve_at(&address, &id, contract).await
}

async fn serve_at(address: &str, id: &str, contract: Contract) -> tokio::sync::oneshot::Sender<()> {
    let server = Server::bind(address, id, contract, None).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(server.run(async move { drop(stopped.await) }));
    stop
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_served_contract_is_deployed_called_and_listed() {
    let peer = Peer::new(|_| {}).await;
    let _server = serve("basic", contract(), &peer).await;

    assert_eq!(peer.ask("basic", &["get", "a"]).await, Ok(String::new()));
    let execution = peer.submit("basic", &["put", "a", "1"]).await;
    assert_eq!((execution.chaincode.name.as_str(), execution.chaincode.version.as_str()), ("basic", "1.0"));
    let event = execution.event.unwrap();
    assert_eq!((event.event_name.as_str(), event.payload.as_ref()), ("put", &b"a"[..]));
    assert_eq!((event.chaincode_id.as_str(), event.tx_id.len()), ("basic", 64));
    let interest: Vec<_> = execution.interest.chaincodes.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(interest, ["basic"]);
    assert_eq!(peer.ask("basic", &["get", "a"]).await, Ok("1".to_owned()));

    peer.submit("basic", &["put", "a", "2"]).await;
    assert_eq!(peer.ask("basic", &["history", "a"]).await, Ok(r#"["2","1"]"#.to_owned()));
    assert_eq!(peer.ask("basic", &["many", r#"["a","b"]"#]).await, Ok("[true,false]".to_owned()));
    assert_eq!(peer.ask("basic", &["who"]).await, Ok("Org1MSP mychannel 1704067200".to_owned()));
    assert_eq!(peer.ask("basic", &["explode"]).await, Err("Function explode not found in contract test".to_owned()));
    assert_eq!(peer.ask("basic", &["panics"]).await, Err("the contract panicked: on purpose".to_owned()));

    let all: lifecycle::QueryInstalledChaincodesResult =
        peer.lifecycle("QueryInstalledChaincodes", &lifecycle::QueryInstalledChaincodesArgs {}).await.unwrap();
    let references = &all.installed_chaincodes[0].references["mychannel"].chaincodes;
    assert_eq!((references[0].name.as_str(), references[0].version.as_str()), ("basic", "1.0"));
    let definition: lifecycle::QueryChaincodeDefinitionResult = peer
        .lifecycle("QueryChaincodeDefinition", &lifecycle::QueryChaincodeDefinitionArgs { name: "basic".to_owned() })
        .await
        .unwrap();
    assert_eq!((definition.sequence, definition.approvals["Org1MSP"]), (1, true));
    let approved: lifecycle::QueryApprovedChaincodeDefinitionResult = peer
        .lifecycle(
            "QueryApprovedChaincodeDefinition",
            &lifecycle::QueryApprovedChaincodeDefinitionArgs { name: "basic".to_owned(), sequence: 0 },
        )
        .await
        .unwrap();
    assert_eq!((approved.sequence, approved.version.as_str()), (1, "1.0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_chaincode_that_is_switched_off_answers_nobody() {
    let peer = Peer::new(|options| options.disabled = ["qscc".to_owned()].into()).await;
    let answer = peer.evaluate("qscc", &["GetChainInfo", "mychannel"]).await.unwrap().response;
    assert_eq!(answer.status, 500);
    assert!(answer.message.starts_with("system chaincode qscc is switched off on this peer"), "{}", answer.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_ranges_come_in_batches_and_pages() {
    let peer = Peer::new(|options| options.total_query_limit = 230).await;
    let _server = serve("basic", contract(), &peer).await;
    peer.submit("basic", &["fill", "250"]).await;

    let all: Vec<String> = {
        let execution = peer.evaluate("basic", &["keys", "k0000", "k0220"]).await.unwrap();
        let results = execution.results.unwrap();
        let range =
            &results.public.namespaces.iter().find(|found| found.namespace == "basic").unwrap().range_queries[0];
        assert_eq!((range.start_key.as_str(), range.end_key.as_str(), range.exhausted), ("k0000", "k0220", true));
        serde_json::from_slice(&execution.response.payload).unwrap()
    };
    assert_eq!(all.len(), 220);
    let limited = peer.evaluate("basic", &["keys", "", ""]).await.unwrap();
    let keys: Vec<String> = serde_json::from_slice(&limited.response.payload).unwrap();
    assert_eq!(keys.len(), 230);
    let results = limited.results.unwrap();
    let range = &results.public.namespaces.iter().find(|found| found.namespace == "basic").unwrap().range_queries[0];
    assert_eq!((range.end_key.as_str(), range.exhausted), ("k0229", false));

    // The peer reads one key beyond the first batch, and what it read counts.
    let first = peer.evaluate("basic", &["first"]).await.unwrap();
    assert_eq!(first.response.payload.as_ref(), b"k0000");
    let results = first.results.unwrap();
    let range = &results.public.namespaces.iter().find(|found| found.namespace == "basic").unwrap().range_queries[0];
    assert_eq!((range.end_key.as_str(), range.exhausted), ("k0100", false));

    assert_eq!(peer.ask("basic", &["page", "2", ""]).await, Ok(r#"[["k0000","k0001"],"k0002"]"#.to_owned()));
    assert_eq!(peer.ask("basic", &["page", "2", "k0248"]).await, Ok(r#"[["k0248","k0249"],""]"#.to_owned()));
    assert_eq!(
        peer.ask("basic", &["page", "-1", ""]).await.unwrap_err().split(": ").last(),
        Some("the page size -1 is negative")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaincodes_call_each_other_within_one_transaction() {
    let peer = Peer::new(|_| {}).await;
    let _basic = serve("basic", contract(), &peer).await;
    let _other = serve("other", contract(), &peer).await;
    let execution = {
        let args: Vec<&[u8]> = vec![b"call", b"other", b"fill", b"3"];
        let proposal = peer.propose(&peer.client, "basic", &args);
        peer.submit_proposal(&proposal, &peer.client).await
    };
    let interest: Vec<_> = execution.interest.chaincodes.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(interest, ["other"]);
    assert_eq!(peer.ask("other", &["get", "k0002"]).await, Ok("2".to_owned()));
    assert_eq!(peer.ask("basic", &["get", "k0002"]).await, Ok(String::new()));
    assert_eq!(peer.ask("basic", &["call", "other:9", "get", "k0001"]).await, Ok("1".to_owned()));
    let missing = peer.ask("basic", &["call", "none", "get", "a"]).await.unwrap_err();
    assert!(missing.contains("failed to get chaincode container info for none: chaincode none not found"), "{missing}");
    let elsewhere = peer.ask("basic", &["call", "other/nowhere", "get", "a"]).await.unwrap_err();
    assert!(elsewhere.contains("failed to find ledger for channel: nowhere"), "{elsewhere}");
    let itself = peer.ask("basic", &["call", "basic", "get", "a"]).await.unwrap_err();
    assert!(itself.contains("exists"), "{itself}");
    let rejected = peer.ask("basic", &["call", "qscc", "GetChainInfo", "mychannel"]).await.unwrap_err();
    assert!(rejected.contains("Rejecting invoke of QSCC from another chaincode"), "{rejected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_transactions_share_a_stream() {
    let peer = Arc::new(Peer::new(|_| {}).await);
    let _server = serve("basic", contract(), &peer).await;
    peer.submit("basic", &["fill", "120"]).await;
    let calls = (0..60).map(|number| {
        let peer = peer.clone();
        tokio::spawn(async move { peer.ask("basic", &["get", &format!("k{number:04}")]).await })
    });
    for (number, call) in calls.enumerate() {
        assert_eq!(call.await.unwrap(), Ok(number.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_built_is_refused_and_says_so() {
    let peer = Peer::new(|_| {}).await;
    let _server = serve("basic", contract(), &peer).await;
    let rich = peer.ask("basic", &["rich"]).await.unwrap_err();
    assert!(rich.ends_with("ExecuteQuery not supported for leveldb"), "{rich}");
    let golang = peer.install(package("golang", "go_1", &archive(&[]))).await.unwrap_err();
    assert!(golang.contains("could not build chaincode: docker build failed: docker build is disabled; "), "{golang}");
    assert!(golang.contains("chaincode of type 'golang' needs 'go'"), "{golang}");
    let index: (&str, &[u8]) = ("META-INF/statedb/couchdb/indexes/a.json", b"{");
    let broken = peer.install(package("golang", "go_1", &archive(&[index]))).await.unwrap_err();
    assert!(
        broken.ends_with("Index metadata file [META-INF/statedb/couchdb/indexes/a.json] is not a valid JSON"),
        "{broken}"
    );
    let legacy = peer.ask("lscc", &["getchaincodes"]).await.unwrap_err();
    assert!(legacy.contains("use _lifecycle"), "{legacy}");
}

/// A contract whose function `wait` says that it began and ends when it is told to.
fn waiting() -> (Contract, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (began, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (began, released) = (Mutex::new(began), Mutex::new(released));
    let wait = move |_: &Context, _: &[Bytes]| {
        began.lock().unwrap().send(()).unwrap();
        released.lock().unwrap().recv().ok();
        Ok(Bytes::new())
    };
    (contract().raw_function("wait", wait), has_begun, release)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chaincode_that_takes_too_long_fails_its_transaction_only() {
    let peer = Peer::new(|options| options.execute_timeout = Duration::from_millis(400)).await;
    let (contract, _began, release) = waiting();
    let _server = serve("basic", contract, &peer).await;
    let error = peer.ask("basic", &["wait"]).await.unwrap_err();
    assert!(error.starts_with("error in simulation: failed to execute transaction "), "{error}");
    assert!(error.ends_with(": error sending: timeout expired while executing transaction"), "{error}");
    assert_eq!(peer.ask("basic", &["get", "a"]).await, Ok(String::new()));
    drop(release);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_dies_fails_its_transactions_and_is_dialled_again() {
    let peer = Arc::new(Peer::new(|_| {}).await);
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    drop(listener);
    let id = peer.deploy("basic", &address).await;
    let (waiting, began, release) = waiting();
    let server = serve_at(&address, &id, waiting).await;
    let call = {
        let peer = peer.clone();
        tokio::spawn(async move { peer.evaluate("basic", &["wait"]).await })
    };
    tokio::task::spawn_blocking(move || began.recv()).await.unwrap().unwrap();
    drop(server);
    let error = call.await.unwrap().unwrap_err();
    assert!(error.stream_terminated(), "{error}");
    assert!(error.to_string().ends_with("error sending: chaincode stream terminated"), "{error}");
    drop(release);

    // The first server gives up its port when its streams have drained.
    let binding = async {
        loop {
            match Server::bind(&address, &id, contract(), None).await {
                Ok(server) => break server,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let server = in_time("the port is free", binding).await;
    let (_stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(server.run(async move { drop(stopped.await) }));
    assert_eq!(peer.ask("basic", &["get", "a"]).await, Ok(String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_may_dial_a_peer_in_development_only() {
    for registration in [Registration::AnyInDevelopment, Registration::OnlyLaunched] {
        let peer = Peer::new(|options| options.registration = registration).await;
        peer.approve("basic", "basic:none", false).await;
        peer.define("basic", false).await;
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::new(&listener.address().to_string()).unwrap();
        let routes = tonic::service::Routes::new(peer.host.registration_service().into_grpc());
        tokio::spawn(serve_grpc(listener, None, ServerKeepalive::default(), routes, std::future::pending()));
        let dialled = tokio::spawn({
            let endpoint = endpoint.clone();
            async move { ripstop_contract::dial(&endpoint, "basic:1.0", contract()).await }
        });
        match registration {
            Registration::AnyInDevelopment => {
                // Until the contract has registered, there is nobody to call.
                while let Err(error) = peer.ask("basic", &["get", "a"]).await {
                    assert!(error.contains("could not launch chaincode basic:1.0"), "{error}");
                }
            }
            Registration::OnlyLaunched => {
                let error = dialled.await.unwrap().unwrap_err().to_string();
                let expected = "peer will not accept external chaincode connection basic:1.0 (except in dev mode)";
                assert!(error.contains(expected), "{error}");
                let error = peer.ask("basic", &["get", "a"]).await.unwrap_err();
                assert!(
                    error.ends_with("chaincode definition for 'basic' exists, but chaincode is not installed"),
                    "{error}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_lead_nowhere_are_refused_in_fabrics_words() {
    let peer = Peer::new(|_| {}).await;
    assert_eq!(
        peer.ask("nochaincode", &["x"]).await.unwrap_err(),
        "make sure the chaincode nochaincode has been successfully defined on channel mychannel and try again: \
         chaincode nochaincode not found"
    );
    let unreachable = peer.install(service_package("gone_1", "127.0.0.1:1")).await.unwrap();
    let again = peer.install(service_package("gone_1", "127.0.0.1:1")).await.unwrap_err();
    assert!(
        again.contains(&format!("chaincode already successfully installed (package ID '{unreachable}')")),
        "{again}"
    );
    peer.approve("init", &unreachable, true).await;
    let args = lifecycle::CheckCommitReadinessArgs {
        sequence: 1,
        name: "init".to_owned(),
        version: "1.0".to_owned(),
        init_required: true,
        ..Default::default()
    };
    let readiness: lifecycle::CheckCommitReadinessResult = peer.lifecycle("CheckCommitReadiness", &args).await.unwrap();
    assert!(readiness.approvals["Org1MSP"] && readiness.mismatches.is_empty());
    let other = lifecycle::CheckCommitReadinessArgs { version: "2.0".to_owned(), ..args };
    let readiness: lifecycle::CheckCommitReadinessResult =
        peer.lifecycle("CheckCommitReadiness", &other).await.unwrap();
    assert_eq!(readiness.mismatches["Org1MSP"].items, ["EndorsementInfo"]);
    peer.define("init", true).await;
    let error = peer.ask("init", &["get", "a"]).await.unwrap_err();
    assert!(
        error.ends_with(
            "invalid invocation: chaincode 'init' has not been initialized for this version, must call as init first"
        ),
        "{error}"
    );
    let (status, message) = peer
        .lifecycle::<lifecycle::QueryChaincodeDefinitionResult>(
            "QueryChaincodeDefinition",
            &lifecycle::QueryChaincodeDefinitionArgs { name: "none".to_owned() },
        )
        .await
        .unwrap_err();
    assert_eq!((status, message.as_str()), (404, "namespace none is not defined"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_below_v2_0_has_no_lifecycle_but_takes_configurations() {
    let peer = Peer::with_capability("V1_3").await;
    let refused = peer
        .lifecycle::<lifecycle::QueryChaincodeDefinitionsResult>(
            "QueryChaincodeDefinitions",
            &lifecycle::QueryChaincodeDefinitionsArgs {},
        )
        .await
        .unwrap_err();
    let expected =
        "cannot use new lifecycle for channel 'mychannel' as it does not have the required capabilities enabled";
    assert_eq!(refused, (500, expected.to_owned()));
    assert_eq!(peer.ledger().height(), 1, "the channel was joined");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_asks_for_initialization_gets_it_once() {
    let peer = Peer::new(|_| {}).await;
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    drop(listener);
    let id = peer.install(service_package("init_1", &address)).await.unwrap();
    let _server = serve_at(&address, &id, contract()).await;
    peer.approve("init", &id, true).await;
    peer.define("init", true).await;
    let init = |function: &'static str| {
        let args = vec![Bytes::from_static(function.as_bytes()), Bytes::from_static(b"a"), Bytes::from_static(b"1")];
        let input = protos::ChaincodeInput { args, is_init: true, ..Default::default() };
        Proposal::with_input(Some(peer.ledger().channel_id()), &peer.client, "init", input)
    };
    let failed = peer.execute(&init("explode"), Some(peer.ledger())).await.unwrap_err().to_string();
    assert!(failed.contains("transaction returned with failure: Function explode not found"), "{failed}");
    peer.submit_proposal(&init("put"), &peer.client).await;
    let again = peer.execute(&init("put"), Some(peer.ledger())).await.unwrap_err().to_string();
    assert!(again.ends_with("chaincode 'init' is already initialized but called as init"), "{again}");
    assert_eq!(peer.ask("init", &["get", "a"]).await, Ok("1".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_lets_the_peer_join_by_a_snapshot() {
    let peer = Peer::outside(|_| {});
    let place = tempfile::tempdir().unwrap();
    let snapshot = peer.snapshot_of_genesis(place.path());
    let join = async |signer, directory: &Path| {
        let directory = directory.to_string_lossy().into_owned();
        let args: [&[u8]; 2] = [b"JoinChainBySnapshot", directory.as_bytes()];
        peer.local(signer, "cscc", &args).await.unwrap().response.message
    };
    assert!(
        join(&peer.client, &snapshot).await.starts_with("access denied for [JoinChainBySnapshot]: [Failed verifying")
    );
    assert_eq!(join(&peer.admin, Path::new("")).await, "Cannot join the channel, no snapshot directory provided");
    let absent = place.path().join("absent");
    let (refused, name) = (join(&peer.admin, &absent).await, absent.display());
    let expected = format!("cannot create ledger from snapshot {name}: error opening dir [{name}]: ");
    assert!(refused.starts_with(&expected), "{refused}");
    std::fs::create_dir(&absent).unwrap();
    assert_eq!(
        join(&peer.admin, &absent).await,
        format!("cannot create ledger from snapshot {name}: snapshot dir {name} is empty")
    );
    assert_eq!(join(&peer.admin, &snapshot).await, "");
    let payload =
        async |chaincode, args: &[&[u8]]| peer.local(&peer.admin, chaincode, args).await.unwrap().response.payload;
    let status = protos::JoinBySnapshotStatus::decode(payload("cscc", &[b"JoinBySnapshotStatus"]).await).unwrap();
    assert_eq!(status, protos::JoinBySnapshotStatus::default());
    let info = common::BlockchainInfo::decode(payload("qscc", &[b"GetChainInfo", b"mychannel"]).await).unwrap();
    let snapshot = common::BootstrappingSnapshotInfo { last_block_in_snapshot: 0 };
    assert_eq!((info.height, info.bootstrapping_snapshot_info), (1, Some(snapshot)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_answers_about_its_channels_and_ledgers() {
    let peer = Peer::outside(|_| {});
    let genesis = peer.genesis_bytes();
    let message =
        async |signer, chaincode, args: &[&[u8]]| peer.local(signer, chaincode, args).await.unwrap().response.message;
    let claim = Claim::of(&peer.client.identity().raw);
    assert_eq!(
        message(&peer.client, "cscc", &[b"JoinChain", &genesis]).await,
        format!(
            "access denied for [JoinChain][mychannel]: [Failed verifying that proposal's creator satisfies local MSP \
             principal during channelless check policy with policy [Admins]: [The identity is not an admin under this MSP \
             [Org1MSP]: The identity does not contain OU [ADMIN], MSP: [Org1MSP]]]: the creator is {claim}"
        )
    );
    assert!(
        message(&peer.admin, "cscc", &[b"JoinChain", b"\xff"])
            .await
            .starts_with("Failed to reconstruct the genesis block, error unmarshalling Block: ")
    );
    assert_eq!(message(&peer.admin, "cscc", &[b"JoinChain", &genesis]).await, "");
    assert_eq!(
        message(&peer.admin, "cscc", &[b"JoinChain", &genesis]).await,
        "cannot create ledger from genesis block: ledger [mychannel] already exists with state [ACTIVE]"
    );
    assert_eq!(message(&peer.admin, "cscc", &[]).await, "Incorrect number of arguments, 0");
    assert_eq!(message(&peer.admin, "cscc", &[b"Explode", b"x"]).await, "Requested function Explode not found.");
    for function in [b"GetConfigBlock".as_slice(), b"GetChannelConfig"] {
        assert_eq!(
            message(&peer.admin, "cscc", &[function, b"nosuch"]).await,
            format!(
                "access denied for [{}][nosuch]: Failed to get policy manager for channel [nosuch]",
                String::from_utf8_lossy(function)
            )
        );
    }
    let absent = lifecycle::GetInstalledChaincodePackageArgs { package_id: "nosuch".to_owned() }.encode_to_vec();
    let answer = peer.local(&peer.admin, "_lifecycle", &[b"GetInstalledChaincodePackage", &absent]).await.unwrap();
    assert_eq!(
        (answer.response.status, answer.response.message.as_str()),
        (
            500,
            "failed to invoke backing implementation of 'GetInstalledChaincodePackage': could not load cc install \
             package: chaincode install package 'nosuch' not found"
        )
    );
    let denied = message(&peer.client, "_lifecycle", &[b"InstallChaincode", b""]).await;
    assert!(
        denied.starts_with("Failed to authorize invocation due to failed ACL check: Failed verifying that"),
        "{denied}"
    );

    let payload =
        async |chaincode, args: &[&[u8]]| peer.local(&peer.admin, chaincode, args).await.unwrap().response.payload;
    let channels = protos::ChannelQueryResponse::decode(payload("cscc", &[b"GetChannels"]).await).unwrap();
    assert_eq!(channels.channels[0].channel_id, "mychannel");
    assert_eq!(
        common::Block::decode(payload("cscc", &[b"GetConfigBlock", b"mychannel"]).await)
            .unwrap()
            .header
            .unwrap()
            .number,
        0
    );
    assert!(
        common::Config::decode(payload("cscc", &[b"GetChannelConfig", b"mychannel"]).await)
            .unwrap()
            .channel_group
            .is_some()
    );
    let info = common::BlockchainInfo::decode(payload("qscc", &[b"GetChainInfo", b"mychannel"]).await).unwrap();
    assert_eq!(info.height, 1);
    let block = common::Block::decode(payload("qscc", &[b"GetBlockByNumber", b"mychannel", b"0"]).await).unwrap();
    let hash = peer.ledger().info().current_hash;
    let by_hash = common::Block::decode(payload("qscc", &[b"GetBlockByHash", b"mychannel", &hash]).await).unwrap();
    assert_eq!(by_hash, block);
    assert_eq!(
        message(&peer.admin, "qscc", &[b"GetBlockByNumber", b"mychannel", b"99999"]).await,
        "Failed to get block number 99999, error no such block number [99999] in index"
    );
    assert_eq!(
        message(&peer.admin, "qscc", &[b"GetTransactionByID", b"mychannel", b"nosuch"]).await,
        "Failed to get transaction with id nosuch, error no such transaction ID [nosuch] in index"
    );
    assert_eq!(message(&peer.admin, "qscc", &[b"GetChainInfo", b"nowhere"]).await, "Invalid chain ID, nowhere");
    assert_eq!(
        message(&peer.admin, "qscc", &[b"GetBlockByHash", b"mychannel"]).await,
        "missing 3rd argument for GetBlockByHash"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_may_be_served_with_mutual_tls() {
    let peer = Peer::new(|_| {}).await;
    let operator = Organization::new("ChaincodeMSP");
    let credentials = operator.tls("chaincode", &["chaincode.example.com"]);
    let client = operator.tls("peer", &["peer0.example.com"]);
    let key_pair = KeyPair::from_pem(credentials.certificate.as_bytes(), credentials.key.as_bytes()).unwrap();
    let roots = ClientRoots::new([operator.tls_root().as_bytes().to_vec().into()]).unwrap();
    let tls = ServerTls::new(key_pair, ClientAuth::Required(roots)).unwrap();
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    drop(listener);
    let json = |text: &str| serde_json::to_string(text).unwrap();
    let connection = |client_auth: bool| {
        format!(
            r#"{{"address":"{address}","domain":"chaincode.example.com","dial_timeout":"5s","tls_required":true,
                "client_auth_required":{client_auth},"client_key":{},"client_cert":{},"root_cert":{}}}"#,
            json(&client.key),
            json(&client.certificate),
            json(&operator.tls_root()),
        )
    };
    let id = peer.install(package_with_connection("tls_1", &connection(true))).await.unwrap();
    peer.approve("tls", &id, false).await;
    peer.define("tls", false).await;
    let server = Server::bind(&address, &id, contract(), Some(tls)).await.unwrap();
    tokio::spawn(server.run(std::future::pending()));
    assert_eq!(peer.ask("tls", &["get", "a"]).await, Ok(String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_registers_as_another_chaincode_is_refused() {
    let peer = Peer::new(|_| {}).await;
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    drop(listener);
    let id = peer.deploy("basic", &address).await;
    let _server = serve_at(&address, "somebody:else", contract()).await;
    let error = peer.ask("basic", &["get", "a"]).await.unwrap_err();
    let expected = format!("the chaincode server registers as somebody:else, but the package that names it is {id}");
    assert!(error.ends_with(&expected), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_definition_runs_its_own_package() {
    let peer = Peer::new(|_| {}).await;
    let _first = serve("basic", contract(), &peer).await;
    peer.submit("basic", &["put", "a", "1"]).await;
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    drop(listener);
    let id = peer.install(service_package("basic_new", &address)).await.unwrap();
    let newer = contract().raw_function("get", |_, _| Ok(Bytes::from_static(b"newer")));
    let _second = serve_at(&address, &id, newer).await;
    peer.approve_sequence("basic", 2, &id, false).await;
    assert_eq!(peer.ask("basic", &["get", "a"]).await, Ok("1".to_owned()), "approved is not committed");
    peer.define_sequence("basic", 2, false).await;
    assert_eq!(peer.ask("basic", &["get", "a"]).await, Ok("newer".to_owned()));
    peer.approve_sequence("basic", 2, "", false).await;
    let error = peer.ask("basic", &["get", "a"]).await.unwrap_err();
    assert!(error.ends_with("chaincode definition for 'basic' exists, but chaincode is not installed"), "{error}");
}
