use std::fmt;

use bytes::Bytes;
use ripstop_types::{Digest, SerializedIdentity};

/// Which peer: the SHA-256 of its MSP id and its certificate as it travels (Fabric: PKI-ID).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PkiId(Bytes);

/// `host:port` under which a peer is reached.
pub type Endpoint = String;

impl PkiId {
    /// How many bytes an id has.
    const LENGTH: usize = 32;

    /// The id that an identity has.
    pub fn of(identity: &SerializedIdentity) -> Self {
        let digest = Digest::of_parts([identity.msp_id.as_str().as_bytes(), &identity.id_bytes[..]]);
        Self(Bytes::copy_from_slice(digest.as_bytes()))
    }

    /// Takes an id as a message claims it, if it has the form of one.
    pub(crate) fn parse(bytes: Bytes) -> Option<Self> {
        (bytes.len() == Self::LENGTH).then_some(Self(bytes))
    }

    /// Takes an id as a message claims it. Whether there is such a peer is another question.
    pub const fn claimed(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Display for PkiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PkiId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How a peer is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which peer.
    pub pki_id: PkiId,
    /// Where peers of other organizations reach it; empty when it does not want that (`peer.gossip.externalEndpoint`).
    pub endpoint: Endpoint,
    /// Where peers of its own organization reach it (`peer.gossip.endpoint`). Empty in what came from another organization.
    pub internal_endpoint: Endpoint,
    /// What else it says of itself; Fabric's peers say nothing.
    pub metadata: Bytes,
}

impl Member {
    /// Where this peer reaches it: the internal endpoint if it is known (Fabric: `PreferredEndpoint`).
    pub fn preferred_endpoint(&self) -> &str {
        match self.internal_endpoint.is_empty() {
            true => &self.endpoint,
            false => &self.internal_endpoint,
        }
    }
}
