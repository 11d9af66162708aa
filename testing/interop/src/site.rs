use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_crypto::{Certificate, SigningIdentity};
use ripstop_keys::{Authority, CertificateRequest, KeyUsage, LocalIdentity, PrivateKey, SubjectName, Validity};
use ripstop_transport::{ClientTls, Endpoint, KeyPair};
use ripstop_types::MspId;
use serde_json::Value;

const ORDERER_DOMAIN: &str = "example.com";
const ORDERER: &str = "orderer.example.com";

/// The folder of a network: who is in it, where they listen, and what they keep.
#[derive(Debug, Clone)]
pub struct Site {
    root: PathBuf,
    plan: Value,
}

impl Site {
    /// Lets ripstop make a network in a folder, with its first transaction, and stop it again. `options` go to `up`.
    ///
    /// # Panics
    /// When it does not work.
    pub fn make(program: &Path, root: &Path, options: &[&str]) -> Self {
        let made = Command::new(program).args(["up", "--once", "--dir"]).arg(root).args(options).output();
        let made = made.unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self::open(root)
    }

    /// Reads what `ripstop up` planned.
    ///
    /// # Panics
    /// When there is no network in the folder.
    pub fn open(root: &Path) -> Self {
        let plan = read(&root.join("network.json"));
        let plan = serde_json::from_slice(&plan).expect("the plan of a network is JSON");
        Self { root: root.to_owned(), plan }
    }

    fn port(&self, pointer: &str) -> u64 {
        self.plan.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("the plan has no {pointer}"))
    }

    /// How many organizations with peers there are; they are counted from 1.
    pub fn organisations(&self) -> usize {
        self.plan["organisations"].as_array().map_or(0, Vec::len)
    }

    /// The name of an organization's first peer.
    pub fn peer_name(&self, organisation: usize) -> String {
        self.peer_name_at(organisation, 0)
    }

    /// The name of one of an organization's peers, counted from 0.
    pub fn peer_name_at(&self, organisation: usize, place: usize) -> String {
        format!("peer{place}.{}", domain(organisation))
    }

    /// The first orderer's name.
    pub fn orderer_name(&self) -> &'static str {
        ORDERER
    }

    /// An organization's first peer.
    pub fn peer(&self, organisation: usize) -> Endpoint {
        self.peer_at(organisation, 0)
    }

    /// One of an organization's peers, counted from 0.
    pub fn peer_at(&self, organisation: usize, place: usize) -> Endpoint {
        let port = self.port(&format!("/organisations/{}/peers/{place}/port", organisation - 1));
        secured(port, &self.peer_crypto_at(organisation, place).join("tls/ca.crt"), None)
    }

    /// Where chaincode registers that dials the first peer of an organization.
    pub fn chaincode_listener(&self, organisation: usize) -> Endpoint {
        let port = self.port(&format!("/organisations/{}/peers/0/chaincode_port", organisation - 1));
        secured(port, &self.peer_crypto(organisation).join("tls/ca.crt"), None)
    }

    /// Health, metrics and logging of an organization's first peer, without TLS.
    pub fn operations(&self, organisation: usize) -> Endpoint {
        let port = self.port(&format!("/organisations/{}/peers/0/operations_port", organisation - 1));
        Endpoint::new(&format!("localhost:{port}")).expect("this is an address")
    }

    /// The first orderer.
    pub fn orderer(&self) -> Endpoint {
        self.orderer_at(0)
    }

    /// The names of all orderers.
    pub fn orderer_names(&self) -> Vec<String> {
        let orderers = self.plan["orderers"].as_array().into_iter().flatten();
        orderers.filter_map(|orderer| Some(orderer["name"].as_str()?.to_owned())).collect()
    }

    /// One of the orderers, counted from 0.
    pub fn orderer_at(&self, place: usize) -> Endpoint {
        let port = self.port(&format!("/orderers/{place}/port"));
        secured(port, &self.orderer_crypto().join("tls/ca.crt"), None)
    }

    /// The first orderer's channel participation API as its administrator reaches it.
    pub fn orderer_admin(&self) -> Endpoint {
        self.orderer_admin_at(0)
    }

    /// An orderer's channel participation API as its administrator reaches it.
    pub fn orderer_admin_at(&self, place: usize) -> Endpoint {
        let tls = self.ordering_organisation().join(format!("users/Admin@{ORDERER_DOMAIN}/tls"));
        let pair = KeyPair::from_pem(&read(&tls.join("client.crt")), &read(&tls.join("client.key")));
        let pair = pair.expect("the administrator has a TLS certificate");
        let port = self.port(&format!("/orderers/{place}/admin_port"));
        secured(port, &self.orderer_crypto().join("tls/ca.crt"), Some(pair))
    }

    /// The address at which the sample contract listens.
    pub fn contract_address(&self) -> String {
        format!("127.0.0.1:{}", self.port("/contract_port"))
    }

    /// Somebody of an organization: `Admin` or `User1`.
    pub fn user(&self, organisation: usize, name: &str) -> SigningIdentity {
        let domain = domain(organisation);
        let folder = self.organisation(organisation).join(format!("users/{name}@{domain}/msp"));
        identity(&folder, &format!("Org{organisation}MSP"))
    }

    /// The first peer of an organization, as who endorses there.
    pub fn endorser(&self, organisation: usize) -> SigningIdentity {
        self.endorser_at(organisation, 0)
    }

    /// One of the peers of an organization, counted from 0, as who endorses there.
    pub fn endorser_at(&self, organisation: usize, place: usize) -> SigningIdentity {
        identity(&self.peer_crypto_at(organisation, place).join("msp"), &format!("Org{organisation}MSP"))
    }

    /// Someone whom an organization's own authority gave a certificate that ended a second after the authority began,
    /// which lies minutes back.
    pub fn expired(&self, organisation: usize) -> SigningIdentity {
        let past = |begin| Validity { not_before: begin, not_after: begin + 1 };
        self.issue(organisation, subject(format!("Past@{}", domain(organisation)), vec!["client".to_owned()]), past)
    }

    /// One more peer of an organization, with a certificate of the organization's own authority.
    pub fn new_peer(&self, organisation: usize, name: &str) -> SigningIdentity {
        let lasting = |begin| Validity { not_before: begin, not_after: begin + 3600 * 24 };
        self.issue(organisation, subject(format!("{name}.{}", domain(organisation)), vec!["peer".to_owned()]), lasting)
    }

    /// What an organization's administrator shows in TLS as a client.
    pub fn client_pair(&self, organisation: usize) -> KeyPair {
        let tls = self.organisation(organisation).join(format!("users/Admin@{}/tls", domain(organisation)));
        let pair = KeyPair::from_pem(&read(&tls.join("client.crt")), &read(&tls.join("client.key")));
        pair.expect("the administrator has a TLS certificate")
    }

    /// An organization's peer as somebody with a TLS certificate reaches it.
    pub fn peer_for(&self, organisation: usize, pair: KeyPair) -> Endpoint {
        let port = self.port(&format!("/organisations/{}/peers/0/port", organisation - 1));
        secured(port, &self.peer_crypto(organisation).join("tls/ca.crt"), Some(pair))
    }

    /// Somebody whom an organization's own authority gives a certificate; from when on it holds follows from when the authority
    /// began.
    fn issue(&self, organisation: usize, name: SubjectName, validity: impl Fn(i64) -> Validity) -> SigningIdentity {
        let domain = domain(organisation);
        let key = PrivateKey::from_pem(&read(&self.organisation(organisation).join("ca/priv_sk")));
        // The same name and key make the same authority.
        let lasting = Validity { not_before: 0, not_after: 4_000_000_000 };
        let request = CertificateRequest {
            subject: SubjectName { organization: vec![domain.clone()], ..subject(format!("ca.{domain}"), Vec::new()) },
            validity: lasting,
            key_usage: vec![KeyUsage::CertSign, KeyUsage::DigitalSignature],
            extended_key_usage: Vec::new(),
            hosts: Vec::new(),
        };
        let authority = Authority::root(&request, key.expect("the authority has a key")).expect("it is an authority");
        let certificate = read(&self.organisation(organisation).join(format!("ca/ca.{domain}-cert.pem")));
        let begin = Certificate::from_pem(&certificate).expect("the authority has a certificate").not_before();
        let key = PrivateKey::generate(ripstop_crypto::KeyKind::Ecdsa(ripstop_crypto::Curve::P256));
        let key = key.expect("a key can be made");
        let request = CertificateRequest {
            subject: name,
            validity: validity(begin),
            key_usage: vec![KeyUsage::DigitalSignature],
            ..request
        };
        let certificate = authority.issue(&request, key.public_key()).expect("a certificate can be made");
        SigningIdentity::new(MspId::new(&format!("Org{organisation}MSP")), certificate, Arc::new(key))
    }

    /// The channel's first block, as it came from `configtxgen`.
    pub fn genesis_block(&self) -> Bytes {
        read(&self.root.join(format!("{}.block", crate::CHANNEL))).into()
    }

    /// Whether a process orders.
    pub fn is_orderer(&self, process: &str) -> bool {
        self.orderer_names().iter().any(|name| name == process)
    }

    /// The folder with the configuration of the orderer or of a peer.
    pub fn configuration(&self, process: &str) -> PathBuf {
        let kind = if self.is_orderer(process) { "orderers" } else { "peers" };
        self.root.join(kind).join(process)
    }

    /// Where an organization's first peer keeps its ledgers.
    pub fn ledgers(&self, organisation: usize) -> PathBuf {
        self.configuration(&self.peer_name(organisation)).join("data/ledgersData")
    }

    /// The log of a process.
    pub fn log(&self, process: &str) -> PathBuf {
        self.root.join("logs").join(format!("{process}.log"))
    }

    /// Every line of a log that tells of a panic.
    pub fn panics(&self) -> Vec<String> {
        let logs = std::fs::read_dir(self.root.join("logs")).expect("a network writes logs");
        let mut found = Vec::new();
        for log in logs.flatten() {
            let text = read(&log.path());
            let text = String::from_utf8_lossy(&text);
            let lines = text.lines().filter(|line| line.contains("panicked"));
            found.extend(lines.map(|line| format!("{}: {line}", log.file_name().to_string_lossy())));
        }
        found
    }

    fn organisation(&self, organisation: usize) -> PathBuf {
        self.root.join("crypto/peerOrganizations").join(domain(organisation))
    }

    fn peer_crypto(&self, organisation: usize) -> PathBuf {
        self.peer_crypto_at(organisation, 0)
    }

    fn peer_crypto_at(&self, organisation: usize, place: usize) -> PathBuf {
        self.organisation(organisation).join("peers").join(self.peer_name_at(organisation, place))
    }

    fn ordering_organisation(&self) -> PathBuf {
        self.root.join("crypto/ordererOrganizations").join(ORDERER_DOMAIN)
    }

    fn orderer_crypto(&self) -> PathBuf {
        self.ordering_organisation().join("orderers").join(ORDERER)
    }
}

fn domain(organisation: usize) -> String {
    format!("org{organisation}.example.com")
}

fn subject(common_name: String, organizational_unit: Vec<String>) -> SubjectName {
    SubjectName {
        country: vec!["US".to_owned()],
        province: vec!["California".to_owned()],
        locality: vec!["San Francisco".to_owned()],
        organizational_unit,
        common_name,
        ..SubjectName::default()
    }
}

fn identity(folder: &Path, msp_id: &str) -> SigningIdentity {
    let loaded = LocalIdentity::load(folder, &MspId::new(msp_id));
    loaded.unwrap_or_else(|error| panic!("no identity in {}: {error}", folder.display())).signer
}

fn secured(port: u64, root: &Path, pair: Option<KeyPair>) -> Endpoint {
    let tls = ClientTls::new([read(root).as_slice()], pair).expect("the network's TLS certificates can be read");
    Endpoint::new(&format!("localhost:{port}")).expect("this is an address").tls(tls)
}

fn read(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
}
