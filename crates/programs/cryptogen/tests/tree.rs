//! What a network's folders hold, and that nodes can be started from them.
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ripstop_crypto::Certificate;
use ripstop_cryptogen::{CryptoConfig, generate};
use ripstop_keys::LocalIdentity;
use ripstop_types::MspId;

const CONFIG: &str = r#"
OrdererOrgs:
  - Name: Orderer
    Domain: example.com
    EnableNodeOUs: true
    Specs:
      - Hostname: orderer
        SANS: [localhost, "::ffff:127.0.0.1"]
PeerOrgs:
  - Name: Org1
    Domain: org1.example.com
    EnableNodeOUs: true
    Unknown: passed over
    CA:
      Country: DE
      OrganizationalUnit: Hyperledger Fabric
      PostalCode: 12345
    Template:
      Count: 1
      Start: 3
      SANS: ["{{.Hostname}}.alt.{{.Domain}}", "::1"]
    Users:
      Count: 1
      PublicKeyAlgorithm: ed25519
  - Name: Org2
    Domain: org2.example.com
    Template: {Count: 1}
"#;

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, out: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, out);
            } else {
                out.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(dir, dir, &mut out);
    out
}

#[test]
fn files_have_fabrics_names() {
    let dir = tempfile::tempdir().unwrap();
    generate(&CryptoConfig::parse(CONFIG).unwrap(), dir.path()).unwrap();
    let files = files(dir.path());
    let below = |prefix: &str| -> Vec<String> {
        files.keys().filter_map(|file| file.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    assert_eq!(
        below("peerOrganizations/org1.example.com/peers/peer3.org1.example.com/"),
        [
            "msp/cacerts/ca.org1.example.com-cert.pem",
            "msp/config.yaml",
            "msp/keystore/priv_sk",
            "msp/signcerts/peer3.org1.example.com-cert.pem",
            "msp/tlscacerts/tlsca.org1.example.com-cert.pem",
            "tls/ca.crt",
            "tls/server.crt",
            "tls/server.key",
        ]
    );
    assert_eq!(
        below("peerOrganizations/org2.example.com/peers/peer0.org2.example.com/msp/admincerts/"),
        ["Admin@org2.example.com-cert.pem"],
        "without role units administrators are listed"
    );
    for file in [
        "ordererOrganizations/example.com/orderers/orderer.example.com/tls/server.crt",
        "ordererOrganizations/example.com/users/Admin@example.com/tls/client.crt",
        "peerOrganizations/org1.example.com/ca/priv_sk",
        "peerOrganizations/org1.example.com/msp/config.yaml",
        "peerOrganizations/org1.example.com/users/User1@org1.example.com/msp/keystore/priv_sk",
        "peerOrganizations/org2.example.com/msp/admincerts/Admin@org2.example.com-cert.pem",
    ] {
        assert!(files.contains_key(file), "{file}");
    }
}

#[test]
fn certificates_say_what_fabrics_say() {
    let dir = tempfile::tempdir().unwrap();
    generate(&CryptoConfig::parse(CONFIG).unwrap(), dir.path()).unwrap();
    let read = |file: &str| {
        Certificate::from_pem(&fs::read(dir.path().join("peerOrganizations/org1.example.com").join(file)).unwrap())
            .unwrap()
    };
    let ca = read("ca/ca.org1.example.com-cert.pem");
    assert_eq!(
        ca.subject().to_string(),
        "CN=ca.org1.example.com,OU=Hyperledger Fabric,O=org1.example.com,POSTALCODE=12345,L=San Francisco,ST=California,C=DE"
    );
    assert!(ca.is_ca() && ca.is_issued_by(&ca));
    assert_eq!(ca.subject_key_id().unwrap().as_ref(), ca.public_key().identifier().as_bytes());
    assert_eq!(ca.authority_key_id(), None);

    let peer = read("peers/peer3.org1.example.com/msp/signcerts/peer3.org1.example.com-cert.pem");
    assert_eq!(peer.organizational_units(), ["peer", "Hyperledger Fabric"], "units are sorted as sets are");
    assert!(peer.is_issued_by(&ca) && !peer.is_ca());
    assert_eq!(peer.authority_key_id(), ca.subject_key_id());
    assert_eq!(peer.subject_key_id(), None);
    assert_eq!(peer.not_after() - peer.not_before(), 3650 * 24 * 3600);
    assert_eq!(peer.not_before() % 60, 0);

    let tls = read("peers/peer3.org1.example.com/tls/server.crt");
    assert_eq!(tls.dns_names(), ["peer3.org1.example.com", "peer3", "peer3.alt.org1.example.com"]);
    assert!(tls.is_issued_by(&read("tlsca/tlsca.org1.example.com-cert.pem")));
    assert_eq!(read("users/User1@org1.example.com/tls/client.crt").subject_alternative_name(), None);

    let orderer = read("../../ordererOrganizations/example.com/orderers/orderer.example.com/tls/server.crt");
    let names = orderer.subject_alternative_name().unwrap();
    assert!(names.ends_with(&[0x87, 4, 127, 0, 0, 1]), "addresses of version 4 stand in their short form");
}

#[test]
fn nodes_and_users_can_sign_and_have_their_roles() {
    let dir = tempfile::tempdir().unwrap();
    generate(&CryptoConfig::parse(CONFIG).unwrap(), dir.path()).unwrap();
    for (msp_id, folder) in [
        ("OrdererMSP", "ordererOrganizations/example.com/orderers/orderer.example.com"),
        ("OrdererMSP", "ordererOrganizations/example.com/users/Admin@example.com"),
        ("Org1MSP", "peerOrganizations/org1.example.com/peers/peer3.org1.example.com"),
        ("Org1MSP", "peerOrganizations/org1.example.com/users/User1@org1.example.com"),
        ("Org2MSP", "peerOrganizations/org2.example.com/peers/peer0.org2.example.com"),
        ("Org2MSP", "peerOrganizations/org2.example.com/users/Admin@org2.example.com"),
    ] {
        let local = LocalIdentity::load(&dir.path().join(folder).join("msp"), &MspId::new(msp_id)).unwrap();
        let identity = local.msp.identify(&local.signer.identity().raw).unwrap();
        identity.validate().unwrap();
        identity.verify(b"message", &local.signer.sign(b"message").unwrap()).unwrap();
    }
}

#[test]
fn a_second_run_only_adds_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = CryptoConfig::parse(CONFIG).unwrap();
    generate(&config, dir.path()).unwrap();
    let before = files(dir.path());
    config.peer_orgs[0].template.count = 2;
    generate(&config, dir.path()).unwrap();
    let after = files(dir.path());
    assert!(before.iter().all(|(file, content)| after.get(file) == Some(content)));
    let added: Vec<_> = after.keys().filter(|file| !before.contains_key(*file)).collect();
    assert_eq!(added.len(), 8);
    assert!(added.iter().all(|file| file.contains("/peer4.org1.example.com/")), "{added:?}");
    let folder = dir.path().join("peerOrganizations/org1.example.com/peers/peer4.org1.example.com/msp");
    LocalIdentity::load(&folder, &MspId::new("Org1MSP")).unwrap();
}

#[test]
fn broken_configurations_are_refused() {
    for text in ["PeerOrgs: 5", "PeerOrgs: [{CA: {PublicKeyAlgorithm: rsa}}]"] {
        assert!(CryptoConfig::parse(text).unwrap_err().to_string().starts_with("Error Unmarshalling YAML: "), "{text}");
    }
    let bad_template =
        CryptoConfig::parse("PeerOrgs: [{Domain: d, Specs: [{Hostname: h, SANS: ['{{.Nothing}}']}]}]").unwrap();
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        generate(&bad_template, dir.path()).unwrap_err().to_string(),
        "Error executing template: template: parse:1:2: executing \"parse\" at <.Nothing>: can't evaluate field Nothing in \
         type main.SpecData"
    );
    let foreign = CryptoConfig::parse("PeerOrgs: [{Domain: d, Specs: [{Hostname: münchen}]}]").unwrap();
    let message = generate(&foreign, dir.path()).unwrap_err().to_string();
    assert!(message.ends_with("x509: \"münchen.d\" cannot be encoded as an IA5String"), "{message}");
    assert!(CryptoConfig::parse("").unwrap().peer_orgs.is_empty());
}

#[test]
fn keys_without_a_value_mean_the_default() {
    let config = CryptoConfig::parse(
        "OrdererOrgs:\nPeerOrgs: [{Name: , Domain: d, EnableNodeOUs: , CA: , Specs: , Template: {Count: -1}, Users: }]",
    );
    let config = config.unwrap();
    assert!(config.orderer_orgs.is_empty());
    let dir = tempfile::tempdir().unwrap();
    generate(&config, dir.path()).unwrap();
    let files = files(dir.path());
    assert!(files.contains_key("peerOrganizations/d/users/Admin@d/msp/signcerts/Admin@d-cert.pem"));
    assert!(!files.keys().any(|file| file.contains("/peers/")));
}

#[test]
fn an_authority_is_found_whatever_its_files_are_called_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = CryptoConfig::parse(CONFIG).unwrap();
    generate(&config, dir.path()).unwrap();
    let ca = dir.path().join("peerOrganizations/org2.example.com/ca");
    fs::rename(ca.join("priv_sk"), ca.join("0f3c_sk")).unwrap();
    config.peer_orgs[1].template.count = 2;
    generate(&config, dir.path()).unwrap();
    assert!(!ca.join("priv_sk").exists());
    let folder = dir.path().join("peerOrganizations/org2.example.com/peers/peer1.org2.example.com/msp");
    let local = LocalIdentity::load(&folder, &MspId::new("Org2MSP")).unwrap();
    local.msp.identify(&local.signer.identity().raw).unwrap().validate().unwrap();

    fs::remove_file(ca.join("0f3c_sk")).unwrap();
    let message = generate(&config, dir.path()).unwrap_err().to_string();
    assert!(message.contains("the authority's key is missing"), "{message}");
}
