//! Chaincode packages: a `tar.gz` of `metadata.json` and `code.tar.gz`. The same input gives the same bytes on every
//! machine, because the package id is a hash of them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use flate2::{Compression, GzBuilder, read::GzDecoder};
use ripstop_types::Digest;
use serde::{Deserialize, Serialize};

/// The owner that Fabric's packager writes for source files.
const OWNER: u64 = 500;
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
    let connection = serde_json::to_vec(service)?;
    pack(label, "ccaas", "", &[Entry::file("connection.json", connection)])
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

/// Packs a directory as Fabric's packager for the language does. `ccaas` and `external` take the files as they are.
pub(crate) fn pack_directory(label: &str, language: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    let root = Path::new(path);
    if !root.is_dir() {
        bail!("path to chaincode does not exist: {path}");
    }
    let (path, entries) = match language.to_ascii_lowercase().as_str() {
        "node" => (path.to_owned(), source_files(root, &["node_modules", ".git"], &[])?),
        "java" => (path.to_owned(), source_files(root, &["target", "build", "out", ".git"], &["class"])?),
        "golang" => go_module(root)?,
        "ccaas" | "external" => (String::new(), files(root, &mut |_, relative| Some(relative.to_owned()))?),
        other => bail!("failed to normalize chaincode path: unknown chaincodeType: {}", other.to_ascii_uppercase()),
    };
    if entries.is_empty() {
        bail!("error getting chaincode bytes: no source files found in '{path}'");
    }
    pack(label, language, &path, &entries)
}

/// A file to pack.
struct Entry {
    name: String,
    content: Vec<u8>,
}

impl Entry {
    fn file(name: &str, content: Vec<u8>) -> Self {
        Self { name: name.to_owned(), content }
    }
}

fn pack(label: &str, language: &str, path: &str, code: &[Entry]) -> anyhow::Result<Vec<u8>> {
    let metadata = Metadata { path: path.to_owned(), r#type: language.to_owned(), label: label.to_owned() };
    let entries = [
        Entry::file("metadata.json", serde_json::to_vec(&metadata)?),
        Entry::file("code.tar.gz", archive(code, OWNER)?),
    ];
    archive(&entries, 0)
}

fn archive(entries: &[Entry], owner: u64) -> anyhow::Result<Vec<u8>> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    let mut archive = tar::Builder::new(gzip);
    for entry in entries {
        let mut header = tar::Header::new_ustar();
        header.set_size(entry.content.len() as u64);
        header.set_mode(0o100_644);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(0);
        archive.append_data(&mut header, &entry.name, entry.content.as_slice())?;
    }
    let mut gzip = archive.into_inner()?;
    gzip.flush()?;
    Ok(gzip.finish()?)
}

/// All files below `root` in the order of their names, as `name` places them; `None` leaves a directory or file out.
fn files(root: &Path, name: &mut dyn FnMut(&Path, &str) -> Option<String>) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    collect(root, root, name, &mut entries)?;
    Ok(entries)
}

fn collect(
    root: &Path,
    directory: &Path,
    name: &mut dyn FnMut(&Path, &str) -> Option<String>,
    entries: &mut Vec<Entry>,
) -> anyhow::Result<()> {
    let listing = std::fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    let mut paths: Vec<PathBuf> = listing.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        let relative = path.strip_prefix(root).ok().and_then(Path::to_str);
        let relative = relative.with_context(|| format!("{} has no readable name", path.display()))?.to_owned();
        let Some(packed) = name(&path, &relative) else { continue };
        if path.is_dir() {
            collect(root, &path, name, entries)?;
        } else {
            let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            entries.push(Entry { name: packed, content });
        }
    }
    Ok(())
}

/// Sources go below `src/`, `META-INF` stays where it is without its hidden files.
fn source_files(root: &Path, left_out: &[&str], extensions: &[&str]) -> anyhow::Result<Vec<Entry>> {
    files(root, &mut |path, relative| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if (path.is_dir() && left_out.contains(&name)) || (path.is_file() && extensions.contains(&extension)) {
            return None;
        }
        if relative.starts_with("META-INF") {
            return (!name.starts_with('.')).then(|| relative.to_owned());
        }
        Some(format!("src/{relative}"))
    })
}

/// A Go module: the directory or one above it holds `go.mod`, which names the import path.
fn go_module(directory: &Path) -> anyhow::Result<(String, Vec<Entry>)> {
    let directory = directory.canonicalize()?;
    let root = directory.ancestors().find(|path| path.join("go.mod").is_file()).with_context(|| {
        format!("failed to normalize chaincode path: {} is in no Go module (there is no go.mod)", directory.display())
    })?;
    let definition = std::fs::read_to_string(root.join("go.mod"))?;
    let module = definition.lines().find_map(|line| line.trim().strip_prefix("module ")).map(str::trim);
    let module = module.context("go.mod names no module")?.trim_matches('"');
    let below = directory.strip_prefix(root).ok().and_then(Path::to_str).unwrap_or_default();
    let import_path = if below.is_empty() { module.to_owned() } else { format!("{module}/{below}") };
    let metadata = Path::new(below).join("META-INF");
    let mut entries = files(root, &mut |path, relative| {
        let hidden = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'));
        if let Ok(inside) = Path::new(relative).strip_prefix(&metadata) {
            return (!hidden).then(|| format!("META-INF/{}", inside.display()));
        }
        (!(hidden && path.is_dir())).then(|| format!("src/{relative}"))
    })?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((import_path, entries))
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
    fn sources_go_below_src_and_metadata_beside() {
        let root = tempfile::tempdir().unwrap();
        for name in ["package.json", "lib/main.js", "node_modules/x.js", "META-INF/i/a.json", "META-INF/.hidden"] {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let names: Vec<_> =
            source_files(root.path(), &["node_modules"], &[]).unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["META-INF/i/a.json", "src/lib/main.js", "src/package.json"]);
    }

    #[test]
    fn what_is_no_package_is_refused_with_a_reason() {
        assert!(read_label(b"not gzip").is_err());
        let empty = archive(&[], 0).unwrap();
        assert!(read_label(&empty).unwrap_err().to_string().contains("did not find a code package"));
        for bad in ["", "-a", "a/b", "a b"] {
            assert!(check_label(bad).is_err(), "{bad}");
        }
    }
}
