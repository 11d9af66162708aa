use std::fmt;

use bytes::Bytes;
use ripstop_types::{ChannelId, MspId};

use crate::{Moment, PkiId, SignedMessage};

/// Who vouches: the membership service providers and policies of the channels on a real peer, something cheaper in a
/// simulation.
///
/// All of it is pure: the same question at the same configuration has the same answer. `sign` uses the peer's own key.
pub trait Trust {
    /// Whose identity (a `SerializedIdentity`) this is, if it is valid now. It is not remembered here: machines ask anew when
    /// they are told that configurations changed.
    fn identify(&self, now: Moment, identity: &Bytes) -> Result<Standing, Distrust>;

    /// Whether the holder of an identity signed a message.
    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool;

    /// Whether the holder of an identity signed a message and may read a channel (`/Channel/Application/Readers`).
    fn verify_reader(&self, channel: &ChannelId, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool;

    /// Signs a message as this peer. An empty signature when the key's keeper fails; no receiver believes it.
    fn sign(&self, message: &[u8]) -> Bytes;
}

/// What is known of an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its organization.
    pub organization: MspId,
    /// When its certificate ends; `None` when it does not.
    pub expires: Option<Moment>,
}

/// Why an identity is not believed. The text says it to an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Distrust(pub String);

/// A peer at the other end of an authenticated stream.
#[derive(Clone, PartialEq, Eq)]
pub struct Contact {
    /// Which peer.
    pub pki_id: PkiId,
    /// Its identity as it travels.
    pub identity: Bytes,
    /// Its organization.
    pub organization: MspId,
    /// The signed `ConnEstablish` it began the stream with; policies are evaluated over it later (Fabric: `AuthInfo`).
    pub handshake: SignedMessage,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.pki_id, self.organization)
    }
}
