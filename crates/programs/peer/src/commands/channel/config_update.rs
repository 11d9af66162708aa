//! Changing a channel's configuration: signing what somebody proposes, and handing it over to be ordered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use ripstop_keys::{EnvelopeHeader, SignError, SigningIdentity, sign_envelope, signature_header};
use ripstop_proto::{Message, common};
use ripstop_types::{ChannelId, HeaderType};

use super::{announce_connections, announce_if_reached};
use crate::client::{BlockRequest, CallError, Orderer, Patience, Seek, now};
use crate::commands::{Failure, usage};
use crate::flags::OrdererFlags;
use crate::session::Session;
use crate::text;

/// How long to wait before the orderer is asked again for the first block of a channel.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a file holds no change that can be signed. Fabric's words, which speak of creation in any case.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid channel create transaction : {0}")]
struct InvalidUpdate(String);

/// Reads a proposed change, adds a signature and wraps it anew. An empty channel is the one that the change names.
fn read_and_sign(file: &Path, channel: &str, signer: &SigningIdentity) -> anyhow::Result<common::Envelope> {
    let content = std::fs::read(file).map_err(|error| {
        anyhow!("channel create configuration tx file not found {}", text::not_opened(file, &error))
    })?;
    let envelope = common::Envelope::decode(content.as_slice())
        .map_err(|error| anyhow!("error unmarshalling Envelope: {error}"))?;
    let (channel, update) = open(envelope, channel)?;
    Ok(sign(update, &channel, signer)?)
}

fn sign(
    mut update: common::ConfigUpdateEnvelope,
    channel: &ChannelId,
    signer: &SigningIdentity,
) -> Result<common::Envelope, SignError> {
    let signature_header = signature_header(signer);
    let signature = signer.sign(&[signature_header.as_ref(), update.config_update.as_ref()].concat())?;
    update.signatures.push(common::ConfigSignature { signature_header, signature });
    let header = EnvelopeHeader {
        kind: HeaderType::ConfigUpdate,
        channel_id: Some(channel),
        tx_id: None,
        extension: Bytes::new(),
        tls_cert_hash: Bytes::new(),
        timestamp: now(),
    };
    sign_envelope(signer, &header, update.encode_to_vec().into())
}

/// What a proposed change changes, and on which channel.
fn open(
    envelope: common::Envelope,
    expected: &str,
) -> Result<(ChannelId, common::ConfigUpdateEnvelope), InvalidUpdate> {
    let invalid = |problem: &str| InvalidUpdate(problem.to_owned());
    let payload = common::Payload::decode(envelope.payload).map_err(|_| invalid("bad payload"))?;
    let header = payload.header.filter(|header| !header.channel_header.is_empty());
    let header = header.ok_or_else(|| invalid("bad header"))?;
    let header = common::ChannelHeader::decode(header.channel_header)
        .map_err(|_| invalid("could not unmarshall channel header"))?;
    if header.r#type != HeaderType::ConfigUpdate.number() {
        return Err(invalid("bad type"));
    }
    let channel = header.channel_id;
    if channel.is_empty() {
        return Err(invalid("empty channel id"));
    }
    if !expected.is_empty() && channel != expected {
        return Err(InvalidUpdate(format!("mismatched channel ID {channel} != {expected}")));
    }
    let channel = ChannelId::new(&channel).map_err(|error| InvalidUpdate(error.to_string()))?;
    let update = common::ConfigUpdateEnvelope::decode(payload.data).map_err(|_| invalid("Bad config update env"))?;
    Ok((channel, update))
}

fn file_named(file: &Path) -> Result<(), Failure> {
    match file.as_os_str().is_empty() {
        true => usage(InvalidUpdate("No configtx file name supplied".to_owned()).to_string()),
        false => Ok(()),
    }
}

/// Adds a signature to the change in a file.
pub(super) fn sign_file(session: &Session, file: &Path) -> Result<(), Failure> {
    file_named(file)?;
    announce_connections();
    let signed = read_and_sign(file, "", &session.signer)?;
    std::fs::write(file, signed.encode_to_vec()).map_err(|error| anyhow!(text::not_opened(file, &error)))?;
    Ok(())
}

/// Adds a signature to the change in a file, and hands it over to be ordered.
pub(super) async fn submit(session: &Session, flags: &OrdererFlags, channel: &str, file: &Path) -> Result<(), Failure> {
    if channel.is_empty() {
        return usage("Must supply channel ID");
    }
    file_named(file)?;
    announce_connections();
    let signed = read_and_sign(file, channel, &session.signer)?;
    let unconnected = |reason: &anyhow::Error| anyhow!("Error getting broadcast client: {reason:#}");
    for orderer in session.named_orderers(flags).map_err(|error| unconnected(&error))? {
        orderer.broadcast(signed.clone()).await.map_err(|error| match error {
            CallError::Connect { .. } => unconnected(&error.into()),
            error => error.into(),
        })?;
    }
    tracing::info!(target: "channelCmd", function = "update", "Successfully submitted channel update");
    Ok(())
}

/// The creation of a channel through a system channel, which orderers before Fabric 3 have.
pub(super) struct Creation {
    pub(super) channel: String,
    pub(super) file: PathBuf,
    pub(super) output: PathBuf,
    /// How long the orderer may take until it has the channel's first block.
    pub(super) timeout: Duration,
}

impl Creation {
    pub(super) async fn run(self, session: &Session, flags: &OrdererFlags) -> Result<(), Failure> {
        if self.channel.is_empty() {
            return usage("must supply channel ID");
        }
        let address = &flags.orderer;
        if address.split(':').count() != 2 {
            return Err(anyhow!("ordering service endpoint {address} is not valid or missing").into());
        }
        let orderer = session.orderer(flags, address).context("failed to create deliver client for orderer")?;
        if self.file.as_os_str().is_empty() {
            return Err(anyhow!(
                "without a channel creation transaction (-f) there is nothing to create the channel from; orderers of \
                 Fabric 3 have no system channel in any case: make a genesis block with configtxgen -outputBlock and give \
                 it to each orderer with osnadmin channel join"
            )
            .into());
        }
        let signed = read_and_sign(&self.file, &self.channel, &session.signer)?;
        let taken = orderer.broadcast(signed).await;
        announce_if_reached(&taken);
        taken.map_err(|error| match error {
            CallError::Connect { .. } => anyhow!("failed to create deliver client for orderer: {error}"),
            error => error.into(),
        })?;
        let genesis = tokio::time::timeout(self.timeout, self.genesis_block(&orderer, &session.signer))
            .await
            .map_err(|_| anyhow!("timeout waiting for channel creation"))??;
        let file = match self.output.as_os_str().is_empty() {
            true => PathBuf::from(format!("{}.block", self.channel)),
            false => self.output,
        };
        std::fs::write(&file, genesis).map_err(|error| anyhow!(text::not_opened(&file, &error)))?;
        Ok(())
    }

    async fn genesis_block(&self, orderer: &Orderer, signer: &SigningIdentity) -> anyhow::Result<Vec<u8>> {
        let channel = ChannelId::new(&self.channel)?;
        let asked = BlockRequest { channel: &channel, seek: Seek::Number(0), patience: Patience::Strict };
        loop {
            match orderer.block(asked, signer).await {
                Ok(block) => return Ok(block.to_proto().encode_to_vec()),
                Err(error @ CallError::Connect { .. }) => bail!("failed connecting: {error}"),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ripstop_testkit::Organization;
    use ripstop_types::Envelope;

    use super::*;

    fn envelope(kind: HeaderType, channel: &str, data: &[u8]) -> common::Envelope {
        let header = common::ChannelHeader {
            r#type: kind.number(),
            channel_id: channel.to_owned(),
            ..common::ChannelHeader::default()
        };
        let header = common::Header { channel_header: header.encode_to_vec().into(), ..Default::default() };
        let payload = common::Payload { header: Some(header), data: data.to_vec().into() };
        common::Envelope { payload: payload.encode_to_vec().into(), ..Default::default() }
    }

    #[test]
    fn what_is_no_change_is_refused_in_fabrics_words() {
        let no_header = common::Envelope { payload: b"\x12\x00".as_slice().into(), ..Default::default() };
        for (envelope, words) in [
            (common::Envelope { payload: b"x".as_slice().into(), ..Default::default() }, "bad payload"),
            (no_header, "bad header"),
            (envelope(HeaderType::Config, "ch", b""), "bad type"),
            (envelope(HeaderType::ConfigUpdate, "", b""), "empty channel id"),
            (envelope(HeaderType::ConfigUpdate, "other", b""), "mismatched channel ID other != ch"),
            (envelope(HeaderType::ConfigUpdate, "ch", b"x"), "Bad config update env"),
        ] {
            assert_eq!(open(envelope, "ch"), Err(InvalidUpdate(words.to_owned())));
        }
    }

    #[test]
    fn each_signature_covers_its_header_and_the_change_and_is_added_behind_the_others() {
        let organisation = Organization::new("Org1MSP");
        let (first, second) = (organisation.admin("a"), organisation.admin("b"));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("update.pb");
        let update = common::ConfigUpdateEnvelope { config_update: b"change".as_slice().into(), signatures: vec![] };
        let proposed = envelope(HeaderType::ConfigUpdate, "ch", &update.encode_to_vec());
        std::fs::write(&file, proposed.encode_to_vec()).unwrap();
        let signed = read_and_sign(&file, "", &first).unwrap();
        std::fs::write(&file, signed.encode_to_vec()).unwrap();
        let signed = read_and_sign(&file, "ch", &second).unwrap();

        let (channel, update) = open(signed.clone(), "").unwrap();
        assert_eq!((channel.as_str(), update.config_update.as_ref()), ("ch", b"change".as_slice()));
        assert_eq!(update.signatures.len(), 2);
        for (signature, signer) in update.signatures.iter().zip([&first, &second]) {
            let covered = [signature.signature_header.as_ref(), b"change"].concat();
            signer.certificate().public_key().verify(&covered, &signature.signature).unwrap();
            let header = common::SignatureHeader::decode(signature.signature_header.clone()).unwrap();
            assert_eq!(header.creator, signer.identity().raw);
        }
        let envelope = Envelope::from_proto(signed).unwrap();
        assert_eq!(envelope.signature_header.creator, second.identity().raw, "the last to sign sends it");
        second.certificate().public_key().verify(&envelope.payload, &envelope.signature).unwrap();
    }
}
