//! Identities in memory, for tests, and patience.
//!
//! What question this crate answers: *who could be in this test?* An [`Organization`] makes its authorities, peers, orderers,
//! administrators and clients on the spot, expired and revoked ones too, with the certificates `cryptogen` would make; its
//! [`msp_config`](Organization::msp_config) goes into channel configurations, [`msp_set`] is a channel's organizations, a
//! [`Channel`] its first configuration, a [`DraftTransaction`] what is endorsed on it, a [`signed_block`] what is ordered.
//!
//! Whoever has to wait for something that nothing announces does so [`until`] it is there, or for a future [`in_time`].
//!
//! Everything panics where making it fails: in a test that is the right answer.

mod channel;
mod organization;
mod patience;
mod proposal;
mod transaction;

pub use channel::{Channel, meta_policy, organization_group, value};
pub use organization::{CertificateOptions, NodeOus, Organization, OrganizationOptions, TlsCredentials};
pub use patience::{PATIENCE, in_time, until};
pub use proposal::Proposal;
pub use transaction::{DraftTransaction, signed_block};

use bytes::Bytes;
use ripstop_crypto::SigningIdentity;
use ripstop_msp::{Msp, MspSet, MspVersion};
use ripstop_types::SignedData;

/// The organizations of a channel with capability V3_0.
pub fn msp_set<'a>(organizations: impl IntoIterator<Item = &'a Organization>) -> MspSet {
    let msp = |organization: &Organization| {
        Msp::new(&organization.msp_config(), MspVersion::V3_0).expect("the organisation's MSP can be set up")
    };
    MspSet::new(organizations.into_iter().map(msp))
}

/// A message with its signer and signature, as policies judge it.
pub fn signed_data(signer: &SigningIdentity, message: &[u8]) -> SignedData {
    SignedData {
        identity: signer.identity().raw.clone(),
        message: Bytes::copy_from_slice(message),
        signature: signer.sign(message).expect("the key signs"),
    }
}
