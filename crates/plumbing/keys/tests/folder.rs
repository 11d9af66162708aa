//! MSP folders, as operators lay them out.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::fs;
use std::path::Path;

use prost::Message;
use ripstop_crypto::{Curve, KeyKind, PublicKey};
use ripstop_keys::{
    Authority, CertificateRequest, EnvelopeHeader, KeyUsage, LocalIdentity, MspFolderError, NONCE_BYTES, PrivateKey,
    SubjectName, Validity, load_msp_config, sign_envelope,
};
use ripstop_proto::common;
use ripstop_types::{ChannelId, Envelope, HeaderType, MspId, Timestamp};

const BEGIN: i64 = 1_704_067_200;
const CONFIG: &str = "
NodeOUs:
  Enable: true
  ClientOUIdentifier: {Certificate: cacerts/ca.pem, OrganizationalUnitIdentifier: client}
  PeerOUIdentifier: {Certificate: cacerts/absent.pem, OrganizationalUnitIdentifier: peer}
  AdminOUIdentifier: {OrganizationalUnitIdentifier: admin}
  OrdererOUIdentifier: {Certificate: cacerts/ca.pem}
";

fn request(name: &str, unit: Option<&str>, years: i64) -> CertificateRequest {
    CertificateRequest {
        subject: SubjectName {
            organizational_unit: unit.map(str::to_owned).into_iter().collect(),
            common_name: name.to_owned(),
            ..SubjectName::default()
        },
        validity: Validity { not_before: BEGIN, not_after: BEGIN + years * 31_536_000 },
        key_usage: vec![KeyUsage::DigitalSignature, KeyUsage::CertSign],
        extended_key_usage: Vec::new(),
        hosts: Vec::new(),
    }
}

fn put(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A folder with a client of that kind of key, whose certificate lasts some years from 2024.
fn folder(kind: KeyKind, years: i64) -> (tempfile::TempDir, PublicKey) {
    let dir = tempfile::tempdir().unwrap();
    let new_key = || PrivateKey::generate(kind).unwrap();
    let authority = Authority::root(&request("ca", None, 100), new_key()).unwrap();
    let key = new_key();
    let certificate = authority.issue(&request("user", Some("client"), years), key.public_key()).unwrap();
    put(dir.path(), "cacerts/ca.pem", &authority.certificate().to_pem());
    put(dir.path(), "cacerts/README.md", "not PEM, so passed over");
    put(dir.path(), "signcerts/cert.pem", &certificate.to_pem());
    put(dir.path(), "keystore/a-broken-key", "nonsense");
    put(dir.path(), "keystore/another_sk", &new_key().to_pem().unwrap());
    put(dir.path(), "keystore/priv_sk", &key.to_pem().unwrap());
    put(dir.path(), "config.yaml", CONFIG);
    (dir, key.public_key().clone())
}

#[test]
fn the_key_is_found_by_the_certificate_whatever_its_name() {
    for kind in [KeyKind::Ecdsa(Curve::P256), KeyKind::Ecdsa(Curve::P384), KeyKind::Ed25519] {
        let (dir, public) = folder(kind, 100);
        let local = LocalIdentity::load(dir.path(), &MspId::new("Org1MSP")).unwrap();
        let identity = local.msp.identify(&local.signer.identity().raw).unwrap();
        identity.validate().unwrap();
        public.verify(b"message", &local.signer.sign(b"message").unwrap()).unwrap();
    }
}

#[test]
fn units_come_from_the_configuration_file() {
    let (dir, _) = folder(KeyKind::Ed25519, 100);
    let config = load_msp_config(dir.path(), &MspId::new("Org1MSP")).unwrap();
    assert_eq!((config.name.as_str(), config.root_certs.len(), config.admins.len()), ("Org1MSP", 1, 0));
    let units = config.fabric_node_ous.unwrap();
    assert_eq!(units.client_ou_identifier.unwrap().certificate, config.root_certs[0]);
    assert!(
        units.peer_ou_identifier.unwrap().certificate.is_empty(),
        "a certificate that is not there ties to nothing"
    );
    assert!(units.admin_ou_identifier.unwrap().certificate.is_empty());
    assert!(units.orderer_ou_identifier.is_none(), "a unit without a name is none");

    for (text, expected) in [("NodeOUs: {Enable: false}", false), ("", false), ("NodeOUs: {Enable: true}", true)] {
        put(dir.path(), "config.yaml", text);
        let config = load_msp_config(dir.path(), &MspId::new("Org1MSP")).unwrap();
        assert_eq!(config.fabric_node_ous.is_some(), expected, "{text}");
    }
    put(dir.path(), "config.yaml", "NodeOUs: [");
    let error = load_msp_config(dir.path(), &MspId::new("Org1MSP")).unwrap_err().to_string();
    assert!(error.starts_with("failed unmarshalling configuration file at ["), "{error}");
}

#[test]
fn what_is_missing_is_named() {
    let load = |dir: &Path| LocalIdentity::load(dir, &MspId::new("Org1MSP")).unwrap_err();
    for (remove, expected) in [
        ("cacerts", "could not load a valid ca certificate from directory "),
        ("signcerts", "could not load signing certificate from directory "),
        ("keystore", "KeyMaterial not found in SigningIdentityInfo: no file in "),
        ("cacerts/ca.pem", "no ca certificate found in directory "),
        ("signcerts/cert.pem", "no signing certificate found in directory "),
        ("keystore/priv_sk", "KeyMaterial not found in SigningIdentityInfo: no file in "),
    ] {
        let (dir, _) = folder(KeyKind::Ed25519, 100);
        let path = dir.path().join(remove);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        let error = load(dir.path()).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let (dir, _) = folder(KeyKind::Ed25519, 1);
    assert!(
        matches!(load(dir.path()), MspFolderError::Expired { .. }),
        "a node does not start with an expired identity"
    );
}

#[test]
fn a_signed_envelope_holds_what_was_asked_for() {
    let (dir, public) = folder(KeyKind::Ecdsa(Curve::P256), 100);
    let signer = LocalIdentity::load(dir.path(), &MspId::new("Org1MSP")).unwrap().signer;
    let channel = ChannelId::new("mychannel").unwrap();
    let header = EnvelopeHeader {
        kind: HeaderType::DeliverSeekInfo,
        channel_id: Some(&channel),
        tx_id: None,
        extension: "extension".into(),
        tls_cert_hash: "hash".into(),
        timestamp: Timestamp { seconds: 5, nanos: 6 },
    };
    let message = sign_envelope(&signer, &header, "data".into()).unwrap();
    public.verify(&message.payload, &message.signature).unwrap();
    let envelope = Envelope::from_proto(message).unwrap();
    assert_eq!((envelope.channel_header.kind, envelope.data.as_ref()), (HeaderType::DeliverSeekInfo, &b"data"[..]));
    assert_eq!(envelope.channel_header.timestamp, Some(header.timestamp));
    assert_eq!(envelope.signature_header.creator, signer.identity().raw);
    assert_eq!(envelope.signature_header.nonce.len(), NONCE_BYTES);
    let raw = common::ChannelHeader::decode(envelope.channel_header.raw).unwrap();
    assert_eq!((raw.channel_id.as_str(), raw.tls_cert_hash.as_ref()), ("mychannel", &b"hash"[..]));
}
