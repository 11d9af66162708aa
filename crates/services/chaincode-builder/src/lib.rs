//! Makes chaincode packages into processes.
//!
//! What question this crate answers: *how does an installed package come to run?* [`Package`] takes its bytes apart.
//! [`Builders`] finds a builder that knows what to do with it, has it built, and keeps what was built on disk under the
//! package's id. A [`Build`] says where the chaincode's server is, or starts the chaincode as a [`Running`] process.
//!
//! Where it stands in the journey: below `chaincode`, which asks for a build when a package is installed or first called,
//! and decides when a process begins and ends.
//!
//! Builders are tried in order: first those that the operator names (programs `detect`, `build`, `release` and `run` in a
//! directory: Fabric's contract of external builders), then the peer's own, for packages of type `ccaas`, `golang`, `node`
//! and `java`. There is no Docker.
//!
//! Invariants: a package unpacks to a bounded number of bytes and files, all below its own directory. A program gets the
//! environment variables that are listed for it and no others. Every program leads a process group of its own, and when it
//! ends or is given up, what is left of the group is killed. What was built either lies complete under its package's id or
//! not at all.
//!
//! Absent: isolation by the operating system (namespaces, control groups). A process that leaves its group is not followed.

mod builders;
mod environment;
mod error;
mod indexes;
mod output;
mod package;
mod process;
mod server_info;
mod tree;

pub use builders::{Build, BuilderOptions, Builders, PeerConnection, PeerTls, StartError};
pub use error::{BuildError, BuildStep, Exit, MissingTool, ProgramError};
pub use indexes::{InvalidIndex, check_metadata_file};
pub use package::{Package, PackageError, PackageMetadata, UnpackError, package_id};
pub use process::{End, Running};
pub use server_info::{ServerInfo, ServerInfoError};
