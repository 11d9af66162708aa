//! Servers and clients on loopback, with certificates as cryptogen makes them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair as Key,
    PublicKeyData as _,
};
use ripstop_proto::protos;
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::protos::endorser_server::{Endorser, EndorserServer};
use ripstop_transport::{
    ClientAuth, ClientRoots, ClientTls, Endpoint, KeyPair, Listener, PeerInfo, Renewal, ServerKeepalive, ServerTls,
    TlsFiles, describe_failure, serve_grpc,
};
use tokio::sync::oneshot;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

struct Authority {
    issuer: CertifiedIssuer<'static, Key>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "tlsca.example.com");
        Self { issuer: CertifiedIssuer::self_signed(params, Key::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn issue(&self) -> KeyPair {
        self.issue_with(|_| ())
    }

    fn issue_with(&self, change: impl FnOnce(&mut CertificateParams)) -> KeyPair {
        let (certificate, key) = self.issue_pem(change);
        KeyPair::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    }

    fn issue_pem(&self, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = Key::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Answers with the hash of the certificate the client showed.
struct WhoAmI;

#[tonic::async_trait]
impl Endorser for WhoAmI {
    async fn process_proposal(
        &self,
        request: Request<protos::SignedProposal>,
    ) -> Result<Response<protos::ProposalResponse>, Status> {
        let peer = PeerInfo::of(&request).ok_or_else(|| Status::internal("no peer"))?;
        let payload = peer.certificate_hash().map(|hash| hash.to_bytes()).unwrap_or_default();
        Ok(Response::new(protos::ProposalResponse { payload, ..Default::default() }))
    }
}

async fn serve(tls: Option<ServerTls>) -> (String, oneshot::Sender<()>) {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let routes = Routes::new(EndorserServer::new(WhoAmI));
    tokio::spawn(serve_grpc(listener, tls, ServerKeepalive::default(), routes, async {
        stopped.await.ok();
    }));
    (address, stop)
}

async fn ask(endpoint: Endpoint) -> Result<Vec<u8>, Status> {
    let endpoint = endpoint.connect_timeout(Duration::from_secs(60));
    let answer = EndorserClient::new(endpoint.channel()).process_proposal(protos::SignedProposal::default()).await?;
    Ok(answer.into_inner().payload.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_connections_that_begin_at_once_at_one_address_all_come_up() {
    let authority = Authority::new();
    let (address, _stop) = serve(Some(ServerTls::new(authority.issue(), ClientAuth::Requested).unwrap())).await;
    let root = authority.pem();
    let asking: Vec<_> = (0..400)
        .map(|_| {
            let tls = ClientTls::new([root.as_bytes()], None).unwrap();
            tokio::spawn(ask(Endpoint::new(&address).unwrap().tls(tls)))
        })
        .collect();
    for asked in asking {
        assert!(asked.await.unwrap().unwrap().is_empty());
    }
}

#[tokio::test]
async fn plain_connections_work_and_name_no_certificate() {
    let (address, _stop) = serve(None).await;
    assert_eq!(ask(Endpoint::new(&address).unwrap()).await.unwrap(), b"");
}

#[tokio::test]
async fn without_mutual_tls_a_certificate_is_seen_but_not_needed() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (address, _stop) = serve(Some(ServerTls::new(ours.issue(), ClientAuth::Requested).unwrap())).await;
    let endpoint = || Endpoint::new(&address).unwrap();
    let roots = ours.pem();
    let tls = |pair| ClientTls::new([roots.as_bytes()], pair).unwrap();
    assert_eq!(ask(endpoint().tls(tls(None))).await.unwrap(), b"");
    let stranger = theirs.issue();
    let hash = ripstop_types::Digest::of(&stranger.leaf());
    assert_eq!(ask(endpoint().tls(tls(Some(stranger)))).await.unwrap(), hash.as_bytes());
    // A server whose issuer the client does not trust, and one whose name does not fit.
    let untrusting = ClientTls::new([theirs.pem().as_bytes()], None).unwrap();
    let refused = ask(endpoint().tls(untrusting)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let words = describe_failure(&refused);
    assert!(
        words.contains(" failed: tls: failed to verify certificate: x509: certificate signed by unknown authority (an authority of that name is trusted, but it has another key): the server's certificate is 'CN=rcgen self signed cert' (issued by 'CN=tlsca.example.com', serial number "),
        "{words}"
    );
    let elsewhere = ask(endpoint().tls(tls(None)).server_name("peer0.org9.example.com")).await.unwrap_err();
    assert_eq!(elsewhere.code(), Code::Unavailable);
    let untrusting = ClientTls::new([theirs.pem().as_bytes()], None).unwrap();
    let refused = endpoint().tls(untrusting).connect().await.err().unwrap().in_gos_words();
    let words = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
    assert!(refused.starts_with(words), "{refused}");
    let nobody = Endpoint::new("127.0.0.1:1").unwrap().connect().await.err().unwrap();
    assert_eq!(nobody.in_gos_words(), "dial tcp 127.0.0.1:1: connect: connection refused");
    let words = describe_failure(&elsewhere);
    assert!(words.starts_with("rpc error: code = Unavailable desc = TLS handshake with 127.0.0.1:"), "{words}");
    let name =
        "x509: certificate is valid for localhost, 127.0.0.1, not peer0.org9.example.com: the server's certificate is ";
    assert!(words.contains(name), "{words}");
    assert_eq!(ask(endpoint().tls(tls(None)).server_name("localhost")).await.unwrap(), b"");
}

#[tokio::test]
async fn a_certificate_that_need_not_be_shown_can_still_be_verified() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let roots = ClientRoots::new([ours.pem().into()]).unwrap();
    let tls = ServerTls::new(ours.issue(), ClientAuth::VerifiedIfGiven(roots)).unwrap();
    assert!(!tls.requires_client_certificate());
    let (address, _stop) = serve(Some(tls)).await;
    let server_roots = ours.pem();
    let endpoint = |pair| {
        let tls = ClientTls::new([server_roots.as_bytes()], pair).unwrap();
        Endpoint::new(&address).unwrap().tls(tls)
    };
    assert_eq!(ask(endpoint(None)).await.unwrap(), b"");
    assert!(ask(endpoint(Some(ours.issue()))).await.is_ok());
    assert!(ask(endpoint(Some(theirs.issue()))).await.is_err());
}

#[tokio::test]
async fn a_client_may_expect_one_server_or_any_but_itself() {
    let authority = Authority::new();
    let key = Key::generate().unwrap();
    let params = || CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params().signed_by(&key, &authority.issuer).unwrap();
    let pair = KeyPair::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let (address, _stop) = serve(Some(ServerTls::new(pair.clone(), ClientAuth::Requested).unwrap())).await;
    let roots = authority.pem();
    let itself = ClientTls::to_others([roots.as_bytes()], pair).unwrap();
    let itself = describe_failure(&ask(Endpoint::new(&address).unwrap().tls(itself)).await.unwrap_err());
    assert!(itself.contains("127.0.0.1 is this node itself"), "{itself}");
    let endpoint = |key: &Key, roots: &str| {
        let tls = ClientTls::pinned([roots.as_bytes()], authority.issue(), &key.subject_public_key_info()).unwrap();
        Endpoint::new(&address).unwrap().tls(tls)
    };
    assert!(ask(endpoint(&key, &roots)).await.is_ok());
    let other = describe_failure(&ask(endpoint(&Key::generate().unwrap(), &roots)).await.unwrap_err());
    assert!(other.contains("presented by 127.0.0.1 doesn't match the expected public key"), "{other}");
    assert!(ask(endpoint(&key, &Authority::new().pem())).await.is_err(), "the chain counts too");
}

#[tokio::test]
async fn roots_of_clients_can_change_while_the_server_runs() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let roots = ClientRoots::default();
    let tls = ServerTls::new(ours.issue(), ClientAuth::Required(roots.clone())).unwrap();
    assert!(tls.requires_client_certificate());
    let (address, _stop) = serve(Some(tls)).await;
    let server_roots = ours.pem();
    let client = theirs.issue();
    let endpoint = |pair| {
        let tls = ClientTls::new([server_roots.as_bytes()], pair).unwrap();
        Endpoint::new(&address).unwrap().tls(tls)
    };
    assert!(ask(endpoint(Some(client.clone()))).await.is_err(), "no roots yet");
    roots.replace_of_channels([ours.pem().into(), theirs.pem().into()]).unwrap();
    assert!(ask(endpoint(Some(client.clone()))).await.is_ok());
    assert!(ask(endpoint(None)).await.is_err(), "a certificate is required");
    assert!(roots.replace_of_channels([b"no certificate".as_slice().into()]).is_err());
    assert!(ask(endpoint(Some(client.clone()))).await.is_ok(), "a wrong set changes nothing");
    roots.replace_of_channels([ours.pem().into()]).unwrap();
    let refused = ask(endpoint(Some(client))).await.unwrap_err();
    let words = "remote error: tls: unknown certificate authority: the server does not accept this client's certificate, or lack of one";
    assert!(describe_failure(&refused).ends_with(words), "no longer trusted: {}", describe_failure(&refused));
}

#[tokio::test]
async fn an_expired_server_is_trusted_by_a_clock_that_is_set_back() {
    let authority = Authority::new();
    let expired = authority.issue_with(|params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 12, 31);
    });
    let (address, _stop) = serve(Some(ServerTls::new(expired, ClientAuth::Requested).unwrap())).await;
    let roots = authority.pem();
    let tls = || ClientTls::new([roots.as_bytes()], None).unwrap();
    let endpoint = || Endpoint::new(&address).unwrap();
    assert!(ask(endpoint().tls(tls())).await.is_err());
    let june_of_2020 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_590_969_600);
    let shift = SystemTime::now().duration_since(june_of_2020).unwrap();
    assert!(ask(endpoint().tls(tls().time_shift(shift))).await.is_ok());
}

#[tokio::test]
async fn a_certificate_whose_files_change_is_shown_from_then_on_by_servers_and_clients() {
    let (old, new) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    let put = |(chain, secret): &(String, String)| {
        std::fs::write(&certificate, chain).unwrap();
        std::fs::write(&key, secret).unwrap();
    };
    put(&old.issue_pem(|_| ()));
    let mut files = TlsFiles::default();
    let pair = files.key_pair("server TLS", &certificate, &key).unwrap();
    let shared = files.key_pair("client TLS", &certificate, &key).unwrap();
    assert_eq!(files.pairs().count(), 1, "one pair of files is one pair");
    let (address, _stop) = serve(Some(ServerTls::new(pair.clone(), ClientAuth::Requested).unwrap())).await;
    let trusting = |authority: &Authority| {
        let tls = ClientTls::new([authority.pem().as_bytes()], Some(shared.clone())).unwrap();
        ask(Endpoint::new(&address).unwrap().tls(tls))
    };
    let shown = pair.leaf_hash();
    assert_eq!(trusting(&old).await.unwrap(), shown.as_bytes());
    assert!(files.renew().is_empty(), "nothing changed");

    // A certificate without its key, as between the two writes of a renewal.
    let renewed = new.issue_pem(|_| ());
    std::fs::write(&certificate, &renewed.0).unwrap();
    let renewals = files.renew();
    let [Renewal::KeyPair { outcome: Err(why), .. }] = &renewals[..] else { panic!("{renewals:?}") };
    assert!(why.to_string().contains("tls.crt"), "{why}");
    assert!(files.renew().is_empty(), "said once");
    assert_eq!(trusting(&old).await.unwrap(), shown.as_bytes());
    std::fs::remove_file(&key).unwrap();
    assert!(files.renew().is_empty());

    put(&renewed);
    let renewals = files.renew();
    let [Renewal::KeyPair { roles, outcome: Ok(_) }] = &renewals[..] else { panic!("{renewals:?}") };
    assert_eq!(roles, &["server TLS", "client TLS"]);
    assert!(trusting(&old).await.is_err(), "the old issuer no longer vouches for the server");
    assert_ne!(pair.leaf().as_ref(), b"");
    assert_eq!(trusting(&new).await.unwrap(), pair.leaf_hash().as_bytes());
}

#[tokio::test]
async fn clients_are_verified_against_what_files_and_channels_name_now() {
    let [ours, of_channel, of_file, of_new_file] = [(); 4].map(|()| Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, of_file.pem()).unwrap();
    let mut files = TlsFiles::default();
    let roots = files.client_roots(std::slice::from_ref(&path)).unwrap();
    roots.replace_of_channels([of_channel.pem().into()]).unwrap();
    let (address, _stop) = serve(Some(ServerTls::new(ours.issue(), ClientAuth::Required(roots)).unwrap())).await;
    let (server_root, address) = (&ours.pem(), &address);
    let is_let_in = async |client: &Authority| {
        let tls = ClientTls::new([server_root.as_bytes()], Some(client.issue())).unwrap();
        ask(Endpoint::new(address).unwrap().tls(tls)).await.is_ok()
    };
    assert!(is_let_in(&of_channel).await && is_let_in(&of_file).await && !is_let_in(&of_new_file).await);

    std::fs::write(&path, "half a certif").unwrap();
    let renewals = files.renew();
    assert!(matches!(&renewals[..], [Renewal::ClientRoots { outcome: Err(_), .. }]), "{renewals:?}");
    assert!(is_let_in(&of_file).await, "what cannot be used changes nothing");

    std::fs::write(&path, of_new_file.pem()).unwrap();
    let renewals = files.renew();
    assert!(matches!(&renewals[..], [Renewal::ClientRoots { outcome: Ok(()), .. }]), "{renewals:?}");
    assert!(is_let_in(&of_channel).await && !is_let_in(&of_file).await && is_let_in(&of_new_file).await);
    assert!(files.renew().is_empty());
}
