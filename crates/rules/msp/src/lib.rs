//! Who is this? Membership service providers.
//!
//! What question this crate answers: *which organization does this certificate belong to, is it valid there, and what is its
//! holder?* An [`Msp`] is an organization's trust (root and intermediate authorities, revocation lists, how roles are
//! marked); an [`MspSet`] is all organizations of a channel; a [`LocalMsp`] is a node's own organization. Policies ask here
//! whether someone satisfies a [`Principal`]; every step of a transaction's journey asks who signed.
//!
//! Invariants:
//! - Everything about an [`Identity`] (chain, revocation, units) is found out once, when it is identified; questions about
//!   it afterwards are comparisons. A set caches valid identities with a bound.
//! - Validity is judged one second after a certificate's begin, never now: expiry does not change the verdict on what is
//!   in a ledger. Services look at signers of new things ([`Expired`]).
//! - Certificates are compared in low-S form, see [`Msp::identify`].
//! - Refusals begin with the words Fabric uses, because people and scripts look for them. They say of an identity only what
//!   whoever sent it knows.
//!
//! Absent: MSP versions before 1.4.3 (channels below capability V2_0), idemix, SHA-3 signature hashes, keys on curve P-224, certificate policies
//! (RFC 5280, section 4.2.1.4). Private keys and MSP folders are in `ripstop-keys`.

mod cache;
mod claim;
mod error;
mod identity;
mod local;
mod msp;
mod node_ous;
mod principal;
mod set;
mod setup;
mod trust;

pub use claim::{Claim, Expired};
pub use error::{
    ChainError, IdentityError, InvalidIdentity, MspSetupError, NotWellFormed, PrincipalRefusal, RevocationError,
    RoleRefusal, UnitError, VerifyError,
};
pub use identity::{Identity, OrganizationalUnit, check_well_formed};
pub use local::{LocalMsp, LocalPolicy, LocalRefusal};
pub use msp::{Msp, MspVersion};
pub use principal::{Principal, Role};
pub use set::MspSet;
