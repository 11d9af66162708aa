//! What Fabric's peers said to each other.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use ripstop_crypto::Certificate;
use ripstop_gossip::handshake::judge;
use ripstop_gossip::{Content, Distrust, Moment, PkiId, SignedMessage, Standing, Trust};
use ripstop_proto::gossip::Envelope;
use ripstop_types::{ChannelId, SerializedIdentity};
use serde_json::Value;

use crate::{Fixtures, Report};

const FORM: &str = "gossip: messages parsed and written again";
const SIGNATURES: &str = "gossip: signatures of messages";
const HANDSHAKES: &str = "gossip: handshakes";

/// Parses every captured envelope, writes its message again, and verifies what is signed with its signer's identity.
pub fn gossip(report: &mut Report) {
    let capture = Fixtures::open("gossip").file("capture.jsonl");
    let mut messages = Vec::new();
    for (number, line) in String::from_utf8_lossy(&capture).lines().enumerate() {
        let captured: Value = serde_json::from_str(line).expect("a line of the capture is JSON");
        let name = format!("{number}: {} {}", captured["dir"], captured["type"]);
        let envelope = hex::decode(captured["envelope_hex"].as_str().unwrap_or_default());
        let envelope = Envelope::decode(Bytes::from(envelope.unwrap_or_default()));
        let Some(envelope) = report.check(FORM, &name, envelope) else { continue };
        take(report, &name, envelope, &mut messages);
    }
    let identities = identities(&messages);
    for (name, message) in &messages {
        if message.envelope().signature.is_empty() {
            continue;
        }
        let Some(identity) = signer(message).and_then(|signer| identities.get(signer)) else {
            report.difference(SIGNATURES, format!("{name}: nobody knows its signer"));
            continue;
        };
        report.compare(SIGNATURES, name, &true, &message.is_signed_by(identity, &Certificates), "");
        if let Content::Establish { pki_id, tls_certificate_hash, .. } = &message.message().content {
            let now = Moment::from_nanoseconds(1_800_000_000_000_000_000);
            let judged = judge(&Certificates, now, message, Some(tls_certificate_hash));
            if let Some((contact, _)) = report.check(HANDSHAKES, name, judged) {
                report.compare(HANDSHAKES, name, pki_id, &contact.pki_id, "");
            }
            let other = judge(&Certificates, now, message, Some(&[7; 32]));
            report.compare(HANDSHAKES, &format!("{name} over another connection"), &true, &other.is_err(), "");
        }
    }
}

/// Parses an envelope and those in it.
fn take(report: &mut Report, name: &str, envelope: Envelope, messages: &mut Vec<(String, SignedMessage)>) {
    let payload = envelope.payload.clone();
    let Some(message) = report.check(FORM, name, SignedMessage::parse(envelope)) else { return };
    report.compare(FORM, name, &payload, &message.message().encode(), "");
    let inner = match &message.message().content {
        Content::MembershipRequest { about_me, .. } => vec![about_me.envelope().clone()],
        Content::MembershipResponse { alive, dead } => [&alive[..], dead].concat(),
        Content::Update { data, .. } => data.clone(),
        Content::StateInfoSnapshot(elements) => elements.clone(),
        _ => Vec::new(),
    };
    messages.push((name.to_owned(), message));
    for (number, envelope) in inner.into_iter().enumerate() {
        take(report, &format!("{name} [{number}]"), envelope, messages);
    }
}

/// The identities that peers showed.
fn identities(messages: &[(String, SignedMessage)]) -> BTreeMap<PkiId, Bytes> {
    let shown = messages.iter().filter_map(|(_, message)| match &message.message().content {
        Content::Establish { pki_id, identity, .. } | Content::Identity { pki_id, identity, .. } => {
            Some((pki_id.clone(), identity.clone()))
        }
        Content::Alive(alive) if !alive.identity.is_empty() => Some((alive.pki_id.clone(), alive.identity.clone())),
        _ => None,
    });
    shown.collect()
}

fn signer(message: &SignedMessage) -> Option<&PkiId> {
    match &message.message().content {
        Content::Establish { pki_id, .. } | Content::Identity { pki_id, .. } => Some(pki_id),
        Content::Alive(alive) => Some(&alive.pki_id),
        Content::StateInfo(info) => Some(&info.pki_id),
        Content::Leadership(leadership) => Some(&leadership.pki_id),
        _ => None,
    }
}

/// Trust in whoever holds the key of a certificate.
struct Certificates;

impl Trust for Certificates {
    fn identify(&self, _now: Moment, identity: &Bytes) -> Result<Standing, Distrust> {
        let identity = SerializedIdentity::parse(identity.clone()).map_err(|error| Distrust(error.to_string()))?;
        Ok(Standing { organization: identity.msp_id, expires: None })
    }

    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        SerializedIdentity::parse(identity.clone())
            .ok()
            .and_then(|identity| Certificate::from_pem(&identity.id_bytes).ok())
            .is_some_and(|certificate| certificate.public_key().verify(message, signature).is_ok())
    }

    fn verify_reader(&self, _channel: &ChannelId, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        self.verify(identity, message, signature)
    }

    fn sign(&self, _message: &[u8]) -> Bytes {
        Bytes::new()
    }
}
