//! Runs chaincode.
//!
//! What question this crate answers: *what does this chaincode do when called with these arguments on this state?*
//! [`ChaincodeHost::execute`] finds out which code stands behind a name (`lifecycle`), sees that it runs, calls it over the
//! shim protocol, answers its requests from a simulation, and hands back the answer with everything that was read and
//! written. It is step 3 of the journey, called by the endorser.
//!
//! User chaincode is a separate process, reached by a bidirectional stream of `ChaincodeMessage`: this peer dials it
//! (chaincode as a service) or it dials this peer ([`ChaincodeHost::registration_service`]). The system chaincodes
//! `_lifecycle`, `cscc` and `qscc` are functions in this process; they check access themselves.
//!
//! Invariants: a transaction has one simulation, shared by all chaincodes it calls on its channel; calls to other channels
//! read a simulation of their own that is thrown away. When the caller gives up, or a stream dies, the simulation is taken
//! back at once: late requests of the chaincode find none. Which package runs a name is read from the state each time.
//!
//! Absent: rich queries, other packages than chaincode as a service, the
//! legacy `lscc`, signing (the endorser's).

mod call;
mod connection;
mod error;
mod host;
mod interest;
mod launch;
mod package;
mod protocol;
mod query;
mod requests;
mod resolve;
mod server_info;
mod service;
mod store;
mod system;

pub use error::{BuildError, ExecuteError, InvalidInvocation, InvokeError, LaunchError, ResolveError, SendError};
pub use host::{ChaincodeHost, Execution, HostOptions, Invocation, JoinChannel, NodeParts, Registration};
pub use package::{Package, PackageError, PackageMetadata, package_id};
pub use server_info::{ServerInfo, ServerInfoError};
pub use service::RegistrationService;
pub use store::{InstalledPackage, PackageStore, StoreError};

/// The version that system chaincodes state.
pub const SYSTEM_VERSION: &str = "syscc";

/// Whether a name is one of the chaincodes that are part of the peer. They check access themselves.
pub fn is_system_chaincode(name: &str) -> bool {
    matches!(name, ripstop_lifecycle::NAMESPACE | "cscc" | "qscc" | "lscc")
}
