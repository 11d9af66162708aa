//! What the endorser and the chaincodes of the peer itself say.

use std::time::Duration;

use bytes::Bytes;
use ripstop_interop::{CHANNEL, DraftProposal, Level, high_s};
use ripstop_peer::client::{CommitWatch, Invocation, Orderer, Peer, endorse_on_all};
use ripstop_proto::{common, protos};
use ripstop_testkit::Organization;
use ripstop_types::{ChannelId, HeaderType};

use crate::world::World;

/// How long a commit may take before the test fails: far above what a loaded machine needs.
const COMMIT_LIMIT: Duration = Duration::from_secs(60);
const GARBAGE: &[u8] = b"\xff\xff\xff\xff";

fn query(world: &World) -> DraftProposal {
    DraftProposal::new(&world.user, CHANNEL, "asset-transfer", &[b"AssetExists", b"asset1"])
}

/// Proposals that are spoilt in one place each.
pub(crate) async fn proposals(world: &World) {
    levels(world).await;
    fields(world).await;
    identities(world).await;
    chaincodes(world).await;
}

/// Proposals that are no proposals at some level.
async fn levels(world: &World) {
    let user = &world.user;
    let sent = |draft: DraftProposal| draft.sign(user);
    let cases = [
        ("nothing", protos::SignedProposal::default(), "Unknown", "ChaincodeHeaderExtension.ChaincodeId is nil"),
        ("proposal", sent(query(world).with(Level::Proposal, GARBAGE)), "Unknown", "failed parsing proposal"),
        ("header", sent(query(world).with(Level::Header, GARBAGE)), "Unknown", "failed parsing header"),
        (
            "signature header",
            sent(query(world).with(Level::SignatureHeader, GARBAGE)),
            "Unknown",
            "failed parsing signature header",
        ),
        (
            "channel header",
            sent(query(world).with(Level::ChannelHeader, GARBAGE)),
            "Unknown",
            "error unmarshalling ChannelHeader",
        ),
        (
            "extension",
            sent(query(world).with(Level::Extension, GARBAGE)),
            "Unknown",
            "error unmarshalling ChaincodeHeaderExtension",
        ),
        (
            "payload",
            sent(query(world).with(Level::Payload, GARBAGE)),
            "Unknown",
            "error unmarshalling ChaincodeProposalPayload",
        ),
        (
            "input",
            sent(query(world).with(Level::Input, GARBAGE)),
            "Unknown",
            "error unmarshalling ChaincodeInvocationSpec",
        ),
    ];
    for (name, proposal, status, words) in cases {
        world.expect(&format!("endorser, {name}"), &world.propose(proposal).await, status, words);
    }
}

/// Proposals that say something wrong in one place.
async fn fields(world: &World) {
    let user = &world.user;
    let changed = |change: &dyn Fn(&mut DraftProposal)| {
        let mut draft = query(world);
        change(&mut draft);
        draft.sign(user)
    };
    let cases = [
        ("no id", changed(&|p| p.extension.chaincode_id = None), "Unknown", "ChaincodeId is nil"),
        (
            "no name",
            changed(&|p| p.extension.chaincode_id = Some(protos::ChaincodeId::default())),
            "Unknown",
            "ChaincodeHeaderExtension.ChaincodeId.Name is empty",
        ),
        (
            "no spec",
            changed(&|p| p.spec.chaincode_spec = None),
            "Unknown",
            "chaincode invocation spec did not contain chaincode spec",
        ),
        (
            "no input",
            changed(&|p| p.spec.chaincode_spec = Some(protos::ChaincodeSpec::default())),
            "Unknown",
            "chaincode input did not contain any input",
        ),
        ("epoch", changed(&|p| p.channel_header.epoch = 1), "Unknown", "epoch is non-zero"),
        (
            "type",
            changed(&|p| p.channel_header.r#type = common::HeaderType::ConfigUpdate as i32),
            "Unknown",
            "invalid header type CONFIG_UPDATE",
        ),
        ("unknown type", changed(&|p| p.channel_header.r#type = -7), "Unknown", "invalid header type -7"),
        ("no nonce", changed(&|p| p.signature_header.nonce.clear()), "Unknown", "nonce"),
        ("no creator", query(world).by(Bytes::new()).sign(user), "Unknown", "creator"),
        (
            "transaction id",
            changed(&|p| p.channel_header.tx_id = "feed".to_owned()),
            "Unknown",
            "incorrectly computed txid 'feed' -- expected '",
        ),
        (
            "unknown channel",
            changed(&|p| p.channel_header.channel_id = "nochannel".to_owned()),
            "500",
            "channel 'nochannel' not found",
        ),
        (
            "a path as channel",
            changed(&|p| p.channel_header.channel_id = "../../../etc".to_owned()),
            "500",
            "channel '../../../etc' not found",
        ),
        ("a long channel", changed(&|p| p.channel_header.channel_id = "c".repeat(100_000)), "500", "' not found"),
    ];
    for (name, proposal, status, words) in cases {
        world.expect(&format!("endorser, {name}"), &world.propose(proposal).await, status, words);
    }
}

/// Proposals of people who may not propose, or did not sign.
async fn identities(world: &World) {
    let mut unsigned = query(world).sign(&world.user);
    unsigned.signature.clear();
    let mut other_bytes = query(world).sign(&world.user);
    other_bytes.signature = query(world).sign(&world.user).signature;
    let mut high = query(world).sign(&world.user);
    high.signature = high_s(&high.signature);
    let mut garbage = query(world).sign(&world.user);
    garbage.signature = Bytes::from_static(GARBAGE);
    let by =
        |identity: &ripstop_crypto::SigningIdentity| query(world).by(identity.identity().raw.clone()).sign(identity);
    let raw = |creator: Bytes| query(world).by(creator).sign(&world.user);
    let mut without_channel = query(world).by(world.neighbour.identity().raw.clone());
    without_channel.channel_header.channel_id.clear();
    let denied = "access denied: channel [mychannel] creator org [Org1MSP]";
    let unknown = "access denied: channel [mychannel] creator org unknown, creator is malformed";
    let cases = [
        ("unsigned", unsigned, "Unknown", "empty signature bytes"),
        ("signature of something else", other_bytes, "Unknown", denied),
        ("high S", high, "Unknown", denied),
        ("no signature", garbage, "Unknown", denied),
        ("signature of someone else", query(world).sign(&world.neighbour), "Unknown", denied),
        ("expired", by(&world.expired), "Unknown", "proposal client identity expired"),
        ("other authority", by(&world.forged), "Unknown", unknown),
        ("unknown organisation", by(&world.foreign), "Unknown", unknown),
        ("other organisation", raw(world.misplaced()), "Unknown", unknown),
        ("creator", raw(Bytes::from_static(GARBAGE)), "Unknown", unknown),
        ("creator without certificate", raw(Bytes::from_static(b"\x0a\x07Org1MSP")), "Unknown", unknown),
        ("a long organisation", by(&Organization::new(&"M".repeat(100_000)).client("c")), "Unknown", unknown),
        ("large creator", raw(Bytes::from(vec![b'-'; 1 << 20])), "Unknown", unknown),
        (
            "no channel, other organisation",
            without_channel.sign(&world.neighbour),
            "Unknown",
            "access denied: channel [] creator org unknown, creator is malformed",
        ),
    ];
    for (name, proposal, status, words) in cases {
        world.expect(&format!("endorser, {name}"), &world.propose(proposal).await, status, words);
    }
}

/// Calls of chaincodes that are not there, or do not take the call.
async fn chaincodes(world: &World) {
    let call = |name: &str, args: &[&[u8]]| DraftProposal::new(&world.user, CHANNEL, name, args).sign(&world.user);
    let large = vec![b'x'; 101 * 1024 * 1024];
    let cases = [
        ("unknown chaincode", call("nothing", &[b"f"]), "500", "chaincode nothing not found"),
        ("odd name", call("a\0b/../c", &[b"f"]), "500", "a\0b/../c"),
        ("no arguments", call("asset-transfer", &[]), "500", ""),
        ("empty argument", call("asset-transfer", &[b""]), "500", ""),
        ("no text", call("asset-transfer", &[b"\xff\xfe", b"\xff"]), "500", ""),
        ("too few arguments", call("asset-transfer", &[b"CreateAsset", b"a"]), "500", "Expected 5, received 1"),
        ("an empty key", call("asset-transfer", &[b"ReadAsset", b""]), "500", ""),
        ("an odd key", call("asset-transfer", &[b"ReadAsset", b"\0\xf4\x8f\xbf\xbf"]), "500", ""),
        ("oversized", call("asset-transfer", &[b"ReadAsset", &large]), "ResourceExhausted", "larger than max"),
    ];
    for (name, proposal, status, words) in cases {
        world.expect(&format!("endorser, {name}"), &world.propose(proposal).await, status, words);
    }
}

/// Calls of `qscc`, `cscc` and `_lifecycle` that are wrong, or not allowed to who makes them.
pub(crate) async fn system_chaincodes(world: &World) {
    let by_user = |name: &str, args: &[&[u8]]| DraftProposal::new(&world.user, CHANNEL, name, args).sign(&world.user);
    let by_admin = |channel: &str, name: &str, args: &[&[u8]]| {
        DraftProposal::new(&world.admin, channel, name, args).sign(&world.admin)
    };
    let genesis = world.site.genesis_block();
    let without_channel = DraftProposal::new(&world.user, "", "cscc", &[b"JoinChain", &genesis]).sign(&world.user);
    let failed = "Failed to authorize invocation due to failed ACL check";
    let lifecycle = "_lifecycle";
    let cases = [
        (by_user("qscc", &[]), "Incorrect number of arguments, 0"),
        (by_user("qscc", &[b"GetChainInfo"]), "Incorrect number of arguments, 1"),
        (by_user("qscc", &[b"GetBlockByNumber", b"mychannel"]), "missing 3rd argument for GetBlockByNumber"),
        (by_user("qscc", &[b"GetBlockByNumber", b"mychannel", b"-1"]), "Failed to parse block number"),
        (by_user("qscc", &[b"GetBlockByNumber", b"mychannel", b"18446744073709551614"]), "Failed to get block number"),
        (
            by_user("qscc", &[b"GetBlockByNumber", b"mychannel", b"18446744073709551616"]),
            "Failed to parse block number",
        ),
        (by_user("qscc", &[b"GetBlockByHash", b"mychannel", b"\xff"]), "Failed to get block hash"),
        (by_user("qscc", &[b"GetTransactionByID", b"mychannel", b""]), "Failed to get transaction with id"),
        (by_user("qscc", &[b"GetBlockByTxID", b"mychannel", b"\xff\0"]), "Failed to get block for txID"),
        (by_user("qscc", &[b"GetChainInfo", b"nochannel"]), "Invalid chain ID, nochannel"),
        (by_user("qscc", &[b"Destroy", b"mychannel", b"x"]), "access denied for [Destroy][mychannel]"),
        (by_user("cscc", &[]), "Incorrect number of arguments, 0"),
        (by_user("cscc", &[b"JoinChain"]), "Incorrect number of arguments, 1"),
        (by_user("cscc", &[b"Destroy", b"x"]), "Requested function Destroy not found."),
        (by_user("cscc", &[b"GetConfigBlock", b"nochannel"]), "nochannel"),
        (by_user("cscc", &[b"GetChannelConfig", b""]), "empty channel name provided"),
        (by_user("cscc", &[b"JoinChain", GARBAGE]), "Failed to reconstruct the genesis block"),
        (without_channel, "access denied for [JoinChain][mychannel]"),
        (by_admin("", "cscc", &[b"JoinChain", b""]), "Failed to reconstruct the genesis block"),
        (by_admin("", "cscc", &[b"JoinChain", &genesis]), "ledger [mychannel] already exists with state [ACTIVE]"),
        (by_admin("", "cscc", &[b"JoinChainBySnapshot", b"/nowhere"]), "snapshot"),
        (by_user(lifecycle, &[]), "lifecycle scc must be invoked with arguments"),
        (
            by_user(lifecycle, &[b"QueryInstalledChaincodes"]),
            "lifecycle scc operations require exactly two arguments but received 1",
        ),
        (
            by_user(lifecycle, &[b"QueryInstalledChaincodes", b"", b""]),
            "lifecycle scc operations require exactly two arguments but received 3",
        ),
        (by_user(lifecycle, &[b"InstallChaincode", b""]), failed),
        (by_user(lifecycle, &[b"ApproveChaincodeDefinitionForMyOrg", b""]), failed),
        (by_admin("", lifecycle, &[b"Destroy", b""]), failed),
        (
            by_admin("", lifecycle, &[b"InstallChaincode", GARBAGE]),
            "could not decode input arg for *lifecycle.Invocation.InstallChaincode",
        ),
        (
            by_admin("", lifecycle, &[b"InstallChaincode", b"\x0a\x03abc"]),
            "could not parse as a chaincode install package",
        ),
        (by_admin(CHANNEL, lifecycle, &[b"ApproveChaincodeDefinitionForMyOrg", GARBAGE]), "could not decode input arg"),
        (by_admin(CHANNEL, lifecycle, &[b"ApproveChaincodeDefinitionForMyOrg", b""]), "failed to invoke backing"),
        (by_admin(CHANNEL, lifecycle, &[b"CommitChaincodeDefinition", b""]), "failed to invoke backing"),
        (by_admin("", lifecycle, &[b"CommitChaincodeDefinition", b""]), failed),
        (by_user("lscc", &[]), ""),
        (by_user("vscc", &[b"x"]), ""),
    ];
    for (index, (proposal, words)) in cases.into_iter().enumerate() {
        let outcome = world.propose(proposal).await;
        world.expect(&format!("system chaincode, call {index}"), &outcome, "500", words);
    }
}

/// A proposal whose transaction is in the ledger already.
pub(crate) async fn replayed(world: &World) {
    let peers = [1, 2].map(|organisation| Peer::new(&world.site.peer(organisation), None));
    let args = ["asset1", "Replay"].map(|arg| Bytes::from_static(arg.as_bytes()));
    let proposal = Invocation::new(CHANNEL, "asset-transfer", "TransferAsset", args)
        .propose(&world.user, HeaderType::EndorserTransaction)
        .expect("the key signs");
    let responses = endorse_on_all(&peers, &proposal).await.expect("the peers endorse");
    let transaction = proposal.assemble(&responses, &world.user).expect("the endorsements agree");
    let channel = ChannelId::new(CHANNEL).expect("it is a channel");
    let watch = CommitWatch::begin(&peers, &channel, &proposal.tx_id, &world.user, COMMIT_LIMIT).await;
    Orderer::new(&world.site.orderer(), None).broadcast(transaction).await.expect("the orderer takes it");
    watch.expect("the peers can be watched").wait().await.expect("the transaction is committed");
    let outcome = world.propose(proposal.signed.clone()).await;
    let words = format!("duplicate transaction found [{}]. Creator [", proposal.tx_id);
    world.expect("endorser, replayed", &outcome, "Unknown", &words);
}
