use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::Operator;

/// How long a network may take to start before the test fails: far above what a loaded machine needs.
const START_LIMIT: Duration = Duration::from_secs(180);

/// The words with which `ripstop up` says that the network runs until it is interrupted.
const READY: &str = "Ctrl-C";

/// The channel that `ripstop up` makes.
pub const CHANNEL: &str = "mychannel";

/// A running `ripstop up`, interrupted when dropped.
#[derive(Debug)]
pub struct Network {
    operator: Operator,
    process: Child,
}

/// A contract deployed as a service: where each organization's instance has to listen, and under which package id.
#[derive(Debug)]
pub struct Deployment {
    /// The chaincode's name.
    pub name: String,
    /// MSP id, listening address and package id of each organization's instance.
    pub instances: Vec<Instance>,
}

/// The instance that the peers of one organization call.
#[derive(Debug)]
pub struct Instance {
    /// The MSP id of the organization.
    pub msp_id: String,
    /// Where the instance has to listen.
    pub address: String,
    /// The id it registers with.
    pub package_id: String,
}

impl Network {
    /// Starts `program up --dir directory` and waits until it says that it runs.
    ///
    /// # Panics
    /// When it does not start; the message holds everything it printed.
    pub fn start(program: &Path, directory: &Path) -> Self {
        let mut starting = Command::new(program)
            .args([OsStr::new("up"), OsStr::new("--dir"), directory.as_os_str()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        let (lines, received) = mpsc::channel();
        let stdout = starting.stdout.take().expect("the standard output is piped");
        let stderr = starting.stderr.take().expect("the standard error is piped");
        forward_lines(stdout, lines.clone());
        forward_lines(stderr, lines);
        // From here on, whatever goes wrong ends the process.
        let network = Self { operator: Operator::new(program, directory), process: starting };
        let mut printed = String::new();
        loop {
            match received.recv_timeout(START_LIMIT) {
                Ok(line) => {
                    printed.push_str(&line);
                    printed.push('\n');
                    if line.contains(READY) {
                        return network;
                    }
                }
                Err(reason) => panic!("ripstop up did not come to run ({reason}); it printed:\n{printed}"),
            }
        }
    }

    /// Where it keeps its files.
    pub fn directory(&self) -> &Path {
        self.operator.directory()
    }

    /// Whoever operates it.
    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    /// Takes a contract that runs as a service through the whole lifecycle, with one instance for each of the
    /// organizations `org1` and `org2`. The instances have to be started by the caller before the first call.
    pub fn deploy(&self, name: &str, scratch: &Path) -> Deployment {
        let organisations = ["org1", "org2"];
        let environments = organisations.map(|organisation| self.operator.environment(organisation));
        let orderer = self.operator.orderer_flags();
        let orderer: Vec<&str> = orderer.iter().map(String::as_str).collect();
        let mut instances = Vec::new();
        for (organisation, environment) in organisations.iter().zip(&environments) {
            let address = free_address();
            let package = scratch.join(format!("{name}-{organisation}.tar.gz"));
            write_service_package(&package, name, &address);
            let package = package.to_string_lossy().into_owned();
            self.operator.peer(organisation, &["lifecycle", "chaincode", "install", &package]);
            let package_id =
                self.operator.peer(organisation, &["lifecycle", "chaincode", "calculatepackageid", &package]);
            let package_id = package_id.trim().to_owned();
            let definition =
                ["--channelID", CHANNEL, "--name", name, "--version", "1.0", "--sequence", "1", "--package-id"];
            let mut approve = vec!["lifecycle", "chaincode", "approveformyorg"];
            approve.extend(definition);
            approve.push(&package_id);
            approve.extend(&orderer);
            self.operator.peer(organisation, &approve);
            let msp_id = environment["CORE_PEER_LOCALMSPID"].clone();
            instances.push(Instance { msp_id, address, package_id });
        }
        let mut commit = vec!["lifecycle", "chaincode", "commit", "--channelID", CHANNEL, "--name", name];
        commit.extend(["--version", "1.0", "--sequence", "1"]);
        commit.extend(&orderer);
        for environment in &environments {
            commit.extend(["--peerAddresses", environment["CORE_PEER_ADDRESS"].as_str()]);
            commit.extend(["--tlsRootCertFiles", environment["CORE_PEER_TLS_ROOTCERT_FILE"].as_str()]);
        }
        self.operator.peer("org1", &commit);
        Deployment { name: name.to_owned(), instances }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.process.wait();
    }
}

fn forward_lines(stream: impl std::io::Read + Send + 'static, lines: mpsc::Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            // Nobody listens once the network runs; reading goes on so that the pipe never fills.
            let _ = lines.send(line);
        }
    });
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").to_string()
}

/// A package of type `ccaas`: its code is the address at which the contract listens.
fn write_service_package(path: &Path, label: &str, address: &str) {
    let connection = serde_json::json!({ "address": address, "dial_timeout": "10s", "tls_required": false });
    let code = tar_gz(&[("connection.json", connection.to_string().as_bytes())]);
    let metadata = serde_json::json!({ "type": "ccaas", "path": "", "label": label });
    let package = tar_gz(&[("metadata.json", metadata.to_string().as_bytes()), ("code.tar.gz", &code)]);
    std::fs::write(path, package).expect("the scratch folder can be written");
}

fn tar_gz(files: &[(&str, &[u8])]) -> Vec<u8> {
    let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(encoder);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, *content).expect("memory takes every byte");
    }
    let encoder = archive.into_inner().expect("memory takes every byte");
    encoder.finish().expect("memory takes every byte")
}
