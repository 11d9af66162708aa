//! Chaincode packages: a gzipped tar of `metadata.json` and `code.tar.gz`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use flate2::read::{GzDecoder, MultiGzDecoder};
use ripstop_lifecycle::is_label;
use ripstop_types::Digest;
use serde::Deserialize;

use crate::indexes::{self, InvalidIndex};

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
    /// The code is no gzipped tar, or broken.
    #[error("error retrieving DB artifacts from code package: {0}")]
    Code(io::Error),
    /// An index for CouchDB is none.
    #[error("error retrieving DB artifacts from code package: {0}")]
    Index(#[from] InvalidIndex),
}

/// Why the code of a package cannot be written into a directory.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It is no gzipped tar, or broken.
    #[error("could not get next tar element: {0}")]
    Archive(io::Error),
    /// An entry would be written outside of the directory.
    #[error("tar contains the absolute or escaping path '{0}'")]
    Escapes(String),
    /// An entry is a link, a device or the like.
    #[error("invalid file type '{kind}' contained in archive for file '{name}'")]
    Kind {
        /// The entry.
        name: String,
        /// Its type byte in the archive.
        kind: u8,
    },
    /// It unpacks to more than a peer takes.
    #[error("the code unpacks to more than {MAX_UNPACKED} bytes or {MAX_ENTRIES} entries")]
    TooLarge,
    /// The disk failed, or two entries get into each other's way.
    #[error("could not create file '{name}': {source}")]
    Io {
        /// The entry.
        name: String,
        /// Why.
        source: io::Error,
    },
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
    /// The same as it stands in the package: builders read more from it than the peer does.
    pub metadata_json: Bytes,
    /// The code: a gzipped tar.
    pub code: Bytes,
}

impl Package {
    /// Takes the bytes of a package apart.
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageError> {
        let mut files = read_files(bytes)?;
        let code = files.remove(CODE_FILE).ok_or(PackageError::NoCode)?;
        let metadata_json = files.remove(METADATA_FILE).ok_or(PackageError::NoMetadata)?;
        let metadata: PackageMetadata = serde_json::from_slice(&metadata_json).map_err(PackageError::Metadata)?;
        if !is_label(&metadata.label) {
            return Err(PackageError::Label(metadata.label));
        }
        for name in files.keys() {
            tracing::warn!("Encountered unexpected file '{name}' in top level of chaincode package");
        }
        Ok(Self { metadata, metadata_json: metadata_json.into(), code: code.into() })
    }

    /// Checks the definitions of CouchDB indexes in the code. (Fabric's command for packaging does so, its peer does not.)
    pub fn check_indexes(&self) -> Result<(), PackageError> {
        let mut archive = bounded(&self.code);
        for entry in archive.entries().map_err(PackageError::Code)?.take(MAX_ENTRIES) {
            let mut entry = entry.map_err(PackageError::Code)?;
            let name = entry_name(&entry);
            if entry.header().entry_type().is_file() && indexes::is_index(&name) {
                let mut content = Vec::new();
                entry.read_to_end(&mut content).map_err(PackageError::Code)?;
                indexes::check(&name, &content)?;
            }
        }
        Ok(())
    }

    /// Writes the code into a directory. On an error what was written stays there.
    pub(crate) fn unpack_code(&self, directory: &Path) -> Result<(), UnpackError> {
        let mut archive = bounded(&self.code);
        for (count, entry) in archive.entries().map_err(UnpackError::Archive)?.enumerate() {
            if count >= MAX_ENTRIES {
                return Err(UnpackError::TooLarge);
            }
            let mut entry = entry.map_err(UnpackError::Archive)?;
            let name = entry_name(&entry);
            let path = directory.join(relative_path(&name).ok_or_else(|| UnpackError::Escapes(name.clone()))?);
            let failed = |source| UnpackError::Io { name: name.clone(), source };
            match entry.header().entry_type() {
                tar::EntryType::Directory => fs::create_dir_all(&path).map_err(failed)?,
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
                    let mode = entry.header().mode().unwrap_or(0o600) & 0o777;
                    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path);
                    io::copy(&mut entry, &mut file.map_err(failed)?).map_err(failed)?;
                }
                other => return Err(UnpackError::Kind { name, kind: other.as_byte() }),
            }
        }
        match archive.into_inner().limit() {
            0 => Err(UnpackError::TooLarge),
            _ => Ok(()),
        }
    }
}

/// The id of a package: its label and the hash of all its bytes.
pub fn package_id(label: &str, package: &[u8]) -> String {
    format!("{label}:{}", Digest::of(package))
}

/// An archive that ends after [`MAX_UNPACKED`] bytes; its reader's limit is zero then. It may lie in several members of gzip,
/// as Go reads it. What follows the end of the tar is not looked at.
fn bounded(bytes: &[u8]) -> tar::Archive<io::Take<MultiGzDecoder<&[u8]>>> {
    tar::Archive::new(MultiGzDecoder::new(bytes).take(MAX_UNPACKED))
}

fn entry_name<R: Read>(entry: &tar::Entry<'_, R>) -> String {
    String::from_utf8_lossy(&entry.path_bytes()).into_owned()
}

/// A path without `.` and `..`, unless it is absolute or leads out of where it begins.
fn relative_path(name: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => clean.push(part),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// The files of an archive that may hold nothing but files.
fn read_files(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    if GzDecoder::new(bytes).header().is_none() {
        return Err(PackageError::Archive(io::Error::new(io::ErrorKind::InvalidData, "gzip: invalid header")));
    }
    let mut archive = bounded(bytes);
    let mut files = BTreeMap::new();
    for (count, entry) in archive.entries().map_err(PackageError::Archive)?.enumerate() {
        if count >= MAX_ENTRIES {
            return Err(PackageError::TooLarge);
        }
        let mut entry = entry.map_err(PackageError::Archive)?;
        let name = entry_name(&entry);
        let kind = entry.header().entry_type();
        if !kind.is_file() {
            return Err(PackageError::NotAFile { name, kind: kind.as_byte() });
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
        let directory = tempfile::tempdir().unwrap();
        package.unpack_code(directory.path()).unwrap();
        let connection = fs::read_to_string(directory.path().join("connection.json")).unwrap();
        assert!(connection.contains("localhost:9999"));
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

    #[test]
    fn a_package_may_lie_in_several_members_of_gzip() {
        let mut tar = Vec::new();
        GzDecoder::new(&*service_package("basic_1.0", "localhost:9999")).read_to_end(&mut tar).unwrap();
        let members = |tar: &[u8], size: usize| {
            let compressed = tar.chunks(size).map(|part| {
                let mut member = GzEncoder::new(Vec::new(), Compression::fast());
                member.write_all(part).unwrap();
                member.finish().unwrap()
            });
            compressed.collect::<Vec<_>>().concat()
        };
        let whole = Package::parse(&members(&tar, tar.len())).unwrap();
        // Members that end within an entry, and one that holds the end of the tar only.
        for size in [100, 512, 700, tar.len() - 1024] {
            let mut parts = members(&tar, size);
            assert_eq!(Package::parse(&parts).unwrap(), whole, "{size}");
            parts.extend_from_slice(b"what follows does not matter");
            assert_eq!(Package::parse(&parts).unwrap(), whole, "{size}");
        }
        let first_only = members(&tar[..700], 700);
        assert!(Package::parse(&first_only).is_err());
    }

    /// A package with this code.
    fn package(code: Vec<u8>) -> Package {
        let metadata = br#"{"type":"golang","label":"l"}"#;
        Package::parse(&archive(&[(METADATA_FILE, metadata), (CODE_FILE, &code)])).unwrap()
    }

    /// A tar with one entry whose name nobody checked.
    fn entry(name: &str, kind: tar::EntryType) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        header.set_cksum();
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        builder.append(&header, std::io::empty()).unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn code_stays_in_its_directory() {
        use tar::EntryType::{Fifo, Link, Regular, Symlink};
        for (name, kind, expected) in [
            ("../up", Regular, Some("tar contains the absolute or escaping path '../up'")),
            ("a/../../up", Regular, Some("tar contains the absolute or escaping path 'a/../../up'")),
            ("/etc/x", Regular, Some("tar contains the absolute or escaping path '/etc/x'")),
            ("link", Symlink, Some("invalid file type '50' contained in archive for file 'link'")),
            ("hard", Link, Some("invalid file type '49' contained in archive for file 'hard'")),
            ("pipe", Fifo, Some("invalid file type '54' contained in archive for file 'pipe'")),
            ("a/../b", Regular, None),
            ("./..foo/...", Regular, None),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let unpacked = package(entry(name, kind)).unpack_code(directory.path());
            assert_eq!(unpacked.map_err(|error| error.to_string()).err().as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn code_that_unpacks_to_more_than_a_peer_takes_is_refused() {
        let many = vec![("again", &b""[..]); MAX_ENTRIES + 1];
        let directory = tempfile::tempdir().unwrap();
        let error = package(archive(&many)).unpack_code(directory.path()).unwrap_err();
        assert!(matches!(error, UnpackError::TooLarge), "{error}");
    }

    #[test]
    fn a_broken_index_is_found_in_the_code() {
        let name = "META-INF/statedb/couchdb/indexes/a.json";
        package(archive(&[(name, br#"{"index":{"fields":["a"]}}"#)])).check_indexes().unwrap();
        assert_eq!(
            package(archive(&[(name, b"{")])).check_indexes().unwrap_err().to_string(),
            format!(
                "error retrieving DB artifacts from code package: Index metadata file [{name}] is not a valid JSON"
            )
        );
        assert!(matches!(package(b"x".to_vec()).check_indexes(), Err(PackageError::Code(_))));
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
                drop(package.check_indexes());
                drop(package.unpack_code(tempfile::tempdir().unwrap().path()));
            }
            let mut tar = GzEncoder::new(Vec::new(), Compression::fast());
            tar.write_all(&bytes).unwrap();
            drop(Package::parse(&tar.finish().unwrap()));
            drop(crate::ServerInfo::parse(&bytes, ""));
        }
    }
}
