//! Joining the channel.

use anyhow::{Context, anyhow};
use bytes::Bytes;
use ripstop_osnadmin::Participation;
use ripstop_peer::client::{BlockRequest, Invocation, Patience, Seek};
use ripstop_proto::{Message, common, protos};
use ripstop_transport::Endpoint;
use ripstop_types::{ChannelId, HeaderType};

use crate::member::{Member, Members, PeerNode, eventually};
use crate::plan::CHANNEL;
use crate::progress::Step;

const ADVICE: &str = "Its log should say why. `ripstop up --fresh` begins anew, without the old ledger.";

/// Gives an orderer the channel's first block through the channel participation API, unless it has it.
pub(crate) async fn join_orderer(name: &str, admin: &Endpoint, genesis_block: &Bytes) -> anyhow::Result<()> {
    let step = || Step::of(name, format!("{name} could not join {CHANNEL}"), ADVICE);
    let channel = ChannelId::new(CHANNEL)?;
    Participation::new(admin.clone()).ensure_joined(&channel, genesis_block).await.with_context(step)?;
    Ok(())
}

/// How many blocks the first orderer has.
pub(crate) async fn orderer_height(members: &Members) -> anyhow::Result<u64> {
    let channel = ChannelId::new(CHANNEL)?;
    let asked = BlockRequest { channel: &channel, seek: Seek::Newest, patience: Patience::BestEffort };
    let member = members.organisations.first().context("a network has an organisation")?;
    let orderer = members.orderers.first().context("a network has an orderer")?;
    let newest = orderer
        .block(asked, &member.administrator)
        .await
        .with_context(|| Step::new(format!("the orderer does not deliver the newest block of {CHANNEL}"), ADVICE))?;
    Ok(newest.number().next().get())
}

/// Gives a peer the channel's first block, unless it has it.
pub(crate) async fn join_peer(member: &Member, node: &PeerNode, genesis_block: Bytes) -> anyhow::Result<()> {
    let name = &node.plan.name;
    let step = || Step::of(name, format!("{name} could not join {CHANNEL}"), ADVICE);
    let query = Invocation::new("", "cscc", "GetChannels", []);
    let answer = node.peer.query(&query, &member.administrator).await.with_context(step)?;
    let joined = answer.response.and_then(|response| protos::ChannelQueryResponse::decode(response.payload).ok());
    if joined.unwrap_or_default().channels.iter().any(|channel| channel.channel_id == CHANNEL) {
        return Ok(());
    }
    let call = Invocation::new("", "cscc", "JoinChain", [genesis_block]);
    let proposal = call.propose(&member.administrator, HeaderType::Config).with_context(step)?;
    let answer = node.peer.endorse(&proposal).await.with_context(step)?.response.unwrap_or_default();
    if answer.status != 200 {
        return Err(anyhow!("it answers with status {}: {}", answer.status, answer.message)).with_context(step);
    }
    Ok(())
}

/// Waits until a peer has all blocks that an orderer has.
pub(crate) async fn caught_up(member: &Member, node: &PeerNode, height: u64) -> anyhow::Result<()> {
    let call = Invocation::new("", "qscc", "GetChainInfo", [Bytes::from_static(CHANNEL.as_bytes())]);
    eventually(|| async {
        let answer = node.peer.query(&call, &member.administrator).await?.response.unwrap_or_default();
        let info = common::BlockchainInfo::decode(answer.payload)?;
        if info.height >= height { Ok(()) } else { Err(anyhow!("it has {} of {height} blocks", info.height)) }
    })
    .await
    .with_context(|| {
        Step::of(
            &node.plan.name,
            format!("{} does not get the channel's blocks", node.plan.name),
            "Its log should say why: look for the orderer's address in it.",
        )
    })
}
