//! Private data of a contract on a real ledger.

use ripstop_contract::{Context, Contract, Result, Server};
use ripstop_policy::dsl;
use ripstop_proto::protos::{self, CollectionPolicyConfig, StaticCollectionConfig, collection_policy_config};
use ripstop_testkit::Proposal;
use ripstop_types::Digest;

use crate::peer::{Peer, service_package};

fn contract() -> Contract {
    fn text(value: Option<bytes::Bytes>) -> String {
        value.map_or_else(|| "none".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())
    }
    fn put(ctx: &Context, collection: String, key: String, value: String) -> Result<()> {
        ctx.put_private(&collection, &key, value)
    }
    fn get(ctx: &Context, collection: String, key: String) -> Result<String> {
        Ok(text(ctx.get_private(&collection, &key)?))
    }
    fn many(ctx: &Context, collection: String, keys: Vec<String>) -> Result<Vec<String>> {
        Ok(ctx.get_private_many(&collection, &keys)?.into_iter().map(text).collect())
    }
    fn hash(ctx: &Context, collection: String, key: String) -> Result<bool> {
        let (value, hash) = (ctx.get_private(&collection, &key)?, ctx.get_private_hash(&collection, &key)?);
        Ok(value.map(|value| Digest::of(&value).to_bytes()) == hash)
    }
    fn delete(ctx: &Context, collection: String, key: String) -> Result<()> {
        ctx.delete_private(&collection, &key)
    }
    fn purge(ctx: &Context, collection: String, key: String) -> Result<()> {
        ctx.purge_private(&collection, &key)
    }
    fn keys(ctx: &Context, collection: String) -> Result<Vec<String>> {
        ctx.range_private(&collection, "", "")?.map(|entry| Ok(entry?.key)).collect()
    }
    fn set_policy(ctx: &Context, collection: String, key: String, policy: String) -> Result<()> {
        ctx.set_private_key_policy(&collection, &key, policy)
    }
    fn policy(ctx: &Context, collection: String, key: String) -> Result<String> {
        Ok(text(ctx.private_key_policy(&collection, &key)?))
    }
    Contract::new("private")
        .function("put", put)
        .function("get", get)
        .function("many", many)
        .function("hash", hash)
        .function("delete", delete)
        .function("purge", purge)
        .function("keys", keys)
        .function("set-policy", set_policy)
        .function("policy", policy)
}

fn collection(name: &str, policy: &str) -> StaticCollectionConfig {
    let policy = dsl::parse(policy).unwrap();
    StaticCollectionConfig {
        name: name.to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(policy)),
        }),
        maximum_peer_count: 1,
        ..Default::default()
    }
}

/// A peer with the contract and the collections: `open`, and some for administrators only, to read, to write, or both.
async fn peer() -> (Peer, tokio::sync::oneshot::Sender<()>) {
    deployed(Peer::new(|_| {}).await, false).await
}

async fn deployed(mut peer: Peer, init_required: bool) -> (Peer, tokio::sync::oneshot::Sender<()>) {
    let admins = |name, member_only_read, member_only_write| StaticCollectionConfig {
        member_only_read,
        member_only_write,
        ..collection(name, "OR('Org1MSP.admin')")
    };
    let all = [
        collection("open", "OR('Org1MSP.member')"),
        admins("no-read", true, false),
        admins("no-write", false, true),
        admins("no", true, true),
    ];
    let payload = |config| protos::CollectionConfig {
        payload: Some(protos::collection_config::Payload::StaticCollectionConfig(config)),
    };
    peer.collections = protos::CollectionConfigPackage { config: all.into_iter().map(payload).collect() };
    let listener = ripstop_transport::Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    drop(listener);
    let id = peer.install(service_package("cc_1", &address)).await.unwrap();
    peer.approve("cc", &id, init_required).await;
    peer.define("cc", init_required).await;
    let server = Server::bind(&address, &id, contract(), None).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(server.run(async move { drop(stopped.await) }));
    (peer, stop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_values_are_written_read_and_removed() {
    let (peer, _server) = peer().await;
    let ask = async |args: &[&str]| peer.ask("cc", args).await.unwrap();
    for collection in ["open", "_implicit_org_Org1MSP"] {
        for key in ["a", "b", "c"] {
            let execution = peer.submit("cc", &["put", collection, key, &format!("secret {key}")]).await;
            let results = execution.results.unwrap();
            assert!(!results.public_bytes.windows(6).any(|bytes| bytes == b"secret"), "the value is in the block");
            assert_eq!(results.written_collections.len(), 1);
        }
        assert_eq!(ask(&["get", collection, "a"]).await, "secret a");
        assert_eq!(ask(&["get", collection, "x"]).await, "none");
        assert_eq!(ask(&["many", collection, r#"["b","x","a"]"#]).await, r#"["secret b","none","secret a"]"#);
        assert_eq!(ask(&["hash", collection, "a"]).await, "true");
        assert_eq!(ask(&["keys", collection]).await, r#"["a","b","c"]"#);
        peer.submit("cc", &["delete", collection, "a"]).await;
        peer.submit("cc", &["purge", collection, "b"]).await;
        assert_eq!(ask(&["keys", collection]).await, r#"["c"]"#);
        assert_eq!(ask(&["hash", collection, "b"]).await, "true");
        assert_eq!(ask(&["policy", collection, "c"]).await, "none");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_of_private_keys_stand_beside_their_hashes() {
    let (peer, _server) = peer().await;
    let policy = "\u{12}\u{2}\u{12}\u{0}";
    peer.submit("cc", &["put", "open", "a", "secret"]).await;
    peer.submit("cc", &["set-policy", "open", "a", policy]).await;
    assert_eq!(peer.ask("cc", &["policy", "open", "a"]).await.unwrap(), policy);
    // The value follows the new version of its hash.
    assert_eq!(peer.ask("cc", &["get", "open", "a"]).await.unwrap(), "secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_private_data_is_touched_in_an_initialization() {
    let (peer, _server) = deployed(Peer::new(|_| {}).await, true).await;
    for call in
        [vec!["put", "open", "a", "1"], vec!["get", "open", "a"], vec!["purge", "open", "a"], vec!["keys", "open"]]
    {
        let args = call.iter().map(|arg| bytes::Bytes::from_static(arg.as_bytes())).collect();
        let input = protos::ChaincodeInput { args, is_init: true, ..Default::default() };
        let proposal = Proposal::with_input(Some(peer.ledger().channel_id()), &peer.client, "cc", input);
        let refused = peer.execute(&proposal, Some(peer.ledger())).await.unwrap_err().to_string();
        assert!(refused.ends_with("private data APIs are not allowed in chaincode Init()"), "{call:?}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_need_a_capability() {
    let (peer, _server) = deployed(Peer::with_capability("V2_0").await, false).await;
    peer.submit("cc", &["put", "open", "a", "1"]).await;
    let refused = peer.ask("cc", &["purge", "open", "a"]).await.unwrap_err();
    let expected = "purge private data is not enabled, channel application capability of V2_5 or later is required";
    assert!(refused.ends_with(expected), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_members_use_collections_for_members_in_fabrics_words() {
    let (peer, _server) = peer().await;
    let denied = |right: &str, collection: &str| {
        format!(
            "tx creator does not have {right} access permission on privatedata in chaincodeName:cc collectionName: {collection}"
        )
    };
    let write = |collection: &'static str| ["put", collection, "k", "v"].map(str::to_owned).to_vec();
    let read = |collection: &'static str| ["get", collection, "k"].map(str::to_owned).to_vec();
    let cases = [
        (read("no-read"), Some(denied("read", "no-read"))),
        (write("no-read"), None),
        (read("no-write"), None),
        (write("no-write"), Some(denied("write", "no-write"))),
        (read("no"), Some(denied("read", "no"))),
        (write("no"), Some(denied("write", "no"))),
        (vec!["keys".into(), "no".into()], Some(denied("read", "no"))),
        (vec!["many".into(), "no".into(), "[]".into()], None),
        (vec!["many".into(), "no".into(), r#"["a"]"#.into()], Some(denied("read", "no"))),
        (vec!["policy".into(), "no".into(), "k".into()], Some(denied("read", "no"))),
        (vec!["set-policy".into(), "no-write".into(), "k".into(), "p".into()], Some(denied("write", "no-write"))),
        (vec!["purge".into(), "no".into(), "k".into()], Some(denied("write", "no"))),
        (vec!["delete".into(), "no".into(), "k".into()], Some(denied("write", "no"))),
        (read("none"), Some("collection mychannel/cc/none could not be found".to_owned())),
        (
            read("_implicit_org_Org9MSP"),
            Some(
                "collection [_implicit_org_Org9MSP] not defined in the collection config for chaincode [cc]".to_owned(),
            ),
        ),
    ];
    for (args, expected) in cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let refused = peer.ask("cc", &args).await.err();
        let text = refused.as_deref().and_then(|refused| refused.splitn(3, ": ").nth(2)?.split_once(": "));
        assert_eq!(text.map(|(_, text)| text), expected.as_deref(), "{args:?}: {refused:?}");
    }
    // An administrator is a member.
    let proposal = peer.propose(&peer.admin, "cc", &[b"put", b"no", b"k", b"v"]);
    peer.submit_proposal(&proposal, &peer.admin).await;
}
