//! Signatures and X.509 certificates as Fabric understands them.
//!
//! What question this crate answers: *do these bytes bear that key's signature, and what does this certificate say?*
//! Every identity on the wire is a PEM certificate and every decision rests on a signature, so this crate stands before the
//! first step of a transaction's journey and under all later ones.
//!
//! Invariants:
//! - A certificate is parsed once; clones share it. Its public key is ready for use.
//! - ECDSA signatures over messages must have a low S; encodings are read with Go's leniency (bytes behind `s` are
//!   ignored), because peers that disagreed here would fork.
//! - [`Certificate::with_low_s`] is the only place that changes a certificate's bytes.
//!
//! Absent: trust. Which roots count, who was revoked and what roles exist is decided in `ripstop-msp`. Private keys live in
//! `ripstop-keys`; here is only the [`Signer`] trait they stand behind. Encryption.

mod certificate;
mod crl;
mod der;
mod name;
mod name_constraints;
mod pem;
mod public_key;
mod signature;
mod signer;

pub use certificate::{Certificate, CertificateError, IssuerError, expires_at};
pub use crl::{Crl, CrlError};
pub use name::Name;
pub use name_constraints::AlternativeName;
pub use pem::{PemBlock, decode_pem, encode_pem};
pub use public_key::{Curve, KeyKind, PublicKey, PublicKeyError};
pub use signature::{SignatureAlgorithm, SignatureError, to_low_s};
pub use signer::{SignError, Signer, SigningIdentity};
