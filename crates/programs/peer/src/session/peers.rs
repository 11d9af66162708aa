//! Which peers a command talks to: those that flags name, those of a connection profile, or the environment's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use ripstop_transport::{ClientTls, Endpoint, MessageLimits};

use super::profile::{Address, Profile};
use super::{Session, key_pair};
use crate::client::{CallError, Peer};
use crate::flags::PeerFlags;
use crate::text;

/// The two families of commands that take peers as flags. Fabric words their refusals differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// `peer chaincode`.
    Chaincode,
    /// `peer lifecycle chaincode`.
    Lifecycle,
}

/// What a command wants of peers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Whose words to use.
    pub(crate) family: Family,
    /// The command's name.
    pub(crate) command: &'a str,
    /// The channel; empty for what concerns a peer rather than a channel.
    pub(crate) channel: &'a str,
    /// Which peer of a connection profile, where no channel says.
    pub(crate) target: &'a str,
    /// How many.
    pub(crate) number: Number,
}

/// Whether a command may be sent to several peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// A transaction, which several peers endorse.
    Several,
    /// A query.
    One,
}

impl Wanted<'_> {
    fn parameters(&self, reason: &anyhow::Error) -> anyhow::Error {
        match self.family {
            Family::Chaincode => anyhow!("error validating peer connection parameters: {reason:#}"),
            Family::Lifecycle => anyhow!("failed to validate peer connection parameters: {reason:#}"),
        }
    }

    fn client(&self, reason: &dyn std::fmt::Display) -> anyhow::Error {
        match self.family {
            Family::Chaincode => anyhow!("error getting endorser client for {}: {reason}", self.command),
            Family::Lifecycle => anyhow!("failed to retrieve endorser client for {}: {reason}", self.command),
        }
    }

    /// The error of a call in Fabric's words, which connects before it calls: a peer that cannot be reached fails the
    /// command otherwise than one that answers badly.
    pub(crate) fn unreachable_or(
        &self,
        error: CallError,
        otherwise: impl FnOnce(CallError) -> anyhow::Error,
    ) -> anyhow::Error {
        match error {
            CallError::Connect { .. } => self.client(&error),
            error => otherwise(error),
        }
    }

    fn addresses(&self, flags: &PeerFlags) -> anyhow::Result<(Vec<String>, Vec<PathBuf>)> {
        // A flag that is not given is one with an empty value, which stands for the environment's peer.
        let given = || {
            let mut given = (flags.addresses.clone(), flags.root_files.clone());
            if given.0.is_empty() {
                given.0.push(String::new());
            }
            if given.1.is_empty() {
                given.1.push(PathBuf::new());
            }
            given
        };
        if flags.profile.as_os_str().is_empty() {
            return Ok(given());
        }
        let profile = Profile::read(&flags.profile)?;
        let names = match (self.family, self.channel, self.target) {
            (Family::Lifecycle, "", "") => {
                bail!("--targetPeer must be specified for channel-less operation using connection profile")
            }
            (Family::Lifecycle, "", target) => vec![target],
            (Family::Lifecycle, channel, _) => profile.endorsers(channel).unwrap_or_default(),
            (Family::Chaincode, channel, _) => match profile.endorsers(channel) {
                Some(endorsers) => endorsers,
                None => return Ok(given()),
            },
        };
        let unknown = match self.family {
            Family::Chaincode => "is defined in the channel config but doesn't have associated peer config",
            Family::Lifecycle => "doesn't have associated peer config",
        };
        let named =
            names.into_iter().map(|name| profile.peer(name).with_context(|| format!("peer '{name}' {unknown}")));
        Ok(named.collect::<anyhow::Result<Vec<Address>>>()?.into_iter().unzip())
    }

    fn check(&self, addresses: &[String], roots: &[PathBuf], secure: bool) -> anyhow::Result<()> {
        let (number, command) = (addresses.len(), self.command);
        if self.number == Number::One && number > 1 {
            match self.family {
                Family::Chaincode => {
                    bail!("'{command}' command can only be executed against one peer. received {number}")
                }
                Family::Lifecycle => bail!("'{command}' command supports one peer. {number} peers provided"),
            }
        }
        if self.family == Family::Chaincode && roots.len() > number {
            tracing::warn!(target: "chaincodeCmd", function = "validatePeerConnectionParameters", "received more TLS root cert files ({}) than peer addresses ({number})", roots.len());
        }
        if secure && roots.len() != number {
            bail!(
                "number of peer addresses ({number}) does not match the number of TLS root cert files ({})",
                roots.len()
            );
        }
        Ok(())
    }
}

impl Session {
    /// The peers that flags or a connection profile name, or else the one that the environment names. There is at least
    /// one.
    pub(crate) fn peers(&self, flags: &PeerFlags, wanted: Wanted<'_>) -> anyhow::Result<Vec<Peer>> {
        let (addresses, roots) = wanted.addresses(flags).map_err(|reason| wanted.parameters(&reason))?;
        wanted.check(&addresses, &roots, self.config.tls_enabled).map_err(|reason| wanted.parameters(&reason))?;
        if addresses.is_empty() {
            bail!("no endorser clients retrieved");
        }
        let root = |at: usize| roots.get(at).map(PathBuf::as_path).unwrap_or(Path::new(""));
        let peers = addresses.iter().enumerate().map(|(at, address)| self.peer_at(address, root(at)));
        peers.collect::<anyhow::Result<_>>().map_err(|reason| wanted.client(&format!("{reason:#}")))
    }

    /// The peer that configuration and environment name.
    pub(crate) fn own_peer(&self) -> anyhow::Result<Peer> {
        // Without a file, Fabric's words are those for a file without a name.
        let root = self.config.tls_root_certificate.as_deref().unwrap_or(Path::new(""));
        let peer = self.connect(&self.config.address, || {
            std::fs::read(root)
                .map_err(|error| anyhow!("unable to load peer.tls.rootcert.file: {}", text::not_opened(root, &error)))
        });
        peer.context("failed to load config for PeerClient")
    }

    /// The peer whose snapshots are asked about: the one that flags name, or else the one of the environment. With TLS the
    /// flags must name a root.
    pub(crate) fn snapshot_peer(&self, address: &str, root: &Path) -> anyhow::Result<Peer> {
        if self.config.tls_enabled && root.as_os_str().is_empty() {
            bail!("the required parameter 'tlsRootCertFile' is empty. Rerun the command with --tlsRootCertFile flag");
        }
        self.peer_at(address, root).map_err(|error| anyhow!("failed to retrieve snapshot client: {error:#}"))
    }

    /// The peer at an address; at an empty one, the environment's.
    fn peer_at(&self, address: &str, root: &Path) -> anyhow::Result<Peer> {
        if address.is_empty() {
            return self.own_peer();
        }
        self.connect(address, || {
            if root.as_os_str().is_empty() {
                bail!("tls root cert file must be set");
            }
            std::fs::read(root).map_err(|error| {
                anyhow!("unable to load TLS root cert file from {}: {}", root.display(), text::not_opened(root, &error))
            })
        })
    }

    fn connect(&self, address: &str, roots: impl FnOnce() -> anyhow::Result<Vec<u8>>) -> anyhow::Result<Peer> {
        if address.is_empty() {
            bail!("peer address must be set (--peerAddresses, CORE_PEER_ADDRESS or peer.address in core.yaml)");
        }
        let messages = MessageLimits {
            receive: self.config.max_receive_message_size as usize,
            send: self.config.max_send_message_size as usize,
        };
        let mut endpoint = Endpoint::new(address)?.connect_timeout(self.config.connection_timeout).messages(messages);
        if !self.config.tls_enabled {
            return Ok(Peer::new(&endpoint, None));
        }
        let roots = roots()?;
        let pair = if self.config.client_auth_required {
            let file = |file: &Option<PathBuf>| file.clone().unwrap_or_default();
            let (certificate, key) = (file(&self.config.client_certificate), file(&self.config.client_key));
            Some(key_pair("peer", &certificate, &key)?)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted<'_> =
        Wanted { family: Family::Lifecycle, command: "queryinstalled", channel: "", target: "", number: Number::One };

    fn flags(addresses: &[&str], roots: &[&str]) -> PeerFlags {
        PeerFlags {
            addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
            root_files: roots.iter().map(PathBuf::from).collect(),
            profile: PathBuf::new(),
        }
    }

    #[test]
    fn peers_and_their_roots_are_counted_in_fabrics_words() {
        let (one, several) = (WANTED, Wanted { number: Number::Several, ..WANTED });
        let chaincode = Wanted { family: Family::Chaincode, command: "query", ..WANTED };
        let cases: [(&Wanted<'_>, &[&str], &[&str], &str); 5] = [
            (&one, &["a", "b"], &[], "'queryinstalled' command supports one peer. 2 peers provided"),
            (&chaincode, &["a", "b"], &[], "'query' command can only be executed against one peer. received 2"),
            (
                &several,
                &["a", "b"],
                &["ca"],
                "number of peer addresses (2) does not match the number of TLS root cert files (1)",
            ),
            (&several, &["a", "b"], &["ca", "cb"], ""),
            (&one, &[], &[], ""),
        ];
        for (wanted, addresses, roots, words) in cases {
            let (addresses, roots) = wanted.addresses(&flags(addresses, roots)).unwrap();
            let checked = wanted.check(&addresses, &roots, true);
            assert_eq!(checked.map_or_else(|error| error.to_string(), |()| String::new()), words);
        }
    }

    #[test]
    fn without_a_channel_a_connection_profile_needs_a_target() {
        let profile = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(profile.path(), "peers: {p: {url: 'localhost:1'}}").unwrap();
        let flags = PeerFlags { profile: profile.path().to_owned(), ..PeerFlags::default() };
        let error = WANTED.addresses(&flags).unwrap_err().to_string();
        assert_eq!(error, "--targetPeer must be specified for channel-less operation using connection profile");
        let targeted = Wanted { target: "p", ..WANTED };
        assert_eq!(targeted.addresses(&flags).unwrap().0, ["localhost:1"]);
        let on_channel = Wanted { channel: "ch", ..WANTED };
        assert_eq!(on_channel.addresses(&flags).unwrap().0, [""; 0]);
        let chaincode = Wanted { family: Family::Chaincode, ..on_channel };
        assert_eq!(chaincode.addresses(&flags).unwrap().0, [""], "the environment's peer");
    }
}
