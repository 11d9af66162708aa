//! Chaincode packages: a gzipped tar of `metadata.json` and `code.tar.gz`.

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;
use ripstop_lifecycle::is_label;
use ripstop_types::Digest;
use serde::Deserialize;

/// The file that says what a package is.
const METADATA_FILE: &str = "metadata.json";
/// The file that holds the code.
const CODE_FILE: &str = "code.tar.gz";
/// The most bytes that a package may unpack to, so that a small one cannot fill the memory.
const MAX_UNPACKED: u64 = 512 * 1024 * 1024;
/// The most entries in one archive.
const MAX_ENTRIES: usize = 65_536;

/// Why bytes are no chaincode package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It is not compressed with gzip, or broken.
    #[error("error reading as gzip stream: {0}")]
    Archive(std::io::Error),
    /// An entry is a link, a directory or the like.
    #[error("tar entry {name} is not a regular file, type {kind}")]
    NotAFile {
        /// The entry.
        name: String,
        /// Its type byte in the archive.
        kind: u8,
    },
    /// It unpacks to more than a peer takes.
    #[error("the package unpacks to more than {MAX_UNPACKED} bytes or {MAX_ENTRIES} entries")]
    TooLarge,
    /// The metadata is no JSON of the right form.
    #[error("could not unmarshal {METADATA_FILE} as json: {0}")]
    Metadata(serde_json::Error),
    /// There is no code.
    #[error("did not find a code package inside the package")]
    NoCode,
    /// There is no metadata.
    #[error("did not find any package metadata (missing {METADATA_FILE})")]
    NoMetadata,
    /// The label has characters it must not have.
    #[error(
        "invalid label '{0}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can \
         only begin with alphanumerics"
    )]
    Label(String),
    /// The code has no such file.
    #[error("{0} not found in source folder")]
    NoFile(String),
}

/// What a package says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PackageMetadata {
    /// The kind of code, such as `ccaas`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Where the code was, when packaged.
    #[serde(default)]
    pub path: String,
    /// What people call the package.
    #[serde(default)]
    pub label: String,
}

/// A package, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What it says about itself.
    pub metadata: PackageMetadata,
    /// The code: a gzipped tar.
    pub code: Bytes,
}

impl Package {
    /// Takes the bytes of a package apart.
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut files = unpack(bytes, EntryKinds::FilesOnly)?;
        let code = files.remove(CODE_FILE).ok_or(PackageError::NoCode)?;
        let metadata = files.remove(METADATA_FILE).ok_or(PackageError::NoMetadata)?;
        let metadata: PackageMetadata = serde_json::from_slice(&metadata).map_err(PackageError::Metadata)?;
        if !is_label(&metadata.label) {
            return Err(PackageError::Label(metadata.label));
        }
        for name in files.keys() {
            tracing::warn!("Encountered unexpected file '{name}' in top level of chaincode package");
        }
        Ok(Self { metadata, code: code.into() })
    }

    /// One file of the code.
    pub fn code_file(&self, name: &str) -> Result<Vec<u8>, PackageError> {
        let mut files = unpack(&self.code, EntryKinds::Any)?;
        files.remove(name).ok_or_else(|| PackageError::NoFile(name.to_owned()))
    }
}

/// The id of a package: its label and the hash of all its bytes.
pub fn package_id(label: &str, package: &[u8]) -> String {
    format!("{label}:{}", Digest::of(package))
}

/// Which entries an archive may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryKinds {
    FilesOnly,
    Any,
}

fn unpack(bytes: &[u8], kinds: EntryKinds) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    let mut archive = tar::Archive::new(GzDecoder::new(bytes).take(MAX_UNPACKED));
    let mut files = BTreeMap::new();
    for (count, entry) in archive.entries().map_err(PackageError::Archive)?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(PackageError::TooLarge);
        }
        let mut entry = entry.map_err(PackageError::Archive)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            if kinds == EntryKinds::FilesOnly {
                return Err(PackageError::NotAFile { name, kind: kind.as_byte() });
            }
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(PackageError::Archive)?;
        files.insert(name.trim_start_matches("./").to_owned(), content);
    }
    match archive.into_inner().limit() {
        0 => Err(PackageError::TooLarge),
        _ => Ok(files),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A gzipped tar of these files.
    pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o100_644);
            header.set_cksum();
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    /// A package of chaincode as a service at this address.
    pub(crate) fn service_package(label: &str, address: &str) -> Vec<u8> {
        let connection = format!(r#"{{"address":"{address}","dial_timeout":"2s","tls_required":false}}"#);
        let code = archive(&[("connection.json", connection.as_bytes())]);
        let metadata = format!(r#"{{"type":"ccaas","path":"","label":"{label}"}}"#);
        archive(&[(METADATA_FILE, metadata.as_bytes()), (CODE_FILE, &code)])
    }

    #[test]
    fn packages_come_apart() {
        let bytes = service_package("basic_1.0", "localhost:9999");
        let package = Package::parse(&bytes).unwrap();
        assert_eq!(package.metadata.kind, "ccaas");
        assert_eq!(package.metadata.label, "basic_1.0");
        let connection = String::from_utf8(package.code_file("connection.json").unwrap()).unwrap();
        assert!(connection.contains("localhost:9999"));
        assert!(matches!(package.code_file("other"), Err(PackageError::NoFile(_))));
        assert_eq!(package_id("l", b"x"), format!("l:{}", hex::encode(Digest::of(b"x").as_bytes())));
    }

    #[test]
    fn what_is_no_package_is_refused_with_the_reason() {
        let metadata: (&str, &[u8]) = (METADATA_FILE, br#"{"type":"ccaas","label":"l"}"#);
        let refused = |bytes: &[u8]| Package::parse(bytes).unwrap_err().to_string();
        assert!(refused(b"no gzip").starts_with("error reading as gzip stream: "));
        assert_eq!(refused(&archive(&[metadata])), "did not find a code package inside the package");
        assert_eq!(
            refused(&archive(&[(CODE_FILE, b"x")])),
            "did not find any package metadata (missing metadata.json)"
        );
        let code: (&str, &[u8]) = (CODE_FILE, b"x");
        assert!(
            refused(&archive(&[(METADATA_FILE, b"{"), code])).starts_with("could not unmarshal metadata.json as json")
        );
        let bad_label: (&str, &[u8]) = (METADATA_FILE, br#"{"type":"ccaas","label":"-l"}"#);
        assert!(refused(&archive(&[bad_label, code])).starts_with("invalid label '-l'. "));

        let mut link = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        link.append_link(&mut header, METADATA_FILE, "/etc/passwd").unwrap();
        let bytes = link.into_inner().unwrap().finish().unwrap();
        assert_eq!(refused(&bytes), "tar entry metadata.json is not a regular file, type 50");

        let mut fields = archive(&[(METADATA_FILE, b"{}"), code]);
        assert!(refused(&fields).starts_with("invalid label ''. "));
        fields.extend_from_slice(b"what follows does not matter");
        assert!(refused(&fields).starts_with("invalid label ''. "));

        let mut truncated = archive(&[metadata, code]);
        truncated.truncate(truncated.len() / 2);
        assert!(Package::parse(&truncated).is_err());
        let mut bare = GzEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(b"no tar").unwrap();
        assert!(Package::parse(&bare.finish().unwrap()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
            flips in proptest::collection::vec((0_usize..400, proptest::num::u8::ANY), 0..8),
        ) {
            drop(Package::parse(&bytes));
            let mut spoilt = service_package("l", "localhost:1");
            for (at, byte) in flips {
                if let Some(place) = spoilt.get_mut(at) {
                    *place = byte;
                }
            }
            if let Ok(package) = Package::parse(&spoilt) {
                drop(package.code_file("connection.json"));
            }
            let mut tar = GzEncoder::new(Vec::new(), Compression::fast());
            tar.write_all(&bytes).unwrap();
            drop(Package::parse(&tar.finish().unwrap()));
            drop(crate::ServerInfo::parse(&bytes, ""));
        }
    }
}
