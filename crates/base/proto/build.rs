//! Generates the messages and the tonic services from `proto/*.proto`; protox parses, so no protoc is needed. Beside them a
//! table of all messages with their fields, for `read`.

use std::fmt::Write;

use protox::prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use tonic_prost_build::Config;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files: Vec<_> =
        std::fs::read_dir("proto")?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    let descriptors = protox::compile(&files, ["proto"])?;
    let pool = DescriptorPool::from_file_descriptor_set(descriptors.clone())?;
    let table = std::path::Path::new(&std::env::var("OUT_DIR")?).join("schema.rs");
    std::fs::write(table, schema(&pool)?)?;
    let mut config = Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        // Zero-copy slices of the received buffer, and map fields that always encode in key order.
        .bytes(".")
        .btree_map(".")
        // The service `Chaincode` has a method `Connect`, which would clash with the convenience constructor.
        .build_transport(false)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// The messages in the order of their names, each with its fields.
fn schema(pool: &DescriptorPool) -> Result<String, std::fmt::Error> {
    let mut messages: Vec<MessageDescriptor> = pool.all_messages().collect();
    messages.sort_by(|a, b| a.full_name().cmp(b.full_name()));
    let mut text = String::from("&[\n");
    for message in &messages {
        writeln!(text, "Schema {{ name: {:?}, fields: &[", message.full_name())?;
        for field in message.fields() {
            let kind = match field.kind() {
                Kind::Message(inner) => {
                    let index = messages.iter().position(|message| *message == inner);
                    format!("Kind::Message({})", index.expect("the pool holds every message that a field names"))
                }
                _ => scalar(&field),
            };
            writeln!(text, "Field {{ number: {}, kind: {kind} }},", field.number())?;
        }
        text.push_str("] },\n");
    }
    text.push(']');
    Ok(text)
}

fn scalar(field: &FieldDescriptor) -> String {
    let wire_type = match field.kind() {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => "Fixed64",
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => "Fixed32",
        Kind::String | Kind::Bytes => return "Kind::Scalar(WireType::Length)".to_owned(),
        _ => "Varint",
    };
    match field.cardinality() {
        Cardinality::Repeated => format!("Kind::Packable(WireType::{wire_type})"),
        _ => format!("Kind::Scalar(WireType::{wire_type})"),
    }
}
