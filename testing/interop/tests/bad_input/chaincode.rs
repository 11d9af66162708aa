//! What the peer says to chaincode that it did not start.

use ripstop_proto::protos::ChaincodeMessage;
use ripstop_proto::protos::chaincode_support_client::ChaincodeSupportClient;

use crate::world::{World, outcome_of};

/// A stranger does not come as far as a stream: the peer shows a certificate of an authority that only chaincode it
/// launched knows.
pub(crate) async fn registrations(world: &World) {
    let mut client = ChaincodeSupportClient::new(world.site.chaincode_listener(1).channel());
    let refused = client.register(tokio_stream::iter([ChaincodeMessage::default()])).await.map(|_| ());
    let outcome = refused.map_or_else(|status| outcome_of(&status), |()| ("none".to_owned(), "a stream".to_owned()));
    world.expect("chaincode of a stranger", &outcome, "Unavailable", "certificate signed by unknown authority");
}
