use anyhow::{Context, anyhow};
use ripstop_keys::SigningIdentity;
use ripstop_proto::Message;
use ripstop_types::{Block, ChannelId};

use super::announce_if_reached;
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
    async fn block(&self, asked: BlockRequest<'_>, signer: &SigningIdentity) -> Result<Block, CallError> {
        match self {
            Self::Orderer(orderer) => orderer.block(asked, signer).await,
            Self::Peer(peer) => peer.block(asked, signer).await,
        }
    }

    /// Tells what was received, in the words of Fabric's command.
    fn told(&self, received: Result<Block, CallError>) -> anyhow::Result<Block> {
        let block = received.map_err(|error| match (self, error) {
            (Self::Orderer(_), error @ CallError::Connect { .. }) => {
                anyhow!("failed to create deliver client for orderer: {error}")
            }
            (Self::Peer(_), CallError::Connect { address, reason, .. }) => {
                let error = CallError::Connect { role: "deliver", address, reason };
                anyhow!("error getting deliver client for channel: failed to create deliver client for peer: {error}")
            }
            (_, error @ CallError::NoBlock { status }) => {
                tracing::info!(target: "cli.common", function = "readBlock", "Expect block, but got status: &{{{status}}}");
                error.into()
            }
            (Self::Orderer(_), error @ CallError::Status(_)) => anyhow!("error receiving: {error}"),
            (Self::Peer(_), error @ CallError::Status(_)) => {
                anyhow!("error receiving: error receiving from peer deliver service: {error}")
            }
            (_, error) => error.into(),
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
    let first = match target.as_str() {
        "oldest" => Seek::Oldest,
        "newest" | "config" => Seek::Newest,
        number => Seek::Number(number.parse().map_err(|_| anyhow!("fetch target illegal: {target}"))?),
    };
    let signer = &session.signer;
    let channel = ChannelId::new(channel)?;
    let at = |seek| BlockRequest { channel: &channel, seek, patience };
    let received = source.block(at(first), signer).await;
    announce_if_reached(&received);
    let mut block = source.told(received)?;
    if target == "config" {
        let number = block.metadata.last_config().context("cannot find the last config block")?;
        tracing::info!(target: "channelCmd", function = "fetch", "Retrieving last config block: {number}");
        block = source.told(source.block(at(Seek::Number(number.get())), signer).await)?;
    }
    std::fs::write(&file, block.to_proto().encode_to_vec())
        .map_err(|error| anyhow!(text::not_opened(file.as_ref(), &error)))?;
    Ok(())
}
