//! Answers as Fabric's command prints them.

use anyhow::{Context, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ripstop_proto::discovery::query_result::Result as Answer;
use ripstop_proto::{Message as _, discovery, gossip, msp};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The peers of a channel, or, without one, those around the peer that answers.
///
/// # Errors
/// When it is another answer, or peers in it say nothing that can be read.
pub fn peers(answer: &Answer, channel: Option<&str>) -> anyhow::Result<String> {
    let Answer::Members(members) = answer else {
        bail!("expected QueryResult of either PeerMembershipResult or Error but got something else instead");
    };
    let mut peers = Vec::new();
    for (msp_id, of_organization) in &members.peers_by_org {
        for peer in &of_organization.peers {
            let shown = match channel {
                Some(_) => channel_peer(msp_id, peer),
                None => local_peer(msp_id, peer),
            };
            peers.push(shown.context("failed constructing peer membership out of response")?);
        }
    }
    Ok(print(&list(peers)))
}

fn local_peer(msp_id: &str, peer: &discovery::Peer) -> anyhow::Result<Value> {
    let alive = alive_endpoint(peer)?;
    Ok(json!({ "MSPID": msp_id, "Endpoint": alive, "Identity": certificate(&peer.identity) }))
}

fn channel_peer(msp_id: &str, peer: &discovery::Peer) -> anyhow::Result<Value> {
    let state = state_info(peer.state_info.as_ref()).context("failed validating stateInfo message")?;
    let chaincodes = state.chaincodes.into_iter().map(|chaincode| Value::String(chaincode.name)).collect();
    Ok(json!({
        "MSPID": msp_id,
        "LedgerHeight": state.ledger_height,
        "Endpoint": alive_endpoint(peer)?,
        "Identity": certificate(&peer.identity),
        "Chaincodes": list(chaincodes),
    }))
}

fn alive_endpoint(peer: &discovery::Peer) -> anyhow::Result<String> {
    endpoint(peer.membership_info.as_ref()).context("failed validating alive message")
}

/// The members and orderers of a channel.
///
/// # Errors
/// When it is another answer.
pub fn config(answer: &Answer) -> anyhow::Result<String> {
    let Answer::ConfigResult(config) = answer else {
        bail!("expected QueryResult of either ConfigResult or Error but got something else instead");
    };
    let msps: Map<String, Value> = config.msps.iter().map(|(id, msp)| (id.clone(), msp_config(msp))).collect();
    let orderers = config.orderers.iter().map(|(id, endpoints)| {
        let endpoint = |endpoint: &discovery::Endpoint| {
            object([
                ("host", text(&endpoint.host)),
                ("port", Some(endpoint.port).filter(|port| *port != 0).map(Value::from)),
            ])
        };
        (id.clone(), object([("endpoint", some_of(endpoints.endpoint.iter().map(endpoint)))]))
    });
    let orderers: Map<String, Value> = orderers.collect();
    let shown = |entries: Map<String, Value>| Some(Value::Object(entries)).filter(|entries| *entries != json!({}));
    Ok(print(&object([("msps", shown(msps)), ("orderers", shown(orderers))])))
}

/// Which peers can endorse together.
///
/// # Errors
/// When it is another answer.
pub fn endorsers(answer: &Answer) -> anyhow::Result<String> {
    let Answer::CcQueryRes(result) = answer else {
        bail!("server returned response of unexpected type: *discovery.QueryResult");
    };
    let descriptors = result.content.iter().map(|descriptor| {
        let groups: Map<String, Value> = descriptor
            .endorsers_by_groups
            .iter()
            .filter(|(_, peers)| !peers.peers.is_empty())
            .map(|(group, peers)| (group.clone(), peers.peers.iter().map(endorser).collect()))
            .collect();
        let layouts = descriptor.layouts.iter().map(|layout| {
            let quantities: Map<String, Value> =
                layout.quantities_by_group.iter().map(|(group, count)| (group.clone(), (*count).into())).collect();
            object([("quantities_by_group", Some(Value::Object(quantities)).filter(|some| *some != json!({})))])
        });
        json!({
            "Chaincode": descriptor.chaincode,
            "EndorsersByGroups": groups,
            "Layouts": list(layouts.collect()),
        })
    });
    Ok(print(&list(descriptors.collect())))
}

/// An endorser. What it does not say about itself in a form that can be read is shown empty, as by Fabric's command.
fn endorser(peer: &discovery::Peer) -> Value {
    let identity = msp::SerializedIdentity::decode(peer.identity.clone()).unwrap_or_default();
    let state = state_info(peer.state_info.as_ref()).unwrap_or_default();
    json!({
        "MSPID": identity.mspid,
        "LedgerHeight": state.ledger_height,
        "Endpoint": endpoint(peer.membership_info.as_ref()).unwrap_or_default(),
        "Identity": String::from_utf8_lossy(&identity.id_bytes),
    })
}

fn certificate(identity: &Bytes) -> String {
    let identity = msp::SerializedIdentity::decode(identity.clone()).unwrap_or_default();
    String::from_utf8_lossy(&identity.id_bytes).into_owned()
}

fn gossip_content(envelope: Option<&gossip::Envelope>) -> anyhow::Result<gossip::gossip_message::Content> {
    let envelope = envelope.context("nil envelope")?;
    let message = gossip::GossipMessage::decode(envelope.payload.clone())?;
    message.content.ok_or_else(|| anyhow!("the message is empty"))
}

fn endpoint(envelope: Option<&gossip::Envelope>) -> anyhow::Result<String> {
    match gossip_content(envelope)? {
        gossip::gossip_message::Content::AliveMsg(alive) => {
            Ok(alive.membership.context("membership is empty")?.endpoint)
        }
        _ => bail!("message isn't an alive message"),
    }
}

fn state_info(envelope: Option<&gossip::Envelope>) -> anyhow::Result<gossip::Properties> {
    match gossip_content(envelope)? {
        gossip::gossip_message::Content::StateInfo(state) => Ok(state.properties.unwrap_or_default()),
        _ => bail!("message isn't a stateInfo message"),
    }
}

/// An MSP as Go prints the message: names as in the `.proto` file, bytes in base64, empty fields left out.
fn msp_config(msp: &msp::FabricMspConfig) -> Value {
    let certificates = |certificates: &[Bytes]| some_of(certificates.iter().map(|bytes| STANDARD.encode(bytes).into()));
    let unit = |unit: &msp::FabricOuIdentifier| {
        object([
            ("certificate", base64(&unit.certificate)),
            ("organizational_unit_identifier", text(&unit.organizational_unit_identifier)),
        ])
    };
    let crypto = |crypto: &msp::FabricCryptoConfig| {
        object([
            ("signature_hash_family", text(&crypto.signature_hash_family)),
            ("identity_identifier_hash_function", text(&crypto.identity_identifier_hash_function)),
        ])
    };
    let units = |units: &msp::FabricNodeOUs| {
        object([
            ("enable", units.enable.then_some(Value::Bool(true))),
            ("client_ou_identifier", units.client_ou_identifier.as_ref().map(unit)),
            ("peer_ou_identifier", units.peer_ou_identifier.as_ref().map(unit)),
            ("admin_ou_identifier", units.admin_ou_identifier.as_ref().map(unit)),
            ("orderer_ou_identifier", units.orderer_ou_identifier.as_ref().map(unit)),
        ])
    };
    object([
        ("name", text(&msp.name)),
        ("root_certs", certificates(&msp.root_certs)),
        ("intermediate_certs", certificates(&msp.intermediate_certs)),
        ("admins", certificates(&msp.admins)),
        ("revocation_list", certificates(&msp.revocation_list)),
        ("organizational_unit_identifiers", some_of(msp.organizational_unit_identifiers.iter().map(unit))),
        ("crypto_config", msp.crypto_config.as_ref().map(crypto)),
        ("tls_root_certs", certificates(&msp.tls_root_certs)),
        ("tls_intermediate_certs", certificates(&msp.tls_intermediate_certs)),
        ("fabric_node_ous", msp.fabric_node_ous.as_ref().map(units)),
    ])
}

/// The entries that there are.
fn object<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>().into()
}

fn text(text: &str) -> Option<Value> {
    Some(text).filter(|text| !text.is_empty()).map(Value::from)
}

fn base64(bytes: &[u8]) -> Option<Value> {
    text(&STANDARD.encode(bytes))
}

fn some_of(values: impl Iterator<Item = Value>) -> Option<Value> {
    Some(Value::Array(values.collect())).filter(|values| *values != json!([]))
}

/// A list as Go prints one that was never filled: null.
fn list(values: Vec<Value>) -> Value {
    if values.is_empty() { Value::Null } else { Value::Array(values) }
}

/// JSON with tabs, as Go indents it.
fn print(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
        .expect("values can be written into memory");
    let text = String::from_utf8_lossy(&out).into_owned();
    // As Go writes these; they stand nowhere but in texts.
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}
