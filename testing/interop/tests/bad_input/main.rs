//! Clients that send anything at all to a real network: each gets Fabric's status and words, nothing panics, and the
//! network goes on working.

mod broadcast;
mod chaincode;
mod deliver;
mod endorser;
mod gateway;
mod http;
mod spoilt;
mod world;

use std::path::Path;

use ripstop_interop::Network;

use world::World;

#[test]
fn a_network_answers_bad_input_and_goes_on_working() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_BIN_EXE_ripstop-under-test"));
    let network = Network::start(program, &scratch.path().join("network"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("there is a runtime").block_on(async {
        let world = World::new(&network);
        endorser::proposals(&world).await;
        world.still_works("malformed and forged proposals").await;
        endorser::system_chaincodes(&world).await;
        world.still_works("bad calls of system chaincodes").await;
        endorser::replayed(&world).await;
        // Before there are blocks of garbage, which Fabric's filtered form cannot show.
        deliver::requests(&world).await;
        world.still_works("bad requests for blocks").await;
        broadcast::messages(&world).await;
        world.still_works("bad messages to the orderer").await;
        gateway::calls(&world).await;
        world.still_works("bad calls of the gateway").await;
        chaincode::registrations(&world).await;
        world.still_works("bad chaincode").await;
        http::participation(&world).await;
        http::operations(&world).await;
        http::no_tls(&world).await;
        world.still_works("bad HTTP").await;
        spoilt::proposals(&world).await;
        world.still_works("spoilt proposals").await;
        spoilt::envelopes(&world).await;
        world.still_works("spoilt envelopes").await;
        spoilt::blocks(&world).await;
        world.still_works("spoilt blocks").await;
        world.finish();
    });
}
