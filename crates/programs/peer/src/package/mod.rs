//! Chaincode packages: a `tar.gz` of `metadata.json` and `code.tar.gz`. The same input gives the same bytes on every
//! machine, because the package id is a hash of them.

mod archive;
mod golang;
mod gzip;
mod sources;

use anyhow::{Context, bail};
use archive::{Archive, Writing};
pub use ripstop_chaincode_builder::package_id;
use serde::Serialize;
use sources::LeftOut;

use crate::text;

/// The content of a package's `metadata.json`.
#[derive(Debug, Serialize)]
struct Metadata<'a> {
    path: &'a str,
    r#type: &'a str,
    label: &'a str,
}

/// Where a chaincode that runs as a service listens: the `connection.json` of a `ccaas` package.
#[derive(Debug, Serialize)]
pub struct ServiceAddress {
    /// `host:port`, as the peer reaches it.
    pub address: String,
    /// How long the peer tries to connect, in Go's notation.
    pub dial_timeout: String,
    /// Whether the peer speaks TLS to it.
    pub tls_required: bool,
}

/// Packs the address of a chaincode that runs as a service.
pub fn pack_service(label: &str, service: &ServiceAddress) -> anyhow::Result<Vec<u8>> {
    let mut code = Archive::new(Writing::Sources);
    code.file("connection.json", &serde_json::to_vec(service)?)?;
    pack(label, "ccaas", "", &code.finish())
}

/// Packs a directory as Fabric's packager for the language does, so that both give one chaincode the same id. `ccaas` and
/// `external` take the files as they are.
pub(crate) fn pack_directory(label: &str, language: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let bytes = "error getting chaincode bytes";
    let (path, code) = match language.to_ascii_lowercase().as_str() {
        "golang" => golang::pack(path)?,
        "node" => {
            let left_out = LeftOut { directories: &["node_modules"], extension: None };
            let code = sources::pack(trimmed, &left_out);
            (path.to_owned(), code.context("Error writing Chaincode package contents").context(bytes)?)
        }
        "java" => {
            let left_out = LeftOut { directories: &["target", "build", "out"], extension: Some("class") };
            let code = sources::pack(trimmed, &left_out);
            (path.to_owned(), code.context("failed to create chaincode package").context(bytes)?)
        }
        "ccaas" | "external" => (String::new(), sources::pack_unchanged(trimmed).context(bytes)?),
        other => bail!("failed to normalize chaincode path: unknown chaincodeType: {}", other.to_ascii_uppercase()),
    };
    pack(label, language, &path, &code)
}

fn pack(label: &str, language: &str, path: &str, code: &[u8]) -> anyhow::Result<Vec<u8>> {
    let metadata = Metadata { path, r#type: language, label };
    let mut package = Archive::new(Writing::Package);
    package.file("metadata.json", text::json(&metadata)?.as_bytes())?;
    package.file("code.tar.gz", code)?;
    Ok(package.finish())
}

#[cfg(test)]
mod tests {
    use ripstop_chaincode_builder::Package;

    use super::*;

    fn service() -> ServiceAddress {
        ServiceAddress { address: "127.0.0.1:9999".to_owned(), dial_timeout: "10s".to_owned(), tls_required: false }
    }

    #[test]
    fn a_package_has_the_same_bytes_every_time_and_names_its_label() {
        let package = pack_service("basic_1.0", &service()).unwrap();
        assert_eq!(package, pack_service("basic_1.0", &service()).unwrap());
        assert_eq!(Package::parse(&package).unwrap().metadata.label, "basic_1.0");
        assert_eq!(package_id("basic_1.0", &package).len(), "basic_1.0:".len() + 64);
    }
}
