//! `cscc`: which channels the peer is in, and how they are configured.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use ripstop_channel_config::ChannelConfig;
use ripstop_channel_config::acl::Resource;
use ripstop_ledger::Ledger;
use ripstop_proto::protos;
use ripstop_types::{Block, BlockNumber, ChannelId};

use super::{Answer, SystemCall, text};
use crate::error::{Denied, Refusal};

const NAME: &str = "cscc";

pub(super) fn answer(request: &SystemCall) -> Answer {
    let Some((function, rest)) = request.args.split_first() else {
        return Err("Incorrect number of arguments, 0".into());
    };
    let function = text(function);
    let parameter = rest.first().cloned();
    if parameter.is_none() && !matches!(function.as_ref(), "GetChannels" | "JoinBySnapshotStatus") {
        return Err(format!("Incorrect number of arguments, {}", request.args.len()).into());
    }
    let proposed = &request.call.proposed;
    if proposed != NAME {
        return Err(
            format!("Rejecting invoke of CSCC from another chaincode, original invocation for '{proposed}'").into()
        );
    }
    let parameter = parameter.unwrap_or_default();
    match function.as_ref() {
        "JoinChain" => join(request, parameter),
        "JoinChainBySnapshot" if parameter.is_empty() => {
            Err("Cannot join the channel, no snapshot directory provided".into())
        }
        "JoinChainBySnapshot" => {
            authorize(request, Resource::CsccJoinChainBySnapshot, None)
                .map_err(|denied| denied.within(|why| format!("access denied for [{function}]: [{why}]")))?;
            join_by_snapshot(request, Path::new(&*text(&parameter)))
        }
        "JoinBySnapshotStatus" => {
            authorize(request, Resource::CsccJoinBySnapshotStatus, None)
                .map_err(|denied| denied.within(|why| format!("access denied for [{function}]: {why}")))?;
            let joining = request.host.node().join.joining();
            let status = protos::JoinBySnapshotStatus {
                in_progress: joining.is_some(),
                bootstrapping_snapshot_dir: joining.unwrap_or_default().display().to_string(),
            };
            Ok(status.encode_to_vec().into())
        }
        "GetConfigBlock" => {
            let ledger = channel_ledger(request, &parameter, Resource::CsccGetConfigBlock)?;
            config_block(&*ledger.ok_or_else(|| format!("Unknown channel ID, {}", text(&parameter)))?)
        }
        "GetChannelConfig" if parameter.is_empty() => Err("empty channel name provided".into()),
        "GetChannelConfig" => {
            let ledger = channel_ledger(request, &parameter, Resource::CsccGetChannelConfig)?;
            let ledger = ledger.ok_or_else(|| format!("unknown channel ID, {}", text(&parameter)))?;
            Ok(ledger.config().config().encode_to_vec().into())
        }
        "GetChannels" => {
            authorize(request, Resource::CsccGetChannels, None)
                .map_err(|denied| denied.within(|why| format!("access denied for [{function}]: {why}")))?;
            let channels = request.host.node().ledgers.list();
            let channels = channels.iter().map(|id| protos::ChannelInfo { channel_id: id.to_string() }).collect();
            Ok(protos::ChannelQueryResponse { channels }.encode_to_vec().into())
        }
        _ => Err(format!("Requested function {function} not found.").into()),
    }
}

fn authorize(request: &SystemCall, resource: Resource, ledger: Option<&Ledger>) -> Result<(), Denied> {
    request.host.authorize(resource, ledger, &request.call.signed)
}

/// The ledger of a channel whose configuration somebody asks for, if there is one and they may.
fn channel_ledger(request: &SystemCall, channel: &Bytes, resource: Resource) -> Result<Option<Arc<Ledger>>, Refusal> {
    let channel = text(channel);
    let ledger = ChannelId::new(&channel).ok().and_then(|id| request.host.node().ledgers.get(&id));
    let function = resource.name().trim_start_matches("cscc/");
    let denied = |reason: &str| format!("access denied for [{function}][{channel}]: {reason}");
    if ledger.is_none() && !channel.is_empty() {
        return Err(denied(&format!("Failed to get policy manager for channel [{channel}]")).into());
    }
    authorize(request, resource, ledger.as_deref()).map_err(|refusal| refusal.within(denied))?;
    Ok(ledger)
}

fn join(request: &SystemCall, genesis: Bytes) -> Answer {
    let block = Block::parse(genesis)
        .map_err(|error| format!("Failed to reconstruct the genesis block, error unmarshalling Block: {error}"))?;
    let channel = block.channel_id().map_err(|error| {
        format!("\"JoinChain\" request failed to extract channel id from the block due to [{error}]")
    })?;
    check_config_block(&block).map_err(|reason| {
        format!(
            "\"JoinChain\" for channelID = {channel} failed because of validation of configuration block, because of {reason}"
        )
    })?;
    authorize(request, Resource::CsccJoinChain, None)
        .map_err(|denied| denied.within(|why| format!("access denied for [JoinChain][{channel}]: [{why}]")))?;
    let id = ChannelId::new(&channel).map_err(|error| error.to_string())?;
    if let Some(status) = request.host.node().ledgers.status(&id) {
        return Err(format!(
            "cannot create ledger from genesis block: ledger [{channel}] already exists with state [{status}]"
        )
        .into());
    }
    request.host.node().join.join(block)?;
    Ok(Bytes::new())
}

/// Looks whether there is anything to read; what it is shows while the ledger is made.
fn join_by_snapshot(request: &SystemCall, directory: &Path) -> Answer {
    let failed = |reason: String| format!("cannot create ledger from snapshot {}: {reason}", directory.display());
    let mut entries = std::fs::read_dir(directory)
        .map_err(|error| failed(format!("error opening dir [{}]: {error}", directory.display())))?;
    if entries.next().is_none() {
        return Err(failed(format!("snapshot dir {} is empty", directory.display())).into());
    }
    request.host.node().join.join_by_snapshot(directory).map_err(failed)?;
    Ok(Bytes::new())
}

fn check_config_block(block: &Block) -> Result<(), String> {
    if block.config_envelope().is_none() {
        return Err("Bad configuration envelope: the block holds no configuration transaction".to_owned());
    }
    let config = ChannelConfig::from_block(block).map_err(|error| error.to_string())?;
    if config.application().is_none() {
        return Err("Invalid configuration block, missing Application configuration group".to_owned());
    }
    config.check_level().map_err(|error| format!("Failed capabilities check: [{error}]"))
}

fn config_block(ledger: &Ledger) -> Answer {
    let block = |number: BlockNumber| match ledger.block(number) {
        Ok(Some(block)) => Ok(block),
        Ok(None) => Err(format!("no such block number [{number}] in index")),
        Err(error) => Err(error.to_string()),
    };
    let newest = block(BlockNumber::new(ledger.height().saturating_sub(1)))?;
    // The genesis block does not name itself.
    let last_config = match newest.number() {
        BlockNumber::GENESIS => BlockNumber::GENESIS,
        _ => newest.metadata.last_config().map_err(|error| error.to_string())?,
    };
    Ok(block(last_config)?.to_proto().encode_to_vec().into())
}
