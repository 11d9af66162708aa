//! The first message of a stream, each way: who I am, signed, and bound to the TLS connection.

use bytes::Bytes;
use ripstop_types::SerializedIdentity;

use crate::{Contact, Content, Message, Moment, PkiId, SelfDescription, SignedMessage, Tag, Trust};

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Messages follow.
    Talk,
    /// The stream ends behind the handshake: it was about the other peer's identity only.
    Probe,
}

/// Why the peer at the other end of a stream is not talked to. Close the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeRefusal {
    /// The other peer showed no certificate in TLS, so that nothing binds it to the connection.
    #[error("no TLS certificate")]
    NoTlsCertificate,
    /// The first message was another one.
    #[error("wrong type: expected the handshake of a peer")]
    NoHandshake,
    /// The certificate it says it uses is not the one it used: somebody passes its handshake on.
    #[error("Expected {seen} in remote hash of TLS cert, but got {said}")]
    OtherTlsCertificate {
        /// SHA-256 of the certificate that was shown, in hexadecimal digits.
        seen: String,
        /// What the handshake says.
        said: String,
    },
    /// Its identity is not believed.
    #[error("Identity store rejected it: {0}")]
    Identity(#[from] IdentityRefusal),
    /// The handshake was not signed with its identity.
    #[error("Failed verifying signature: it was not made with the identity that the handshake shows")]
    Signature,
}

/// Why an identity is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityRefusal {
    /// The membership service providers do not take it.
    #[error("{0}")]
    Distrusted(String),
    /// It is none.
    #[error("failed classifying identity: {0}")]
    Unreadable(String),
    /// It belongs to another PKI-ID than the one that claims it.
    #[error("identity doesn't match the computed pkiID")]
    Stolen,
    /// A message that holds it was not signed with it.
    #[error("it is not signed with itself")]
    Forged,
    /// Its certificate ended.
    #[error("gossipping peer identity expired")]
    Expired,
    /// Its organization has as many known peers as it may have.
    #[error("there is no room for one more peer of {0}")]
    NoRoom(String),
}

/// What this peer says first on a stream. The hash is the SHA-256 of the certificate that it uses on that stream: its
/// client's certificate where it dialled, its server's else.
pub fn offer(me: &SelfDescription, tls_certificate_hash: Bytes, purpose: Purpose, trust: &dyn Trust) -> SignedMessage {
    let content = Content::Establish {
        pki_id: me.pki_id.clone(),
        identity: me.identity.clone(),
        tls_certificate_hash,
        probe: purpose == Purpose::Probe,
    };
    SignedMessage::signed(Message { nonce: 0, channel: None, tag: Tag::Everybody, content }, trust)
}

/// Judges what the other peer said first. The hash is the SHA-256 of the certificate that it showed in TLS; empty when it
/// showed none. `None` where streams have no TLS: then nothing binds a handshake to its stream, as with Fabric's peers.
///
/// Who dialled to reach a certain peer compares [`Contact::pki_id`] itself: another peer may live there now.
pub fn judge(
    trust: &dyn Trust,
    now: Moment,
    message: &SignedMessage,
    tls_certificate_hash: Option<&[u8]>,
) -> Result<(Contact, Purpose), HandshakeRefusal> {
    if tls_certificate_hash.is_some_and(<[u8]>::is_empty) {
        return Err(HandshakeRefusal::NoTlsCertificate);
    }
    let Content::Establish { pki_id, identity, tls_certificate_hash: said, probe } = &message.message().content else {
        return Err(HandshakeRefusal::NoHandshake);
    };
    let standing = judge_identity(trust, now, pki_id, identity)?;
    if let Some(seen) = tls_certificate_hash.filter(|seen| said[..] != **seen) {
        return Err(HandshakeRefusal::OtherTlsCertificate { seen: hex(seen), said: hex(said) });
    }
    if !message.is_signed_by(identity, trust) {
        return Err(HandshakeRefusal::Signature);
    }
    let contact = Contact {
        pki_id: pki_id.clone(),
        identity: identity.clone(),
        organization: standing.organization,
        handshake: message.clone(),
    };
    Ok((contact, if *probe { Purpose::Probe } else { Purpose::Talk }))
}

/// Whether an identity is valid and belongs to a PKI-ID.
pub(crate) fn judge_identity(
    trust: &dyn Trust,
    now: Moment,
    pki_id: &PkiId,
    identity: &Bytes,
) -> Result<crate::Standing, IdentityRefusal> {
    let read = SerializedIdentity::parse(identity.clone());
    let read = read.map_err(|error| IdentityRefusal::Unreadable(error.to_string()))?;
    if PkiId::of(&read) != *pki_id {
        return Err(IdentityRefusal::Stolen);
    }
    let standing =
        trust.identify(now, identity).map_err(|distrust| IdentityRefusal::Distrusted(distrust.to_string()))?;
    match standing.expires {
        Some(expires) if expires <= now => Err(IdentityRefusal::Expired),
        Some(_) | None => Ok(standing),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
