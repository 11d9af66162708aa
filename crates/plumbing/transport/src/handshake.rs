//! What is said of a TLS handshake that fails: the words of Go's `crypto/tls`, and whose certificate it was about.

use std::cell::RefCell;
use std::io;

use ripstop_crypto::Certificate;
use ripstop_types::{rfc3339, shortened};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError};

/// How many characters of a certificate's names are repeated: strangers choose them.
const MAX_NAMES: usize = 1_000;

tokio::task_local! {
    /// What a verifier refused during the handshake under way.
    static REFUSED: RefCell<Option<Refused>>;
}

/// A certificate, and why it was refused.
struct Refused {
    der: Vec<u8>,
    why: rustls::Error,
}

/// Which side of a handshake this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Waits for a handshake and puts its failure into words.
pub(crate) async fn explained<T>(side: Side, handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let handshake = async {
        handshake.await.map_err(|error| {
            let Some(Refused { der, why }) = REFUSED.with(RefCell::take) else { return in_words(error, side) };
            let (words, other) = (tls_words(&why, side), side.other().name());
            io::Error::new(error.kind(), format!("{words}: the {other}'s certificate is {}", describe(&der)))
        })
    };
    REFUSED.scope(RefCell::default(), handshake).await
}

/// Notes which certificate a verifier refuses; gives what the other side is to be told, which is what Go tells it.
pub(crate) fn refused(certificate: &CertificateDer<'_>, why: rustls::Error) -> rustls::Error {
    let told = match &why {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => CertificateError::UnknownIssuer.into(),
        other => other.clone(),
    };
    // Outside of a handshake that is explained nobody asks.
    let _ = REFUSED.try_with(|refused| *refused.borrow_mut() = Some(Refused { der: certificate.to_vec(), why }));
    told
}

/// An error of a connection, in Go's words where it is one of TLS.
pub(crate) fn in_words(error: io::Error, side: Side) -> io::Error {
    // The library explains to programmers what that means.
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::new(error.kind(), "EOF: the other side closed the connection");
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) => io::Error::new(error.kind(), tls_words(inner, side)),
        None => error,
    }
}

fn tls_words(error: &rustls::Error, side: Side) -> String {
    match error {
        rustls::Error::InvalidCertificate(reason) => {
            format!("tls: failed to verify certificate: {}", certificate_words(reason))
        }
        rustls::Error::NoCertificatesPresented => "tls: client didn't provide a certificate".to_owned(),
        rustls::Error::AlertReceived(alert) => alert_words(*alert, side),
        other => other.to_string(),
    }
}

fn certificate_words(reason: &CertificateError) -> String {
    let invalid = |now: &UnixTime, relation, bound: &UnixTime| {
        let [now, bound] = [now, bound].map(|time| rfc3339(i64::try_from(time.as_secs()).unwrap_or(i64::MAX)));
        format!("x509: certificate has expired or is not yet valid: current time {now} is {relation} {bound}")
    };
    match reason {
        CertificateError::UnknownIssuer => "x509: certificate signed by unknown authority".to_owned(),
        // Often the authority was made anew.
        CertificateError::BadSignature => {
            "x509: certificate signed by unknown authority (an authority of that name is trusted, but it has another key)"
                .to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => invalid(time, "after", not_after),
        CertificateError::NotValidYetContext { time, not_before } => invalid(time, "before", not_before),
        CertificateError::NotValidForNameContext { expected, presented } => {
            // The verifier prints kinds of names too: `DnsName("localhost")`, `IpAddress(127.0.0.1)`.
            let presented: Vec<&str> = presented.iter().map(|name| bare_name(name)).collect();
            format!("x509: certificate is valid for {}, not {}", presented.join(", "), expected.to_str())
        }
        other => format!("x509: {other}"),
    }
}

fn bare_name(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.map_or(name, |inner| inner.trim_matches('"'))
}

/// As Go prints what the other side sent, and what it means.
fn alert_words(alert: AlertDescription, side: Side) -> String {
    let (text, is_about_certificate) = match alert {
        AlertDescription::BadCertificate => ("bad certificate", true),
        AlertDescription::UnsupportedCertificate => ("unsupported certificate", true),
        AlertDescription::CertificateRevoked => ("revoked certificate", true),
        AlertDescription::CertificateExpired => ("expired certificate", true),
        AlertDescription::CertificateUnknown => ("unknown certificate", true),
        AlertDescription::UnknownCA => ("unknown certificate authority", true),
        AlertDescription::CertificateRequired => ("certificate required", true),
        AlertDescription::HandshakeFailure => ("handshake failure", false),
        AlertDescription::ProtocolVersion => ("protocol version not supported", false),
        AlertDescription::UnrecognisedName => ("unrecognized name", false),
        AlertDescription::NoApplicationProtocol => ("no application protocol", false),
        other => return format!("remote error: tls: alert({})", u8::from(other)),
    };
    if is_about_certificate {
        let (own, other) = (side.name(), side.other().name());
        format!("remote error: tls: {text}: the {other} does not accept this {own}'s certificate, or lack of one")
    } else {
        format!("remote error: tls: {text}")
    }
}

fn describe(der: &[u8]) -> String {
    match Certificate::from_der(der) {
        Ok(certificate) => {
            let (subject, issuer) = (certificate.subject().to_string(), certificate.issuer().to_string());
            format!(
                "'{}' (issued by '{}', serial number {}, valid until {})",
                shortened(subject, MAX_NAMES),
                shortened(issuer, MAX_NAMES),
                shortened(certificate.serial_decimal().to_owned(), MAX_NAMES),
                rfc3339(certificate.not_after())
            )
        }
        Err(error) => format!("not readable ({error})"),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair as Key};
    use rustls::pki_types::ServerName;
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::ClientRoots;
    use crate::KeyPair;
    use crate::tls::{ClientAuth, ClientTls, ServerTls};

    type Authority = CertifiedIssuer<'static, Key>;

    fn authority(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, Key::generate().unwrap()).unwrap()
    }

    fn issue(authority: &Authority, name: &str, until: i32) -> KeyPair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.serial_number = Some(7.into());
        let key = Key::generate().unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        KeyPair::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    /// What a server that trusts clients of `ours` says of this one.
    async fn refusal(ours: &Authority, client: Option<KeyPair>) -> String {
        let own = ours.pem();
        let roots = ClientRoots::new([own.clone().into()]).unwrap();
        let server = ServerTls::new(issue(ours, "server", 4000), ClientAuth::Required(roots)).unwrap();
        let client = ClientTls::new([own.as_bytes()], client).unwrap();
        let (near, far) = tokio::io::duplex(1 << 16);
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(client.bytes).connect(name, near);
        let (refused, _connected) =
            tokio::join!(explained(Side::Server, TlsAcceptor::from(server.config).accept(far)), connecting);
        refused.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn refusals_of_clients_name_their_certificates_and_why() {
        let (ours, theirs, renewed) = (authority("tlsca.org1"), authority("tlsca.org2"), authority("tlsca.org1"));
        let unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority";
        let described = |issuer: &str, until: &str| {
            format!(
                "the client's certificate is 'CN=peer0' (issued by 'CN={issuer}', serial number 7, valid until {until})"
            )
        };
        let (lasting, over) = ("4000-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
        assert_eq!(
            refusal(&ours, Some(issue(&theirs, "peer0", 4000))).await,
            format!("{unknown}: {}", described("tlsca.org2", lasting))
        );
        assert_eq!(
            refusal(&ours, Some(issue(&renewed, "peer0", 4000))).await,
            format!(
                "{unknown} (an authority of that name is trusted, but it has another key): {}",
                described("tlsca.org1", lasting)
            )
        );
        let expired = refusal(&ours, Some(issue(&ours, "peer0", 2021))).await;
        let words =
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time 2";
        assert!(expired.starts_with(words), "{expired}");
        assert!(expired.ends_with(&format!(" is after {over}: {}", described("tlsca.org1", over))), "{expired}");
        assert_eq!(refusal(&ours, None).await, "tls: client didn't provide a certificate");
    }

    #[test]
    fn a_lost_connection_is_told_without_a_lecture() {
        let lost = io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed connection without close_notify: see ...");
        assert_eq!(in_words(lost, Side::Client).to_string(), "EOF: the other side closed the connection");
    }

    #[test]
    fn alerts_are_told_in_gos_words() {
        let received =
            |alert| in_words(io::Error::other(rustls::Error::AlertReceived(alert)), Side::Client).to_string();
        assert_eq!(
            received(AlertDescription::UnknownCA),
            "remote error: tls: unknown certificate authority: the server does not accept this client's certificate, or lack of one"
        );
        assert_eq!(received(AlertDescription::ProtocolVersion), "remote error: tls: protocol version not supported");
        assert_eq!(received(AlertDescription::DecryptError), "remote error: tls: alert(51)");
    }
}
