//! Who issues chaincode its TLS certificates: an authority of this peer's own that lives as long as the process (Fabric:
//! `core/chaincode/accesscontrol`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use ripstop_chaincode_builder::PeerTls;
use ripstop_crypto::{Curve, KeyKind};
use ripstop_keys::{
    Authority, AuthorityError, CertificateRequest, ExtendedKeyUsage, KeyUsage, PrivateKey, PrivateKeyError,
    SubjectName, Validity,
};
use ripstop_transport::{ClientAuth, ClientRoots, KeyPair, ServerTls, TlsError};
use ripstop_types::Digest;

/// How long certificates last, in seconds: longer than a peer runs.
const LIFETIME: i64 = 10 * 365 * 24 * 60 * 60;
/// Certificates are valid from a day ago on, so that a clock that is behind does not matter.
const BACKDATED: i64 = 24 * 60 * 60;

/// Why a certificate for chaincode could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The authority failed.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The private key failed.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// The certificate does not work for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Issues certificates to chaincode that the peer starts, and knows which chaincode has which.
#[derive(Debug)]
pub struct ChaincodeAuthority {
    authority: Authority,
    /// By the hash of a certificate: the id of the chaincode it was issued to. An entry lasts as long as the process.
    holders: Mutex<HashMap<Digest, String>>,
}

impl ChaincodeAuthority {
    /// A new authority, which nobody trusts yet.
    pub fn new() -> Result<Self, IssueError> {
        let request = CertificateRequest {
            key_usage: vec![KeyUsage::CertSign, KeyUsage::CrlSign],
            ..request(&[ExtendedKeyUsage::ClientAuth, ExtendedKeyUsage::ServerAuth], "chaincode TLS authority")
        };
        let authority = Authority::root(&request, new_key()?)?;
        Ok(Self { authority, holders: Mutex::default() })
    }

    /// What the listener for chaincode presents itself with on this host, and whom it lets in: chaincode with a
    /// certificate of this authority.
    pub fn listener_tls(&self, host: &str) -> Result<ServerTls, IssueError> {
        let key = new_key()?;
        let request = CertificateRequest {
            hosts: vec![host.to_owned()],
            ..request(&[ExtendedKeyUsage::ServerAuth], "chaincode listener")
        };
        let certificate = self.authority.issue(&request, key.public_key())?;
        let pair = KeyPair::from_pem(certificate.to_pem().as_bytes(), key.to_pem()?.as_bytes())?;
        let roots = ClientRoots::new([self.authority.certificate().to_pem().into()])?;
        Ok(ServerTls::new(pair, ClientAuth::Required(roots))?)
    }

    /// Issues a certificate for one run of a chaincode.
    pub(crate) fn issue(self: &Arc<Self>, id: &str) -> Result<Issued, IssueError> {
        let key = new_key()?;
        let certificate = self.authority.issue(&request(&[ExtendedKeyUsage::ClientAuth], id), key.public_key())?;
        let hash = certificate.digest();
        self.holders.lock().insert(hash, id.to_owned());
        let tls = PeerTls {
            certificate: certificate.to_pem(),
            key: key.to_pem()?,
            root: self.authority.certificate().to_pem(),
        };
        Ok(Issued { tls, hash, authority: self.clone() })
    }

    /// Checks that a chaincode presents the certificate that was issued to it.
    pub(crate) fn check(&self, id: &str, certificate: Option<Digest>) -> Result<(), String> {
        let hash = certificate.ok_or_else(|| format!("TLS is active but chaincode {id} didn't send certificate"))?;
        match self.holders.lock().get(&hash) {
            Some(holder) if holder == id => Ok(()),
            Some(_) => {
                Err(format!("Chaincode {id} with given certificate hash {hash} belongs to a different chaincode"))
            }
            None => Err(format!("Chaincode {id} with given certificate hash {hash} not found in registry")),
        }
    }
}

/// A certificate in use; when this is dropped, nobody can register with it any more.
pub(crate) struct Issued {
    pub(crate) tls: PeerTls,
    hash: Digest,
    authority: Arc<ChaincodeAuthority>,
}

impl Drop for Issued {
    fn drop(&mut self) {
        self.authority.holders.lock().remove(&self.hash);
    }
}

fn new_key() -> Result<PrivateKey, PrivateKeyError> {
    PrivateKey::generate(KeyKind::Ecdsa(Curve::P256))
}

fn request(purposes: &[ExtendedKeyUsage], name: &str) -> CertificateRequest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let not_before = i64::try_from(now).unwrap_or_default() - BACKDATED;
    CertificateRequest {
        subject: SubjectName { common_name: name.to_owned(), ..SubjectName::default() },
        validity: Validity { not_before, not_after: not_before + LIFETIME },
        key_usage: vec![KeyUsage::DigitalSignature],
        extended_key_usage: purposes.to_vec(),
        hosts: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_belongs_to_one_chaincode_as_long_as_it_runs() {
        let authority = Arc::new(ChaincodeAuthority::new().unwrap());
        let issued = authority.issue("basic:1").unwrap();
        let hash = issued.hash;
        assert_eq!(authority.check("basic:1", Some(hash)), Ok(()));
        assert_eq!(
            authority.check("other:1", Some(hash)),
            Err(format!("Chaincode other:1 with given certificate hash {hash} belongs to a different chaincode"))
        );
        assert_eq!(
            authority.check("basic:1", None),
            Err("TLS is active but chaincode basic:1 didn't send certificate".to_owned())
        );
        drop(issued);
        assert_eq!(
            authority.check("basic:1", Some(hash)),
            Err(format!("Chaincode basic:1 with given certificate hash {hash} not found in registry"))
        );
    }
}
