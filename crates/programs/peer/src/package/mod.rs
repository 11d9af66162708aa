//! Chaincode packages: a `tar.gz` of `metadata.json` and `code.tar.gz`. The same input gives the same bytes on every
//! machine, because the package id is a hash of them.

mod archive;
mod golang;
mod gzip;
mod metadata;
mod sources;

use std::io::Read;

use anyhow::{Context, bail};
use archive::{Archive, Writing};
use flate2::read::GzDecoder;
use ripstop_types::Digest;
use serde::{Deserialize, Serialize};
use sources::LeftOut;

use crate::text;

/// The most bytes of `metadata.json` that are read.
const MAX_METADATA: u64 = 1024 * 1024;

/// The content of a package's `metadata.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    #[serde(default)]
    path: String,
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    label: String,
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

/// The id under which a peer knows an installed package: its label and the hash of its bytes.
pub fn package_id(label: &str, package: &[u8]) -> String {
    format!("{label}:{}", Digest::of(package))
}

/// The label that a package names in its metadata.
pub(crate) fn read_label(package: &[u8]) -> anyhow::Result<String> {
    let mut archive = tar::Archive::new(GzDecoder::new(package));
    let entries = archive.entries().context("error reading as gzip stream")?;
    let mut metadata: Option<Metadata> = None;
    let mut has_code = false;
    for entry in entries {
        let mut entry = entry.context("error inspecting next tar header")?;
        let name = entry.path().context("a tar entry has no readable name")?.into_owned();
        if !entry.header().entry_type().is_file() {
            bail!("tar entry {} is not a regular file, type {:?}", name.display(), entry.header().entry_type());
        }
        match name.to_str() {
            Some("metadata.json") => {
                let mut text = Vec::new();
                entry.by_ref().take(MAX_METADATA).read_to_end(&mut text).context("could not read metadata.json")?;
                let parsed = serde_json::from_slice(&text);
                metadata = Some(parsed.context("could not unmarshal metadata.json as json")?);
            }
            Some("code.tar.gz") => has_code = true,
            _ => {
                tracing::warn!(target: "cli.lifecycle.chaincode", "Encountered unexpected file '{}' in top level of chaincode package", name.display())
            }
        }
    }
    if !has_code {
        bail!("did not find a code package inside the package");
    }
    let metadata = metadata.context("did not find any package metadata (missing metadata.json)")?;
    check_label(&metadata.label)?;
    Ok(metadata.label)
}

/// Labels become parts of file names, so their characters are limited.
pub(crate) fn check_label(label: &str) -> anyhow::Result<()> {
    let starts_well = label.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !starts_well || !label.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c)) {
        bail!(
            "invalid label '{label}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
        );
    }
    Ok(())
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
    let metadata = Metadata { path: path.to_owned(), r#type: language.to_owned(), label: label.to_owned() };
    let mut package = Archive::new(Writing::Package);
    package.file("metadata.json", text::json(&metadata)?.as_bytes())?;
    package.file("code.tar.gz", code)?;
    Ok(package.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceAddress {
        ServiceAddress { address: "127.0.0.1:9999".to_owned(), dial_timeout: "10s".to_owned(), tls_required: false }
    }

    #[test]
    fn a_package_has_the_same_bytes_every_time_and_names_its_label() {
        let package = pack_service("basic_1.0", &service()).unwrap();
        assert_eq!(package, pack_service("basic_1.0", &service()).unwrap());
        assert_eq!(read_label(&package).unwrap(), "basic_1.0");
        assert_eq!(package_id("basic_1.0", &package).len(), "basic_1.0:".len() + 64);
    }

    #[test]
    fn what_is_no_package_is_refused_with_a_reason() {
        assert!(read_label(b"not gzip").is_err());
        let empty = Archive::new(Writing::Package).finish();
        assert!(read_label(&empty).unwrap_err().to_string().contains("did not find a code package"));
        for bad in ["", "-a", "a/b", "a b"] {
            assert!(check_label(bad).is_err(), "{bad}");
        }
    }
}
