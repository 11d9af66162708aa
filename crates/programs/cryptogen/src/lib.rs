//! The cryptogen command: certificates and keys for test networks.
//!
//! What question this crate answers: *what does an organization's folder of certificates look like before anything runs?*
//! [`CryptoConfig`] is `crypto-config.yaml`; [`generate`] writes, for every organization in it, authorities for identities
//! and for TLS, an MSP folder, and a folder with MSP and TLS material for every node and user. `ripstop up` begins with it.
//!
//! Invariants: folders, file names and what certificates say are those of Fabric's cryptogen, because scripts and
//! configuration files name them. What exists is never written over: a second run, or `extend`, adds what is missing with
//! the authorities that are there.
//!
//! Absent: renewal and revocation; for networks that last there is Fabric CA.

mod command;
mod config;
mod organization;
mod template;

pub use command::run;
pub use config::{ConfigError, CryptoConfig, KeyAlgorithm, NodeSpec, NodeTemplate, OrganizationSpec, UsersSpec};
pub use organization::{GenerateError, generate};
