//! Whom a simulated peer trusts: identities are judged as a real peer does it, by its own organization and by the channel's
//! configuration. Only the signatures of messages are digests that need a key; those that open streams are real.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_gossip::{Distrust, Moment, Standing, Trust};
use ripstop_msp::{Identity, MspSet};
use ripstop_types::{ChannelId, Digest};

use crate::authority::Issued;
use crate::configuration::Configuration;

/// How long a digest is that stands for a signature.
const DIGEST: usize = 32;

/// The identity of a peer, and those that it trusts.
#[derive(Debug, Clone)]
pub(crate) struct Voucher {
    /// Who it is.
    pub(crate) issued: Issued,
    /// Its organization, as its own files say it.
    pub(crate) local: Rc<MspSet>,
    /// The channel, as its ledger says it.
    pub(crate) configuration: Rc<Configuration>,
}

/// The same, to open streams with.
pub(crate) struct Opening<'a>(pub(crate) &'a Voucher);

impl Voucher {
    /// Who has an identity, if it is valid. What the own organization says of its own is the last word.
    fn find(&self, identity: &Bytes) -> Result<Arc<Identity>, String> {
        let own = self.local.identify(identity);
        let found = own.or_else(|_| self.configuration.msps.identify(identity)).map_err(|error| error.to_string())?;
        found.validate().map_err(|error| error.to_string())?;
        Ok(found)
    }
}

fn is_signed(identity: &Identity, serialized: &Bytes, message: &[u8], signature: &[u8]) -> bool {
    match signature.len() {
        DIGEST => digest(serialized, message) == *signature,
        _ => identity.verify(message, signature).is_ok(),
    }
}

fn digest(identity: &Bytes, message: &[u8]) -> Bytes {
    let key = Digest::of_parts([b"the key of ", &identity[..]]);
    Digest::of_parts([&key.as_bytes()[..], message]).to_bytes()
}

impl Trust for Voucher {
    fn identify(&self, now: Moment, identity: &Bytes) -> Result<Standing, Distrust> {
        let found = self.find(identity).map_err(Distrust)?;
        let seconds = u64::try_from(found.certificate().not_after()).unwrap_or_default();
        let expires = Moment::from_nanoseconds(seconds * 1_000_000_000);
        if now > expires {
            return Err(Distrust("it ended".to_owned()));
        }
        Ok(Standing { organization: found.msp_id().clone(), expires: Some(expires) })
    }

    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        self.find(identity).is_ok_and(|found| is_signed(&found, identity, message, signature))
    }

    fn verify_reader(&self, _: &ChannelId, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        let found = self.configuration.msps.identify(identity).ok().filter(|found| found.validate().is_ok());
        found.is_some_and(|found| is_signed(&found, identity, message, signature))
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        digest(&self.issued.identity, message)
    }
}

impl Trust for Opening<'_> {
    fn identify(&self, now: Moment, identity: &Bytes) -> Result<Standing, Distrust> {
        self.0.identify(now, identity)
    }

    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(identity, message, signature)
    }

    fn verify_reader(&self, channel: &ChannelId, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_reader(channel, identity, message, signature)
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        self.0.issued.key.sign(message)
    }
}
