use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ripstop_peer::package::{ServiceAddress, pack_service, package_id};

use crate::Site;

/// Says to a process that it ends with the process of this id, however that ends.
const SUPERVISOR_VARIABLE: &str = "RIPSTOP_SUPERVISOR";

/// The processes of a network, each started and killed by itself: what `ripstop up` starts, without its supervision.
/// All are killed when this is dropped.
#[derive(Debug)]
pub struct Processes {
    program: PathBuf,
    site: Site,
    running: BTreeMap<String, Child>,
}

impl Processes {
    /// Nothing runs yet. `program` is ripstop.
    pub fn new(program: &Path, site: &Site) -> Self {
        Self { program: program.to_owned(), site: site.clone(), running: BTreeMap::new() }
    }

    /// Starts the orderer or a peer, by its name. It listens some time later.
    pub fn start_node(&mut self, name: &str) {
        self.start_node_with(name, &[]);
    }

    /// As [`Self::start_node`], with variables that override its configuration.
    pub fn start_node_with(&mut self, name: &str, overrides: &[(&str, &str)]) {
        let arguments: &[&str] = if self.site.is_orderer(name) { &["orderer"] } else { &["peer", "node", "start"] };
        let configuration = self.site.configuration(name);
        let configuration = configuration.to_string_lossy();
        let variables: Vec<_> =
            [("FABRIC_CFG_PATH", configuration.as_ref())].into_iter().chain(overrides.iter().copied()).collect();
        self.start(name, arguments, &variables);
    }

    /// Starts Fabric's own `orderer` in the place of ours.
    pub fn start_fabrics_orderer(&mut self, program: &Path, name: &str) {
        let configuration = self.site.configuration(name);
        self.start_program(program, name, &[], &[("FABRIC_CFG_PATH", &configuration.to_string_lossy())]);
    }

    /// Starts the sample contract as the service that the peers were told of.
    pub fn start_contract(&mut self) {
        const LABEL: &str = "asset-transfer_1.0";
        let address = self.site.contract_address();
        let service = ServiceAddress { address: address.clone(), dial_timeout: "10s".to_owned(), tls_required: false };
        let package = pack_service(LABEL, &service).expect("memory takes every byte");
        let package_id = package_id(LABEL, &package);
        let variables = [("CHAINCODE_SERVER_ADDRESS", address.as_str()), ("CHAINCODE_ID", package_id.as_str())];
        self.start("contract", &["contract", "asset-transfer"], &variables);
    }

    /// Starts ripstop with other arguments and variables. `name` is for the log, and to end it by.
    pub fn start(&mut self, name: &str, arguments: &[&str], variables: &[(&str, &str)]) {
        let program = self.program.clone();
        self.start_program(&program, name, arguments, variables);
    }

    fn start_program(&mut self, program: &Path, name: &str, arguments: &[&str], variables: &[(&str, &str)]) {
        let log = File::options().create(true).append(true).open(self.site.log(name)).expect("the log can be written");
        let child = Command::new(program)
            .args(arguments)
            .envs(variables.iter().copied())
            .env(SUPERVISOR_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let before = self.running.insert(name.to_owned(), child);
        assert!(before.is_none(), "{name} runs already");
    }

    /// Kills a process without warning (SIGKILL), and waits until it is gone.
    ///
    /// # Panics
    /// When it has ended by itself, which no process should.
    pub fn kill(&mut self, name: &str) {
        let mut child = self.running.remove(name).unwrap_or_else(|| panic!("{name} does not run"));
        if let Some(status) = child.try_wait().expect("it is a child of this process") {
            panic!("{name} has ended by itself with {status}; see {}", self.site.log(name).display());
        }
        child.kill().expect("a child can be killed");
        child.wait().expect("it is a child of this process");
    }

    /// Asks a process to end (SIGTERM), and waits until it is gone.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self, name: &str) {
        let mut child = self.running.remove(name).unwrap_or_else(|| panic!("{name} does not run"));
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM);
        child.wait().expect("it is a child of this process");
    }

    /// The process id of a process that was started.
    ///
    /// # Panics
    /// When it does not run.
    pub fn id(&self, name: &str) -> u32 {
        self.running.get(name).unwrap_or_else(|| panic!("{name} does not run")).id()
    }

    /// The names of processes that have ended by themselves.
    pub fn ended(&mut self) -> Vec<String> {
        let running = self.running.iter_mut();
        running.filter_map(|(name, child)| child.try_wait().ok().flatten().map(|_| name.clone())).collect()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
