use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use ripstop_crypto::{Certificate, Crl, KeyKind};
use ripstop_proto::msp;
use ripstop_types::{Digest, MspId, SerializedIdentity};

use crate::node_ous::{NodeOus, check_role};
use crate::trust::{Sanitized, TrustAnchors};
use crate::{
    ChainError, Identity, IdentityError, InvalidIdentity, MspSetupError, OrganizationalUnit, Principal,
    PrincipalRefusal, RevocationError, Role, UnitError,
};

/// The rules an MSP follows, which a channel's capabilities choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MspVersion {
    /// Channel capabilities V1_4_3 and V2_0: ECDSA keys only.
    V1_4_3,
    /// Channel capability V3_0, and every node's own MSP: Ed25519 keys too.
    V3_0,
}

/// An organization's trust: whose certificates count, who was revoked, and how roles are marked.
#[derive(Debug, Clone)]
pub struct Msp {
    pub(crate) id: MspId,
    pub(crate) version: MspVersion,
    pub(crate) anchors: TrustAnchors,
    pub(crate) admins: Vec<Certificate>,
    pub(crate) crls: Vec<Crl>,
    /// Units of which an identity must have one, with the chains they count under. Empty: no such demand.
    pub(crate) unit_identifiers: HashMap<String, Vec<Digest>>,
    /// `None` where roles are not marked by units.
    pub(crate) node_ous: Option<NodeOus>,
    /// Authorities that issued intermediate ones, by digest: these do not issue identities.
    pub(crate) inner_authorities: HashSet<Digest>,
    pub(crate) tls_roots: Vec<Bytes>,
    pub(crate) tls_intermediates: Vec<Bytes>,
}

impl Msp {
    /// Sets up an MSP from the message that channel configurations and folders hold. Only X.509 MSPs exist here.
    pub fn from_config(config: &msp::MspConfig, version: MspVersion) -> Result<Self, MspSetupError> {
        if config.r#type != 0 {
            return Err(MspSetupError::Type(config.r#type));
        }
        let config = ripstop_proto::read::<msp::FabricMspConfig>(config.config.clone())
            .map_err(|error| MspSetupError::Encoding(error.to_string()))?;
        Self::new(&config, version)
    }

    /// Sets up an MSP. Fails where Fabric would refuse the configuration: an authority that is none or does not chain to a
    /// root, an administrator who is not valid, no way to tell administrators.
    pub fn new(config: &msp::FabricMspConfig, version: MspVersion) -> Result<Self, MspSetupError> {
        crate::setup::set_up(config, version)
    }

    /// The organization's id.
    pub fn id(&self) -> &MspId {
        &self.id
    }

    /// The rules it follows.
    pub fn version(&self) -> MspVersion {
        self.version
    }

    /// The root authorities, in low-S form.
    pub fn roots(&self) -> &[Certificate] {
        &self.anchors.roots
    }

    /// The intermediate authorities, in low-S form.
    pub fn intermediates(&self) -> &[Certificate] {
        &self.anchors.intermediates
    }

    /// The administrators that are listed by certificate.
    pub fn admins(&self) -> &[Certificate] {
        &self.admins
    }

    /// The root authorities of the organization's TLS certificates, PEM as configured.
    pub fn tls_roots(&self) -> &[Bytes] {
        &self.tls_roots
    }

    /// The intermediate authorities of the organization's TLS certificates, PEM as configured.
    pub fn tls_intermediates(&self) -> &[Bytes] {
        &self.tls_intermediates
    }

    /// Finds out who an identity is, given as the bytes of a `SerializedIdentity`. An identity may come out that is not
    /// valid; see [`Identity::validate`].
    ///
    /// Its certificate is brought into low-S form first, for which a certificate signed with ECDSA must chain to this MSP's
    /// roots; that is why strangers fail here already.
    pub fn identify(&self, serialized: &Bytes) -> Result<Identity, IdentityError> {
        let identity = SerializedIdentity::parse(serialized.clone())
            .map_err(|error| IdentityError::Encoding(error.to_string()))?;
        if identity.msp_id != self.id {
            return Err(IdentityError::OtherMsp { expected: self.id.clone(), received: identity.msp_id });
        }
        self.identify_certificate(&identity.id_bytes)
    }

    /// As [`Self::identify`], for the PEM text alone.
    pub fn identify_certificate(&self, pem: &[u8]) -> Result<Identity, IdentityError> {
        let certificate = Certificate::from_pem(pem)?;
        let sanitized = self.anchors.sanitize(certificate)?;
        Ok(self.examine(sanitized))
    }

    /// Checks whether an identity of this MSP is whom a principal means.
    pub fn satisfies(&self, identity: &Identity, principal: &Principal) -> Result<(), PrincipalRefusal> {
        match principal {
            Principal::Role { msp_id, role } => {
                self.check_same_msp(msp_id, identity)?;
                self.satisfies_role(identity, *role)
            }
            Principal::UnknownRole { msp_id, number } => {
                self.check_same_msp(msp_id, identity)?;
                Err(PrincipalRefusal::RoleType(*number))
            }
            Principal::Identity(serialized) => {
                let named =
                    self.identify(serialized).map_err(|error| PrincipalRefusal::PrincipalIdentity(Box::new(error)))?;
                if named.certificate != identity.certificate {
                    return Err(PrincipalRefusal::NoMatch);
                }
                Ok(named.validity?)
            }
            Principal::OrganizationUnit { msp_id, unit, certifiers } => {
                self.check_same_msp(msp_id, identity)?;
                identity.validate()?;
                let matches = |held: &OrganizationalUnit| {
                    held.name == *unit && held.certifiers.as_bytes().as_slice() == certifiers.as_ref()
                };
                if identity.units.iter().any(matches) { Ok(()) } else { Err(PrincipalRefusal::NoMatch) }
            }
            Principal::Nominal => Ok(()),
            Principal::Anonymous => Err(PrincipalRefusal::Anonymous),
            Principal::Combined(parts) => parts.iter().try_for_each(|part| self.satisfies(identity, part)),
            Principal::Nobody(refusal) => Err(refusal.as_ref().clone()),
        }
    }

    /// Checks whether an identity has a role in this MSP.
    pub fn satisfies_role(&self, identity: &Identity, role: Role) -> Result<(), PrincipalRefusal> {
        if role == Role::Member {
            return Ok(identity.validate()?);
        }
        if role == Role::Admin {
            // A listed administrator was validated when the MSP was set up.
            if identity.is_listed_admin {
                return Ok(());
            }
            if self.node_ous.is_none() {
                return Err(PrincipalRefusal::NotListed);
            }
        }
        if role == Role::Orderer && self.node_ous.is_none() {
            return Err(PrincipalRefusal::RoleType(role.number()));
        }
        identity.validate().map_err(|source| PrincipalRefusal::InvalidForRole { msp_id: self.id.clone(), source })?;
        check_role(self.node_ous.as_ref(), identity, role, &self.id).map_err(|source| PrincipalRefusal::Role {
            role,
            msp_id: self.id.clone(),
            source,
        })
    }

    fn check_same_msp(&self, expected: &MspId, identity: &Identity) -> Result<(), PrincipalRefusal> {
        if *expected == self.id {
            Ok(())
        } else {
            Err(PrincipalRefusal::OtherMsp { expected: expected.clone(), got: identity.msp_id.clone() })
        }
    }

    /// Finds out everything about a certificate.
    pub(crate) fn examine(&self, sanitized: Sanitized) -> Identity {
        let Sanitized { certificate, chain } = sanitized;
        let chain = self.identity_chain(&certificate, chain);
        let certifiers = chain.as_ref().ok().map(|chain| certifiers(&chain[1..]));
        let units = certifiers.map_or_else(Vec::new, |certifiers| {
            let unit = |name: &String| OrganizationalUnit { name: name.clone(), certifiers };
            certificate.organizational_units().iter().map(unit).collect()
        });
        let mut identity = Identity {
            msp_id: self.id.clone(),
            is_listed_admin: self.admins.contains(&certificate),
            certificate,
            validity: Ok(()),
            units,
        };
        identity.validity = self.judge(&identity, chain);
        identity
    }

    /// The order is Fabric's (`validateIdentity`).
    fn judge(
        &self,
        identity: &Identity,
        chain: Result<Vec<Certificate>, InvalidIdentity>,
    ) -> Result<(), InvalidIdentity> {
        match identity.certificate.public_key().kind() {
            KeyKind::Ecdsa(_) => {}
            KeyKind::Ed25519 if self.version >= MspVersion::V3_0 => {}
            other => return Err(InvalidIdentity::KeyKind(other)),
        }
        self.check_not_revoked(&chain?)?;
        self.check_units(identity)?;
        Ok(())
    }

    /// The chain of an identity: of two or more certificates, issued by one of the lowest authorities.
    fn identity_chain(
        &self,
        certificate: &Certificate,
        known: Option<Vec<Certificate>>,
    ) -> Result<Vec<Certificate>, InvalidIdentity> {
        if certificate.is_ca() {
            return Err(InvalidIdentity::Authority);
        }
        let chain = match known {
            Some(chain) => chain,
            None => self.anchors.unique_chain(certificate).map_err(InvalidIdentity::Chain)?,
        };
        let issuer = chain.get(1).ok_or(InvalidIdentity::Root)?;
        if self.inner_authorities.contains(&issuer.digest()) {
            return Err(InvalidIdentity::InnerAuthority(certificate.subject().to_string()));
        }
        Ok(chain)
    }

    /// Only the certificate itself is looked up, in the lists of its issuer: authorities were checked at set-up.
    pub(crate) fn check_not_revoked(&self, chain: &[Certificate]) -> Result<(), RevocationError> {
        let [certificate, issuer, ..] = chain else { return Ok(()) };
        let key_id = issuer.subject_key_id().ok_or(RevocationError::NoSubjectKeyId)?;
        for crl in &self.crls {
            let authority = crl.authority_key_id().ok_or(RevocationError::NoAuthorityKeyId)?;
            if authority == key_id && crl.lists(certificate) && crl.is_signed_by(issuer) {
                return Err(RevocationError::Revoked);
            }
        }
        Ok(())
    }

    fn check_units(&self, identity: &Identity) -> Result<(), UnitError> {
        if !self.unit_identifiers.is_empty() {
            let is_listed = |unit: &OrganizationalUnit| {
                self.unit_identifiers.get(&unit.name).is_some_and(|chains| chains.contains(&unit.certifiers))
            };
            if identity.units.is_empty() {
                return Err(UnitError::None);
            }
            if !identity.units.iter().any(is_listed) {
                return Err(UnitError::NotListed { units: identity.units_text(), msp_id: self.id.clone() });
            }
        }
        self.node_ous.as_ref().map_or(Ok(()), |node_ous| node_ous.check_one_role(identity))
    }

    /// The identifier of the chain from one of this MSP's authorities up to its root (Fabric: `getCertifiersIdentifier`).
    pub(crate) fn certifiers_of(&self, pem: &[u8]) -> Result<Digest, MspSetupError> {
        const WHAT: &str = "the certificate of an organizational unit";
        let certificate =
            Certificate::from_pem(pem).map_err(|source| MspSetupError::Certificate { what: WHAT, source })?;
        let chain_error = |source: ChainError| MspSetupError::Chain { what: WHAT, source };
        let certificate = self.anchors.sanitize(certificate).map_err(chain_error)?.certificate;
        if self.anchors.roots.contains(&certificate) {
            return Ok(certifiers(&[certificate]));
        }
        if !self.anchors.intermediates.contains(&certificate) {
            return Err(MspSetupError::UnitCertificate(certificate.subject().to_string()));
        }
        let chain = self.anchors.unique_chain(&certificate).map_err(chain_error)?;
        if self.inner_authorities.contains(&certificate.digest()) {
            return Err(MspSetupError::UnitCertificate(certificate.subject().to_string()));
        }
        Ok(certifiers(&chain))
    }
}

fn certifiers(chain: &[Certificate]) -> Digest {
    Digest::of_parts(chain.iter().map(|certificate| certificate.der().as_ref()))
}
