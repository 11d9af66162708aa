use anyhow::{Context, anyhow};
use ripstop_keys::SigningIdentity;
use ripstop_proto::Message;
use ripstop_types::{Block, ChannelId};

use super::announce_connections;
use crate::client::{BlockRequest, CallError, Orderer, Patience, Peer, Seek};
use crate::commands::{Failure, usage};
use crate::flags::OrdererFlags;
use crate::session::Session;
use crate::text;

/// Who delivers the block.
enum Source {
    Orderer(Orderer),
    Peer(Peer),
}

impl Source {
    async fn block(&self, asked: BlockRequest<'_>, signer: &SigningIdentity) -> anyhow::Result<Block> {
        let (role, received) = match self {
            Self::Orderer(orderer) => ("orderer", orderer.block(asked, signer).await),
            Self::Peer(peer) => ("peer", peer.block(asked, signer).await),
        };
        let block = received.map_err(|error| match error {
            CallError::Connect { .. } => anyhow!("failed to create deliver client for {role}: {error}"),
            CallError::NoBlock { status } => {
                tracing::info!(target: "cli.common", function = "readBlock", "Expect block, but got status: &{{{status}}}");
                error.into()
            }
            CallError::Status(_) if role == "peer" => {
                anyhow!("error receiving: error receiving from peer deliver service: {error}")
            }
            CallError::Status(_) => anyhow!("error receiving: {error}"),
            error => error.into(),
        })?;
        tracing::info!(target: "cli.common", function = "readBlock", "Received block: {}", block.number());
        Ok(block)
    }
}

/// Writes a block to a file. `words` say which block and, where it matters, the file.
pub(super) async fn fetch(
    session: &Session,
    flags: &OrdererFlags,
    channel: &str,
    patience: Patience,
    words: &[String],
) -> Result<(), Failure> {
    let (target, file) = match words {
        [] => return usage("fetch target required, oldest, newest, config, or a number"),
        [target] => (target, format!("{channel}_{target}.block")),
        [target, file] => (target, file.clone()),
        _ => return usage("trailing args detected"),
    };
    // Whatever is no address stands for the peer, as in Fabric.
    let source = match flags.orderer.split(':').count() {
        2 => Source::Orderer(
            session.orderer(flags, &flags.orderer).context("failed to create deliver client for orderer")?,
        ),
        _ => {
            let peer = session.own_peer().context("failed to create deliver client for peer");
            Source::Peer(peer.context("error getting deliver client for channel")?)
        }
    };
    announce_connections();
    let signer = &session.signer;
    let channel = ChannelId::new(channel)?;
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
