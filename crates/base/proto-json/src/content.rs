//! What the bytes in a field hold.

use ripstop_proto::common::{self, HeaderType, msp_principal::Classification};
use ripstop_proto::schema::{self, Field, Kind, Message, Shape};

use crate::dynamic::{Dynamic, Value};
use crate::place::{Group, Place};
use crate::timestamp;

/// It is not known what message the bytes of a field hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownContent(pub(crate) String);

/// Fields whose bytes always hold the same message: its type, their name, what they hold.
const HOLDS: &[(&str, &str, &str)] = &[
    ("common.BlockData", "data", "common.Envelope"),
    ("common.ConfigSignature", "signature_header", "common.SignatureHeader"),
    ("common.ConfigUpdateEnvelope", "config_update", "common.ConfigUpdate"),
    ("common.Envelope", "payload", "common.Payload"),
    ("common.Header", "channel_header", "common.ChannelHeader"),
    ("common.Header", "signature_header", "common.SignatureHeader"),
    ("common.SignatureHeader", "creator", "msp.SerializedIdentity"),
    ("protos.ChaincodeAction", "events", "protos.ChaincodeEvent"),
    ("protos.ChaincodeAction", "results", "rwset.TxReadWriteSet"),
    ("protos.ChaincodeActionPayload", "chaincode_proposal_payload", "protos.ChaincodeProposalPayload"),
    ("protos.ChaincodeEndorsedAction", "proposal_response_payload", "protos.ProposalResponsePayload"),
    ("protos.ChaincodeProposalPayload", "input", "protos.ChaincodeInvocationSpec"),
    ("protos.ProposalResponsePayload", "extension", "protos.ChaincodeAction"),
    ("protos.TransactionAction", "header", "common.SignatureHeader"),
    ("protos.TransactionAction", "payload", "protos.ChaincodeActionPayload"),
];

/// What is known of a field beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing; it is written as protobuf writes it.
    Declared,
    /// It is a message or holds some, which are written with what they hold.
    Messages,
    /// Its bytes are a message.
    Opaque,
}

/// Which rule holds for a field. Of an alternative Fabric's tool knows nothing, nor of maps whose keys are numbers.
pub(crate) fn rule(message: &Dynamic, place: &Place, field: &Field) -> Rule {
    if *place == Place::Plain || field.oneof.is_some() || has_numbers_as_keys(field) {
        return Rule::Declared;
    }
    match field.value_kind() {
        Kind::Message(inner) if inner.name == timestamp::NAME => Rule::Declared,
        Kind::Message(_) => Rule::Messages,
        _ if is_opaque(message.schema().name, place, field.name) => Rule::Opaque,
        _ => Rule::Declared,
    }
}

fn has_numbers_as_keys(field: &Field) -> bool {
    let Kind::Message(entry) = field.kind else { return false };
    field.shape == Shape::Map && !entry.field(1).is_some_and(|key| matches!(key.kind, Kind::String))
}

fn is_opaque(message: &str, place: &Place, field: &str) -> bool {
    match (message, field) {
        ("common.ConfigValue", "value") => matches!(place, Place::Value(..)),
        ("rwset.NsReadWriteSet" | "rwset.CollectionHashedReadWriteSet", "rwset") => *place == Place::KeyValue,
        ("common.ChannelHeader", "extension")
        | ("common.ConfigUpdate", "isolated_data")
        | ("common.MSPPrincipal", "principal")
        | ("common.Payload", "data")
        | ("common.Policy", "value")
        | ("msp.MSPConfig", "config")
        | ("orderer.ConsensusType", "metadata") => true,
        _ => HOLDS.iter().any(|(holder, held, _)| (*holder, *held) == (message, field)),
    }
}

/// The type of the message in an opaque field; `key` is that of the map's entry, if it is a map.
pub(crate) fn held(
    message: &Dynamic,
    place: &Place,
    field: &Field,
    key: Option<&str>,
) -> Result<&'static Message, UnknownContent> {
    let name = held_name(message, place, field, key)?;
    schema::message(name).ok_or_else(|| UnknownContent(format!("there is no message {name}")))
}

fn held_name(
    message: &Dynamic,
    place: &Place,
    field: &Field,
    key: Option<&str>,
) -> Result<&'static str, UnknownContent> {
    let number = |field| match message.get(field) {
        Some(Value::Signed(number)) => i32::try_from(*number).unwrap_or_default(),
        Some(Value::Enum(number)) => *number,
        _ => 0,
    };
    let unknown = |text: String| Err(UnknownContent(text));
    match (message.schema().name, place) {
        ("common.ConfigValue", Place::Value(group, name)) => group.value(name),
        ("rwset.NsReadWriteSet", _) => Ok("kvrwset.KVRWSet"),
        ("rwset.CollectionHashedReadWriteSet", _) => Ok("kvrwset.HashedRWSet"),
        ("common.ChannelHeader", _) => match HeaderType::try_from(number("type")) {
            Ok(HeaderType::EndorserTransaction) => Ok("protos.ChaincodeHeaderExtension"),
            _ => unknown("channel header extension only valid for endorser transactions".to_owned()),
        },
        // Fabric has a place for such types to be named, and names none.
        ("common.ConfigUpdate", _) => unknown(format!("Unknown map key: {}", key.unwrap_or_default())),
        ("common.MSPPrincipal", _) => match Classification::try_from(number("principal_classification")) {
            Ok(Classification::Role) => Ok("common.MSPRole"),
            Ok(Classification::OrganizationUnit) => Ok("common.OrganizationUnit"),
            Ok(Classification::Identity) => Ok("msp.SerializedIdentity"),
            Ok(other) => unknown(format!("unable to decode MSP type: {}", other.as_str_name())),
            Err(error) => unknown(format!("unable to decode MSP type: {}", error.0)),
        },
        ("common.Payload", _) => payload_data(message),
        ("common.Policy", _) => match number("type") {
            1 => Ok("common.SignaturePolicyEnvelope"),
            3 => Ok("common.ImplicitMetaPolicy"),
            other => unknown(format!("unable to decode policy type: {other}")),
        },
        ("msp.MSPConfig", _) => match number("type") {
            0 => Ok("msp.FabricMSPConfig"),
            1 => Ok("msp.IdemixMSPConfig"),
            other => unknown(format!("unable to decode MSP type: {other}")),
        },
        ("orderer.ConsensusType", _) => Ok(match message.get("type") {
            Some(Value::Text(kind)) if kind == "etcdraft" => "etcdraft.ConfigMetadata",
            Some(Value::Text(kind)) if kind == "BFT" => "orderer.smartbft.Options",
            _ => "google.protobuf.Empty",
        }),
        (name, _) => HOLDS
            .iter()
            .find(|(holder, held, _)| (*holder, *held) == (name, field.name))
            .map(|(_, _, content)| *content)
            .ok_or_else(|| UnknownContent(format!("not a marshaled field: {}", field.name))),
    }
}

/// What a payload holds: its header's header of the channel says it.
#[expect(deprecated, reason = "old chains hold what only a system channel made")]
fn payload_data(payload: &Dynamic) -> Result<&'static str, UnknownContent> {
    let Some(Value::Message(header)) = payload.get("header") else {
        return Err(UnknownContent("cannot determine payload type when header is missing".to_owned()));
    };
    let raw = match header.get("channel_header") {
        Some(Value::Bytes(raw)) => raw.as_slice(),
        _ => &[],
    };
    let channel_header: common::ChannelHeader =
        ripstop_proto::read(raw).map_err(|error| UnknownContent(format!("corrupt channel header: {error}")))?;
    match HeaderType::try_from(channel_header.r#type) {
        Ok(HeaderType::Config) => Ok("common.ConfigEnvelope"),
        Ok(HeaderType::OrdererTransaction) => Ok("common.Envelope"),
        Ok(HeaderType::ConfigUpdate) => Ok("common.ConfigUpdateEnvelope"),
        // What a sample client of Fabric once sent.
        Ok(HeaderType::Message) => Ok("common.ConfigValue"),
        Ok(HeaderType::EndorserTransaction) => Ok("protos.Transaction"),
        _ => Err(UnknownContent(format!("decoding type {} is unimplemented", channel_header.r#type))),
    }
}

/// Where the messages in a field stand; `key` is that of the map's entry, if it is a map.
pub(crate) fn inner_place(
    message: &Dynamic,
    place: &Place,
    field: &Field,
    key: Option<&str>,
) -> Result<Place, UnknownContent> {
    Ok(match (message.schema().name, field.name, place) {
        ("common.Config", "channel_group", _) | ("common.ConfigUpdate", "read_set" | "write_set", _) => {
            Place::Group(Group::Channel)
        }
        ("common.ConfigGroup", "groups", Place::Group(group)) => Place::Group(group.group(key.unwrap_or_default())?),
        ("common.ConfigGroup", "values", Place::Group(group)) => {
            group.check_values()?;
            Place::Value(*group, key.unwrap_or_default().to_owned())
        }
        // Other models than that of keys and values are not known.
        ("rwset.TxReadWriteSet", "ns_rwset", _) => match message.get("data_model") {
            None | Some(Value::Enum(0)) => Place::KeyValue,
            Some(_) => Place::Anywhere,
        },
        ("rwset.NsReadWriteSet", "collection_hashed_rwset", Place::KeyValue) => Place::KeyValue,
        _ => Place::Anywhere,
    })
}
