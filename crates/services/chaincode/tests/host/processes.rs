//! Chaincode that the peer starts: built by small scripts, run as this very test program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ripstop_chaincode::{ChaincodeAuthority, HostOptions};
use ripstop_contract::{Context, Result};
use ripstop_node_config::{Environment, ExternalBuilder};
use ripstop_testkit::until;
use ripstop_transport::{ClientTls, Endpoint, KeyPair, Listener, ServerOptions, serve_grpc};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tempfile::TempDir;

use crate::peer::{Peer, archive, package};

/// Reads one field of `chaincode.json`.
const FIELD: &str = r#"field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$JSON"; }"#;

/// A builder whose packages hold the script that is run.
struct Scripts {
    place: TempDir,
}

impl Scripts {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("bin")).unwrap();
        let run = format!(
            r#"
            JSON="$2/chaincode.json"
            {FIELD}
            export CORE_CHAINCODE_ID_NAME="$(field chaincode_id)" CORE_PEER_ADDRESS="$(field peer_address)"
            export CORE_PEER_TLS_ENABLED=false
            if [ -n "$(field client_cert)" ]; then
                for part in client_cert client_key root_cert; do printf '%b' "$(field $part)" > "$2/$part"; done
                export CORE_PEER_TLS_ENABLED=true CORE_PEER_TLS_ROOTCERT_FILE="$2/root_cert"
                export CORE_TLS_CLIENT_CERT_FILE="$2/client_cert" CORE_TLS_CLIENT_KEY_FILE="$2/client_key"
            fi
            echo "$2" > "{place}/directory"
            echo $$ >> "{place}/pids"
            . "$1/start""#,
            place = place.path().display()
        );
        for (name, script) in
            [("detect", "true"), ("build", r#"echo built >> "${0%/bin/*}/builds"; cp -r "$1/." "$3""#), ("run", &run)]
        {
            let file = place.path().join("bin").join(name);
            fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn use_in(&self, options: &mut HostOptions) {
        options.builders.environment = [("PATH", "/usr/bin:/bin")].into_iter().collect::<Environment>();
        options.builders.external = vec![ExternalBuilder {
            name: "scripts".to_owned(),
            path: self.place.path().to_owned(),
            propagate_environment: Vec::new(),
        }];
    }

    /// The processes that were started, in order.
    fn pids(&self) -> Vec<Pid> {
        let pids = fs::read_to_string(self.path("pids")).unwrap_or_default();
        pids.lines().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
    }
}

/// A package whose chaincode is started by this script.
fn script(label: &str, start: &str) -> Vec<u8> {
    package("script", label, &archive(&[("start", start.as_bytes())]))
}

/// The script that becomes the contract below.
fn this_program() -> String {
    let program = std::env::current_exe().unwrap();
    format!("exec {} --exact --ignored --nocapture processes::a_contract_in_a_process", program.display())
}

#[test]
#[ignore = "it is the chaincode that the other tests start"]
fn a_contract_in_a_process() {
    fn spin(_: &Context) -> Result<()> {
        loop {
            std::hint::spin_loop();
        }
    }
    fn die(_: &Context) -> Result<()> {
        std::process::exit(3)
    }
    fn pid(_: &Context) -> Result<u32> {
        Ok(std::process::id())
    }
    let contract = crate::contract().function("spin", spin).function("die", die).function("pid", pid);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(ripstop_contract::serve_environment(contract)).unwrap();
}

/// A peer with a listener for chaincode.
async fn peer(scripts: &Scripts, more: impl FnOnce(&mut HostOptions)) -> Peer {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let mut tls = None;
    let peer = Peer::new(|options| {
        scripts.use_in(options);
        options.address = listener.address().to_string();
        more(options);
        tls = options.authority.as_ref().map(|authority| authority.listener_tls("127.0.0.1").unwrap());
    })
    .await;
    let routes = tonic::service::Routes::new(peer.host.registration_service().into_grpc());
    tokio::spawn(serve_grpc(listener, tls, ServerOptions::default(), routes, std::future::pending()));
    peer
}

async fn deploy(peer: &Peer, name: &str, start: &str) -> String {
    let id = peer.install(script(&format!("{name}_1"), start)).await.unwrap();
    peer.approve(name, &id, false).await;
    peer.define(name, false).await;
    id
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

async fn ends(pid: Pid) {
    until("the process ends", || !is_alive(pid)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaincode_is_built_at_installation_started_by_a_call_and_stopped_with_the_peer() {
    let scripts = Scripts::new();
    let peer = peer(&scripts, |options| options.authority = Some(Arc::new(ChaincodeAuthority::new().unwrap()))).await;
    deploy(&peer, "basic", &this_program()).await;
    assert_eq!((fs::read_to_string(scripts.path("builds")).unwrap().as_str(), scripts.pids()), ("built\n", vec![]));
    peer.submit("basic", &["put", "a", "1"]).await;
    assert_eq!(peer.ask("basic", &["get", "a"]).await, Ok("1".to_owned()));
    let [pid] = scripts.pids()[..] else { panic!("one process was started") };
    let directory = fs::read_to_string(scripts.path("directory")).unwrap();
    assert!(Path::new(directory.trim_end()).join("chaincode.json").is_file());
    let counted = peer.metrics();
    for line in
        ["chaincode_launch_duration_count{chaincode=", "chaincode_shim_requests_completed{", "success=\"true\"} 1"]
    {
        assert!(counted.contains(line), "{line} in {counted}");
    }
    peer.host.stop().await;
    assert!(!is_alive(pid) && !Path::new(directory.trim_end()).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_chaincode_is_started_by_the_next_call_and_what_was_built_survives_a_restart() {
    let scripts = Scripts::new();
    let mut peer = peer(&scripts, |_| {}).await;
    deploy(&peer, "basic", &this_program()).await;
    let first = peer.ask("basic", &["pid"]).await.unwrap();
    let error = peer.ask("basic", &["die"]).await.unwrap_err();
    assert!(error.ends_with("error sending: chaincode stream terminated"), "{error}");
    let second = peer.ask("basic", &["pid"]).await.unwrap();
    assert_ne!(first, second);
    kill_process(scripts.pids()[1], Signal::KILL).unwrap();
    ends(scripts.pids()[1]).await;
    // The peer may learn of the death by the call.
    while peer.ask("basic", &["pid"]).await.is_err() {}
    peer.restart().await;
    peer.host.packages().list().iter().for_each(|package| assert_eq!(package.label, "basic_1"));
    // The listener is the first host's; that what was built is found shows in what is started.
    drop(peer.ask("basic", &["pid"]).await);
    assert_eq!(fs::read_to_string(scripts.path("builds")).unwrap(), "built\n");
    assert_eq!(scripts.pids().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_ends_the_process_of_the_package_before() {
    let scripts = Scripts::new();
    let peer = peer(&scripts, |_| {}).await;
    let asked = scripts.path("asked");
    let program = this_program();
    // Were its stream to end first, the contract would end before the shell is asked to.
    let contract = program.trim_start_matches("exec ");
    let patient = format!("trap 'echo asked >> {0}' TERM\n{contract} & wait; wait; echo ended >> {0}", asked.display());
    deploy(&peer, "basic", &patient).await;
    peer.ask("basic", &["pid"]).await.unwrap();
    let newer = peer.install(script("basic_2", &program)).await.unwrap();
    peer.approve_sequence("basic", 2, &newer, false).await;
    assert!(is_alive(scripts.pids()[0]), "approved is not committed");
    peer.define_sequence("basic", 2, false).await;
    ends(scripts.pids()[0]).await;
    assert_eq!(fs::read_to_string(asked).unwrap(), "asked\nended\n");
    peer.ask("basic", &["pid"]).await.unwrap();
    assert_eq!(scripts.pids().len(), 2);
    peer.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_registers_only_with_the_certificate_that_was_made_for_it() {
    let scripts = Scripts::new();
    let authority = Arc::new(ChaincodeAuthority::new().unwrap());
    let peer = peer(&scripts, |options| options.authority = Some(authority)).await;
    // The first chaincode keeps its keys and tries to be the second.
    deploy(
        &peer,
        "thief",
        &format!("cp \"$2\"/client_* \"$2/root_cert\" {}; {}", scripts.path("").display(), this_program()),
    )
    .await;
    peer.ask("thief", &["pid"]).await.unwrap();
    let victim = deploy(&peer, "victim", "sleep 600").await;
    let read = |name: &str| fs::read(scripts.path(name)).unwrap();
    let pair = KeyPair::from_pem(&read("client_cert"), &read("client_key")).unwrap();
    let with = |pair| ClientTls::new([read("root_cert").as_slice()], pair).unwrap();
    let json = fs::read_to_string(scripts.path("directory")).unwrap();
    let json = fs::read_to_string(Path::new(json.trim_end()).join("chaincode.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let address = json["peer_address"].as_str().unwrap();
    let dial = async |tls| {
        let endpoint = Endpoint::new(address).unwrap().tls(tls);
        ripstop_contract::dial(&endpoint, &victim, crate::contract()).await.unwrap_err().to_string()
    };
    let error = dial(with(Some(pair))).await;
    assert!(
        error.contains("with given certificate hash") && error.contains("belongs to a different chaincode"),
        "{error}"
    );
    let error = dial(with(None)).await;
    assert!(error.contains("cannot be reached"), "{error}");
    peer.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_costs_its_own_callers_little_and_nobody_else_anything() {
    let scripts = Scripts::new();
    let peer = peer(&scripts, |_| {}).await;
    deploy(&peer, "basic", &this_program()).await;
    deploy(&peer, "crash", "exit 7").await;
    for _ in 0..2 {
        let error = peer.ask("crash", &["pid"]).await.unwrap_err();
        assert!(error.ends_with("chaincode registration failed: container exited with 7"), "{error}");
    }
    let mut launched = 0;
    let error = loop {
        launched += 1;
        let error = peer.ask("crash", &["pid"]).await.unwrap_err();
        if error.contains("in succession") {
            break error;
        }
    };
    assert!(launched < 10, "{error}");
    let before = scripts.pids().len();
    assert!(peer.ask("crash", &["pid"]).await.unwrap_err().contains("container exited with 7; it failed"));
    assert_eq!(scripts.pids().len(), before, "it was not started again");
    peer.ask("basic", &["pid"]).await.unwrap();
    peer.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_with_its_process() {
    let scripts = Scripts::new();
    let peer = peer(&scripts, |options| options.execute_timeout = Duration::from_secs(2)).await;
    deploy(&peer, "basic", &this_program()).await;
    while peer.ask("basic", &["pid"]).await.is_err() {}
    let error = peer.ask("basic", &["spin"]).await.unwrap_err();
    assert!(error.ends_with("error sending: timeout expired while executing transaction"), "{error}");
    ends(scripts.pids()[0]).await;
    while peer.ask("basic", &["pid"]).await.is_err() {}
    assert!(peer.metrics().contains("chaincode_execute_timeouts{"));
    peer.host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_register_in_time_is_stopped() {
    let scripts = Scripts::new();
    let peer = peer(&scripts, |options| options.startup_timeout = Duration::from_millis(300)).await;
    let id = deploy(&peer, "mute", "sleep 600 & wait").await;
    let error = peer.ask("mute", &["pid"]).await.unwrap_err();
    assert!(error.ends_with(&format!("timeout expired while starting chaincode {id} for transaction")), "{error}");
    if let Some(pid) = scripts.pids().first() {
        ends(*pid).await;
    }
}
