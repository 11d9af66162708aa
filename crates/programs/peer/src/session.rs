//! What every command needs before it can talk to anybody: the configuration, an identity, and connections.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use ripstop_channel_config::ChannelConfig;
use ripstop_keys::{LocalIdentity, SigningIdentity};
use ripstop_node_config::{Environment, PeerClientConfig};
use ripstop_proto::{Message, common};
use ripstop_transport::{ClientTls, Endpoint, KeyPair};
use ripstop_types::{ChannelId, HeaderType};
use serde::Deserialize;

use crate::client::{Invocation, Orderer, Peer};
use crate::flags::{OrdererFlags, PeerFlags};
use crate::text;

/// Who acts, and how peers are reached.
pub(crate) struct Session {
    config: PeerClientConfig,
    pub(crate) signer: SigningIdentity,
}

/// Whether a command may be sent to several peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Targets {
    /// A transaction, which several peers endorse.
    Several,
    /// A query.
    One,
}

impl Session {
    /// Reads `core.yaml`, the environment and the identity they name.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let config =
            PeerClientConfig::load(&Environment::of_process()).context("Fatal error when initializing core config")?;
        let directory = &config.msp.directory;
        let cannot_run = "Cannot run peer because";
        if let Err(error) = std::fs::metadata(directory) {
            bail!(
                "{cannot_run} cannot init crypto, specified path \"{}\" does not exist or cannot be accessed: stat {}: {}",
                directory.display(),
                directory.display(),
                text::system_reason(&error)
            );
        }
        if config.msp.id.as_str().is_empty() {
            bail!("{cannot_run} the local MSP must have an ID");
        }
        let id = &config.msp.id;
        let identity = match &config.msp.keystore {
            Some(keystore) => LocalIdentity::load_with_keystore(directory, keystore, id),
            None => LocalIdentity::load(directory, id),
        };
        let signer = identity
            .with_context(|| {
                format!("{cannot_run} error when setting up MSP of type bccsp from directory {}", directory.display())
            })?
            .signer;
        Ok(Self { config, signer })
    }

    /// The peer that configuration and environment name.
    pub(crate) fn own_peer(&self) -> anyhow::Result<Peer> {
        let root = self.config.tls_root_certificate.as_deref();
        // Without a file, Fabric's words are those for a file without a name.
        self.peer(&self.config.address, Some(root.unwrap_or(Path::new(""))))
    }

    /// The peers that flags name, or else the one that the environment names.
    pub(crate) fn peers(
        &self,
        flags: &PeerFlags,
        channel: &str,
        target: Option<&str>,
        command: &str,
        targets: Targets,
    ) -> anyhow::Result<Vec<Peer>> {
        let (mut addresses, mut roots) = (flags.addresses.clone(), flags.root_files.clone());
        if let Some(profile) = flags.profile.as_ref().filter(|profile| !profile.as_os_str().is_empty())
            && let Some(peers) = peers_of_profile(profile, channel, target)?
        {
            (addresses, roots) = peers.into_iter().unzip();
        }
        if addresses.is_empty() || addresses.iter().all(String::is_empty) {
            return Ok(vec![self.own_peer()?]);
        }
        if targets == Targets::One && addresses.len() > 1 {
            bail!(
                "failed to validate peer connection parameters: '{command}' command supports one peer. {} peers provided",
                addresses.len()
            );
        }
        if !self.config.tls_enabled {
            return addresses.iter().map(|address| self.peer(address, None)).collect();
        }
        if roots.is_empty() && addresses.len() == 1 {
            bail!("tls root cert file must be set");
        }
        if roots.len() != addresses.len() {
            bail!(
                "failed to validate peer connection parameters: number of peer addresses ({}) does not match the number of TLS root cert files ({})",
                addresses.len(),
                roots.len()
            );
        }
        addresses.iter().zip(&roots).map(|(address, root)| self.peer(address, Some(root))).collect()
    }

    /// The peer whose snapshots are asked about: the one that flags name, or else the one of the environment. With TLS the
    /// flags must name a root.
    pub(crate) fn snapshot_peer(&self, address: &str, root: Option<&Path>) -> anyhow::Result<Peer> {
        let root = root.filter(|root| !root.as_os_str().is_empty());
        if self.config.tls_enabled && root.is_none() {
            bail!("the required parameter 'tlsRootCertFile' is empty. Rerun the command with --tlsRootCertFile flag");
        }
        match address {
            "" => self.own_peer(),
            address => self.peer(address, root),
        }
    }

    fn peer(&self, address: &str, root: Option<&Path>) -> anyhow::Result<Peer> {
        if address.is_empty() {
            bail!("peer address must be set (--peerAddresses, CORE_PEER_ADDRESS or peer.address in core.yaml)");
        }
        let mut endpoint = Endpoint::new(address)?.connect_timeout(self.config.connection_timeout);
        if !self.config.tls_enabled {
            return Ok(Peer::new(&endpoint, None));
        }
        let root = root.context("tls root cert file must be set")?;
        let roots = std::fs::read(root).map_err(|error| {
            anyhow!(
                "failed to load config for PeerClient: unable to load peer.tls.rootcert.file: {}",
                text::not_opened(root, &error)
            )
        })?;
        let pair = if self.config.client_auth_required {
            let (certificate, key) = (&self.config.client_certificate, &self.config.client_key);
            Some(key_pair(
                certificate.as_deref(),
                "peer.tls.clientCert.file",
                key.as_deref(),
                "peer.tls.clientKey.file",
            )?)
        } else {
            None
        };
        let tls = ClientTls::new([roots.as_slice()], pair)?.time_shift(self.config.handshake_time_shift);
        if let Some(name) = &self.config.server_host_override {
            endpoint = endpoint.server_name(name);
        }
        let certificate = tls.certificate().map(<[u8]>::to_vec);
        Ok(Peer::new(&endpoint.tls(tls), certificate.as_deref()))
    }

    /// The orderers that flags name, or else the first one that the channel's configuration names.
    pub(crate) async fn orderers(
        &self,
        flags: &OrdererFlags,
        channel: &str,
        first_peer: &Peer,
    ) -> anyhow::Result<Vec<Orderer>> {
        if let Some(addresses) = flags.orderer.as_deref().filter(|address| !address.is_empty()) {
            return addresses.split(',').map(|address| self.orderer(flags, address)).collect();
        }
        let endpoints = self
            .orderer_addresses(channel, first_peer)
            .await
            .with_context(|| format!("error getting channel ({channel}) orderer endpoint"))?;
        let address = endpoints.first().with_context(|| {
            format!("no orderer endpoints retrieved for channel {channel}, pass orderer endpoint with -o flag instead")
        })?;
        tracing::info!(target: "cli.common", function = "InitCmdFactory", "Retrieved channel ({channel}) orderer endpoint: {address}");
        Ok(vec![self.orderer(flags, address)?])
    }

    /// The orderer at `address`, reached as the flags say.
    pub(crate) fn orderer(&self, flags: &OrdererFlags, address: &str) -> anyhow::Result<Orderer> {
        let mut endpoint = Endpoint::new(address)?.connect_timeout(flags.connect_timeout());
        if !flags.uses_tls() {
            return Ok(Orderer::new(&endpoint, None));
        }
        // Without a file, Fabric's words are those for a file without a name.
        let file = flags.ca_file.as_deref().unwrap_or(Path::new(""));
        let roots = std::fs::read(file).map_err(|error| {
            anyhow!(
                "failed to load config for OrdererClient: unable to load orderer.tls.rootcert.file: {}",
                text::not_opened(file, &error)
            )
        })?;
        let pair = if flags.presents_certificate() {
            let (certificate, key) = (flags.certificate_file.as_deref(), flags.key_file.as_deref());
            Some(key_pair(certificate, "orderer.tls.clientCert.file", key, "orderer.tls.clientKey.file")?)
        } else {
            None
        };
        let tls = ClientTls::new([roots.as_slice()], pair)?.time_shift(flags.time_shift());
        if let Some(name) = flags.hostname_override.as_deref().filter(|name| !name.is_empty()) {
            endpoint = endpoint.server_name(name);
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

fn key_pair(
    certificate: Option<&Path>,
    certificate_key: &str,
    key: Option<&Path>,
    key_key: &str,
) -> anyhow::Result<KeyPair> {
    let read = |file: Option<&Path>, name: &str| {
        let file = file.with_context(|| format!("unable to load {name}: it is not set"))?;
        std::fs::read(file).with_context(|| format!("unable to load {name}: {}", file.display()))
    };
    Ok(KeyPair::from_pem(&read(certificate, certificate_key)?, &read(key, key_key)?)?)
}

/// The part of a connection profile that names peers.
#[derive(Debug, Deserialize)]
struct Profile {
    #[serde(default)]
    channels: std::collections::BTreeMap<String, ProfileChannel>,
    #[serde(default)]
    peers: std::collections::BTreeMap<String, ProfilePeer>,
}

#[derive(Debug, Default, Deserialize)]
struct ProfileChannel {
    #[serde(default)]
    peers: std::collections::BTreeMap<String, ProfileRole>,
}

#[derive(Debug, Deserialize)]
struct ProfileRole {
    #[serde(default, rename = "endorsingPeer")]
    endorses: bool,
}

#[derive(Debug, Deserialize)]
struct ProfilePeer {
    url: String,
    #[serde(default, rename = "tlsCACerts")]
    tls: ProfileTls,
}

#[derive(Debug, Default, Deserialize)]
struct ProfileTls {
    #[serde(default)]
    path: PathBuf,
}

/// The peers that a connection profile names for a channel, or the one that is asked for by name where there is no
/// channel. `None` when the profile says nothing about the channel.
fn peers_of_profile(
    file: &Path,
    channel: &str,
    target: Option<&str>,
) -> anyhow::Result<Option<Vec<(String, PathBuf)>>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("error reading connection profile {}", file.display()))?;
    let profile: Profile = serde_saphyr::from_str(&text)
        .with_context(|| format!("error unmarshalling YAML of connection profile {}", file.display()))?;
    let peer = |name: &str| {
        let peer =
            profile.peers.get(name).with_context(|| format!("peer '{name}' doesn't have associated peer config"))?;
        anyhow::Ok((peer.url.clone(), peer.tls.path.clone()))
    };
    if channel.is_empty() {
        let target = target.filter(|target| !target.is_empty());
        let target =
            target.context("--targetPeer must be specified for channel-less operation using connection profile")?;
        return Ok(Some(vec![peer(target)?]));
    }
    let Some(roles) = profile.channels.get(channel).filter(|channel| !channel.peers.is_empty()) else {
        return Ok(None);
    };
    let endorsers = roles.peers.iter().filter(|(_, role)| role.endorses);
    endorsers.map(|(name, _)| peer(name)).collect::<anyhow::Result<Vec<_>>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "
name: net
channels:
  mychannel:
    peers:
      peer0.org1: {endorsingPeer: true, chaincodeQuery: true}
      peer1.org1: {endorsingPeer: false}
peers:
  peer0.org1: {url: 'localhost:7051', tlsCACerts: {path: ca1.pem}}
  peer1.org1: {url: 'localhost:8051'}
";

    #[test]
    fn a_connection_profile_names_endorsers_of_a_channel_or_a_single_target() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), PROFILE).unwrap();
        let peers = |channel, target| peers_of_profile(file.path(), channel, target);
        assert_eq!(peers("mychannel", None).unwrap(), Some(vec![("localhost:7051".to_owned(), "ca1.pem".into())]));
        assert_eq!(peers("", Some("peer1.org1")).unwrap(), Some(vec![("localhost:8051".to_owned(), "".into())]));
        assert_eq!(peers("other", None).unwrap(), None);
        assert!(peers("", None).unwrap_err().to_string().contains("--targetPeer"));
        assert!(peers("", Some("x")).is_err());
    }
}
