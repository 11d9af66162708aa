//! Generates the messages and the tonic services from `proto/*.proto`; protox parses, so no protoc is needed. Beside them
//! the tables of `schema`.

mod schema;

use protox::prost_reflect::DescriptorPool;
use tonic_prost_build::Config;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files: Vec<_> =
        std::fs::read_dir("proto")?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    let descriptors = protox::compile(&files, ["proto"])?;
    let pool = DescriptorPool::from_file_descriptor_set(descriptors.clone())?;
    let tables = std::path::Path::new(&std::env::var("OUT_DIR")?).join("schema.rs");
    std::fs::write(tables, schema::tables(&pool)?)?;
    let mut config = Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        // Zero-copy slices of the received buffer, and map fields that always encode in key order.
        .bytes(".")
        .btree_map(".")
        // The service `Chaincode` has a method `Connect`, which would clash with the convenience constructor.
        .build_transport(false)
        .codec_path("crate::codec::BoundedCodec")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
