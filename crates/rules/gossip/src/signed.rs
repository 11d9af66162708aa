use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_proto::gossip::{self as wire, secret};
use ripstop_proto::{Message as _, read};

use crate::parse::{self, MAX_ENDPOINT};
use crate::{Endpoint, Malformed, Message, Trust};

/// A message with the bytes that were signed, as it travels. Copies are cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedMessage {
    envelope: wire::Envelope,
    message: Arc<Message>,
}

impl SignedMessage {
    /// Reads a message that came from outside. Nothing is verified. Its form is: what Fabric's peers would not send, or would
    /// not take, is refused, and so is what is larger than anything they send.
    ///
    /// It has memory of its own, so that who keeps it does not keep all that it came with.
    pub fn parse(envelope: wire::Envelope) -> Result<Self, Malformed> {
        let envelope = detached(&envelope);
        let message = Arc::new(parse::message(&envelope)?);
        Ok(Self { envelope, message })
    }

    /// A message whose authenticity is that of the stream on which it travels.
    pub fn unsigned(message: Message) -> Self {
        let payload = message.encode();
        Self { envelope: wire::Envelope { payload, ..wire::Envelope::default() }, message: Arc::new(message) }
    }

    /// A message of this peer that others pass on.
    pub fn signed(message: Message, trust: &dyn Trust) -> Self {
        let payload = message.encode();
        let signature = trust.sign(&payload);
        Self { envelope: wire::Envelope { payload, signature, secret_envelope: None }, message: Arc::new(message) }
    }

    /// Adds this peer's internal endpoint, which has a signature of its own so that it can be taken off again.
    #[must_use]
    pub fn with_secret(mut self, internal_endpoint: &str, trust: &dyn Trust) -> Self {
        let content = Some(secret::Content::InternalEndpoint(internal_endpoint.to_owned()));
        let payload = Bytes::from(wire::Secret { content }.encode_to_vec());
        let signature = trust.sign(&payload);
        self.envelope.secret_envelope = Some(wire::SecretEnvelope { payload, signature });
        self
    }

    /// The same without the internal endpoint: for peers of other organizations.
    #[must_use]
    pub fn without_secret(&self) -> Self {
        let envelope = wire::Envelope {
            payload: self.envelope.payload.clone(),
            signature: self.envelope.signature.clone(),
            secret_envelope: None,
        };
        Self { envelope, message: Arc::clone(&self.message) }
    }

    /// The same with the internal endpoint that an earlier message of the same peer says, if this one says none: it was
    /// signed apart.
    #[must_use]
    pub(crate) fn with_secret_of(mut self, earlier: &Self) -> Self {
        if self.envelope.secret_envelope.is_none() {
            self.envelope.secret_envelope.clone_from(&earlier.envelope.secret_envelope);
        }
        self
    }

    /// Whether it says an internal endpoint.
    pub const fn has_secret(&self) -> bool {
        self.envelope.secret_envelope.is_some()
    }

    /// The internal endpoint it says; empty when it says none, or none that is one.
    pub fn internal_endpoint(&self) -> Endpoint {
        let Some(secret) = &self.envelope.secret_envelope else { return Endpoint::new() };
        match read::<wire::Secret>(secret.payload.clone()).map(|secret| secret.content) {
            Ok(Some(secret::Content::InternalEndpoint(endpoint))) if endpoint.len() <= MAX_ENDPOINT => endpoint,
            Ok(_) | Err(_) => Endpoint::new(),
        }
    }

    /// Whether the holder of an identity signed it, and the internal endpoint in it, if there is one.
    pub fn is_signed_by(&self, identity: &Bytes, trust: &dyn Trust) -> bool {
        let right = |payload: &Bytes, signature: &Bytes| {
            !payload.is_empty() && !signature.is_empty() && trust.verify(identity, payload, signature)
        };
        right(&self.envelope.payload, &self.envelope.signature)
            && self.envelope.secret_envelope.as_ref().is_none_or(|secret| right(&secret.payload, &secret.signature))
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The envelope as it travels.
    pub const fn envelope(&self) -> &wire::Envelope {
        &self.envelope
    }
}

fn detached(envelope: &wire::Envelope) -> wire::Envelope {
    let own = |bytes: &Bytes| Bytes::copy_from_slice(bytes);
    let secret = envelope.secret_envelope.as_ref();
    wire::Envelope {
        payload: own(&envelope.payload),
        signature: own(&envelope.signature),
        secret_envelope: secret
            .map(|secret| wire::SecretEnvelope { payload: own(&secret.payload), signature: own(&secret.signature) }),
    }
}

impl fmt::Debug for SignedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.message, f)
    }
}
