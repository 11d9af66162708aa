use std::path::PathBuf;

use crate::InvalidYaml;

/// Why a node's configuration cannot be used. Each message says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `FABRIC_CFG_PATH` names a directory that is not there.
    #[error("FABRIC_CFG_PATH {} does not exist", .0.display())]
    NoDirectory(PathBuf),
    /// No file in any of the places where it may be. The first words are those of Fabric's peer.
    #[error(
        "error when reading {name} config file: Config File \"{name}\" Not Found in \"[{}]\": set FABRIC_CFG_PATH to the \
         directory that holds {name}.yaml, or run in that directory",
        .searched.join(" ")
    )]
    NotFound {
        /// The file's name without `.yaml`.
        name: &'static str,
        /// The directories that were searched.
        searched: Vec<String>,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no YAML.
    #[error("{} is no YAML: {source}", .path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: InvalidYaml,
    },
    /// A value that does not mean what its key needs.
    #[error("{key} ({origin}) is {value}: {expected}")]
    Invalid {
        /// The key, with dots.
        key: String,
        /// The file or the environment variable that set it.
        origin: String,
        /// The value, for people.
        value: String,
        /// What it must be.
        expected: String,
    },
    /// A key that must have a value has none. `problem` begins with Fabric's words where Fabric has some.
    #[error("{problem}: set {key} in {file} or {variable} in the environment")]
    Missing {
        /// What is missing, in words.
        problem: String,
        /// The key, with dots.
        key: String,
        /// The file in use.
        file: String,
        /// The environment variable that would set it.
        variable: String,
    },
    /// Values that do not go together.
    #[error("{0}")]
    Conflict(String),
}
