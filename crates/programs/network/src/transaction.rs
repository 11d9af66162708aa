//! The transaction that shows that everything works together.

use anyhow::{Context, anyhow};
use bytes::Bytes;
use ripstop_peer::client::Invocation;
use serde_json::Value;

use crate::deploy::submit;
use crate::member::{Member, Members, PeerNode};
use crate::plan::{CHANNEL, CONTRACT};
use crate::progress::Step;

/// The asset that the transaction is about.
const ASSET: &str = "asset1";
/// Who owns it in turn.
const OWNERS: [&str; 2] = ["Tomoko", "Max"];

const ADVICE: &str = "The logs of the peers and of the contract should say why.";

/// What happened, in words.
pub(crate) struct Shown {
    /// What was done.
    pub(crate) deed: String,
    /// The asset as another organization reads it.
    pub(crate) asset: String,
    /// Who read it.
    pub(crate) reader: String,
}

/// Creates an asset, or hands it on if it exists, endorsed by every organization, and reads it back at the last one.
pub(crate) async fn show(members: &Members) -> anyhow::Result<Shown> {
    let step = |what: &'static str| move || Step::of("contract", what, ADVICE);
    let first = members.organisations.first().context("a network has an organisation")?;
    let last = members.organisations.last().context("a network has an organisation")?;
    let before = read(first).await.with_context(step("the contract could not be asked"))?;
    let owner = before
        .as_ref()
        .and_then(|asset| serde_json::from_str::<Value>(asset).ok()?.get("Owner")?.as_str().map(str::to_owned));
    let (call, deed) = match owner {
        None => {
            let arguments = [ASSET, "blue", "5", OWNERS[0], "300"];
            (invocation("CreateAsset", arguments), format!("created {ASSET}, which belongs to {}", OWNERS[0]))
        }
        Some(owner) => {
            let next = if owner == OWNERS[0] { OWNERS[1] } else { OWNERS[0] };
            let arguments = [ASSET, next];
            (invocation("TransferAsset", arguments), format!("handed {ASSET} on from {owner} to {next}"))
        }
    };
    submit(members, first, &members.first_peers(), &members.peers(), &call)
        .await
        .with_context(step("the first transaction did not get through"))?;
    let asset = read(last)
        .await
        .and_then(|asset| asset.context("the asset is not there"))
        .with_context(step("the asset could not be read back"))?;
    Ok(Shown { deed: format!("{} {deed}", first.plan.name), asset, reader: last.plan.name.clone() })
}

fn invocation(function: &str, arguments: impl IntoIterator<Item = &'static str>) -> Invocation {
    let arguments = arguments.into_iter().map(|argument| Bytes::from_static(argument.as_bytes()));
    Invocation::new(CHANNEL, CONTRACT, function, arguments)
}

/// The asset as an organization's first peer has it; `None` when it does not exist.
async fn read(member: &Member) -> anyhow::Result<Option<String>> {
    let peer: &PeerNode = member.peers.first().context("an organisation has a peer")?;
    let exists = query(member, peer, "AssetExists").await?;
    if exists != "true" {
        return Ok(None);
    }
    query(member, peer, "ReadAsset").await.map(Some)
}

async fn query(member: &Member, node: &PeerNode, function: &str) -> anyhow::Result<String> {
    let call = invocation(function, [ASSET]);
    let answer = node.peer.query(&call, &member.administrator).await?.response.unwrap_or_default();
    if answer.status != 200 {
        return Err(anyhow!(
            "{} answers to {function} with status {}: {}",
            node.plan.name,
            answer.status,
            answer.message
        ));
    }
    Ok(String::from_utf8_lossy(&answer.payload).into_owned())
}
