use ripstop_proto::schema::{self, Kind, Shape};
use ripstop_proto::{Message as _, common, orderer, rwset};

use crate::binary::{self, MAX_DEPTH};
use crate::dynamic::{Dynamic, Key, Value};
use crate::place::Place;
use crate::{Document, Form, tree};

fn json(name: &str, raw: &[u8]) -> Result<String, String> {
    let form = Form::named(name).unwrap();
    let document = Document::parse(&form, raw).map_err(|error| error.to_string())?;
    document.to_json().map_err(|error| error.to_string())
}

fn bytes(name: &str, json: &str) -> Result<Vec<u8>, String> {
    let form = Form::named(name).unwrap();
    Document::from_json(&form, json.as_bytes()).map(|document| document.to_bytes()).map_err(|error| error.to_string())
}

/// Writes a message as JSON, which must be `expected`, and reads it again.
#[track_caller]
fn both_ways(name: &str, message: &impl ripstop_proto::Message, expected: &str) {
    let raw = message.encode_to_vec();
    let written = json(name, &raw).unwrap();
    assert_eq!(written, expected);
    assert_eq!(bytes(name, &written).unwrap(), raw);
}

#[test]
fn a_message_in_bytes_is_written_as_that_message() {
    let channel_header = common::ChannelHeader {
        r#type: common::HeaderType::ConfigUpdate.into(),
        channel_id: "<sea>".into(),
        epoch: u64::MAX,
        ..Default::default()
    };
    // A point in time, as field 3: seconds and nanoseconds.
    let timestamp = vec![0x1a, 0x08, 0x08, 0x80, 0x01, 0x10, 0xc0, 0x96, 0xb1, 0x02];
    let channel_header = common::ChannelHeader::decode(&*[channel_header.encode_to_vec(), timestamp].concat()).unwrap();
    let header = common::Header { channel_header: channel_header.encode_to_vec().into(), ..Default::default() };
    let update = common::ConfigUpdateEnvelope::default();
    let payload = common::Payload { header: Some(header), data: update.encode_to_vec().into() };
    let envelope = common::Envelope { payload: payload.encode_to_vec().into(), signature: vec![0xfb, 0xff].into() };
    let expected = r#"{
	"payload": {
		"data": null,
		"header": {
			"channel_header": {
				"channel_id": "\u003csea\u003e",
				"epoch": "18446744073709551615",
				"extension": null,
				"timestamp": "1970-01-01T00:02:08.005Z",
				"tls_cert_hash": "",
				"tx_id": "",
				"type": 2,
				"version": 0
			},
			"signature_header": null
		}
	},
	"signature": "+/8="
}
"#;
    both_ways("common.Envelope", &envelope, expected);
}

#[test]
fn the_place_and_name_of_a_value_of_the_configuration_tell_what_it_holds() {
    let kind = orderer::ConsensusType { r#type: "else".into(), ..Default::default() };
    let value = common::ConfigValue { value: kind.encode_to_vec().into(), ..Default::default() };
    let group = common::ConfigGroup { values: [("ConsensusType".to_owned(), value)].into(), ..Default::default() };
    let named =
        |name: &str, group| common::ConfigGroup { groups: [(name.to_owned(), group)].into(), ..Default::default() };
    let config = |name| common::Config { sequence: 3, channel_group: Some(named(name, group.clone())) };
    let expected = r#"{
	"channel_group": {
		"groups": {
			"Orderer": {
				"groups": {},
				"mod_policy": "",
				"policies": {},
				"values": {
					"ConsensusType": {
						"mod_policy": "",
						"value": {
							"metadata": null,
							"state": "STATE_NORMAL",
							"type": "else"
						},
						"version": "0"
					}
				},
				"version": "0"
			}
		},
		"mod_policy": "",
		"policies": {},
		"values": {},
		"version": "0"
	},
	"sequence": "3"
}
"#;
    both_ways("common.Config", &config("Orderer"), expected);
    let refused = json("common.Config", &config("Application").encode_to_vec()).unwrap_err();
    assert!(refused.ends_with("unknown Application ConfigValue name: ConsensusType"), "{refused}");
    // Outside of a configuration nothing is known of a group.
    assert!(json("common.ConfigGroup", &group.encode_to_vec()).unwrap().contains("\"value\": \"CgRlbHNl\""));
    let organization = Document::parse(&Form::orderer_organization(), &group.encode_to_vec()).unwrap();
    let refused = organization.to_json().unwrap_err().to_string();
    assert!(refused.ends_with("unknown Orderer Org ConfigValue name: ConsensusType"), "{refused}");
}

#[test]
fn what_an_alternative_holds_is_written_by_protobufs_own_rules() {
    let principal = common::MspPrincipal { principal: b"role".to_vec().into(), ..Default::default() };
    let rule = common::SignaturePolicy { r#type: Some(common::signature_policy::Type::SignedBy(0)) };
    let policy = common::SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities: vec![principal.clone()] };
    let reference =
        common::ApplicationPolicy { r#type: Some(common::application_policy::Type::SignaturePolicy(policy.clone())) };
    assert!(json("common.SignaturePolicyEnvelope", &policy.encode_to_vec()).is_err(), "it is no role");
    let written = json("common.ApplicationPolicy", &reference.encode_to_vec()).unwrap();
    assert!(written.contains("\"principal\": \"cm9sZQ==\"") && written.contains("\"signed_by\": 0"), "{written}");
    assert_eq!(bytes("common.ApplicationPolicy", &written).unwrap(), reference.encode_to_vec());
}

#[test]
fn another_model_than_keys_and_values_stays_bytes() {
    let set = rwset::NsReadWriteSet { rwset: vec![1, 2].into(), ..Default::default() };
    let model = rwset::TxReadWriteSet { data_model: 7, ns_rwset: vec![set] };
    let written = json("rwset.TxReadWriteSet", &model.encode_to_vec()).unwrap();
    assert!(written.contains("\"rwset\": \"AQI=\"") && written.contains("\"data_model\": 7"), "{written}");
    assert_eq!(bytes("rwset.TxReadWriteSet", &written).unwrap(), model.encode_to_vec());
}

#[test]
fn json_that_is_not_the_message_is_refused_with_the_place() {
    for (name, text, refusal) in [
        ("common.Envelope", "", "error unmarshaling intermediate JSON: EOF"),
        ("common.Envelope", "[]", "invalid value: expected an object, not a list"),
        ("common.Envelope", r#"{"payloads":{}}"#, "common.Envelope: unknown field \"payloads\""),
        (
            "common.Envelope",
            r#"{"payload":"YQ=="}"#,
            "field payload of common.Envelope: invalid value: expected an object",
        ),
        (
            "common.Envelope",
            r#"{"payload":{"data":{}}}"#,
            "field payload of common.Envelope: field data of common.Payload: cannot determine payload type when header is \
             missing",
        ),
        (
            "common.Payload",
            r#"{"header":{"channel_header":{"type":99}},"data":{}}"#,
            "decoding type 99 is unimplemented",
        ),
        ("common.BlockHeader", r#"{"number":"-1"}"#, "expected a positive number of 64 bits, not \"-1\""),
        ("common.BlockHeader", r#"{"number":1.5}"#, "expected a positive number of 64 bits, not 1.5"),
        ("common.BlockHeader", r#"{"data_hash":"","dataHash":""}"#, "common.BlockHeader: duplicate field \"dataHash\""),
        ("common.BlockHeader", r#"{"data_hash":"!"}"#, "expected text in base64, not \"!\""),
        (
            "common.BlockData",
            r#"{"data":[null]}"#,
            "field data[0] of common.BlockData: invalid value: expected an object",
        ),
        (
            "common.ImplicitMetaPolicy",
            r#"{"rule":"SOME"}"#,
            "invalid value for enum common.ImplicitMetaPolicy.Rule: \"SOME\"",
        ),
        ("common.SignaturePolicy", r#"{"signed_by":1,"n_out_of":{}}"#, "oneof Type is already set"),
        ("common.ChannelHeader", r#"{"timestamp":"yesterday"}"#, "expected a time such as"),
        ("common.Config", r#"{"channel_group":{"groups":{"Sea":{}}}}"#, "unknown channel group sub-group 'Sea'"),
        ("common.ConfigUpdate", r#"{"isolated_data":{"sea":{}}}"#, "Unknown map key: sea"),
        ("common.Policy", r#"{"value":{}}"#, "unable to decode policy type: 0"),
        (
            "common.MSPPrincipal",
            r#"{"principal":{},"principal_classification":3}"#,
            "unable to decode MSP type: ANONYMITY",
        ),
    ] {
        let error = bytes(name, text).unwrap_err();
        assert!(error.contains(refusal), "{name} {text}: {error}");
    }
}

#[test]
fn numbers_bytes_and_names_are_read_in_every_way_that_protobuf_allows() {
    let block_header = common::BlockHeader { number: 100, previous_hash: vec![0xfb].into(), ..Default::default() };
    for text in [
        r#"{"number":"100","previous_hash":"+w=="}"#,
        r#"{"number":100,"previousHash":"-w"}"#,
        r#"{"number":1e2,"previous_hash":"+w\n==","data_hash":null} and what follows"#,
        r#"{"number":"100.0","previous_hash":"-w=="}"#,
    ] {
        assert_eq!(bytes("common.BlockHeader", text).unwrap(), block_header.encode_to_vec(), "{text}");
    }
    for text in [r#"{"rule":2}"#, r#"{"rule":"MAJORITY"}"#] {
        assert_eq!(bytes("common.ImplicitMetaPolicy", text).unwrap(), [0x10, 2]);
    }
    for (text, seconds) in
        [("1970-01-01T00:00:01Z", 1), ("1970-01-01T01:00:00+00:59", 60), ("1969-12-31T23:59:59Z", -1)]
    {
        let raw = bytes("common.ChannelHeader", &format!(r#"{{"timestamp":"{text}"}}"#)).unwrap();
        assert_eq!(
            common::ChannelHeader::decode(raw.as_slice()).unwrap().timestamp.unwrap().seconds,
            seconds,
            "{text}"
        );
    }
    for wrong in [
        "0000-01-01T00:00:00Z",
        "1970-01-01T00:00:00.0000000001Z",
        "1970-01-01",
        "1970-01-01 00:00:00Z",
        "1972-06-30T23:59:60Z",
        "9999-12-31T23:59:59-01:00",
    ] {
        assert!(bytes("common.ChannelHeader", &format!(r#"{{"timestamp":"{wrong}"}}"#)).is_err(), "{wrong}");
    }
}

#[test]
fn what_stands_too_deep_is_refused_in_either_form() {
    let nested = |levels: usize| {
        let rule = |rules| common::SignaturePolicy {
            r#type: Some(common::signature_policy::Type::NOutOf(common::signature_policy::NOutOf { n: 1, rules })),
        };
        (1..levels).fold(rule(vec![]), |inner, _| rule(vec![inner])).encode_to_vec()
    };
    let deepest = json("common.SignaturePolicy", &nested(MAX_DEPTH / 2)).unwrap();
    assert_eq!(bytes("common.SignaturePolicy", &deepest).unwrap(), nested(MAX_DEPTH / 2));
    let refused = json("common.SignaturePolicy", &nested(MAX_DEPTH / 2 + 1)).unwrap_err();
    assert!(refused.ends_with("stands deeper than 60 messages in each other"), "{refused}");

    // Messages in bytes count too.
    let channel_header = common::ChannelHeader { r#type: 4, ..Default::default() };
    let header = common::Header { channel_header: channel_header.encode_to_vec().into(), ..Default::default() };
    let envelope = (0..MAX_DEPTH).fold(common::Envelope::default(), |inner, _| {
        let payload = common::Payload { header: Some(header.clone()), data: inner.encode_to_vec().into() };
        common::Envelope { payload: payload.encode_to_vec().into(), ..Default::default() }
    });
    let refused = json("common.Envelope", &envelope.encode_to_vec()).unwrap_err();
    assert!(refused.ends_with("stands deeper than 60 messages in each other"), "{refused}");
    assert!(bytes("common.ConfigGroup", &r#"{"groups":{"a":"#.repeat(1_000)).unwrap_err().contains("recursion limit"));
}

#[test]
fn bytes_that_are_not_the_message_are_refused() {
    for (name, raw, refusal) in [
        ("common.Envelope", &[0x0a, 5, 1][..], "proto: cannot parse invalid wire-format data as common.Envelope"),
        ("common.Envelope", &[0x0a, 1, 0xff], "field payload of common.Envelope: proto: cannot parse"),
        ("protos.ChaincodeID", &[0x0a, 1, 0xff], "string field contains invalid UTF-8: protos.ChaincodeID.path"),
        (
            "common.ChannelHeader",
            &[0x1a, 2, 0x10, 0xff, 0x01],
            "proto: cannot parse invalid wire-format data as google.protobuf.Timestamp",
        ),
        (
            "common.ChannelHeader",
            &[0x1a, 6, 0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03],
            "field timestamp of common.ChannelHeader: google.protobuf.Timestamp: nanos out of range 1000000000",
        ),
    ] {
        let error = json(name, raw).unwrap_err();
        assert!(error.starts_with(refusal), "{name}: {error}");
    }
}

#[test]
fn every_message_is_written_and_read_again_when_it_is_empty_and_when_it_is_full() {
    for schema in schema::messages().filter(|schema| Form::named(schema.name).is_some()) {
        let empty = json(schema.name, &[]).unwrap();
        assert_eq!(bytes(schema.name, &empty), Ok(vec![]), "{}", schema.name);
        let full = filled(schema, 3);
        let raw = binary::to_bytes(&full);
        let parsed = Document::parse(&Form { schema, place: Place::Plain }, &raw).unwrap();
        assert_eq!(parsed.to_bytes(), raw, "{}", schema.name);
        let text = parsed.to_json().unwrap();
        let again = Document::from_json(&Form { schema, place: Place::Plain }, text.as_bytes()).unwrap();
        assert_eq!(again.to_bytes(), raw, "{}: {text}", schema.name);
        assert_eq!(tree::text(&tree::object(&full, &Place::Plain, 0).unwrap()), text, "{}", schema.name);
    }
}

/// A message with every field set, as far as alternatives allow, down to a depth.
fn filled(schema: &'static schema::Message, depth: usize) -> Dynamic {
    let mut message = Dynamic::new(schema);
    for field in schema.fields {
        let value = |salt: i64| match field.value_kind() {
            Kind::Bool => Value::Bool(true),
            Kind::Int32 => Value::Signed(i64::from(i32::MIN) + salt),
            Kind::Int64 => Value::Signed(i64::MIN + salt),
            Kind::Uint32 => Value::Unsigned(u64::from(u32::MAX)),
            Kind::Uint64 => Value::Unsigned(u64::MAX),
            Kind::String => Value::Text(format!("&{salt}\u{2028}\"")),
            Kind::Bytes => Value::Bytes(vec![0xff, 0]),
            Kind::Enum(of_values) => Value::Enum(of_values.values.last().unwrap().0),
            Kind::Message(inner) if depth == 0 => Value::Message(Dynamic::new(inner)),
            Kind::Message(inner) => Value::Message(filled(inner, depth - 1)),
        };
        let value = match field.shape {
            Shape::Single => value(1),
            Shape::List => Value::List(vec![value(1), value(2)]),
            Shape::Map => {
                let Kind::Message(entry) = field.kind else { panic!("a map holds entries") };
                let key = |number| match entry.field(1).unwrap().kind {
                    Kind::String => Key::Text(format!("<{number}>")),
                    _ => Key::Number(number),
                };
                Value::Map([(key(2), value(2)), (key(10), value(10))].into())
            }
        };
        // Times of day as others have them.
        if !matches!(field.kind, Kind::Message(inner) if inner.name == crate::timestamp::NAME) {
            message.set(field, value);
        }
    }
    message
}
