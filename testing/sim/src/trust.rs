//! Who vouches in a simulated network: signatures are digests that need the signer's key, and only issued identities count.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use ripstop_gossip::{Distrust, Moment, PkiId, SelfDescription, Standing, Trust};
use ripstop_types::{ChannelId, Digest, MspId, SerializedIdentity};

/// Everybody to whom an identity was issued, and the keys. Nobody signs but through [`Credentials`], which hold one key.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    issued: BTreeMap<Bytes, (MspId, Digest)>,
}

impl Authority {
    /// Issues an identity, with a certificate of about the size of a real one if that is wanted.
    pub(crate) fn issue(&mut self, name: &str, organization: &MspId, certificate_bytes: usize) -> Bytes {
        let mut certificate = name.as_bytes().to_vec();
        certificate.resize(certificate.len().max(certificate_bytes), b'.');
        let identity = SerializedIdentity::new(organization.clone(), certificate.into());
        let key = Digest::of_parts([b"the key of ", &identity.raw[..]]);
        self.issued.insert(identity.raw.clone(), (organization.clone(), key));
        identity.raw
    }
}

/// The key of an identity.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    key: Digest,
    signature_bytes: usize,
    authority: Rc<Authority>,
}

impl Credentials {
    /// Those of an issued identity. Signatures are padded to a size.
    pub(crate) fn of(authority: &Rc<Authority>, identity: &Bytes, signature_bytes: usize) -> Self {
        let (_, key) = authority.issued.get(identity).expect("identities are issued before they are used");
        Self { key: *key, signature_bytes, authority: Rc::clone(authority) }
    }

    fn signature(&self, key: &Digest, message: &[u8]) -> Bytes {
        let mut signature = Digest::of_parts([&key.as_bytes()[..], message]).as_bytes().to_vec();
        signature.resize(signature.len().max(self.signature_bytes), 0);
        signature.into()
    }
}

impl Trust for Credentials {
    fn identify(&self, _: Moment, identity: &Bytes) -> Result<Standing, Distrust> {
        match self.authority.issued.get(identity) {
            Some((organization, _)) => Ok(Standing { organization: organization.clone(), expires: None }),
            None => Err(Distrust("nobody issued it".to_owned())),
        }
    }

    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        let issued = self.authority.issued.get(identity);
        issued.is_some_and(|(_, key)| self.signature(key, message)[..] == *signature)
    }

    fn verify_reader(&self, _: &ChannelId, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        self.verify(identity, message, signature)
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        self.signature(&self.key, message)
    }
}

/// What a peer with an identity is called and where it is reached. `identity` was issued.
pub(crate) fn describe(number: usize, organization: &MspId, identity: Bytes, reach: Reach) -> SelfDescription {
    let parsed = SerializedIdentity::parse(identity.clone()).expect("an issued identity parses");
    SelfDescription {
        pki_id: PkiId::of(&parsed),
        identity,
        organization: organization.clone(),
        endpoint: format!("peer{number}.inside:7051"),
        external_endpoint: match reach {
            Reach::Everybody => format!("peer{number}.outside:7051"),
            Reach::OwnOrganization => String::new(),
        },
    }
}

/// Who can reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Peers of all organizations.
    Everybody,
    /// Peers of its own one: it has no external endpoint.
    OwnOrganization,
}
