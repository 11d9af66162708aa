//! The network in its directory: its processes, and how its peers and its orderer are spoken to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ripstop_interop::{CHANNEL, Operator, Processes, Site};
use ripstop_keys::SigningIdentity;
use ripstop_peer::client::{BlockRequest, Invocation, Orderer, Patience, Peer, Seek};
use ripstop_proto::{Message, common};
use ripstop_transport::{ClientTls, Endpoint};
use ripstop_types::ChannelId;

use super::{secrets, stage};
use crate::Outcome;

/// How long a process may take to come up.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often it is tried whether it has.
const RETRY: Duration = Duration::from_millis(20);

/// The network, and what of it runs.
pub(crate) struct Stage {
    pub(crate) program: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) site: Site,
    pub(crate) operator: Operator,
    pub(crate) processes: Processes,
    /// The names of the processes that run.
    running: BTreeSet<String>,
}

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

impl Stage {
    /// The network in a directory, which is made where there is none. Nothing runs yet.
    pub(crate) fn open(directory: &Path, ports: Option<&str>) -> Fallible<Self> {
        let program = std::env::current_exe()?;
        let directory = std::path::absolute(directory)?;
        let site = if directory.join("network.json").exists() {
            Site::open(&directory)
        } else {
            let mut options = vec!["--peers", "2"];
            options.extend(ports.iter().flat_map(|first| ["--ports", first]));
            Site::make(&program, &directory, &options)
        };
        let (operator, processes) = (Operator::new(&program, &directory), Processes::new(&program, &site));
        Ok(Self { program, directory, site, operator, processes, running: BTreeSet::new() })
    }

    pub(crate) fn orderer_name(&self) -> &'static str {
        self.site.orderer_name()
    }

    /// Starts everything, and waits until all peers are in step.
    pub(crate) async fn start_all(&mut self) -> Outcome {
        self.start(self.orderer_name(), &[]).await?;
        self.start_contracts()?;
        let height = self.orderer_height().await?;
        for (organisation, place) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
            let name = self.site.peer_name_at(organisation, place);
            self.start(&name, &[]).await?;
            self.reaches(&name, height).await?;
        }
        Ok(())
    }

    /// Starts a node, unless it runs, and waits until it listens.
    pub(crate) async fn start(&mut self, name: &str, variables: &[(&str, &str)]) -> Outcome {
        if !self.running.insert(name.to_owned()) {
            return Ok(());
        }
        self.processes.start_node_with(name, variables);
        let endpoint = self.endpoint(name)?;
        let deadline = Instant::now() + START_LIMIT;
        while let Err(error) = endpoint.probe().await {
            if Instant::now() > deadline {
                return Err(format!("{name} does not listen: {error}").into());
            }
            tokio::time::sleep(RETRY).await;
        }
        Ok(())
    }

    /// Starts the sample contract and the one that keeps secrets, unless they run.
    pub(crate) fn start_contracts(&mut self) -> Outcome {
        if self.running.insert("contract".to_owned()) {
            self.processes.start_contract();
        }
        if let Some((address, package_id)) = secrets::deployed(self)?
            && self.running.insert(secrets::NAME.to_owned())
        {
            let variables = [("CHAINCODE_SERVER_ADDRESS", address.as_str()), ("CHAINCODE_ID", package_id.as_str())];
            self.processes.start(secrets::NAME, &[secrets::NAME], &variables);
        }
        Ok(())
    }

    pub(crate) fn stop(&mut self, name: &str) {
        if self.running.remove(name) {
            self.processes.stop(name);
        }
    }

    pub(crate) fn stop_all(&mut self) {
        for name in std::mem::take(&mut self.running) {
            self.processes.stop(&name);
        }
    }

    /// Stops a peer and keeps what it has on the disk, for [`Self::restore`].
    pub(crate) async fn stop_peer_and_keep(&mut self, name: &str) -> Outcome {
        let height = self.height(name).await?;
        self.stop(name);
        copy(&self.data(name), &self.kept(name))?;
        fs::write(self.directory.join(HEIGHT_BEFORE_ABSENCE), height.to_string())?;
        Ok(())
    }

    /// Gives a peer that is stopped what it had on the disk when it went away.
    pub(crate) fn restore(&mut self, name: &str) -> Outcome {
        self.stop(name);
        fs::remove_dir_all(self.data(name))?;
        copy(&self.kept(name), &self.data(name))
    }

    /// The height at which a peer went away; `None` where none did.
    pub(crate) fn height_before_absence(&self) -> Option<u64> {
        fs::read_to_string(self.directory.join(HEIGHT_BEFORE_ABSENCE)).ok()?.parse().ok()
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.directory.join("kept").join(name)
    }

    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.site.configuration(name).join("data")
    }

    /// Where a node listens, by its configuration.
    pub(crate) fn endpoint(&self, name: &str) -> Fallible<Endpoint> {
        if self.site.is_orderer(name) {
            return Ok(self.site.orderer());
        }
        let (_, domain) = name.split_once('.').ok_or("a peer's name has a domain")?;
        let root = self.directory.join(format!("crypto/peerOrganizations/{domain}/peers/{name}/tls/ca.crt"));
        let tls = ClientTls::new([fs::read(root)?.as_slice()], None)?;
        Ok(Endpoint::new(&setting(&self.site.configuration(name).join("core.yaml"), "address:")?)?.tls(tls))
    }

    /// A peer as its clients reach it.
    pub(crate) fn peer(&self, name: &str) -> Fallible<Peer> {
        Ok(Peer::new(&self.endpoint(name)?, None))
    }

    /// The orderer as its clients reach it.
    pub(crate) fn orderer(&self) -> Orderer {
        Orderer::new(&self.site.orderer(), None)
    }

    /// Whoever asks, and submits.
    pub(crate) fn user(&self) -> SigningIdentity {
        self.site.user(1, "Admin")
    }

    /// The administrator of a peer's organization: without a channel a peer answers its own people only.
    fn administrator_of(&self, name: &str) -> SigningIdentity {
        let organisation = if name.ends_with(".org2.example.com") { 2 } else { 1 };
        self.site.user(organisation, "Admin")
    }

    /// How many blocks the orderer has.
    pub(crate) async fn orderer_height(&self) -> Fallible<u64> {
        let channel = ChannelId::new(CHANNEL)?;
        let asked = BlockRequest { channel: &channel, seek: Seek::Newest, patience: Patience::BestEffort };
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match self.orderer().block(asked, &self.user()).await {
                Ok(block) => return Ok(block.number().next().get()),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// How many blocks a peer has.
    pub(crate) async fn height(&self, name: &str) -> Fallible<u64> {
        stage::height(&self.peer(name)?, &self.administrator_of(name)).await
    }

    /// Waits until a peer has so many blocks.
    pub(crate) async fn reaches(&self, name: &str, height: u64) -> Outcome {
        let (peer, user) = (self.peer(name)?, self.administrator_of(name));
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let found = stage::height(&peer, &user).await;
            match found {
                Ok(found) if found >= height => return Ok(()),
                found if Instant::now() > deadline => {
                    return Err(format!("{name} does not come to height {height}: {found:?}").into());
                }
                _ => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Runs a command of ripstop; gives what it printed.
    pub(crate) fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Fallible<String> {
        let output = Command::new(&self.program).args(arguments).envs(variables.iter().copied()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// The file that says at which height the straggler went away.
const HEIGHT_BEFORE_ABSENCE: &str = "height-before-absence";

/// How many blocks a peer says it has (`qscc`).
pub(crate) async fn height(peer: &Peer, user: &SigningIdentity) -> Fallible<u64> {
    let call = Invocation::new("", "qscc", "GetChainInfo", [Bytes::from_static(CHANNEL.as_bytes())]);
    let answer = peer.query(&call, user).await?.response.unwrap_or_default();
    if answer.status != 200 {
        return Err(answer.message.into());
    }
    Ok(common::BlockchainInfo::decode(answer.payload)?.height)
}

/// The value of the first line of a file that begins with a name.
fn setting(file: &Path, name: &str) -> Fallible<String> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix(name));
    Ok(value.ok_or_else(|| format!("{} has no {name}", file.display()))?.trim().to_owned())
}

fn copy(from: &Path, to: &Path) -> Outcome {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
