//! A Node application on the official client SDK, with a contract on the official contract API, against `ripstop up`.

use std::path::Path;

use ripstop_interop::{Network, Node};

#[test]
fn the_official_node_sdk_and_contract_api_work_unmodified() {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let node = match Node::install(cache) {
        Ok(node) => node,
        Err(missing) => {
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("\n*** {missing}. Install Node 20 or later to test this too. ***\n");
            return;
        }
    };
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let program = Path::new(env!("CARGO_BIN_EXE_ripstop-under-test"));
    let network = Network::start(program, &scratch.path().join("network"));
    let deployment = network.deploy("probe", scratch.path());
    let _contracts: Vec<_> = deployment.instances.iter().map(|instance| node.serve_contract(instance)).collect();
    node.run_application(&network.operator().environment("org1"), &deployment, "Org2MSP");
}
