//! Smart contracts in Rust: the shim protocol, typed calls, chaincode as a service.
