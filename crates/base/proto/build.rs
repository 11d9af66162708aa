//! Generates the messages and the tonic services from `proto/*.proto`; protox parses, so no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut files: Vec<_> =
        std::fs::read_dir("proto")?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    files.sort();
    let descriptors = protox::compile(&files, ["proto"])?;
    tonic_prost_build::configure()
        // Zero-copy slices of the received buffer, and map fields that always encode in key order.
        .bytes(".")
        .btree_map(".")
        // The service `Chaincode` has a method `Connect`, which would clash with the convenience constructor.
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
