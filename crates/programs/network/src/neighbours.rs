//! Who knows whom: what the peers of a network say of each other when they are asked as applications ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, anyhow};
use bytes::Bytes;
use futures_util::future::join_all;
use ripstop_node_config::{Environment, PeerConfig};
use ripstop_proto::discovery::discovery_client::DiscoveryClient;
use ripstop_proto::discovery::{query, query_result};
use ripstop_proto::{Message as _, discovery, gossip};
use ripstop_transport::MAX_MESSAGE_SIZE;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::member::{Member, Members, PeerNode};
use crate::plan::{CHANNEL, HOST, Layout, Organisation, Plan};

/// How long peers may take until all know all. They speak of themselves every few seconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How often they are asked.
const PAUSE: Duration = Duration::from_millis(250);
/// How many organizations are named in one line.
const MOST_NAMED: usize = 3;
/// How many peers that do not see others are named for one organization.
const MOST_BLIND: usize = 3;
/// The most that is read of a peer's metrics, in bytes.
const MOST_METRICS: u64 = 4 << 20;

/// The peers that each peer sees in the channel, by name.
type Sights = BTreeMap<String, BTreeSet<String>>;

/// One line an organization: whom its peers know and how they get their blocks. Waits until all know all, or long enough.
pub(crate) async fn lines(plan: &Plan, layout: &Layout, members: &Members) -> Vec<String> {
    let everybody: BTreeSet<String> = members.nodes().map(|(_, node)| node.plan.name.clone()).collect();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let sights = loop {
        let sights = look(plan, members).await;
        if sights.values().all(|seen| *seen == everybody) || tokio::time::Instant::now() >= deadline {
            break sights;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let described = plan.organisations.iter().map(|organisation| {
        let sources = sources(organisation, layout);
        let sights = &sights;
        async move { format!("{}: {}; {}", organisation.name, known(organisation, plan, sights), sources.await) }
    });
    join_all(described).await
}

/// Asks every peer at once. One that does not answer sees nobody.
async fn look(plan: &Plan, members: &Members) -> Sights {
    let asked = members.nodes().map(async |(member, node)| {
        let answer = tokio::time::timeout(ANSWER, ask(member, node)).await;
        let endpoints = answer.map(Result::unwrap_or_default).unwrap_or_default();
        let peers = plan.organisations.iter().flat_map(|organisation| &organisation.peers);
        let seen = peers.filter(|peer| endpoints.contains(&format!("{HOST}:{}", peer.port)));
        (node.plan.name.clone(), seen.map(|peer| peer.name.clone()).collect())
    });
    join_all(asked).await.into_iter().collect()
}

/// The endpoints of the channel's peers that a peer knows.
async fn ask(member: &Member, node: &PeerNode) -> anyhow::Result<BTreeSet<String>> {
    let query = discovery::Query {
        channel: CHANNEL.to_owned(),
        query: Some(query::Query::PeerQuery(discovery::PeerMembershipQuery::default())),
    };
    let authentication = discovery::AuthInfo {
        client_identity: member.administrator.identity().raw.clone(),
        client_tls_cert_hash: Bytes::new(),
    };
    let request = discovery::Request { authentication: Some(authentication), queries: vec![query] };
    let payload = Bytes::from(request.encode_to_vec());
    let signature = member.administrator.sign(&payload)?;
    let mut client = DiscoveryClient::new(node.endpoint.channel()).max_decoding_message_size(MAX_MESSAGE_SIZE);
    let response = client.discover(discovery::SignedRequest { payload, signature }).await?.into_inner();
    let result = response.results.into_iter().next().and_then(|result| result.result);
    let Some(query_result::Result::Members(members)) = result else { return Err(anyhow!("it names no peers")) };
    let peers = members.peers_by_org.into_values().flat_map(|of_org| of_org.peers);
    peers.map(|peer| endpoint(&peer.membership_info.unwrap_or_default())).collect()
}

fn endpoint(alive: &gossip::Envelope) -> anyhow::Result<String> {
    let message = gossip::GossipMessage::decode(alive.payload.clone())?;
    match message.content {
        Some(gossip::gossip_message::Content::AliveMsg(alive)) => Ok(alive.membership.unwrap_or_default().endpoint),
        _ => Err(anyhow!("a peer does not say that it is alive")),
    }
}

/// Whom the peers of an organization know, or, if it is not everybody, who does not know whom.
fn known(organisation: &Organisation, plan: &Plan, sights: &Sights) -> String {
    let mut blind = Vec::new();
    for peer in &organisation.peers {
        let seen = sights.get(&peer.name);
        let all = plan.organisations.iter().flat_map(|other| &other.peers);
        let missing: Vec<_> = all.filter(|other| seen.is_none_or(|seen| !seen.contains(&other.name))).collect();
        match missing.as_slice() {
            [] => {}
            [one] => blind.push(format!("{} does not know {} yet", peer.name, one.name)),
            [first, rest @ ..] => {
                blind.push(format!("{} does not know {} and {} more yet", peer.name, first.name, rest.len()));
            }
        }
    }
    if !blind.is_empty() {
        let more = blind.len().saturating_sub(MOST_BLIND);
        blind.truncate(MOST_BLIND);
        let more = if more == 0 { String::new() } else { format!(" (and {more} more of its peers lack somebody)") };
        return format!("{}{more}", blind.join(", "));
    }
    let others: Vec<_> = plan.organisations.iter().filter(|other| other.name != organisation.name).collect();
    let counted = match others.as_slice() {
        [] => String::new(),
        named if named.len() <= MOST_NAMED => {
            named.iter().map(|other| format!("{} of {}", other.peers.len(), other.name)).collect::<Vec<_>>().join(", ")
        }
        many => {
            format!(
                "{} of {} other organisations",
                many.iter().map(|other| other.peers.len()).sum::<usize>(),
                many.len()
            )
        }
    };
    match (organisation.peers.len(), counted.as_str()) {
        (1, "") => "its peer is alone".to_owned(),
        (1, others) => format!("its peer knows {others}"),
        (number, "") => format!("{number} peers know each other"),
        (number, others) => format!("{number} peers know each other and {others}"),
    }
}

/// How the peers of an organization get their blocks: each from an orderer, or who of them does.
async fn sources(organisation: &Organisation, layout: &Layout) -> String {
    let elects = organisation.peers.iter().any(|peer| {
        let directory = layout.peer(peer).display().to_string();
        let environment = Environment::from_iter([("FABRIC_CFG_PATH", directory)]);
        PeerConfig::load(&environment).is_ok_and(|loaded| loaded.config.gossip.options.use_leader_election)
    });
    if !elects {
        let each = if organisation.peers.len() == 1 { "it" } else { "each" };
        return format!("{each} pulls blocks from the orderers");
    }
    let asked = organisation.peers.iter().map(async |peer| {
        let metrics = tokio::time::timeout(ANSWER, metrics(peer.operations_port)).await;
        let leads = metrics.is_ok_and(|metrics| metrics.is_ok_and(|metrics| is_leader(&metrics)));
        leads.then_some(peer.name.as_str())
    });
    let leaders: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    match leaders.as_slice() {
        [] => "none of them leads yet".to_owned(),
        [one] => format!("{one} leads and pulls blocks from the orderers"),
        several => format!("{} lead and pull blocks from the orderers", several.join(" and ")),
    }
}

async fn metrics(port: u16) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
    let mut text = Vec::new();
    stream.take(MOST_METRICS).read_to_end(&mut text).await?;
    String::from_utf8(text).context("the metrics are no text")
}

fn is_leader(metrics: &str) -> bool {
    let name = format!("gossip_leader_election_leader{{channel=\"{CHANNEL}\"}} ");
    metrics.lines().any(|line| line.strip_prefix(&name).is_some_and(|value| value.trim() == "1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;
    use crate::plan::ports_from;

    fn plan(organisations: u16, peers: u16) -> Plan {
        Plan::new(Size { organisations, peers, orderers: 1 }, ports_from(7000)).unwrap()
    }

    fn told(plan: &Plan, unseen: &[(&str, &str)]) -> Vec<String> {
        let names: Vec<_> =
            plan.organisations.iter().flat_map(|org| &org.peers).map(|peer| peer.name.clone()).collect();
        let sights: Sights = names
            .iter()
            .map(|name| {
                let sees = |other: &&String| {
                    !unseen.iter().any(|(who, whom)| name.starts_with(who) && other.starts_with(whom))
                };
                (name.clone(), names.iter().filter(sees).cloned().collect())
            })
            .collect();
        plan.organisations.iter().map(|organisation| known(organisation, plan, &sights)).collect()
    }

    #[test]
    fn organisations_whose_peers_know_all_are_told_in_one_line() {
        assert_eq!(
            told(&plan(2, 3), &[]),
            ["3 peers know each other and 3 of org2", "3 peers know each other and 3 of org1"]
        );
        assert_eq!(told(&plan(2, 1), &[]), ["its peer knows 1 of org2", "its peer knows 1 of org1"]);
        assert_eq!(told(&plan(1, 1), &[]), ["its peer is alone"]);
        assert_eq!(told(&plan(5, 2), &[])[0], "2 peers know each other and 8 of 4 other organisations");
    }

    #[test]
    fn who_does_not_know_whom_is_said() {
        let lines = told(&plan(2, 2), &[("peer0.org1", "peer1.org2"), ("peer1.org2", "peer")]);
        assert_eq!(
            lines,
            [
                "peer0.org1.example.com does not know peer1.org2.example.com yet",
                "peer1.org2.example.com does not know peer0.org1.example.com and 3 more yet"
            ]
        );
    }

    #[test]
    fn a_leader_is_known_by_its_metrics() {
        assert!(is_leader("# HELP x\ngossip_leader_election_leader{channel=\"mychannel\"} 1\n"));
        assert!(!is_leader("gossip_leader_election_leader{channel=\"mychannel\"} 0\n"));
        assert!(!is_leader("gossip_leader_election_leader{channel=\"other\"} 1\n"));
    }
}
