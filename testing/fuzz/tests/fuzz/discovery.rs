//! What an application asks about a channel, after it is known that it may.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use ripstop_channel_config::genesis;
use ripstop_discovery::Discovery;
use ripstop_files::SimulatedDisk;
use ripstop_gossip::View;
use ripstop_ledger::{LedgerOptions, Ledgers};
use ripstop_msp::LocalMsp;
use ripstop_proto::discovery::query::Query as Question;
use ripstop_proto::discovery::{ChaincodeQuery, ConfigQuery, PeerMembershipQuery, Query, Request};
use ripstop_proto::protos::{ChaincodeCall, ChaincodeInterest};
use ripstop_proto::{Message, common, read_bounded};
use ripstop_testkit::{Channel, Organization};
use ripstop_types::{ChannelId, Timestamp};
use tokio::sync::watch;

/// The channel of the ledger.
const CHANNEL: &str = "mychannel";

/// The only chaincode that needs no definition.
const LIFECYCLE: &str = "_lifecycle";

/// A peer that knows nobody, with a ledger in memory.
static PEER: LazyLock<Discovery> = LazyLock::new(|| {
    let [orderer, org1, org2] = ["OrdererMSP", "Org1MSP", "Org2MSP"].map(Organization::new);
    let files = SimulatedDisk::new(0).file_system();
    let ledgers = Ledgers::open_on(&files, Path::new("/ledgers"), LedgerOptions::default()).unwrap();
    let (id, group) = (ChannelId::new(CHANNEL).unwrap(), Channel::new(&orderer, [&org1, &org2]).group());
    ledgers.create(genesis::block(&id, group, [7; 24], Timestamp { seconds: 1, nanos: 0 })).unwrap();
    let local_msp = LocalMsp::new(&org1.msp_config()).unwrap();
    let view = watch::channel(Arc::new(View::default())).1;
    Discovery::new(Arc::new(ledgers), Arc::new(local_msp), view)
});

/// A request for those who have to endorse calls, under policies of keys too, and one for what is known of the channel.
pub(crate) fn seeds(policy: &common::SignaturePolicyEnvelope) -> [Bytes; 2] {
    let call = ChaincodeCall {
        name: LIFECYCLE.into(),
        collection_names: vec!["_implicit_org_Org1MSP".into()],
        key_policies: vec![policy.clone(), policy.clone()],
        ..Default::default()
    };
    let interest =
        ChaincodeInterest { chaincodes: vec![call.clone(), ChaincodeCall { no_private_reads: true, ..call }] };
    let query = |question| Query { channel: CHANNEL.into(), query: Some(question) };
    let endorsers = vec![query(Question::CcQuery(ChaincodeQuery { interests: vec![interest.clone()] }))];
    let filter =
        Some(ChaincodeInterest { chaincodes: vec![ChaincodeCall { name: LIFECYCLE.into(), ..Default::default() }] });
    let known =
        vec![query(Question::PeerQuery(PeerMembershipQuery { filter })), query(Question::ConfigQuery(ConfigQuery {}))];
    [endorsers, known].map(|queries| Request { queries, ..Default::default() }.encode_to_vec().into())
}

/// Everything that a request asks is answered, with an error or without.
pub(crate) fn discovery_request(bytes: &[u8]) {
    let Ok(request) = read_bounded::<Request>(Bytes::copy_from_slice(bytes), 1 << 16) else { return };
    for query in &request.queries {
        assert!(PEER.answer(query).result.is_some());
    }
}
