use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::Size;

/// The channel that a network has.
pub(crate) const CHANNEL: &str = "mychannel";
/// The name under which the sample contract is deployed.
pub(crate) const CONTRACT: &str = "asset-transfer";
/// The version of the plan's file.
const FORMAT: u32 = 2;
/// The file that remembers a network's plan; a directory without it holds no network.
const PLAN_FILE: &str = "network.json";
/// The host under which everything is reached.
pub(crate) const HOST: &str = "localhost";

/// What runs where. Kept in the network's directory, so that the next start finds the same ports and names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    format: u32,
    pub(crate) orderers: Vec<OrdererPlan>,
    pub(crate) organisations: Vec<Organisation>,
    pub(crate) contract_port: u16,
}

/// An ordering node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrdererPlan {
    /// `orderer.example.com`, `orderer2.example.com`, ...
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) admin_port: u16,
    pub(crate) operations_port: u16,
}

/// An organization with peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Organisation {
    /// `org1`
    pub(crate) name: String,
    /// `Org1MSP`
    pub(crate) msp_id: String,
    /// `org1.example.com`
    pub(crate) domain: String,
    pub(crate) peers: Vec<PeerPlan>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerPlan {
    /// `peer0.org1.example.com`
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) chaincode_port: u16,
    pub(crate) operations_port: u16,
}

impl Plan {
    /// Plans a network of this size on `ports`, in which every port is free and none comes twice.
    pub(crate) fn new(size: Size, mut ports: impl FnMut() -> anyhow::Result<u16>) -> anyhow::Result<Self> {
        let mut orderer = |number: u16| {
            let number = if number == 1 { String::new() } else { number.to_string() };
            let name = format!("orderer{number}.{ORDERER_DOMAIN}");
            anyhow::Ok(OrdererPlan { name, port: ports()?, admin_port: ports()?, operations_port: ports()? })
        };
        let orderers = (1..=size.orderers).map(&mut orderer).collect::<Result<_, _>>()?;
        let contract_port = ports()?;
        let organisation = |number: u16| {
            let domain = format!("org{number}.example.com");
            let peer = |index| {
                anyhow::Ok(PeerPlan {
                    name: format!("peer{index}.{domain}"),
                    port: ports()?,
                    chaincode_port: ports()?,
                    operations_port: ports()?,
                })
            };
            let peers = (0..size.peers).map(peer).collect::<Result<_, _>>()?;
            anyhow::Ok(Organisation {
                name: format!("org{number}"),
                msp_id: format!("Org{number}MSP"),
                domain: domain.clone(),
                peers,
            })
        };
        let organisations = (1..=size.organisations).map(organisation).collect::<Result<_, _>>()?;
        Ok(Self { format: FORMAT, orderers, organisations, contract_port })
    }

    /// How many organizations and peers it has.
    pub(crate) fn size(&self) -> Size {
        let count = |length: usize| u16::try_from(length).unwrap_or(u16::MAX);
        Size {
            organisations: count(self.organisations.len()),
            peers: count(self.organisations.first().map_or(0, |organisation| organisation.peers.len())),
            orderers: count(self.orderers.len()),
        }
    }

    /// Every port of the network.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let peers = self.organisations.iter().flat_map(|organisation| &organisation.peers);
        let orderers = self.orderers.iter().flat_map(|node| [node.port, node.admin_port, node.operations_port]);
        let peers = peers.flat_map(|peer| [peer.port, peer.chaincode_port, peer.operations_port]);
        orderers.chain([self.contract_port]).chain(peers).collect()
    }

    /// The orderer that commands are told of.
    pub(crate) fn first_orderer(&self) -> anyhow::Result<&OrdererPlan> {
        self.orderers.first().context("a network has an orderer")
    }

    /// The plan kept in a directory; `None` when there is no network.
    pub(crate) fn load(layout: &Layout) -> anyhow::Result<Option<Self>> {
        let file = layout.plan();
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let plan: Self = serde_json::from_slice(&text).with_context(|| {
            format!("{} is no plan of a network; `--fresh` begins anew, without the old ledger", file.display())
        })?;
        if plan.format != FORMAT {
            bail!(
                "{} was written by another version of Ripstop; `--fresh` begins anew, without the old ledger",
                file.display()
            );
        }
        Ok(Some(plan))
    }

    /// Keeps the plan. Written last of all that a network needs to start, so that half a network is never taken for one.
    pub(crate) fn save(&self, layout: &Layout) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        std::fs::write(layout.plan(), text).with_context(|| format!("cannot write {}", layout.plan().display()))
    }
}

/// Where a network keeps its files.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    /// The network in `directory`, which need not be there yet.
    pub(crate) fn new(directory: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(directory).with_context(|| format!("cannot resolve {}", directory.display()))?;
        Ok(Self { root })
    }

    pub(crate) fn plan(&self) -> PathBuf {
        self.root.join(PLAN_FILE)
    }

    pub(crate) fn crypto(&self) -> PathBuf {
        self.root.join("crypto")
    }

    pub(crate) fn genesis_block(&self) -> PathBuf {
        self.root.join(format!("{CHANNEL}.block"))
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The file that the one process which runs the network holds a lock on.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.logs().join(format!("{process}.log"))
    }

    /// Directory of an orderer's configuration and data.
    pub(crate) fn orderer(&self, orderer: &OrdererPlan) -> PathBuf {
        self.root.join("orderers").join(&orderer.name)
    }

    /// Directory of a peer's configuration and data.
    pub(crate) fn peer(&self, peer: &PeerPlan) -> PathBuf {
        self.root.join("peers").join(&peer.name)
    }

    pub(crate) fn orderer_organisation(&self) -> PathBuf {
        self.crypto().join("ordererOrganizations").join(ORDERER_DOMAIN)
    }

    /// Identity (`msp`) and TLS files (`tls`) of an orderer.
    pub(crate) fn orderer_crypto(&self, orderer: &OrdererPlan) -> PathBuf {
        self.orderer_organisation().join("orderers").join(&orderer.name)
    }

    /// Identity (`msp`) and TLS files (`tls`) of the ordering organization's administrator.
    pub(crate) fn orderer_administrator(&self) -> PathBuf {
        self.orderer_organisation().join("users").join(format!("Admin@{ORDERER_DOMAIN}"))
    }

    pub(crate) fn organisation(&self, organisation: &Organisation) -> PathBuf {
        self.crypto().join("peerOrganizations").join(&organisation.domain)
    }

    /// Identity (`msp`) and TLS files (`tls`) of a peer.
    pub(crate) fn peer_crypto(&self, organisation: &Organisation, peer: &PeerPlan) -> PathBuf {
        self.organisation(organisation).join("peers").join(&peer.name)
    }

    /// Identity (`msp`) and TLS files (`tls`) of an organization's user.
    pub(crate) fn user_crypto(&self, organisation: &Organisation, user: &str) -> PathBuf {
        self.organisation(organisation).join("users").join(format!("{user}@{}", organisation.domain))
    }
}

/// The domain of the ordering organization.
pub(crate) const ORDERER_DOMAIN: &str = "example.com";
/// The MSP id of the ordering organization.
pub(crate) const ORDERER_MSP: &str = "OrdererMSP";

/// Ports that nobody listens on at the moment, each different.
pub(crate) fn free_ports() -> impl FnMut() -> anyhow::Result<u16> {
    // The listeners are kept until all ports are chosen, so that none is given out twice.
    let mut taken = Vec::new();
    move || {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("the operating system has no free port")?;
        let port = listener.local_addr()?.port();
        taken.push(listener);
        Ok(port)
    }
}

/// Consecutive ports from `first` on.
pub(crate) fn ports_from(first: u16) -> impl FnMut() -> anyhow::Result<u16> {
    let mut next = Some(first);
    move || {
        let port = next.context("the network needs more ports than there are from --ports on")?;
        next = port.checked_add(1);
        Ok(port)
    }
}

/// The first of these ports that somebody listens on.
pub(crate) fn first_occupied(ports: &[u16]) -> Option<u16> {
    let mut seen = BTreeSet::new();
    ports.iter().copied().find(|port| !seen.insert(*port) || TcpListener::bind(("127.0.0.1", *port)).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_found_again_with_the_same_ports() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).unwrap();
        assert_eq!(Plan::load(&layout).unwrap(), None);
        let plan = Plan::new(Size { organisations: 3, peers: 2, orderers: 3 }, ports_from(7000)).unwrap();
        plan.save(&layout).unwrap();
        assert_eq!(Plan::load(&layout).unwrap(), Some(plan.clone()));
        assert_eq!(plan.size(), Size { organisations: 3, peers: 2, orderers: 3 });
        assert_eq!(plan.ports(), (7000..7028).collect::<Vec<_>>());
        assert_eq!(plan.organisations[2].peers[1].name, "peer1.org3.example.com");
        let orderers: Vec<_> = plan.orderers.iter().map(|orderer| orderer.name.as_str()).collect();
        assert_eq!(orderers, ["orderer.example.com", "orderer2.example.com", "orderer3.example.com"]);
    }

    #[test]
    fn ports_do_not_run_out_in_silence() {
        assert!(Plan::new(Size { organisations: 1, peers: 1, orderers: 1 }, ports_from(65_530)).is_err());
    }

    #[test]
    fn a_file_that_is_no_plan_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).unwrap();
        std::fs::write(layout.plan(), "{}").unwrap();
        assert!(Plan::load(&layout).unwrap_err().to_string().contains("--fresh"));
    }
}
