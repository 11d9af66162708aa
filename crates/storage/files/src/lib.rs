//! Files, and what of them survives.
//!
//! What question this crate answers: *what did the disk do with this write?* What has to survive a crash is written through
//! a [`FileSystem`] and its [`File`]s. Behind them is the host's file system or, with the feature `simulated`, a
//! `SimulatedDisk` in memory that loses power, fills up and fails as a test tells it, from a seed.
//!
//! Invariants:
//! - every error names what was attempted, on which file, and what to do about a full disk;
//! - [`FileSystem::create_directory`] returns when the directory's name survives a loss of power;
//! - only tests enable the feature `simulated`: a release has one implementation.
//!
//! Absent: buffering, asynchrony, and engines that bring their own access to files (`kv`).

mod error;
mod file_system;
mod host;
#[cfg(feature = "simulated")]
mod seeds;
#[cfg(feature = "simulated")]
mod simulated;

pub use error::{FileError, remedy};
pub use file_system::{Access, File, FileSystem};
#[cfg(feature = "simulated")]
pub use seeds::{Numbers, every_seed};
#[cfg(feature = "simulated")]
pub use simulated::{End, Fault, SimulatedDisk};
