//! Certificates, revocation lists and signatures, as made by an organization and as made by an enemy.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use ripstop_crypto::{Certificate, CertificateError, Crl, Curve, KeyKind, PublicKey, SignatureError, decode_pem};
use ripstop_keys::{PrivateKey, Signer};
use ripstop_testkit::{Organization, OrganizationOptions};

#[test]
fn a_certificate_says_who_holds_it_and_who_issued_it() {
    let org = Organization::new("Org1MSP");
    let peer = org.peer("peer0");
    let certificate = peer.certificate();
    let issuer = org.root().certificate();
    assert_eq!(certificate.subject().to_string(), "CN=peer0.Org1MSP,OU=peer,C=US");
    assert_eq!(certificate.issuer().to_string(), "CN=ca.Org1MSP,C=US");
    assert_eq!(certificate.organizational_units(), ["peer"]);
    assert_eq!((certificate.not_before(), certificate.not_after()), (1_704_067_200, 4_859_827_200));
    assert!(certificate.is_issued_by(issuer) && !issuer.is_issued_by(certificate));
    assert_eq!(certificate.authority_key_id(), issuer.subject_key_id());
    assert!(issuer.is_ca() && !certificate.is_ca());
    assert_eq!(Certificate::from_pem(certificate.to_pem().as_bytes()).unwrap(), *certificate);
    assert_eq!(certificate.with_low_s(issuer), Some(certificate.clone()), "it is low already");
    assert!(certificate.has_canonical_signature());
    assert_eq!(PublicKey::from_spki(certificate.public_key().spki()).unwrap(), *certificate.public_key());

    let tls = org.tls("server", &["localhost", "127.0.0.1", "::1"]);
    let tls = Certificate::from_pem(tls.certificate.as_bytes()).unwrap();
    assert_eq!((tls.dns_names(), tls.alternative_names().len()), (&["localhost".to_owned()][..], 3));
}

#[test]
fn a_list_names_whom_its_signer_revoked() {
    let org = Organization::new("Org1MSP");
    let (bad, good) = (org.client("bad"), org.client("good"));
    let list = Crl::parse(&org.root().revoke(&[bad.certificate()], 1_704_067_200).unwrap()).unwrap();
    assert!(list.lists(bad.certificate()) && !list.lists(good.certificate()));
    assert_eq!(list.authority_key_id(), org.root().certificate().subject_key_id());
    assert!(list.is_signed_by(org.root().certificate()));
    assert!(!list.is_signed_by(Organization::new("Org1MSP").root().certificate()));
}

#[test]
fn only_the_low_form_of_a_signature_counts() {
    let key = PrivateKey::generate(KeyKind::Ecdsa(Curve::P256)).unwrap();
    let public = key.public_key();
    let signature = key.sign(b"message").unwrap();
    public.verify(b"message", &signature).unwrap();
    assert_eq!(public.verify(b"other", &signature), Err(SignatureError::Wrong));
    assert_eq!(public.verify(b"message", b""), Err(SignatureError::Empty));
    assert_eq!(public.verify(b"message", b"nonsense"), Err(SignatureError::Encoding));
    assert_eq!(public.verify(b"message", &high_form(&signature)), Err(SignatureError::HighS));
    // Go ignores what follows, so peers must too, or they would disagree on a transaction.
    public.verify(b"message", &[&signature[..], b"behind"].concat()).unwrap();
}

/// The same signature with `n - s` for `s`.
fn high_form(signature: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let r = &signature[2..4 + usize::from(signature[3])];
    let s = &signature[2 + r.len() + 2..];
    let mut high = ORDER;
    let mut borrow = 0;
    for (index, digit) in high.iter_mut().rev().enumerate() {
        let low = s.iter().rev().nth(index).copied().unwrap_or(0);
        let difference = i32::from(*digit) - i32::from(low) - borrow;
        borrow = i32::from(difference < 0);
        *digit = difference.rem_euclid(256) as u8;
    }
    let s = [&[2, 33, 0][..], &high].concat();
    [&[0x30, (r.len() + s.len()) as u8][..], r, &s].concat()
}

#[test]
fn no_bytes_make_a_parser_panic() {
    let org = Organization::with_options(
        "Org1MSP",
        OrganizationOptions { key_kind: KeyKind::Ed25519, ..OrganizationOptions::default() },
    );
    let certificate = org.peer("p").certificate().der().to_vec();
    let tls = decode_pem(org.tls("t", &["host", "10.0.0.1"]).certificate.as_bytes()).unwrap().0.content;
    let list = org.root().revoke(&[org.root().certificate()], 1_704_067_200).unwrap();
    for bytes in [&certificate, &tls, &list] {
        for at in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0x84, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = Certificate::from_der(&changed).map(|certificate| certificate.check_issued_by(&certificate));
                let _ = Crl::parse(&changed);
            }
            let _ = Certificate::from_der(&bytes[..at]);
            let _ = Crl::parse(&bytes[..at]);
        }
    }
    let mut trailing = certificate.clone();
    trailing.push(0);
    assert_eq!(Certificate::from_der(&trailing).unwrap_err(), CertificateError::Encoding("trailing data".to_owned()));
    assert_eq!(Certificate::from_pem(b"").unwrap_err(), CertificateError::Pem);
}
