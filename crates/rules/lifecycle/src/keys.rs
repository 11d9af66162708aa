//! The keys and values of definitions and approvals in the state.
//!
//! | where | key | value |
//! |---|---|---|
//! | public | `namespaces/metadata/<name>` | `StateMetadata{"ChaincodeDefinition", [Sequence, EndorsementInfo, ValidationInfo, Collections]}` |
//! | public | `namespaces/fields/<name>/<field>` | `StateData` of that field |
//! | org | `namespaces/metadata/<name>#<sequence>` | `StateMetadata{"ChaincodeParameters", [EndorsementInfo, ValidationInfo, Collections]}` |
//! | org | `namespaces/fields/<name>#<sequence>/<field>` | `StateData` of that field |
//! | org | `chaincode-sources/metadata/<name>#<sequence>` | `StateMetadata{"ChaincodeLocalPackage", [PackageID]}` |
//! | org | `chaincode-sources/fields/<name>#<sequence>/PackageID` | `StateData` string: the package id, empty for none |
//!
//! `StateData` always encodes its member, also a zero: sequence 0 is `0800`, empty bytes `1200`, an empty string `1a00`.
//! Messages are kept as bytes.

/// Records of definitions and of approved parameters.
pub const NAMESPACES: &str = "namespaces";
/// Records of where an organization's peers find the code.
pub const SOURCES: &str = "chaincode-sources";

/// The key under which a record says what it is.
pub fn metadata(table: &str, name: &str) -> String {
    format!("{table}/metadata/{name}")
}

/// The key of one field of a record.
pub fn field(table: &str, name: &str, field: &str) -> String {
    format!("{table}/fields/{name}/{field}")
}

/// The name of an organization's private records of a definition.
pub fn private_name(name: &str, sequence: i64) -> String {
    format!("{name}#{sequence}")
}

/// The prefix of all metadata keys of a table.
pub(crate) fn metadata_prefix(table: &str) -> String {
    format!("{table}/metadata/")
}

/// The chaincode whose definition a write to this public key changes (Fabric: `SequenceMatcher`).
pub fn defined_chaincode(key: &str) -> Option<&str> {
    let name = key.strip_prefix(NAMESPACES)?.strip_prefix("/fields/")?.strip_suffix("/Sequence")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}
