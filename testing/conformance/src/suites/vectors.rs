use bytes::Bytes;
use prost::Message;
use ripstop_chaincode_builder::{Package, package_id};
use ripstop_crypto::Certificate;
use ripstop_msp::Role;
use ripstop_policy::{dsl, envelope};
use ripstop_proto::common;
use ripstop_types::{
    BlockHeader, BlockNumber, ChannelHeader, Digest, HeaderType, MspId, SerializedIdentity, SignatureHeader, TxId,
    data_hash, get_ordered_varuint, proposal_hash, put_ordered_varuint,
};
use serde_json::Value;

use crate::{Fixtures, Report, hex_bytes};

/// Hashes, transaction ids, identities and policies from Fabric's own functions.
pub fn vectors(report: &mut Report) {
    let fixtures = Fixtures::open("vectors");
    hashes(report, &fixtures.json("hashes.json"));
    for (index, vector) in list(&fixtures.json("txid.json")).iter().enumerate() {
        let id = TxId::compute(&hex_bytes(&vector["Nonce"]), &hex_bytes(&vector["Creator"]));
        report.compare("transaction ids (vectors)", &format!("{index}"), text(&vector["TxID"]), id.as_str(), "");
    }
    identities(report, &fixtures);
    policies(report, &fixtures.json("policy-dsl.json"));
    packages(report, &fixtures);
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    text(value).parse().expect("numbers in vectors are decimal text")
}

fn hashes(report: &mut Report, vectors: &Value) {
    for vector in list(&vectors["block_header"]) {
        let header = BlockHeader {
            number: BlockNumber::new(number(&vector["Number"])),
            previous_hash: hex_bytes(&vector["PreviousHash"]),
            data_hash: hex_bytes(&vector["DataHash"]),
        };
        let name = format!("header {}", vector["Number"]);
        report.compare("block headers (vectors)", &name, text(&vector["Asn1"]), &hex::encode(header.to_der()), "");
        report.compare("block headers (vectors)", &name, text(&vector["Hash"]), &header.hash().to_string(), "");
    }
    for vector in list(&vectors["block_data"]) {
        let data: Vec<Bytes> = list(&vector["Data"]).iter().map(hex_bytes).collect();
        let name = vector["Data"].to_string();
        report.compare("data hashes (vectors)", &name, text(&vector["Hash"]), &data_hash(&data).to_string(), "");
    }
    for vector in list(&vectors["proposal_hash"]) {
        let header = common::Header::decode(hex_bytes(&vector["Header"])).expect("the vector's header decodes");
        let channel_header = ChannelHeader {
            raw: header.channel_header,
            kind: HeaderType::EndorserTransaction,
            channel_id: String::new(),
            tx_id: TxId::new(""),
            epoch: 0,
            timestamp: None,
            extension: Bytes::new(),
            tls_cert_hash: Bytes::new(),
        };
        let signature_header =
            SignatureHeader { raw: header.signature_header, creator: Bytes::new(), nonce: Bytes::new() };
        let hash = proposal_hash(&channel_header, &signature_header, &hex_bytes(&vector["PayloadForTx"]));
        report.compare("proposal hashes (vectors)", "hash", text(&vector["Hash2"]), &hash.to_string(), "");
    }
    for vector in list(&vectors["varuint"]) {
        let value = number(&vector["N"]);
        let mut bytes = Vec::new();
        put_ordered_varuint(&mut bytes, value);
        let name = format!("{value}");
        report.compare("order-preserving integers", &name, text(&vector["OrderPreserving"]), &hex::encode(&bytes), "");
        report.compare("order-preserving integers", &name, &Ok((value, &[][..])), &get_ordered_varuint(&bytes), "");
    }
}

fn identities(report: &mut Report, fixtures: &Fixtures) {
    const TOPIC: &str = "identities (serialized, digest, key id, gossip id)";
    for vector in list(&fixtures.json("identities.json")) {
        let file = text(&vector["file"]);
        let pem = fixtures.file(&format!("crypto/{file}"));
        let msp_id = MspId::new(text(&vector["mspid"]));
        let gossip = Digest::of_parts([msp_id.as_str().as_bytes(), &pem]);
        let serialized = SerializedIdentity::new(msp_id, pem.clone());
        report.compare(TOPIC, file, text(&vector["serialized_identity_hex"]), &hex::encode(&serialized.raw), "");
        report.compare(TOPIC, file, text(&vector["gossip_pki_id"]), &gossip.to_string(), "");
        let Some(certificate) = report.check(TOPIC, file, Certificate::from_pem(&pem)) else { continue };
        report.compare(TOPIC, file, text(&vector["msp_identity_id"]), &certificate.digest().to_string(), "");
        report.compare(TOPIC, file, text(&vector["ski"]), &certificate.public_key().identifier().to_string(), "");
    }
}

fn packages(report: &mut Report, fixtures: &Fixtures) {
    const TOPIC: &str = "chaincode packages";
    for vector in list(&fixtures.json("package-ids.json")) {
        let file = text(&vector["file"]);
        let name = file.rsplit('/').next().unwrap_or_default();
        let raw = fixtures.file(&format!("packages/{name}"));
        let Some(package) = report.check(TOPIC, file, Package::parse(&raw)) else { continue };
        report.compare(TOPIC, file, text(&vector["label"]), package.metadata.label.as_str(), "");
        report.compare(TOPIC, file, text(&vector["package_id"]), &package_id(&package.metadata.label, &raw), "");
    }
}

fn policies(report: &mut Report, vectors: &Value) {
    for vector in list(vectors) {
        let name = text(&vector["dsl"]);
        let envelope = match name.strip_prefix("func:") {
            Some(function) => Ok(built(function)),
            None => dsl::parse(name).map_err(|error| error.to_string()),
        };
        match (&vector["error"], envelope) {
            (Value::String(error), Err(actual)) => report.compare("policy language: errors", name, error, &actual, ""),
            (Value::String(error), Ok(_)) => {
                report.difference("policy language: errors", format!("{name} was taken, expected: {error}"));
            }
            (_, Err(error)) => report.difference("policy language: bytes", format!("{name} was refused: {error}")),
            (_, Ok(envelope)) => {
                let bytes = hex::encode(envelope.encode_to_vec());
                report.compare("policy language: bytes", name, text(&vector["envelope_hex"]), &bytes, "");
            }
        }
    }
}

/// What Fabric's builder functions make, written as `Name(A,B)`.
fn built(function: &str) -> common::SignaturePolicyEnvelope {
    let (name, arguments) = function.split_once('(').unwrap_or((function, ""));
    let msps: Vec<MspId> = arguments.trim_end_matches(')').split(',').map(MspId::new).collect();
    match name {
        "AcceptAllPolicy" => envelope::accept_all(),
        "RejectAllPolicy" => envelope::reject_all(),
        "SignedByAnyMember" | "SignedByMspMember" => envelope::signed_by_any(Role::Member, &msps),
        "SignedByAnyAdmin" | "SignedByMspAdmin" => envelope::signed_by_any(Role::Admin, &msps),
        "SignedByAnyPeer" | "SignedByMspPeer" => envelope::signed_by_any(Role::Peer, &msps),
        "SignedByAnyClient" | "SignedByMspClient" => envelope::signed_by_any(Role::Client, &msps),
        other => panic!("no function {other}"),
    }
}
