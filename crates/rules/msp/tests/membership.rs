//! Who is a member, and what is a member allowed to be.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use bytes::Bytes;
use prost::Message;
use ripstop_crypto::{Curve, KeyKind, SigningIdentity};
use ripstop_msp::{
    Claim, Expired, IdentityError, InvalidIdentity, LocalMsp, LocalPolicy, Msp, MspSetupError, MspVersion, Principal,
    RevocationError, Role, check_well_formed,
};
use ripstop_proto::{common, msp};
use ripstop_testkit::{CertificateOptions, Organization, OrganizationOptions, msp_set, signed_data};
use ripstop_types::{MspId, SerializedIdentity, SignedData};

fn role_text(set: &ripstop_msp::MspSet, who: &SigningIdentity, msp_id: &str, role: Role) -> String {
    let identity = set.identify(&who.identity().raw).expect("the identity is known");
    let principal = Principal::parse(&Principal::role_message(&MspId::new(msp_id), role));
    match set.satisfies(&identity, &principal) {
        Ok(()) => "yes".to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn roles_are_told_by_units() {
    let org = Organization::new("Org1MSP");
    let set = msp_set([&org]);
    let no = |role: &str, article: &str| {
        format!(
            "The identity is not {article} under this MSP [Org1MSP]: The identity does not contain OU [{role}], MSP: [Org1MSP]"
        )
    };
    for (who, role, expected) in [
        (org.peer("p"), Role::Member, "yes".to_owned()),
        (org.peer("p"), Role::Peer, "yes".to_owned()),
        (org.peer("p"), Role::Admin, no("ADMIN", "an admin")),
        (org.admin("a"), Role::Admin, "yes".to_owned()),
        (org.admin("a"), Role::Client, no("CLIENT", "a [CLIENT]")),
        (org.orderer("o"), Role::Orderer, "yes".to_owned()),
        (org.client("c"), Role::Orderer, no("ORDERER", "a [ORDERER]")),
        (org.expired_client("e"), Role::Client, "yes".to_owned()),
    ] {
        assert_eq!(role_text(&set, &who, "Org1MSP", role), expected);
    }
    assert_eq!(
        role_text(&set, &org.peer("p"), "Org2MSP", Role::Member),
        "the identity is a member of a different MSP (expected Org2MSP, got Org1MSP)"
    );
}

#[test]
fn exactly_one_unit_marks_a_role() {
    let org = Organization::new("Org1MSP");
    let set = msp_set([&org]);
    let text = |units: &[&str]| {
        let who = org.identity("x", &CertificateOptions::units(units));
        set.identify(&who.identity().raw).unwrap().validate().unwrap_err().to_string()
    };
    let none = text(&[]);
    assert!(none.contains(
        "could not validate identity's OUs: the identity does not have an OU that resolves to client, peer, orderer, or admin role. OUs: [], MSP: [Org1MSP]"
    ), "{none}");
    let several = text(&["peer", "department", "client"]);
    assert!(several.contains("not a combination of them. OUs: [peer("), "{several}");
}

#[test]
fn strangers_and_foreign_ids_are_refused() {
    let (org1, org2) = (Organization::new("Org1MSP"), Organization::new("Org2MSP"));
    let set = msp_set([&org1]);
    let stranger = org2.peer("p");
    assert_eq!(
        set.identify(&stranger.identity().raw).unwrap_err().to_string(),
        "MSP Org2MSP is not defined on channel"
    );
    let disguised = SerializedIdentity::new(MspId::new("Org1MSP"), stranger.identity().id_bytes.clone());
    assert_eq!(
        set.identify(&disguised.raw).unwrap_err().to_string(),
        "the supplied identity is not valid: x509: certificate signed by unknown authority"
    );
    let local = LocalMsp::new(&org1.msp_config()).unwrap();
    assert_eq!(
        local.identify(&stranger.identity().raw).unwrap_err().to_string(),
        "expected MSP ID Org1MSP, received Org2MSP"
    );
    for garbage in [&b"\xff"[..], b"", b"\x0a\x07Org1MSP"] {
        assert!(set.identify(&Bytes::copy_from_slice(garbage)).is_err());
    }
}

#[test]
fn an_authority_of_the_same_name_does_not_help() {
    let (real, forged) = (Organization::new("Org1MSP"), Organization::new("Org1MSP"));
    let error = msp_set([&real]).identify(&forged.peer("p").identity().raw).unwrap_err().to_string();
    assert_eq!(
        error,
        "the supplied identity is not valid: x509: certificate signed by unknown authority (possibly because of \"x509: ECDSA verification failure\" while trying to verify candidate authority certificate \"ca.Org1MSP\")"
    );
}

#[test]
fn intermediates_issue_and_roots_above_them_do_not() {
    let org = Organization::with_intermediate("Org1MSP");
    let set = msp_set([&org]);
    assert_eq!(role_text(&set, &org.peer("p"), "Org1MSP", Role::Peer), "yes");

    let mut config = org.msp_config();
    config.intermediate_certs.clear();
    let without = Msp::new(&config, MspVersion::V3_0).unwrap();
    assert!(matches!(without.identify(&org.peer("p").identity().raw), Err(IdentityError::Chain(_))));

    let intermediate = SerializedIdentity::new(org.msp_id().clone(), org.issuer().certificate().to_pem().into());
    assert_eq!(set.identify(&intermediate.raw).unwrap().validate(), Err(InvalidIdentity::Authority));
}

#[test]
fn revoked_identities_are_known_but_not_valid() {
    for mut org in [Organization::new("Org1MSP"), Organization::with_intermediate("Org1MSP")] {
        let (good, bad) = (org.client("good"), org.client("bad"));
        org.revoke(&bad);
        let set = msp_set([&org]);
        assert_eq!(set.identify(&good.identity().raw).unwrap().validate(), Ok(()));
        assert_eq!(
            set.identify(&bad.identity().raw).unwrap().validate(),
            Err(InvalidIdentity::Revocation(RevocationError::Revoked))
        );
        assert_eq!(
            set.verify(&signed_data(&bad, b"m")).unwrap_err().to_string(),
            "could not validate identity against certification chain: The certificate has been revoked"
        );
        // A list that the authority did not sign counts for nothing.
        let mut config = org.msp_config();
        let mut list = config.revocation_list[0].to_vec();
        *list.last_mut().unwrap() ^= 1;
        config.revocation_list = vec![list.into()];
        let msp = Msp::new(&config, MspVersion::V3_0);
        if let Ok(msp) = msp {
            assert_eq!(msp.identify(&bad.identity().raw).unwrap().validate(), Ok(()));
        }
    }
}

#[test]
fn without_role_units_the_list_of_administrators_counts() {
    let options = OrganizationOptions { node_ous: None, ..OrganizationOptions::default() };
    let mut org = Organization::with_options("Org1MSP", options);
    assert_eq!(
        Msp::new(&org.msp_config(), MspVersion::V3_0).unwrap_err(),
        MspSetupError::NoAdmins,
        "nobody could administrate"
    );
    let (admin, other) = (org.client("admin"), org.client("other"));
    org.list_admin(&admin);
    let set = msp_set([&org]);
    assert_eq!(role_text(&set, &admin, "Org1MSP", Role::Admin), "yes");
    assert_eq!(role_text(&set, &other, "Org1MSP", Role::Admin), "This identity is not an admin");
    assert_eq!(role_text(&set, &other, "Org1MSP", Role::Orderer), "invalid MSP role type 4");
    assert_eq!(
        role_text(&set, &other, "Org1MSP", Role::Peer),
        "The identity is not a [PEER] under this MSP [Org1MSP]: NodeOUs not activated. Cannot tell apart identities."
    );
}

#[test]
fn a_listed_administrator_with_units_must_be_client_or_admin() {
    let mut org = Organization::new("Org1MSP");
    org.list_admin(&org.peer("p"));
    assert_eq!(
        Msp::new(&org.msp_config(), MspVersion::V3_0).unwrap_err().to_string(),
        "admin 0 is invalid [The identity does not contain OU [CLIENT], MSP: [Org1MSP],The identity does not contain OU [ADMIN], MSP: [Org1MSP]]"
    );
}

#[test]
fn ed25519_needs_the_newest_rules() {
    let options = OrganizationOptions { key_kind: KeyKind::Ed25519, ..OrganizationOptions::default() };
    let org = Organization::with_options("Org1MSP", options);
    let peer = org.peer("p");
    let validity =
        |version| Msp::new(&org.msp_config(), version).unwrap().identify(&peer.identity().raw).unwrap().validate();
    assert_eq!(validity(MspVersion::V3_0), Ok(()));
    assert_eq!(validity(MspVersion::V1_4_3), Err(InvalidIdentity::KeyKind(KeyKind::Ed25519)));
    assert_eq!(
        validity(MspVersion::V1_4_3).unwrap_err().to_string(),
        "could not validate identity's public key algorithm: Ed25519 is not supported"
    );
}

#[test]
fn other_curves_sign_and_verify() {
    for kind in [KeyKind::Ecdsa(Curve::P384), KeyKind::Ed25519] {
        let org = Organization::with_options("Org1MSP", OrganizationOptions { key_kind: kind, ..Default::default() });
        let set = msp_set([&org]);
        let mut signed = signed_data(&org.client("c"), b"message");
        set.verify(&signed).unwrap();
        signed.message = Bytes::from_static(b"another");
        assert_eq!(set.verify(&signed).unwrap_err().to_string(), "The signature is invalid");
    }
}

#[test]
fn principals_of_all_kinds() {
    let org = Organization::new("Org1MSP");
    let set = msp_set([&org]);
    let (client, peer) = (org.client("c"), org.peer("p"));
    let identity = set.identify(&client.identity().raw).unwrap();
    let check = |classification: i32, principal: Vec<u8>| {
        let message = common::MspPrincipal { principal_classification: classification, principal: principal.into() };
        set.satisfies(&identity, &Principal::parse(&message)).map_err(|refusal| refusal.to_string())
    };
    let role = |role: Role| Principal::role_message(org.msp_id(), role);
    let combined = |parts: Vec<common::MspPrincipal>| common::CombinedPrincipal { principals: parts }.encode_to_vec();
    let unit = |name: &str, certifiers: &[u8]| {
        common::OrganizationUnit {
            msp_identifier: "Org1MSP".to_owned(),
            organizational_unit_identifier: name.to_owned(),
            certifiers_identifier: Bytes::copy_from_slice(certifiers),
        }
        .encode_to_vec()
    };
    let certifiers = identity.organizational_units()[0].certifiers;
    let err = |text: &str| Err(text.to_owned());

    assert_eq!(check(1, unit("client", certifiers.as_bytes())), Ok(()));
    assert_eq!(check(1, unit("peer", certifiers.as_bytes())), err("The identities do not match"));
    assert_eq!(check(1, unit("client", &[0; 32])), err("The identities do not match"));
    assert_eq!(check(2, client.identity().raw.to_vec()), Ok(()));
    assert_eq!(check(2, peer.identity().raw.to_vec()), err("The identities do not match"));
    assert!(check(2, vec![0xff]).unwrap_err().starts_with("invalid identity principal, not a certificate: "));
    assert_eq!(check(3, vec![]), Ok(()));
    assert!(check(3, vec![8, 1]).unwrap_err().starts_with("Principal is anonymous"));
    assert_eq!(check(3, vec![8, 7]), err("Unknown principal anonymity type: 7"));
    assert_eq!(check(4, combined(vec![])), err("No principals in CombinedPrincipal"));
    assert_eq!(check(4, combined(vec![role(Role::Member), role(Role::Client)])), Ok(()));
    assert!(check(4, combined(vec![role(Role::Member), role(Role::Peer)])).is_err());
    assert_eq!(check(9, vec![]), err("invalid principal type 9"));
    let unknown_role = common::MspRole { msp_identifier: "Org1MSP".to_owned(), role: 9 }.encode_to_vec();
    assert_eq!(check(0, unknown_role), err("invalid MSP role type 9"));

    let mut nested = role(Role::Member);
    for _ in 0..100 {
        nested = common::MspPrincipal { principal_classification: 4, principal: combined(vec![nested]).into() };
    }
    assert!(set.satisfies(&identity, &Principal::parse(&nested)).is_err(), "too deep to be meant honestly");
}

#[test]
fn broken_configurations_are_refused_with_a_reason() {
    let org = Organization::with_intermediate("Org1MSP");
    type Change = fn(&mut msp::FabricMspConfig, &Organization);
    let cases: [(Change, &str); 9] = [
        (|config, _| config.root_certs.clear(), "expected at least one CA certificate"),
        (|config, _| config.root_certs[0] = Bytes::from_static(b"x"), "getCertFromPem error: "),
        (
            |config, org| config.root_certs[0] = org.peer("p").certificate().to_pem().into(),
            "failed to traverse certificate verification chain",
        ),
        (
            |config, org| config.intermediate_certs.push(org.peer("p").certificate().to_pem().into()),
            "CA Certificate did not have the CA attribute, (SN: ",
        ),
        (
            |config, _| {
                config.intermediate_certs[0] =
                    Organization::with_intermediate("X").msp_config().intermediate_certs[0].clone();
            },
            "the supplied identity is not valid: x509: certificate signed by unknown authority",
        ),
        (
            |config, org| config.tls_root_certs[0] = org.tls("t", &["h"]).certificate.into(),
            "CA Certificate did not have the CA attribute, (SN: ",
        ),
        (|config, _| config.revocation_list = vec![Bytes::from_static(b"x")], "could not parse RevocationList: "),
        (
            |config, org| {
                let units = config.fabric_node_ous.as_mut().unwrap();
                units.peer_ou_identifier.as_mut().unwrap().certificate = org.tls_root().into();
            },
            "Failed adding OU. Certificate [CN=tlsca.Org1MSP,C=US] not in root or intermediate certs.",
        ),
        (
            |config, _| {
                config.crypto_config.as_mut().unwrap().signature_hash_family = "SHA3".to_owned();
            },
            "hash function SHA3 is not supported",
        ),
    ];
    for (change, expected) in cases {
        let mut config = org.msp_config();
        change(&mut config, &org);
        let error = Msp::new(&config, MspVersion::V3_0).expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn a_unit_tied_to_an_authority_counts_only_below_it() {
    let org = Organization::with_intermediate("Org1MSP");
    let mut config = org.msp_config();
    let units = config.fabric_node_ous.as_mut().unwrap();
    units.peer_ou_identifier.as_mut().unwrap().certificate = config.intermediate_certs[0].clone();
    units.client_ou_identifier.as_mut().unwrap().certificate = config.root_certs[0].clone();
    let msp = Msp::new(&config, MspVersion::V3_0).unwrap();
    assert_eq!(msp.identify(&org.peer("p").identity().raw).unwrap().validate(), Ok(()));
    let refusal = msp.identify(&org.client("c").identity().raw).unwrap().validate().unwrap_err().to_string();
    assert!(refusal.contains("certifiersIdentifier does not match: [client("), "{refusal}");
}

#[test]
fn the_local_msp_speaks_fabrics_words() {
    let org = Organization::new("Org1MSP");
    let local = LocalMsp::new(&org.msp_config()).unwrap();
    local.check(LocalPolicy::Admins, &signed_data(&org.admin("a"), b"m")).unwrap();
    local.check(LocalPolicy::Members, &signed_data(&org.client("c"), b"m")).unwrap();
    let (client, stranger) = (org.client("c"), Organization::new("Org2MSP").admin("a"));
    let forged = SignedData { message: "other".into(), ..signed_data(&org.admin("a"), b"m") };
    for (signed, words) in [
        (
            signed_data(&client, b"m"),
            "Failed verifying that proposal's creator satisfies local MSP principal during channelless check policy with policy [Admins]: [The identity is not an admin under this MSP [Org1MSP]: The identity does not contain OU [ADMIN], MSP: [Org1MSP]]",
        ),
        (
            signed_data(&stranger, b"m"),
            "Failed deserializing proposal creator during channelless check policy with policy [Admins]: [expected MSP ID Org1MSP, received Org2MSP]",
        ),
        (forged, "The signature is invalid"),
    ] {
        let refusal = local.check(LocalPolicy::Admins, &signed).unwrap_err();
        assert_eq!((refusal.to_string().as_str(), refusal.claim()), (words, &Claim::of(&signed.identity)));
    }
}

#[test]
fn claims_repeat_what_was_sent_and_no_more() {
    let org = Organization::new("Org1MSP");
    let client = org.expired_client("eve");
    let serial = client.certificate().serial_decimal();
    let text = format!(
        "'CN=eve.Org1MSP,OU=client,C=US' of Org1MSP (issued by 'CN=ca.Org1MSP,C=US', serial number {serial}, valid until \
         2024-01-02T00:00:00Z)"
    );
    assert_eq!(Claim::of(&client.identity().raw).to_string(), text);
    let identity = |msp_id: &str, pem: &'static [u8]| SerializedIdentity::new(MspId::new(msp_id), pem.into()).raw;
    for (bytes, text) in [
        (
            identity("Org1MSP", b"no certificate"),
            "somebody of Org1MSP without a readable certificate (could not decode the PEM structure)".to_owned(),
        ),
        (
            identity(&"x".repeat(100_000), b""),
            format!(
                "somebody of {}... without a readable certificate (could not decode the PEM structure)",
                "x".repeat(300)
            ),
        ),
        (Bytes::from_static(b"\xff"), "somebody without a name".to_owned()),
    ] {
        assert_eq!(Claim::of(&bytes).to_string(), text);
        assert_eq!(Expired::check(&bytes, i64::MAX), Ok(()));
    }
    let (end, raw) = (client.certificate().not_after(), &client.identity().raw);
    assert_eq!(Expired::check(raw, end), Ok(()));
    assert_eq!(
        Expired::check(raw, end + 1).unwrap_err().to_string(),
        "the certificate of 'CN=eve.Org1MSP,OU=client,C=US' of Org1MSP was valid until 2024-01-02T00:00:00Z; enroll again"
    );
}

#[test]
fn only_one_encoding_is_well_formed() {
    let org = Organization::new("Org1MSP");
    let peer = org.peer("p");
    check_well_formed(peer.identity()).unwrap();
    let with = |pem: Vec<u8>| SerializedIdentity::new(org.msp_id().clone(), pem.into());
    let pem = peer.identity().id_bytes.to_vec();
    assert!(check_well_formed(&with([&pem[..], b"x"].concat())).is_err());
    assert!(check_well_formed(&with(b"nothing".to_vec())).is_err());
    let relabelled = String::from_utf8(pem).unwrap().replace("CERTIFICATE", "KEY");
    assert_eq!(
        check_well_formed(&with(relabelled.into_bytes())).unwrap_err().to_string(),
        "pem type is KEY, should be 'CERTIFICATE' or missing"
    );
}

/// A root whose own signature has a high S.
const HIGH_S_ROOT: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBfDCCASKgAwIBAgICBBcwCgYIKoZIzj0EAwIwHjENMAsGA1UEBxMESElHSDEN\n\
MAsGA1UEAxMEcm9vdDAgFw0yNDAxMDEwMDAwMDBaGA8yMDc0MDEwMTAwMDAwMFow\n\
HjENMAsGA1UEBxMESElHSDENMAsGA1UEAxMEcm9vdDBZMBMGByqGSM49AgEGCCqG\n\
SM49AwEHA0IABG5Ea99ycstZqvLsjw2cWFE9SpKYXgoqGqJgnGNc7vMA2etoE4ql\n\
r58jN9zbRJJyfo1G98bK2BNLRhHQ8j7OyuSjTjBMMA4GA1UdDwEB/wQEAwIBhjAP\n\
BgNVHRMBAf8EBTADAQH/MCkGA1UdDgQiBCAPPS0iFvf2SQVV225TqyWuHraRqGWa\n\
6z0FLM2w4nXBcTAKBggqhkjOPQQDAgNIADBFAiBxmsmJqnaz7n+am0SamOiIviK0\n\
d1UGZczD9RvhNZz29wIhAOpldJhaFNGaRQ1HVLTbVPk4BUEHM/rwYU7ISs9lFIZd\n\
-----END CERTIFICATE-----\n";

/// A client of that root; its signature has a high S too.
const HIGH_S_LEAF: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBjTCCATKgAwIBAgICBBkwCgYIKoZIzj0EAwIwHjENMAsGA1UEBxMESElHSDEN\n\
MAsGA1UEAxMEcm9vdDAgFw0yNDAxMDEwMDAwMDBaGA8yMDc0MDEwMTAwMDAwMFow\n\
LzENMAsGA1UEBxMESElHSDEPMA0GA1UECxMGY2xpZW50MQ0wCwYDVQQDEwRsZWFm\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE/UOuNaJ8B1BzC6+wszTqlZBOubE6\n\
YDwpaFMbUjEZeH8o6UBbARLLuDY13Cj9IX4wpMDXASAF6fY1ByHFrQIVraNNMEsw\n\
DgYDVR0PAQH/BAQDAgeAMAwGA1UdEwEB/wQCMAAwKwYDVR0jBCQwIoAgDz0tIhb3\n\
9kkFVdtuU6slrh62kahlmus9BSzNsOJ1wXEwCgYIKoZIzj0EAwIDSQAwRgIhAL/q\n\
yrc+d7EtlfNJj+y5KHwHH5bfUyyCad0dFyb3ahSMAiEAv2YSrofOl52oljoanzSQ\n\
oDShYqtD09EWg9Cgmg1CfmI=\n\
-----END CERTIFICATE-----\n";

#[test]
fn certificates_are_brought_into_low_s_form() {
    let options = OrganizationOptions::default();
    let mut config = Organization::with_options("M", options).msp_config();
    config.root_certs = vec![HIGH_S_ROOT.into(), HIGH_S_ROOT.into()];
    config.tls_root_certs.clear();
    let msp = Msp::new(&config, MspVersion::V3_0).unwrap();
    let identity = msp.identify(&SerializedIdentity::new(MspId::new("M"), HIGH_S_LEAF.into()).raw).unwrap();
    identity.validate().unwrap();
    // What Fabric's own MSP says of this certificate.
    assert_eq!(identity.digest().to_string(), "916130adc8b7de6c5275989619f5fe2abda163aa64bbe955c4eaa85a206a229c");
    assert_ne!(identity.certificate().to_pem(), HIGH_S_LEAF);
    assert_eq!(
        identity.organizational_units()[0].certifiers.to_string(),
        "474c651f294714d5957ec513256fc712569b26027067b18c7dd117704d954a92"
    );
    let again = msp.identify(&identity.serialize()).unwrap();
    assert_eq!(again.digest(), identity.digest(), "both forms are one identity");
}
