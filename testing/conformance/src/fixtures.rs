use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use flate2::read::GzDecoder;
use ripstop_types::Block;
use serde_json::Value;

/// The files of one archive in `fixtures`, by path without the archive's name.
pub struct Fixtures(BTreeMap<String, Bytes>);

impl Fixtures {
    /// Reads `fixtures/NAME.tar.gz`.
    ///
    /// # Panics
    /// When the archive is missing or damaged: there is nothing to test then.
    pub fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.tar.gz"));
        let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        let mut files = BTreeMap::new();
        for entry in archive.entries().expect("a fixture is a tar archive") {
            let mut entry = entry.expect("a fixture is a whole tar archive");
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let path = entry.path().expect("paths in fixtures are text").to_string_lossy().into_owned();
            let path = path.strip_prefix(&format!("{name}/")).unwrap_or(&path).to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("a fixture is a whole tar archive");
            files.insert(path, content.into());
        }
        Self(files)
    }

    /// One file.
    ///
    /// # Panics
    /// When it is not there.
    pub fn file(&self, path: &str) -> Bytes {
        self.0.get(path).unwrap_or_else(|| panic!("no fixture {path}")).clone()
    }

    /// All files.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().map(|(path, content)| (path.as_str(), content))
    }

    /// Writes all files into a temporary folder.
    ///
    /// # Panics
    /// When that is not possible.
    pub fn unpack(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("tests may write temporary files");
        for (path, content) in &self.0 {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap_or(folder.path())).expect("tests may write temporary files");
            std::fs::write(path, content).expect("tests may write temporary files");
        }
        folder
    }

    /// The files below a folder, in order of their paths.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
        self.0.iter().filter_map(move |(path, content)| Some((path.strip_prefix(folder)?.strip_prefix('/')?, content)))
    }

    /// The names of the folders directly below a folder.
    pub fn folders(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> =
            self.below(folder).filter_map(|(path, _)| Some(path.split_once('/')?.0.to_owned())).collect();
        names.dedup();
        names
    }

    /// The blocks of a folder, in order.
    ///
    /// # Panics
    /// When one does not parse.
    pub fn blocks(&self, folder: &str) -> Vec<Block> {
        self.below(folder)
            .filter(|(path, _)| path.ends_with(".block"))
            .map(|(path, raw)| Block::parse(raw.clone()).unwrap_or_else(|error| panic!("{folder}/{path}: {error}")))
            .collect()
    }

    /// A file of JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A file with a JSON object a line.
    pub fn lines(&self, path: &str) -> Vec<Value> {
        json_lines(&self.file(path))
    }
}

/// A JSON object a line.
///
/// # Panics
/// When a line is none.
pub fn json_lines(text: &[u8]) -> Vec<Value> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("each line of a fixture is JSON"))
        .collect()
}

/// The bytes of a hexadecimal field; absent and `null` are empty.
///
/// # Panics
/// When it is text, but not hexadecimal.
pub fn hex_bytes(value: &Value) -> Bytes {
    hex::decode(value.as_str().unwrap_or_default()).expect("fixtures hold lower-case hexadecimal").into()
}
