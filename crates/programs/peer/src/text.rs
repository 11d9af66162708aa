//! Messages as Go's `%v` prints them, which scripts search, and JSON as Go's `encoding/json` writes generated structs.

use std::fmt::Write;
use std::io;
use std::path::Path;

use base64::Engine as _;
use ripstop_command_line::os_text;
use ripstop_proto::{common, lifecycle, protos};
use serde_json::{Map, Value, json};

/// Why a file could not be opened, in Go's words.
pub(crate) fn not_opened(path: &Path, error: &io::Error) -> String {
    format!("open {}: {}", path.display(), os_text(error))
}

/// Why a text is no JSON, in Go's words as far as they can be known.
pub(crate) fn not_json(error: &serde_json::Error) -> String {
    match error.is_eof() {
        true => "unexpected end of JSON input".to_owned(),
        false => error.to_string(),
    }
}

/// What a JSON value is, in the words of Go's `encoding/json`.
pub(crate) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A chaincode's answer: `status:200 message:"..." payload:"..."`.
pub(crate) fn response(response: &protos::Response) -> String {
    let mut out = String::new();
    if response.status != 0 {
        let _ = write!(out, "status:{}", response.status);
    }
    field(&mut out, "message", response.message.as_bytes());
    field(&mut out, "payload", &response.payload);
    out
}

/// A peer's answer to a proposal; `<nil>` when there is none.
pub(crate) fn proposal_response(answer: Option<&protos::ProposalResponse>) -> String {
    let Some(answer) = answer else { return "<nil>".to_owned() };
    let mut out = String::new();
    if answer.version != 0 {
        let _ = write!(out, "version:{}", answer.version);
    }
    if let Some(inner) = &answer.response {
        nested(&mut out, "response", &response(inner));
    }
    field(&mut out, "payload", &answer.payload);
    if let Some(endorsement) = &answer.endorsement {
        let mut inner = String::new();
        field(&mut inner, "endorser", &endorsement.endorser);
        field(&mut inner, "signature", &endorsement.signature);
        nested(&mut out, "endorsement", &inner);
    }
    out
}

fn space(out: &mut String) {
    if !out.is_empty() {
        out.push(' ');
    }
}

fn nested(out: &mut String, name: &str, content: &str) {
    space(out);
    let _ = write!(out, "{name}:{{{content}}}");
}

fn field(out: &mut String, name: &str, value: &[u8]) {
    if value.is_empty() {
        return;
    }
    space(out);
    let _ = write!(out, "{name}:\"");
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => {
                    out.push('\\');
                    out.push(c);
                }
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c < ' ' || c == '\x7f' => {
                    let _ = write!(out, "\\x{:02x}", c as u32);
                }
                c if ('\u{80}'..='\u{9f}').contains(&c) => {
                    let _ = write!(out, "\\u{:04x}", c as u32);
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
}

/// JSON as `json.Marshal` writes it: with `<`, `>` and `&` escaped.
pub(crate) fn json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    serde_json::to_string(value).map(|text| escaped(&text))
}

fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// JSON with tabs, and with `<`, `>` and `&` escaped, as `json.MarshalIndent` writes it.
pub(crate) fn indented(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing a JSON value into memory does not fail, and what it writes is UTF-8.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    escaped(&String::from_utf8_lossy(&bytes))
}

/// An object without the members Go leaves out: null, `false`, 0, and whatever is empty.
fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let worth = |value: &Value| match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(value) => !value.is_empty(),
        Value::Array(value) => !value.is_empty(),
        // A pointer to an empty struct is written; empty maps are passed as null.
        Value::Object(_) => true,
    };
    Value::Object(members.into_iter().filter(|(_, v)| worth(v)).map(|(k, v)| (k.to_owned(), v)).collect())
}

fn base64(bytes: &[u8]) -> Value {
    base64::engine::general_purpose::STANDARD.encode(bytes).into()
}

fn map<'a, V: 'a>(entries: impl IntoIterator<Item = (&'a String, &'a V)>, value: impl Fn(&V) -> Value) -> Value {
    let entries: Map<String, Value> = entries.into_iter().map(|(k, v)| (k.clone(), value(v))).collect();
    if entries.is_empty() { Value::Null } else { Value::Object(entries) }
}

/// What `peer channel getinfo` prints.
pub(crate) fn chain_info(info: &common::BlockchainInfo) -> Value {
    let snapshot = info.bootstrapping_snapshot_info.as_ref();
    let fields = [
        ("height", info.height.into()),
        ("currentBlockHash", base64(&info.current_block_hash)),
        ("previousBlockHash", base64(&info.previous_block_hash)),
    ];
    object(fields.into_iter().chain(snapshot.map(|snapshot| {
        ("bootstrappingSnapshotInfo", object([("lastBlockInSnapshot", snapshot.last_block_in_snapshot.into())]))
    })))
}

/// What `queryinstalled` prints.
pub(crate) fn installed(result: &lifecycle::QueryInstalledChaincodesResult) -> Value {
    let chaincodes = result.installed_chaincodes.iter().map(|installed| {
        let references = map(&installed.references, |references| {
            let chaincodes = references
                .chaincodes
                .iter()
                .map(|c| object([("name", c.name.as_str().into()), ("version", c.version.as_str().into())]));
            object([("chaincodes", chaincodes.collect())])
        });
        object([
            ("package_id", installed.package_id.as_str().into()),
            ("label", installed.label.as_str().into()),
            ("references", references),
        ])
    });
    object([("installed_chaincodes", chaincodes.collect())])
}

/// What `checkcommitreadiness` prints.
pub(crate) fn readiness(result: &lifecycle::CheckCommitReadinessResult) -> Value {
    object([
        ("approvals", map(&result.approvals, |approved| (*approved).into())),
        (
            "mismatches",
            map(&result.mismatches, |mismatches| {
                object([("items", mismatches.items.iter().map(String::as_str).collect())])
            }),
        ),
    ])
}

/// The terms of a definition, which several messages carry in fields of the same names.
macro_rules! terms {
    ($of:expr) => {
        [
            ("sequence", $of.sequence.into()),
            ("version", $of.version.as_str().into()),
            ("endorsement_plugin", $of.endorsement_plugin.as_str().into()),
            ("validation_plugin", $of.validation_plugin.as_str().into()),
            ("validation_parameter", base64(&$of.validation_parameter)),
            ("collections", collections($of.collections.as_ref())),
            ("init_required", $of.init_required.into()),
        ]
    };
}

/// What `querycommitted` prints for one chaincode.
pub(crate) fn definition(result: &lifecycle::QueryChaincodeDefinitionResult) -> Value {
    let approvals = map(&result.approvals, |approved| (*approved).into());
    object(terms!(result).into_iter().chain([("approvals", approvals)]))
}

/// What `querycommitted` prints for a whole channel.
pub(crate) fn definitions(result: &lifecycle::QueryChaincodeDefinitionsResult) -> Value {
    let definitions = result.chaincode_definitions.iter().map(|definition| {
        let name = ("name", definition.name.as_str().into());
        object([name].into_iter().chain(terms!(definition)))
    });
    object([("chaincode_definitions", definitions.collect())])
}

/// What `queryapproved` prints for one chaincode.
pub(crate) fn approved(result: &lifecycle::QueryApprovedChaincodeDefinitionResult) -> Value {
    object(terms!(result).into_iter().chain([("source", source(result.source.as_ref()))]))
}

/// What `queryapproved` prints for a whole channel.
pub(crate) fn all_approved(result: &lifecycle::QueryApprovedChaincodeDefinitionsResult) -> Value {
    let definitions = result.approved_chaincode_definitions.iter().map(|definition| {
        let name = ("name", definition.name.as_str().into());
        let source = ("source", source(definition.source.as_ref()));
        object([name].into_iter().chain(terms!(definition)).chain([source]))
    });
    object([("approved_chaincode_definitions", definitions.collect())])
}

fn source(source: Option<&lifecycle::ChaincodeSource>) -> Value {
    use lifecycle::chaincode_source::Type;
    source.map_or(Value::Null, |source| match &source.r#type {
        Some(Type::LocalPackage(local)) => {
            json!({"Type": {"LocalPackage": object([("package_id", local.package_id.as_str().into())])}})
        }
        Some(Type::Unavailable(_)) => json!({"Type": {"Unavailable": {}}}),
        None => json!({"Type": null}),
    })
}

fn collections(package: Option<&protos::CollectionConfigPackage>) -> Value {
    let Some(package) = package else { return Value::Null };
    let configs = package.config.iter().map(|config| {
        let protos::collection_config::Payload::StaticCollectionConfig(collection) = match &config.payload {
            Some(payload) => payload,
            None => return json!({"Payload": null}),
        };
        let collection = object([
            ("name", collection.name.as_str().into()),
            ("member_orgs_policy", member_policy(collection.member_orgs_policy.as_ref())),
            ("required_peer_count", collection.required_peer_count.into()),
            ("maximum_peer_count", collection.maximum_peer_count.into()),
            ("block_to_live", collection.block_to_live.into()),
            ("member_only_read", collection.member_only_read.into()),
            ("member_only_write", collection.member_only_write.into()),
            ("endorsement_policy", application_policy(collection.endorsement_policy.as_ref())),
        ]);
        json!({"Payload": {"StaticCollectionConfig": collection}})
    });
    object([("config", configs.collect())])
}

fn member_policy(policy: Option<&protos::CollectionPolicyConfig>) -> Value {
    let Some(policy) = policy else { return Value::Null };
    match &policy.payload {
        Some(protos::collection_policy_config::Payload::SignaturePolicy(policy)) => {
            json!({"Payload": {"SignaturePolicy": signature_policy(policy)}})
        }
        None => json!({"Payload": null}),
    }
}

fn application_policy(policy: Option<&protos::ApplicationPolicy>) -> Value {
    use protos::application_policy::Type;
    let Some(policy) = policy else { return Value::Null };
    match &policy.r#type {
        Some(Type::SignaturePolicy(policy)) => json!({"Type": {"SignaturePolicy": signature_policy(policy)}}),
        Some(Type::ChannelConfigPolicyReference(reference)) => {
            json!({"Type": {"ChannelConfigPolicyReference": reference}})
        }
        None => json!({"Type": null}),
    }
}

fn signature_policy(policy: &common::SignaturePolicyEnvelope) -> Value {
    let identities = policy.identities.iter().map(|principal| {
        object([
            ("principal_classification", principal.principal_classification.into()),
            ("principal", base64(&principal.principal)),
        ])
    });
    object([
        ("version", policy.version.into()),
        ("rule", policy.rule.as_ref().map_or(Value::Null, rule)),
        ("identities", identities.collect()),
    ])
}

/// Nesting is bounded by the decoder that made the message.
fn rule(policy: &common::SignaturePolicy) -> Value {
    use common::signature_policy::Type;
    match &policy.r#type {
        Some(Type::SignedBy(index)) => json!({"Type": {"SignedBy": index}}),
        Some(Type::NOutOf(some)) => {
            let inner = object([("n", some.n.into()), ("rules", some.rules.iter().map(rule).collect())]);
            json!({"Type": {"NOutOf": inner}})
        }
        None => json!({"Type": null}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_as_go_prints_them() {
        let answer =
            protos::Response { status: 500, message: "say \"no\"\n".to_owned(), payload: b"\xff\x00a".to_vec().into() };
        assert_eq!(response(&answer), r#"status:500 message:"say \"no\"\n" payload:"\xff\x00a""#);
        let whole = protos::ProposalResponse { version: 1, response: Some(answer), ..Default::default() };
        let text = proposal_response(Some(&whole));
        assert!(text.starts_with(r#"version:1 response:{status:500 message:"say"#), "{text}");
        assert_eq!(proposal_response(None), "<nil>");
    }

    #[test]
    fn json_leaves_out_what_is_empty_and_indents_with_tabs() {
        let result = lifecycle::CheckCommitReadinessResult {
            approvals: [("Org1MSP".to_owned(), true), ("Org2MSP".to_owned(), false)].into(),
            ..Default::default()
        };
        let expected = "{\n\t\"approvals\": {\n\t\t\"Org1MSP\": true,\n\t\t\"Org2MSP\": false\n\t}\n}";
        assert_eq!(indented(&readiness(&result)), expected);
        let info = common::BlockchainInfo { height: 3, current_block_hash: vec![1].into(), ..Default::default() };
        assert_eq!(chain_info(&info).to_string(), r#"{"height":3,"currentBlockHash":"AQ=="}"#);
        let snapshot = Some(common::BootstrappingSnapshotInfo { last_block_in_snapshot: 2 });
        let info = common::BlockchainInfo { height: 3, bootstrapping_snapshot_info: snapshot, ..Default::default() };
        let expected = r#"{"height":3,"bootstrappingSnapshotInfo":{"lastBlockInSnapshot":2}}"#;
        assert_eq!(chain_info(&info).to_string(), expected);
    }

    /// What Fabric's command prints for the same definition, without its white space.
    #[test]
    fn definitions_are_printed_member_by_member_as_go_prints_them() {
        use protos::{application_policy, collection_config, collection_policy_config};
        let policy = ripstop_policy::dsl::parse("OR('Org1MSP.member','Org2MSP.admin')").unwrap();
        let collection = protos::StaticCollectionConfig {
            name: "c".to_owned(),
            member_orgs_policy: Some(protos::CollectionPolicyConfig {
                payload: Some(collection_policy_config::Payload::SignaturePolicy(policy)),
            }),
            maximum_peer_count: 1,
            member_only_write: true,
            endorsement_policy: Some(protos::ApplicationPolicy {
                r#type: Some(application_policy::Type::ChannelConfigPolicyReference(
                    "/Channel/Application/Readers".into(),
                )),
            }),
            ..protos::StaticCollectionConfig::default()
        };
        let payload = Some(collection_config::Payload::StaticCollectionConfig(collection));
        let collections = protos::CollectionConfigPackage { config: vec![protos::CollectionConfig { payload }] };
        let local = lifecycle::chaincode_source::Local { package_id: "l:1".to_owned() };
        let source = Some(lifecycle::chaincode_source::Type::LocalPackage(local));
        let result = lifecycle::QueryApprovedChaincodeDefinitionResult {
            sequence: 1,
            version: "<2>".to_owned(),
            endorsement_plugin: "escc".to_owned(),
            validation_plugin: "vscc".to_owned(),
            validation_parameter: b"policy".as_slice().into(),
            collections: Some(collections),
            init_required: true,
            source: Some(lifecycle::ChaincodeSource { r#type: source }),
        };
        let printed: String = indented(&approved(&result)).split_whitespace().collect();
        let terms = r#""sequence":1,"version":"\u003c2\u003e","endorsement_plugin":"escc","validation_plugin":"vscc","validation_parameter":"cG9saWN5","#;
        let rule = r#"{"Type":{"NOutOf":{"n":1,"rules":[{"Type":{"SignedBy":0}},{"Type":{"SignedBy":1}}]}}}"#;
        let identities = r#"[{"principal":"CgdPcmcxTVNQ"},{"principal":"CgdPcmcyTVNQEAE="}]"#;
        let members = format!(r#"{{"Payload":{{"SignaturePolicy":{{"rule":{rule},"identities":{identities}}}}}}}"#);
        let endorsement = r#"{"Type":{"ChannelConfigPolicyReference":"/Channel/Application/Readers"}}"#;
        let collection = format!(
            r#"{{"name":"c","member_orgs_policy":{members},"maximum_peer_count":1,"member_only_write":true,"endorsement_policy":{endorsement}}}"#
        );
        let collections =
            format!(r#""collections":{{"config":[{{"Payload":{{"StaticCollectionConfig":{collection}}}}}]}},"#);
        let source = r#""init_required":true,"source":{"Type":{"LocalPackage":{"package_id":"l:1"}}}"#;
        assert_eq!(printed, format!("{{{terms}{collections}{source}}}"));
    }
}
