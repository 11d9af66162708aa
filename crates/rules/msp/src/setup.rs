//! From configuration to [`Msp`], in Fabric's order, because the first thing wrong is what the operator is told.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use ripstop_crypto::{Certificate, Crl};
use ripstop_proto::msp;
use ripstop_types::MspId;

use crate::error::SerialHex;
use crate::node_ous::{NodeOus, RoleUnit, check_role};
use crate::trust::TrustAnchors;
use crate::{Identity, Msp, MspSetupError, MspVersion, Role};

const ROOT: &str = "a root certificate";
const INTERMEDIATE: &str = "an intermediate certificate";

pub(crate) fn set_up(config: &msp::FabricMspConfig, version: MspVersion) -> Result<Msp, MspSetupError> {
    check_hashes(config)?;
    let mut msp = Msp {
        id: MspId::new(&config.name),
        version,
        anchors: authorities(config)?,
        admins: Vec::new(),
        crls: config.revocation_list.iter().map(|crl| Crl::parse(crl)).collect::<Result<_, _>>()?,
        unit_identifiers: HashMap::new(),
        node_ous: None,
        inner_authorities: HashSet::new(),
        tls_roots: config.tls_root_certs.clone(),
        tls_intermediates: config.tls_intermediate_certs.clone(),
    };
    check_authorities(&msp, &msp.anchors)?;
    for intermediate in msp.anchors.intermediates.clone() {
        let chain = msp
            .anchors
            .unique_chain(&intermediate)
            .map_err(|source| MspSetupError::Chain { what: INTERMEDIATE, source })?;
        msp.inner_authorities.extend(chain.iter().skip(1).map(Certificate::digest));
    }
    check_tls_authorities(&msp, config)?;
    for unit in &config.organizational_unit_identifiers {
        let certifiers = msp.certifiers_of(&unit.certificate)?;
        let known = msp.unit_identifiers.entry(unit.organizational_unit_identifier.clone()).or_default();
        if !known.contains(&certifiers) {
            known.push(certifiers);
        }
    }
    msp.node_ous = node_ous(&msp, config)?;
    set_up_admins(&mut msp, config)?;
    Ok(msp)
}

fn check_hashes(config: &msp::FabricMspConfig) -> Result<(), MspSetupError> {
    let Some(crypto) = &config.crypto_config else { return Ok(()) };
    if !["", "SHA2"].contains(&crypto.signature_hash_family.as_str()) {
        return Err(MspSetupError::Hash(crypto.signature_hash_family.clone()));
    }
    if !["", "SHA256"].contains(&crypto.identity_identifier_hash_function.as_str()) {
        return Err(MspSetupError::Hash(crypto.identity_identifier_hash_function.clone()));
    }
    Ok(())
}

fn certificates(pems: &[Bytes], what: &'static str) -> Result<Vec<Certificate>, MspSetupError> {
    let read = |pem: &Bytes| Certificate::from_pem(pem).map_err(|source| MspSetupError::Certificate { what, source });
    pems.iter().map(read).collect()
}

/// Roots and intermediates in low-S form. The raw ones find each other's issuers meanwhile.
fn authorities(config: &msp::FabricMspConfig) -> Result<TrustAnchors, MspSetupError> {
    if config.root_certs.is_empty() {
        return Err(MspSetupError::NoRoots);
    }
    let raw = TrustAnchors::new(
        certificates(&config.root_certs, ROOT)?,
        certificates(&config.intermediate_certs, INTERMEDIATE)?,
    );
    let sanitize = |certificates: &[Certificate], what| -> Result<Vec<Certificate>, MspSetupError> {
        let sanitize = |certificate: &Certificate| {
            let sanitized = raw.sanitize(certificate.clone());
            sanitized.map(|it| it.certificate).map_err(|source| MspSetupError::Chain { what, source })
        };
        certificates.iter().map(sanitize).collect()
    };
    Ok(TrustAnchors::new(sanitize(&raw.roots, ROOT)?, sanitize(&raw.intermediates, INTERMEDIATE)?))
}

/// Every authority says that it is one, names its key, has one chain to a root and was not revoked.
fn check_authorities(msp: &Msp, anchors: &TrustAnchors) -> Result<(), MspSetupError> {
    for authority in anchors.roots.iter().chain(&anchors.intermediates) {
        if !authority.is_ca() {
            return Err(MspSetupError::NotAuthority(SerialHex::of(authority)));
        }
        if authority.subject_key_id().is_none() {
            return Err(MspSetupError::NoSubjectKeyId(SerialHex::of(authority)));
        }
        let serial = || authority.serial_decimal().to_owned();
        let chain = anchors
            .unique_chain(authority)
            .map_err(|source| MspSetupError::AuthorityChain { serial: serial(), source })?;
        msp.check_not_revoked(&chain).map_err(|source| MspSetupError::AuthorityInvalid { serial: serial(), source })?;
    }
    Ok(())
}

fn check_tls_authorities(msp: &Msp, config: &msp::FabricMspConfig) -> Result<(), MspSetupError> {
    let anchors = TrustAnchors::new(
        certificates(&config.tls_root_certs, "a TLS root certificate")?,
        certificates(&config.tls_intermediate_certs, "a TLS intermediate certificate")?,
    );
    check_authorities(msp, &anchors)
}

fn node_ous(msp: &Msp, config: &msp::FabricMspConfig) -> Result<Option<NodeOus>, MspSetupError> {
    let Some(units) = &config.fabric_node_ous else { return Ok(None) };
    let role_unit = |unit: &Option<msp::FabricOuIdentifier>| -> Result<Option<RoleUnit>, MspSetupError> {
        let Some(unit) = unit else { return Ok(None) };
        let certifiers = if unit.certificate.is_empty() { None } else { Some(msp.certifiers_of(&unit.certificate)?) };
        Ok(Some(RoleUnit { name: unit.organizational_unit_identifier.clone(), certifiers }))
    };
    let node_ous = NodeOus {
        client: role_unit(&units.client_ou_identifier)?,
        peer: role_unit(&units.peer_ou_identifier)?,
        admin: role_unit(&units.admin_ou_identifier)?,
        orderer: role_unit(&units.orderer_ou_identifier)?,
    };
    Ok((units.enable && !node_ous.is_empty()).then_some(node_ous))
}

/// With role units on, a listed administrator must be marked as client or administrator; else it must be valid.
fn set_up_admins(msp: &mut Msp, config: &msp::FabricMspConfig) -> Result<(), MspSetupError> {
    const WHAT: &str = "an admin certificate";
    let mut admins: Vec<Identity> = Vec::with_capacity(config.admins.len());
    for certificate in certificates(&config.admins, WHAT)? {
        let sanitized =
            msp.anchors.sanitize(certificate).map_err(|source| MspSetupError::Chain { what: WHAT, source })?;
        admins.push(msp.examine(sanitized));
    }
    let marks_admins = msp.node_ous.as_ref().is_some_and(|node_ous| node_ous.admin.is_some());
    if admins.is_empty() && !marks_admins {
        return Err(MspSetupError::NoAdmins);
    }
    for (index, admin) in admins.iter().enumerate() {
        let Some(node_ous) = &msp.node_ous else {
            admin.validate().map_err(|source| MspSetupError::Admin { index, source })?;
            continue;
        };
        let as_client = check_role(Some(node_ous), admin, Role::Client, &msp.id);
        let as_admin = check_role(Some(node_ous), admin, Role::Admin, &msp.id);
        if let (Err(as_client), Err(as_admin)) = (as_client, as_admin) {
            return Err(MspSetupError::AdminRole { index, as_client, as_admin });
        }
    }
    msp.admins = admins.into_iter().map(|admin| admin.certificate).collect();
    Ok(())
}
