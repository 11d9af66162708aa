//! Writes the descriptors of all messages down as statics of the types in `src/schema.rs`.

use std::collections::BTreeSet;
use std::fmt::Write;

use protox::prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

type Unsupported = Box<dyn std::error::Error>;

/// One static for each message and each enum, and the list of all messages that have a name on the wire.
pub(crate) fn tables(pool: &DescriptorPool) -> Result<String, Unsupported> {
    let mut messages: Vec<MessageDescriptor> = pool.all_messages().collect();
    messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let mut text = String::new();
    let fields = messages.iter().flat_map(MessageDescriptor::fields);
    let enums = fields.filter_map(|field| field.kind().as_enum().map(|of_values| of_values.full_name().to_owned()));
    for name in enums.collect::<BTreeSet<_>>() {
        enumeration(&mut text, &pool.get_enum_by_name(&name).ok_or(name)?)?;
    }
    for of_fields in &messages {
        message(&mut text, of_fields)?;
    }
    text.push_str("/// All messages in the order of their names, the entries of maps left out.\n");
    text.push_str("static MESSAGES: &[&Message] = &[\n");
    for named in messages.iter().filter(|message| !message.is_map_entry()) {
        writeln!(text, "&{},", identifier(named.full_name()))?;
    }
    text.push_str("];\n");
    Ok(text)
}

fn enumeration(text: &mut String, of_values: &EnumDescriptor) -> Result<(), Unsupported> {
    let name = of_values.full_name();
    writeln!(text, "static {}: Enum = Enum {{ name: {name:?}, values: &[", identifier(name))?;
    for value in of_values.values() {
        writeln!(text, "({}, {:?}),", value.number(), value.name())?;
    }
    text.push_str("] };\n");
    Ok(())
}

fn message(text: &mut String, of_fields: &MessageDescriptor) -> Result<(), Unsupported> {
    let name = of_fields.full_name();
    writeln!(text, "static {}: Message = Message {{ name: {name:?}, fields: &[", identifier(name))?;
    let mut fields: Vec<FieldDescriptor> = of_fields.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    for field in fields {
        let (name, json_name) = (field.name(), field.json_name());
        writeln!(text, "Field {{ number: {}, name: {name:?}, json_name: {json_name:?}, ", field.number())?;
        let shape = if field.is_map() {
            "Map"
        } else if field.is_list() {
            "List"
        } else {
            "Single"
        };
        let oneof = field.containing_oneof().map(|oneof| oneof.name().to_owned());
        writeln!(text, "kind: {}, shape: Shape::{shape}, oneof: {oneof:?} }},", kind(&field)?)?;
    }
    text.push_str("] };\n");
    Ok(())
}

fn kind(field: &FieldDescriptor) -> Result<String, Unsupported> {
    let scalar = match field.kind() {
        Kind::Message(inner) => return Ok(format!("Kind::Message(&{})", identifier(inner.full_name()))),
        Kind::Enum(inner) => return Ok(format!("Kind::Enum(&{})", identifier(inner.full_name()))),
        Kind::Bool => "Bool",
        Kind::Int32 => "Int32",
        Kind::Int64 => "Int64",
        Kind::Uint32 => "Uint32",
        Kind::Uint64 => "Uint64",
        Kind::String => "String",
        Kind::Bytes => "Bytes",
        other => return Err(format!("{}: Fabric has no fields of kind {other:?}", field.full_name()).into()),
    };
    Ok(format!("Kind::{scalar}"))
}

/// The name of a message or an enum as that of a static.
fn identifier(full_name: &str) -> String {
    full_name.replace('.', "_").to_uppercase()
}
