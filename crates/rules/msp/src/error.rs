use std::fmt;

use ripstop_crypto::{Certificate, CertificateError, CrlError, IssuerError, KeyKind, SignatureError};
use ripstop_types::MspId;

use crate::claim::shown;
use crate::principal::Role;

/// Why no single chain leads from a certificate to a root. The texts are those of Go's `crypto/x509`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No authority known here issued it.
    #[error("the supplied identity is not valid: x509: certificate signed by unknown authority{}", hint(.nearest))]
    UnknownAuthority {
        /// The authority that bears the right name, and why it was not taken.
        nearest: Option<(Box<ChainStepError>, String)>,
    },
    /// A step of the chain is not allowed.
    #[error("the supplied identity is not valid: {0}")]
    Step(#[from] ChainStepError),
    /// There are several ways to a root, so it would be unclear who owns the identity.
    #[error("this MSP only supports a single validation chain, got {0}")]
    Ambiguous(usize),
    /// The search was given up after too many signature checks.
    #[error(
        "the supplied identity is not valid: x509: signature check attempts limit reached while verifying certificate chain"
    )]
    TooManyChecks,
    /// The certificate is itself a trusted one and has no issuer in the chain.
    #[error("failed to traverse certificate verification chain for leaf or intermediate certificate, with subject {0}")]
    NoIssuer(String),
    /// The certificate's signature has no low form for its issuer's key.
    #[error("the certificate's signature does not fit the key of its issuer")]
    Signature,
}

fn hint(nearest: &Option<(Box<ChainStepError>, String)>) -> String {
    nearest.as_ref().map_or_else(String::new, |(error, name)| {
        format!(
            " (possibly because of {:?} while trying to verify candidate authority certificate {name:?})",
            error.to_string()
        )
    })
}

/// What is wrong with one certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainStepError {
    /// It was not issued by the next one.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// A critical extension nobody here understands.
    #[error("x509: unhandled critical extension")]
    UnhandledCriticalExtension,
    /// Not valid at the moment at which validity is judged.
    #[error("x509: certificate has expired or is not yet valid: current time {now} is {relation} {bound}")]
    Expired {
        /// One second after the begin of the judged certificate.
        now: String,
        /// `before` or `after`.
        relation: &'static str,
        /// The bound that was missed.
        bound: String,
    },
    /// An intermediate that is no authority.
    #[error("x509: certificate is not authorized to sign other certificates")]
    NotAuthority,
    /// More authorities below this one than it allows.
    #[error("x509: too many intermediates for path length constraint")]
    TooManyIntermediates,
    /// The extended key usages do not include server authentication, which Go demands by default.
    #[error("x509: certificate specifies an incompatible key usage")]
    KeyUsage,
    /// An authority restricts names, and the certificate has a host name as common name but no alternative names.
    #[error("x509: issuer has name constraints but leaf doesn't have a SAN extension")]
    NameConstraintsWithoutNames,
    /// A name is outside of what an authority may sign for.
    #[error("x509: a root or intermediate certificate is not authorized to sign for this name: {0}")]
    NameConstraints(String),
}

/// Why bytes are no identity of this MSP or channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The bytes are no `msp.SerializedIdentity`.
    #[error("could not deserialize a SerializedIdentity: {0}")]
    Encoding(String),
    /// The channel has no such organization.
    #[error("MSP {} is not defined on channel", shown(.0))]
    UnknownMsp(MspId),
    /// The identity is of another organization than the one asked.
    #[error("expected MSP ID {expected}, received {}", shown(.received))]
    OtherMsp {
        /// Whom we asked.
        expected: MspId,
        /// What the identity says.
        received: MspId,
    },
    /// It holds no usable certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate does not chain to the organization's authorities.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Why an identity is not valid under its MSP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentity {
    /// Its key is of a kind that this channel's capabilities do not allow.
    #[error("could not validate identity's public key algorithm: {0} is not supported")]
    KeyKind(KeyKind),
    /// Authorities issue identities; they are none.
    #[error(
        "could not obtain certification chain: An X509 certificate with Basic Constraint: Certificate Authority equals true cannot be used as an identity"
    )]
    Authority,
    /// No single chain to a root.
    #[error("could not obtain certification chain: failed getting validation chain: {0}")]
    Chain(#[source] ChainError),
    /// The certificate is a root itself.
    #[error("could not obtain certification chain: expected a chain of length at least 2, got 1")]
    Root,
    /// Issued by an authority that itself issued an intermediate one; only the lowest authorities issue identities.
    #[error(
        "could not obtain certification chain: invalid validation chain. Parent certificate should be a leaf of the certification tree [{0}]"
    )]
    InnerAuthority(String),
    /// Revoked, or that cannot be found out.
    #[error("could not validate identity against certification chain: {0}")]
    Revocation(#[from] RevocationError),
    /// Its organizational units are not as this MSP demands.
    #[error("could not validate identity's OUs: {0}")]
    Units(#[from] UnitError),
}

/// Why a certificate does not pass as not revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// The issuer's certificate does not name its key, so its lists cannot be told.
    #[error("could not obtain Subject Key Identifier for signer cert: subjectKeyIdentifier not found in certificate")]
    NoSubjectKeyId,
    /// A revocation list of this MSP does not say whose it is.
    #[error("could not obtain Authority Key Identifier for crl: authorityKeyIdentifier not found in certificate")]
    NoAuthorityKeyId,
    /// The issuer has revoked it.
    #[error("The certificate has been revoked")]
    Revoked,
}

/// What is wrong with the organizational units of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The MSP demands one of a list of units; the certificate has none at all.
    #[error("the identity certificate does not contain an Organizational Unit (OU)")]
    None,
    /// The MSP demands one of a list of units.
    #[error("none of the identity's organizational units {units} are in MSP {msp_id}")]
    NotListed {
        /// The certificate's units.
        units: String,
        /// The MSP.
        msp_id: MspId,
    },
    /// A role's unit counts only under a certain authority.
    #[error("certifiersIdentifier does not match: {units}, MSP: [{msp_id}]")]
    Certifiers {
        /// The certificate's units.
        units: String,
        /// The MSP.
        msp_id: MspId,
    },
    /// No unit marks a role.
    #[error(
        "the identity does not have an OU that resolves to client, peer, orderer, or admin role. OUs: {units}, MSP: [{msp_id}]"
    )]
    NoRole {
        /// The certificate's units.
        units: String,
        /// The MSP.
        msp_id: MspId,
    },
    /// More than one unit marks a role.
    #[error(
        "the identity must have a client, a peer, an orderer, or an admin OU role to be valid, not a combination of them. OUs: {units}, MSP: [{msp_id}]"
    )]
    SeveralRoles {
        /// The certificate's units.
        units: String,
        /// The MSP.
        msp_id: MspId,
    },
}

/// Why an identity does not have a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleRefusal {
    /// This MSP does not mark roles by units.
    #[error("NodeOUs not activated. Cannot tell apart identities.")]
    NotEnabled,
    /// This MSP marks roles, but not this one.
    #[error("cannot test for classification, node ou for type [{role}], not defined, msp: [{msp_id}]")]
    NotDefined {
        /// The role.
        role: Role,
        /// The MSP.
        msp_id: MspId,
    },
    /// The certificate lacks the role's unit.
    #[error("The identity does not contain OU [{role}], MSP: [{msp_id}]")]
    NoUnit {
        /// The role.
        role: Role,
        /// The MSP.
        msp_id: MspId,
    },
}

/// Why an identity does not satisfy a principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalRefusal {
    /// The principal is of another organization.
    #[error("the identity is a member of a different MSP (expected {expected}, got {got})")]
    OtherMsp {
        /// The principal's organization.
        expected: MspId,
        /// The identity's.
        got: MspId,
    },
    /// The identity is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidIdentity),
    /// The identity is not valid, where a role other than member was asked.
    #[error("The identity is not valid under this MSP [{msp_id}]: {source}")]
    InvalidForRole {
        /// The MSP.
        msp_id: MspId,
        /// Why not.
        source: InvalidIdentity,
    },
    /// The identity is valid but has another role.
    #[error("The identity is not {} under this MSP [{msp_id}]: {source}", a_role(*.role))]
    Role {
        /// The role asked for.
        role: Role,
        /// The MSP.
        msp_id: MspId,
        /// Why not.
        source: RoleRefusal,
    },
    /// Not one of the listed administrators, where only the list counts.
    #[error("This identity is not an admin")]
    NotListed,
    /// A role this MSP does not know.
    #[error("invalid MSP role type {0}")]
    RoleType(i32),
    /// Another certificate, or other units.
    #[error("The identities do not match")]
    NoMatch,
    /// The principal names an identity that cannot be read.
    #[error("invalid identity principal, not a certificate: {0}")]
    PrincipalIdentity(#[source] Box<IdentityError>),
    /// X.509 identities are never anonymous.
    #[error("Principal is anonymous, but X.509 MSP does not support anonymous identities")]
    Anonymous,
    /// A number without a meaning.
    #[error("Unknown principal anonymity type: {0}")]
    AnonymityType(i32),
    /// A combination of nothing.
    #[error("No principals in CombinedPrincipal")]
    EmptyCombination,
    /// The principal's content does not decode.
    #[error("could not unmarshal {kind} from principal: {reason}")]
    Encoding {
        /// What it should be.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Combinations inside combinations, deeper than anyone means honestly.
    #[error("the combined principal is nested more than {0} levels deep")]
    TooDeep(usize),
    /// A number without a meaning.
    #[error("invalid principal type {0}")]
    PrincipalType(i32),
    /// The identity's organization is not in this set of MSPs.
    #[error("MSP {0} is not defined on channel")]
    UnknownMsp(MspId),
}

fn a_role(role: Role) -> String {
    match role {
        Role::Admin => "an admin".to_owned(),
        other => format!("a [{other}]"),
    }
}

/// Why something signed is not accepted as coming from a valid identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The signer is nobody known.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The signer is known but not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidIdentity),
    /// The signature is not the signer's.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Why an identity's encoding is refused where one identity must have one encoding (Fabric: `IsWellFormed`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWellFormed {
    /// No PEM block.
    #[error("PEM decoding resulted in an empty block")]
    NoPem,
    /// Bytes behind the PEM block.
    #[error("identity {identity} for MSP {msp_id} has trailing bytes")]
    TrailingBytes {
        /// The text of the identity.
        identity: String,
        /// The organization.
        msp_id: MspId,
    },
    /// A PEM block of another kind.
    #[error("pem type is {0}, should be 'CERTIFICATE' or missing")]
    Label(String),
    /// No certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The certificate's signature could be encoded otherwise.
    #[error("identity {identity} for MSP {msp_id} has a non canonical signature")]
    Signature {
        /// The text of the identity.
        identity: String,
        /// The organization.
        msp_id: MspId,
    },
}

/// Why a configuration is no MSP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MspSetupError {
    /// The bytes are no `FabricMSPConfig`.
    #[error("failed unmarshalling fabric msp config: {0}")]
    Encoding(String),
    /// Idemix and others.
    #[error("MSP type {0} is not supported: only X.509 MSPs (type 0) are")]
    Type(i32),
    /// A hash function that nobody configures in practice.
    #[error("hash function {0} is not supported: use SHA2 and SHA256")]
    Hash(String),
    /// No root.
    #[error("expected at least one CA certificate")]
    NoRoots,
    /// A listed certificate cannot be read.
    #[error("getCertFromPem error: {source} ({what})")]
    Certificate {
        /// Which list it is in.
        what: &'static str,
        /// What is wrong.
        source: CertificateError,
    },
    /// A listed certificate has no single chain to a root.
    #[error("{source} ({what})")]
    Chain {
        /// Which list it is in.
        what: &'static str,
        /// What is wrong.
        source: ChainError,
    },
    /// An authority's certificate does not say that it is one.
    #[error("CA Certificate did not have the CA attribute, (SN: {0})")]
    NotAuthority(SerialHex),
    /// An authority's certificate does not name its key.
    #[error(
        "CA Certificate problem with Subject Key Identifier extension, (SN: {0}): subjectKeyIdentifier not found in certificate"
    )]
    NoSubjectKeyId(SerialHex),
    /// An authority has no single chain to a root.
    #[error("CA Certificate is not valid, (SN: {serial}): could not obtain certification chain: {source}")]
    AuthorityChain {
        /// In decimal.
        serial: String,
        /// Why not.
        source: ChainError,
    },
    /// An authority was revoked, or that cannot be found out.
    #[error("CA Certificate is not valid, (SN: {serial}): {source}")]
    AuthorityInvalid {
        /// In decimal.
        serial: String,
        /// Why not.
        source: RevocationError,
    },
    /// A revocation list cannot be read.
    #[error(transparent)]
    Crl(#[from] CrlError),
    /// A unit is tied to a certificate that is none of this MSP's authorities.
    #[error("Failed adding OU. Certificate [{0}] not in root or intermediate certs.")]
    UnitCertificate(String),
    /// Nobody could ever be an administrator.
    #[error("administrators must be declared when no admin ou classification is set")]
    NoAdmins,
    /// A listed administrator is not valid.
    #[error("admin {index} is invalid: {source}")]
    Admin {
        /// The place in the list.
        index: usize,
        /// Why not.
        source: InvalidIdentity,
    },
    /// A listed administrator is neither client nor administrator.
    #[error("admin {index} is invalid [{as_client},{as_admin}]")]
    AdminRole {
        /// The place in the list.
        index: usize,
        /// Why it is no client.
        as_client: RoleRefusal,
        /// Why it is no administrator.
        as_admin: RoleRefusal,
    },
}

/// A serial number, displayed in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialHex(Vec<u8>);

impl SerialHex {
    pub(crate) fn of(certificate: &Certificate) -> Self {
        Self(certificate.serial().to_vec())
    }
}

impl fmt::Display for SerialHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = self.0.iter();
        if let Some(first) = digits.next() {
            write!(f, "{first:x}")?;
        }
        digits.try_for_each(|digit| write!(f, "{digit:02x}"))
    }
}
