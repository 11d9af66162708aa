use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::network::{CHANNEL, Deployment, Instance};

/// How often it is tried whether a contract listens.
const CONTRACT_RETRY: Duration = Duration::from_millis(20);

/// The JavaScript sources of this crate with the official packages installed beside them.
#[derive(Debug)]
pub struct Node {
    directory: PathBuf,
}

/// Node or npm is not on this machine.
#[derive(Debug)]
pub struct NodeMissing(String);

impl std::fmt::Display for NodeMissing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the official Node SDK was NOT tested: {}", self.0)
    }
}

/// A process that is killed when dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    /// Copies the sources under `cache` and installs what their lock file names, unless that was done before.
    ///
    /// # Panics
    /// When npm is there but fails; the message holds what it printed.
    pub fn install(cache: &Path) -> Result<Self, NodeMissing> {
        for program in ["node", "npm"] {
            match Command::new(program).arg("--version").output() {
                Ok(output) if output.status.success() => {}
                Ok(output) => return Err(NodeMissing(format!("`{program} --version` ended with {}", output.status))),
                Err(error) => return Err(NodeMissing(format!("`{program}` cannot be run: {error}"))),
            }
        }
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("node");
        let directory = cache.join("interop-node");
        let lock = std::fs::read(sources.join("package-lock.json")).expect("the lock file is part of the sources");
        let installed = directory.join("installed-package-lock.json");
        copy_tree(&sources, &directory);
        if std::fs::read(&installed).ok().as_ref() != Some(&lock) {
            let output = Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&directory)
                .output()
                .expect("npm runs");
            assert!(
                output.status.success(),
                "npm ci ended with {}:\n{}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            std::fs::write(&installed, lock).expect("the cache folder can be written");
        }
        Ok(Self { directory })
    }

    /// Starts the JavaScript contract of one organization as a service, and waits until peers can reach it.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn serve_contract(&self, instance: &Instance) -> Running {
        let child = Command::new(self.directory.join("node_modules/.bin/fabric-chaincode-node"))
            .args(["server", "--chaincode-address", &instance.address, "--chaincode-id", &instance.package_id])
            .env("CORE_PEER_LOCALMSPID", &instance.msp_id)
            .current_dir(self.directory.join("contract"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("fabric-chaincode-node is installed with fabric-shim");
        let mut running = Running(child);
        while TcpStream::connect(&instance.address).is_err() {
            if let Some(status) = running.0.try_wait().expect("the contract is a child of this process") {
                panic!("the contract of {} ended with {status}", instance.msp_id);
            }
            std::thread::sleep(CONTRACT_RETRY);
        }
        running
    }

    /// Runs the application against `deployment` as the identity that `environment` names.
    ///
    /// # Panics
    /// When one of its checks fails; the message holds everything it printed.
    pub fn run_application(&self, environment: &BTreeMap<String, String>, deployment: &Deployment, refusing_msp: &str) {
        let output = Command::new("node")
            .arg(self.directory.join("application/application.js"))
            .envs(environment)
            .env("PROBE_CHANNEL", CHANNEL)
            .env("PROBE_CHAINCODE", &deployment.name)
            .env("PROBE_REFUSING_MSP", refusing_msp)
            .output()
            .expect("node runs");
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let _ = write!(printed, "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "the application ended with {}:\n{printed}", output.status);
        println!("{printed}");
    }
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the cache folder can be made");
    for entry in std::fs::read_dir(from).expect("the sources can be read").flatten() {
        let target = to.join(entry.file_name());
        if entry.file_name() == "node_modules" {
            continue;
        }
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("the cache folder can be written");
        }
    }
}
