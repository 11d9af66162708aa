//! Signers and MSP folders: the only place where private keys live.
//!
//! What question this crate answers: *who am I, and can I sign?* A node or a command reads its MSP folder here, gets its
//! [`SigningIdentity`] and signs proposals, envelopes and blocks with it. Rules never sign; they say what must be signed.
//!
//! Invariants:
//! - A private key leaves this crate only as PKCS #8 text that the caller asked for.
//! - ECDSA signatures are made over SHA-256, whatever the curve, with low `s`; Ed25519 signs the message itself.
//! - A folder is read as Fabric reads it: files without PEM are skipped, `config.yaml` may be absent.
//!
//! [`Authority`] makes certificates with such keys, for `cryptogen` and for tests.
//!
//! Absent: PKCS #11; what a network's certificates say (`ripstop-cryptogen`).

mod authority;
mod der;
mod envelope;
mod msp_folder;
mod private_key;

pub use authority::{Authority, AuthorityError, CertificateRequest, ExtendedKeyUsage, KeyUsage, SubjectName, Validity};
pub use envelope::{EnvelopeHeader, NONCE_BYTES, nonce, sign_envelope, signature_header};
pub use msp_folder::{LocalIdentity, MspFolderError, load_msp_config, load_msp_config_with_signer};
pub use private_key::{PrivateKey, PrivateKeyError};
pub use ripstop_crypto::{SignError, Signer, SigningIdentity};
