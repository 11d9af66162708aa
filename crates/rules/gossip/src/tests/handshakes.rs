use std::time::Duration;

use bytes::Bytes;

use super::network::{Network, PlayTrust};
use crate::handshake::{HandshakeRefusal, Purpose, judge, offer};
use crate::{Content, IdentityRefusal, Message, SelfDescription, SignedMessage, Tag};

const TLS: [u8; 32] = [7; 32];

fn stage() -> (Network, SelfDescription, PlayTrust) {
    let network = Network::new(1);
    let about = Network::describe(1, "Org1MSP");
    let trust = PlayTrust { identity: about.identity.clone(), world: network.world.clone() };
    (network, about, trust)
}

fn refusal(network: &Network, trust: &PlayTrust, message: &SignedMessage, tls: &[u8]) -> HandshakeRefusal {
    judge(trust, network.now, message, Some(tls)).expect_err("it must not be believed")
}

#[test]
fn a_handshake_says_who_is_there_and_what_for() {
    let (network, about, trust) = stage();
    for purpose in [Purpose::Talk, Purpose::Probe] {
        let offered = offer(&about, Bytes::from_static(&TLS), purpose, &trust);
        let (contact, seen) = judge(&trust, network.now, &offered, Some(&TLS)).unwrap();
        assert_eq!((contact.pki_id, contact.identity, seen), (about.pki_id.clone(), about.identity.clone(), purpose));
        assert_eq!(contact.handshake, offered);
    }
}

#[test]
fn a_handshake_over_another_connection_or_without_certificate_is_refused() {
    let (network, about, trust) = stage();
    let offered = offer(&about, Bytes::from_static(&TLS), Purpose::Talk, &trust);
    let other = refusal(&network, &trust, &offered, &[8; 32]);
    assert!(other.to_string().starts_with("Expected 0808"), "{other}");
    assert_eq!(refusal(&network, &trust, &offered, &[]), HandshakeRefusal::NoTlsCertificate);
    // Without TLS there is nothing to compare.
    assert!(judge(&trust, network.now, &offered, None).is_ok());
}

#[test]
fn who_signs_with_another_key_or_claims_another_id_is_refused() {
    let (network, about, trust) = stage();
    let other = Network::describe(2, "Org1MSP");
    let others = PlayTrust { identity: other.identity.clone(), ..trust.clone() };
    let offered = offer(&about, Bytes::from_static(&TLS), Purpose::Talk, &others);
    assert_eq!(refusal(&network, &trust, &offered, &TLS), HandshakeRefusal::Signature);
    let claimed = SelfDescription { pki_id: about.pki_id, ..other };
    let offered = offer(&claimed, Bytes::from_static(&TLS), Purpose::Talk, &others);
    let refused = refusal(&network, &trust, &offered, &TLS);
    assert_eq!(refused, HandshakeRefusal::Identity(IdentityRefusal::Stolen));
}

#[test]
fn an_identity_that_ended_or_is_not_trusted_is_refused_in_fabrics_words() {
    let (network, about, trust) = stage();
    let offered = offer(&about, Bytes::from_static(&TLS), Purpose::Talk, &trust);
    network.world.borrow_mut().expirations.insert("peer1".to_owned(), network.now);
    let expired = refusal(&network, &trust, &offered, &TLS).to_string();
    assert!(expired.ends_with("gossipping peer identity expired"), "{expired}");
    network.world.borrow_mut().expirations.insert("peer1".to_owned(), network.now + Duration::from_secs(1));
    assert!(judge(&trust, network.now, &offered, Some(&TLS)).is_ok());
    network.world.borrow_mut().distrusted.insert("Org1MSP".to_owned());
    let distrusted = refusal(&network, &trust, &offered, &TLS).to_string();
    assert!(distrusted.ends_with("Org1MSP is unknown"), "{distrusted}");
}

#[test]
fn any_other_message_is_no_handshake() {
    let (network, _, trust) = stage();
    let message = Message { nonce: 0, channel: None, tag: Tag::Everybody, content: Content::Empty };
    let message = SignedMessage::signed(message, &trust);
    assert_eq!(refusal(&network, &trust, &message, &TLS), HandshakeRefusal::NoHandshake);
}
