//! The part of a connection profile that names peers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Deserialize;

use crate::text;

/// A connection profile.
#[derive(Debug, Deserialize)]
pub(super) struct Profile {
    #[serde(default)]
    channels: BTreeMap<String, ProfileChannel>,
    #[serde(default)]
    peers: BTreeMap<String, ProfilePeer>,
}

#[derive(Debug, Default, Deserialize)]
struct ProfileChannel {
    #[serde(default)]
    peers: BTreeMap<String, ProfileRole>,
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

/// A peer's address and the file with its TLS roots.
pub(super) type Address = (String, PathBuf);

impl Profile {
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| anyhow!("error reading connection profile: {}", text::not_opened(file, &error)))?;
        serde_saphyr::from_str(&text).context("error unmarshalling YAML")
    }

    /// The names of the peers that endorse on a channel. `None`: the profile says nothing about the channel.
    pub(super) fn endorsers(&self, channel: &str) -> Option<Vec<&str>> {
        let roles = &self.channels.get(channel)?.peers;
        let endorsers = roles.iter().filter(|(_, role)| role.endorses).map(|(name, _)| name.as_str());
        (!roles.is_empty()).then(|| endorsers.collect())
    }

    /// The peer of this name.
    pub(super) fn peer(&self, name: &str) -> Option<Address> {
        self.peers.get(name).map(|peer| (peer.url.clone(), peer.tls.path.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_profile_names_endorsers_of_a_channel_and_peers() {
        let profile: Profile = serde_saphyr::from_str(
            "
name: net
channels:
  mychannel:
    peers:
      peer0.org1: {endorsingPeer: true, chaincodeQuery: true}
      peer1.org1: {endorsingPeer: false}
peers:
  peer0.org1: {url: 'localhost:7051', tlsCACerts: {path: ca1.pem}}
  peer1.org1: {url: 'localhost:8051'}
",
        )
        .unwrap();
        assert_eq!(profile.endorsers("mychannel"), Some(vec!["peer0.org1"]));
        assert_eq!(profile.endorsers("other"), None);
        assert_eq!(profile.peer("peer0.org1"), Some(("localhost:7051".to_owned(), "ca1.pem".into())));
        assert_eq!(profile.peer("peer1.org1"), Some(("localhost:8051".to_owned(), "".into())));
        assert_eq!(profile.peer("peer2.org1"), None);
    }

    #[test]
    fn a_profile_that_is_not_there_is_refused_in_fabrics_words() {
        assert_eq!(
            Profile::read(Path::new("/no/profile")).unwrap_err().to_string(),
            "error reading connection profile: open /no/profile: no such file or directory"
        );
    }
}
