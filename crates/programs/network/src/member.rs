//! The nodes of a network as an administrator sees them.

use std::time::Duration;

use anyhow::Context;
use ripstop_keys::{LocalIdentity, SigningIdentity};
use ripstop_peer::client::{Orderer, Peer};
use ripstop_transport::{ClientTls, Endpoint, KeyPair};
use ripstop_types::MspId;

use crate::plan::{HOST, Layout, OrdererPlan, Organisation, PeerPlan, Plan};
use crate::progress::Step;

/// How long a process may take until it listens: far above what a loaded machine needs.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How often it is tried whether something has happened.
const RETRY: Duration = Duration::from_millis(10);

/// A peer and how to reach it.
pub(crate) struct PeerNode {
    pub(crate) plan: PeerPlan,
    pub(crate) endpoint: Endpoint,
    pub(crate) peer: Peer,
}

/// An organization: its peers and the key of its administrator.
pub(crate) struct Member {
    pub(crate) plan: Organisation,
    pub(crate) administrator: SigningIdentity,
    pub(crate) peers: Vec<PeerNode>,
}

/// Everybody in a network.
pub(crate) struct Members {
    pub(crate) orderers: Vec<Orderer>,
    pub(crate) organisations: Vec<Member>,
}

impl Members {
    /// Reads certificates and keys. Nothing is connected yet.
    pub(crate) fn load(plan: &Plan, layout: &Layout) -> anyhow::Result<Self> {
        let orderer = |orderer: &OrdererPlan| {
            let root = read(&layout.orderer_crypto(orderer).join("tls").join("ca.crt"))?;
            let endpoint = Endpoint::new(&format!("{HOST}:{}", orderer.port))?;
            anyhow::Ok(Orderer::new(&endpoint.tls(ClientTls::new([root.as_slice()], None)?), None))
        };
        let orderers = plan.orderers.iter().map(orderer).collect::<Result<_, _>>()?;
        let member = |organisation: &Organisation| {
            let directory = layout.user_crypto(organisation, "Admin").join("msp");
            let administrator = LocalIdentity::load(&directory, &MspId::new(&organisation.msp_id))
                .with_context(|| format!("cannot use the administrator's identity in {}", directory.display()))?
                .signer;
            let peers = organisation.peers.iter().map(|peer| node(layout, organisation, peer));
            let peers = peers.collect::<anyhow::Result<_>>()?;
            anyhow::Ok(Member { plan: organisation.clone(), administrator, peers })
        };
        let organisations = plan.organisations.iter().map(member).collect::<Result<_, _>>()?;
        Ok(Self { orderers, organisations })
    }

    /// All peers, each with its organization.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&Member, &PeerNode)> {
        self.organisations.iter().flat_map(|member| member.peers.iter().map(move |node| (member, node)))
    }

    /// All peers of all organizations.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.nodes().map(|(_, node)| node.peer.clone()).collect()
    }

    /// One peer of each organization.
    pub(crate) fn first_peers(&self) -> Vec<Peer> {
        self.organisations.iter().filter_map(|member| member.peers.first()).map(|node| node.peer.clone()).collect()
    }
}

impl Member {
    /// The peers of this organization.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.peers.iter().map(|node| node.peer.clone()).collect()
    }
}

fn node(layout: &Layout, organisation: &Organisation, peer: &PeerPlan) -> anyhow::Result<PeerNode> {
    let root = read(&layout.peer_crypto(organisation, peer).join("tls").join("ca.crt"))?;
    let endpoint = Endpoint::new(&format!("{HOST}:{}", peer.port))?.tls(ClientTls::new([root.as_slice()], None)?);
    Ok(PeerNode { plan: peer.clone(), peer: Peer::new(&endpoint, None), endpoint })
}

/// An orderer's admin endpoint, to which the ordering organization's administrator shows his TLS certificate.
pub(crate) fn orderer_admin(orderer: &OrdererPlan, layout: &Layout) -> anyhow::Result<Endpoint> {
    let root = read(&layout.orderer_crypto(orderer).join("tls").join("ca.crt"))?;
    let tls = layout.orderer_administrator().join("tls");
    let pair = KeyPair::from_pem(&read(&tls.join("client.crt"))?, &read(&tls.join("client.key"))?)?;
    let endpoint = Endpoint::new(&format!("{HOST}:{}", orderer.admin_port))?;
    Ok(endpoint.tls(ClientTls::new([root.as_slice()], Some(pair))?))
}

/// Waits until a process takes connections.
pub(crate) async fn listening(process: &str, endpoint: &Endpoint) -> anyhow::Result<()> {
    eventually(|| async { endpoint.probe().await.map_err(anyhow::Error::from) }).await.with_context(|| {
        Step::of(
            process,
            format!("{process} does not listen on {}", endpoint.address()),
            "Its log should say why. If the machine is very busy, try again.",
        )
    })
}

/// Tries until it succeeds, or long enough; the error is the last one.
pub(crate) async fn eventually<T, F>(mut attempt: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let deadline = tokio::time::Instant::now() + START_LIMIT;
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

fn read(file: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
