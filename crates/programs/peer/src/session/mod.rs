//! What every command needs before it can talk to anybody: the configuration, an identity, and connections.

mod peers;
mod profile;

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use ripstop_channel_config::ChannelConfig;
use ripstop_keys::{LocalIdentity, SigningIdentity};
use ripstop_node_config::{Environment, PeerClientConfig};
use ripstop_proto::{Message, common};
use ripstop_transport::{ClientTls, Endpoint, KeyPair};
use ripstop_types::{ChannelId, HeaderType};

use crate::client::{Invocation, Orderer, Peer};
use crate::commands::Failure;
use crate::flags::OrdererFlags;
use crate::text;

pub(crate) use peers::{Family, Number, Wanted};

/// Who acts, and how peers are reached.
pub(crate) struct Session {
    config: PeerClientConfig,
    pub(crate) signer: SigningIdentity,
}

impl Session {
    /// Reads `core.yaml`, the environment and the identity they name. Every command does so before it looks at its flags.
    pub(crate) fn open() -> Result<Self, Failure> {
        let config = PeerClientConfig::load(&Environment::of_process())
            .map_err(|error| Failure::Setup(format!("Fatal error when initializing core config : {error}")))?;
        let signer =
            load_signer(&config).map_err(|error| Failure::Setup(format!("Cannot run peer because {error:#}")))?;
        Ok(Self { config, signer })
    }

    /// The orderers that flags name, or else the first one that the channel's configuration names.
    pub(crate) async fn orderers(
        &self,
        flags: &OrdererFlags,
        wanted: Wanted<'_>,
        first_peer: &Peer,
    ) -> anyhow::Result<Vec<Orderer>> {
        let channel = wanted.channel;
        if !flags.orderer.is_empty() {
            return self.named_orderers(flags);
        }
        let endpoints = self
            .orderer_addresses(channel, first_peer)
            .await
            .with_context(|| format!("error getting channel ({channel}) orderer endpoint"))?;
        let address = endpoints.first().with_context(|| {
            format!("no orderer endpoints retrieved for channel {channel}, pass orderer endpoint with -o flag instead")
        })?;
        match wanted.family {
            Family::Chaincode => {
                tracing::info!(target: "chaincodeCmd", function = "InitCmdFactory", "Retrieved channel ({channel}) orderer endpoint: {address}");
            }
            Family::Lifecycle => {
                tracing::info!(target: "cli.lifecycle.chaincode", function = "setOrdererClient", "Retrieved channel ({channel}) orderer endpoint: {address}");
            }
        }
        Ok(vec![self.orderer(flags, address)?])
    }

    /// The orderers that flags name.
    pub(crate) fn named_orderers(&self, flags: &OrdererFlags) -> anyhow::Result<Vec<Orderer>> {
        flags.orderer.split(',').map(|address| self.orderer(flags, address)).collect()
    }

    /// The orderer at `address`, reached as the flags say.
    pub(crate) fn orderer(&self, flags: &OrdererFlags, address: &str) -> anyhow::Result<Orderer> {
        let mut endpoint = Endpoint::new(address)?.connect_timeout(flags.connect_timeout);
        if !flags.tls {
            return Ok(Orderer::new(&endpoint, None));
        }
        let failed = |reason: &anyhow::Error| anyhow!("failed to load config for OrdererClient: {reason:#}");
        let file = &flags.ca_file;
        let roots = std::fs::read(file)
            .map_err(|error| anyhow!("unable to load orderer.tls.rootcert.file: {}", text::not_opened(file, &error)))
            .map_err(|error| failed(&error))?;
        let pair = match flags.client_auth {
            true => {
                let pair = key_pair("orderer", &flags.certificate_file, &flags.key_file);
                Some(pair.map_err(|error| failed(&error))?)
            }
            false => None,
        };
        let tls = ClientTls::new([roots.as_slice()], pair)?.time_shift(flags.time_shift);
        if !flags.hostname_override.is_empty() {
            endpoint = endpoint.server_name(&flags.hostname_override);
        }
        let certificate = tls.certificate().map(<[u8]>::to_vec);
        Ok(Orderer::new(&endpoint.tls(tls), certificate.as_deref()))
    }

    async fn orderer_addresses(&self, channel: &str, peer: &Peer) -> anyhow::Result<Vec<String>> {
        let channel_id = ChannelId::new(channel)?;
        let call = Invocation::new("", "cscc", "GetChannelConfig", [bytes::Bytes::copy_from_slice(channel.as_bytes())]);
        let proposal = call.propose(&self.signer, HeaderType::Config)?;
        let answer = peer.endorse(&proposal).await.context("error endorsing GetChannelConfig")?;
        let answer = answer.response.unwrap_or_default();
        if answer.status != 0 && answer.status != 200 {
            bail!("error bad proposal response {}: {}", answer.status, answer.message);
        }
        let config = common::Config::decode(answer.payload).context("error unmarshalling channel config")?;
        let config = ChannelConfig::new(channel_id, config).context("error loading channel config")?;
        Ok(config.orderer_endpoints().into_iter().map(|endpoint| endpoint.address.clone()).collect())
    }
}

fn load_signer(config: &PeerClientConfig) -> anyhow::Result<SigningIdentity> {
    let directory = &config.msp.directory;
    match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => bail!("cannot init crypto, specified path \"{}\" is not a directory", directory.display()),
        Err(error) => bail!(
            "cannot init crypto, specified path \"{}\" does not exist or cannot be accessed: stat {}: {}",
            directory.display(),
            directory.display(),
            ripstop_command_line::os_text(&error)
        ),
    }
    if config.msp.id.as_str().is_empty() {
        bail!("the local MSP must have an ID");
    }
    let id = &config.msp.id;
    let identity = match &config.msp.keystore {
        Some(keystore) => LocalIdentity::load_with_keystore(directory, keystore, id),
        None => LocalIdentity::load(directory, id),
    };
    let identity = identity
        .with_context(|| format!("error when setting up MSP of type bccsp from directory {}", directory.display()))?;
    Ok(identity.signer)
}

/// The client's own TLS certificate and key; `node` begins the names of the settings.
fn key_pair(node: &str, certificate: &Path, key: &Path) -> anyhow::Result<KeyPair> {
    let read = |file: &Path, name: &str| {
        std::fs::read(file)
            .map_err(|error| anyhow!("unable to load {node}.tls.{name}.file: {}", text::not_opened(file, &error)))
    };
    let (key, certificate) = (read(key, "clientKey")?, read(certificate, "clientCert")?);
    Ok(KeyPair::from_pem(&certificate, &key)?)
}
