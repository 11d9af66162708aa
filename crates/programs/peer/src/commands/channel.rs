//! `peer channel`: which channels a peer keeps, and their blocks.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use ripstop_keys::SigningIdentity;
use ripstop_proto::{Message, common, protos};
use ripstop_types::{Block, ChannelId, HeaderType};

use super::{Failure, block_on, unreachable_or, usage};
use crate::client::{BlockRequest, CallError, Invocation, Orderer, Patience, Peer, Seek};
use crate::flags::OrdererFlags;
use crate::session::Session;
use crate::text;

/// Operate a channel: fetch|join|joinbysnapshot|joinbysnapshotstatus|list|getinfo.
#[derive(Debug, clap::Args)]
pub(crate) struct ChannelCommand {
    #[command(flatten)]
    orderer: OrdererFlags,
    #[command(subcommand)]
    command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
enum Subcommand {
    /// Joins the peer to a channel.
    Join {
        /// Path to file containing genesis block
        #[arg(short = 'b', long = "blockpath", value_parser = crate::flags::path)]
        block: Option<PathBuf>,
    },
    /// Joins the peer to a channel by the specified snapshot
    Joinbysnapshot {
        /// Path to the snapshot directory
        #[arg(long = "snapshotpath", default_value = "")]
        snapshot: String,
    },
    /// Query if joinbysnapshot is running for any channel
    Joinbysnapshotstatus,
    /// List of channels peer has joined.
    List,
    /// get blockchain information of a specified channel. Requires '-c'.
    Getinfo {
        /// The channel
        #[arg(short = 'c', long = "channelID")]
        channel: Option<String>,
    },
    /// Fetch a specified block, writing it to a file.
    Fetch {
        /// The channel
        #[arg(short = 'c', long = "channelID", default_value = "")]
        channel: String,
        /// Whether fetch requests should ignore errors and return blocks on a best effort basis
        #[arg(long = "bestEffort")]
        best_effort: bool,
        /// <newest|oldest|config|(number)> [outputfile]
        #[arg(value_name = "newest|oldest|config|(number)] [outputfile")]
        arguments: Vec<String>,
    },
    /// There is no system channel: channels are made with osnadmin channel join.
    #[command(hide = true)]
    Create {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        _arguments: Vec<String>,
    },
}

impl ChannelCommand {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.command {
            Subcommand::Join { block } => {
                let Some(path) = block.filter(|path| !path.as_os_str().is_empty()) else { return usage("Must supply genesis block path") };
                block_on(async {
                    let session = Session::open()?;
                    let block =
                        std::fs::read(&path).map_err(|error| anyhow!("genesis block file not found {}", text::not_opened(&path, &error)))?;
                    Ok(join(&own_peer(&session)?, block.into(), &session.signer).await?)
                })
            }
            Subcommand::Joinbysnapshot { snapshot } => match snapshot.as_str() {
                "" => usage("the required parameter 'snapshotpath' is empty. Rerun the command with --snapshotpath flag"),
                _ => block_on(join_by_snapshot(snapshot)),
            },
            Subcommand::Joinbysnapshotstatus => block_on(join_by_snapshot_status()),
            Subcommand::List => block_on(list()),
            Subcommand::Getinfo { channel } => match channel.filter(|channel| !channel.is_empty()) {
                Some(channel) => block_on(chain_info(channel)),
                None => usage("Must supply channel ID"),
            },
            Subcommand::Fetch { channel, best_effort, arguments } => {
                let (target, file) = match arguments.as_slice() {
                    [] => return usage("fetch target required, oldest, newest, config, or a number"),
                    [target] => (target.clone(), format!("{channel}_{target}.block")),
                    [target, file] => (target.clone(), file.clone()),
                    _ => return usage("trailing args detected"),
                };
                let patience = if best_effort { Patience::BestEffort } else { Patience::Strict };
                block_on(fetch(&self.orderer, channel, patience, target, file))
            }
            Subcommand::Create { .. } => {
                Err(anyhow!("channels are not created through a system channel any more: make a genesis block with configtxgen -outputBlock and give it to each orderer with osnadmin channel join").into())
            }
        }
    }
}

/// Gives a peer a channel's genesis block (or a later configuration block's successor of it), from which it joins.
pub(crate) async fn join(peer: &Peer, block: Bytes, signer: &SigningIdentity) -> anyhow::Result<()> {
    propose_join(peer, "JoinChain", block, signer).await
}

async fn propose_join(peer: &Peer, function: &str, from: Bytes, signer: &SigningIdentity) -> anyhow::Result<()> {
    let call = Invocation::new("", "cscc", function, [from]);
    let proposal = call.propose(signer, HeaderType::Config)?;
    let answer = peer.endorse(&proposal).await.map_err(|error| {
        unreachable_or(error, "endorser", "channel", |error| anyhow!("proposal failed (err: {error})"))
    })?;
    let answer = answer.response.unwrap_or_default();
    if answer.status != 0 && answer.status != 200 {
        bail!("proposal failed (err: bad proposal response {}: {})", answer.status, answer.message);
    }
    tracing::info!(target: "channelCmd", function = "executeJoin", "Successfully submitted proposal to join channel");
    Ok(())
}

async fn join_by_snapshot(directory: String) -> Result<(), Failure> {
    let session = Session::open()?;
    propose_join(&own_peer(&session)?, "JoinChainBySnapshot", directory.into(), &session.signer).await?;
    tracing::info!(target: "channelCmd", function = "joinBySnapshot", "The joinbysnapshot operation is in progress. Use \"peer channel joinbysnapshotstatus\" to check the status.");
    Ok(())
}

async fn join_by_snapshot_status() -> Result<(), Failure> {
    let session = Session::open()?;
    let call = Invocation::new("", "cscc", "JoinBySnapshotStatus", []);
    let answer = own_peer(&session)?.query(&call, &session.signer).await;
    let answer = answer
        .map_err(|error| {
            unreachable_or(error, "endorser", "channel", |error| anyhow!("failed sending proposal, due to {error}"))
        })?
        .response
        .unwrap_or_default();
    if answer.status != 200 {
        return Err(anyhow!("received bad response, status {}: {}", answer.status, answer.message).into());
    }
    let status = protos::JoinBySnapshotStatus::decode(answer.payload)
        .map_err(|error| anyhow!("cannot query joinbysnapshot status, due to {error}"))?;
    if status.in_progress {
        say!("A joinbysnapshot operation is in progress for snapshot at {}", status.bootstrapping_snapshot_dir);
    } else {
        say!("No joinbysnapshot operation is in progress");
    }
    Ok(())
}

fn own_peer(session: &Session) -> anyhow::Result<Peer> {
    session.own_peer().context("error getting endorser client for channel")
}

async fn list() -> Result<(), Failure> {
    let session = Session::open()?;
    let call = Invocation::new("", "cscc", "GetChannels", []);
    let answer = own_peer(&session)?.query(&call, &session.signer).await;
    let answer = answer
        .map_err(|error| {
            unreachable_or(error, "endorser", "channel", |error| anyhow!("Failed sending proposal, got {error}"))
        })?
        .response
        .unwrap_or_default();
    if answer.status != 200 {
        return Err(anyhow!("Received bad response, status {}: {}", answer.status, answer.message).into());
    }
    let channels =
        protos::ChannelQueryResponse::decode(answer.payload).context("Cannot read channels list response")?;
    say!("Channels peers has joined: ");
    for channel in channels.channels {
        say!("{}", channel.channel_id);
    }
    Ok(())
}

async fn chain_info(channel: String) -> Result<(), Failure> {
    let session = Session::open()?;
    let call = Invocation::new("", "qscc", "GetChainInfo", [channel.into()]);
    let answer = own_peer(&session)?.query(&call, &session.signer).await.map_err(|error| {
        unreachable_or(error, "endorser", "channel", |error| anyhow!("failed sending proposal: {error}"))
    })?;
    let answer = answer.response.unwrap_or_default();
    if answer.status != 200 {
        return Err(anyhow!("received bad response, status {}: {}", answer.status, answer.message).into());
    }
    let info = common::BlockchainInfo::decode(answer.payload).context("cannot read qscc response")?;
    say!("Blockchain info: {}", text::chain_info(&info));
    Ok(())
}

/// Who delivers the block.
enum Source {
    Orderer(Orderer),
    Peer(Peer),
}

impl Source {
    async fn block(&self, asked: BlockRequest<'_>, signer: &SigningIdentity) -> Result<Block, CallError> {
        let block = match self {
            Self::Orderer(orderer) => orderer.block(asked, signer).await,
            Self::Peer(peer) => peer.block(asked, signer).await,
        };
        if let Err(CallError::NoBlock { status }) = &block {
            tracing::info!(target: "cli.common", function = "readBlock", "Expect block, but got status: &{{{status}}}");
        }
        let block = block?;
        tracing::info!(target: "cli.common", function = "readBlock", "Received block: {}", block.number());
        Ok(block)
    }
}

async fn fetch(
    flags: &OrdererFlags,
    channel: String,
    patience: Patience,
    target: String,
    file: String,
) -> Result<(), Failure> {
    let session = Session::open()?;
    let source = match flags.orderer.as_deref() {
        Some(address) if address.split(':').count() == 2 => Source::Orderer(session.orderer(flags, address)?),
        _ => Source::Peer(own_peer(&session)?),
    };
    tracing::info!(target: "channelCmd", function = "InitCmdFactory", "Endorser and orderer connections initialized");
    let signer = &session.signer;
    let channel = ChannelId::new(&channel)?;
    let at = |seek| BlockRequest { channel: &channel, seek, patience };
    let block = match target.as_str() {
        "oldest" => source.block(at(Seek::Oldest), signer).await?,
        "newest" => source.block(at(Seek::Newest), signer).await?,
        "config" => {
            let newest = source.block(at(Seek::Newest), signer).await?;
            let number = newest.metadata.last_config().context("cannot find the last config block")?;
            tracing::info!(target: "channelCmd", function = "fetch", "Retrieving last config block: {number}");
            source.block(at(Seek::Number(number.get())), signer).await?
        }
        number => match number.parse() {
            Ok(number) => source.block(at(Seek::Number(number)), signer).await?,
            Err(_) => return Err(anyhow!("fetch target illegal: {target}").into()),
        },
    };
    std::fs::write(&file, block.to_proto().encode_to_vec())
        .map_err(|error| anyhow!(text::not_opened(file.as_ref(), &error)))?;
    Ok(())
}
