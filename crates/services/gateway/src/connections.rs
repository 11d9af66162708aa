use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ripstop_transport::{ClientTls, Endpoint, Keepalive, KeyPair};
use tonic::transport::Channel;

/// How many connections to peers and orderers are kept; beyond it all are given up and made anew when needed.
const MAX_CONNECTIONS: usize = 256;

/// Connections that are open or will open when used, by where they lead and by which certificates that server is known: when
/// either changes there is a new one.
pub(crate) struct Connections {
    tls: Option<KeyPair>,
    dial_timeout: Duration,
    keepalive: Keepalive,
    open: Mutex<HashMap<(String, Vec<Bytes>), Channel>>,
}

impl Connections {
    /// Shows this certificate (or goes without TLS); pings silent servers.
    pub(crate) fn new(tls: Option<KeyPair>, dial_timeout: Duration, keepalive: Keepalive) -> Self {
        Self { tls, dial_timeout, keepalive, open: Mutex::default() }
    }

    /// The connection to an address; it opens when it is first used. The flag says whether it is a new one.
    ///
    /// # Errors
    /// Nothing could ever be reached by this address or these certificates.
    pub(crate) fn to(&self, address: &str, roots: &[Bytes]) -> Result<(Channel, Novelty), String> {
        let mut open = self.open.lock();
        let key = (address.to_owned(), roots.to_vec());
        if let Some(channel) = open.get(&key) {
            return Ok((channel.clone(), Novelty::Known));
        }
        let mut endpoint = Endpoint::new(address)
            .map_err(|error| error.to_string())?
            .connect_timeout(self.dial_timeout)
            .keepalive(self.keepalive);
        if let Some(key_pair) = &self.tls {
            let tls = ClientTls::new(roots.iter().map(AsRef::as_ref), Some(key_pair.clone()));
            endpoint = endpoint.tls(tls.map_err(|error| error.to_string())?);
        }
        if open.len() >= MAX_CONNECTIONS {
            open.clear();
        }
        let channel = endpoint.channel();
        open.insert(key, channel.clone());
        Ok((channel, Novelty::New))
    }

    /// Gives up the connections to an address; calls that are under way end as they end.
    pub(crate) fn close(&self, address: &str) {
        self.open.lock().retain(|(known, _), _| known != address);
    }

    /// Gives up all connections but those that are `needed`, by address and certificates. Returns where the others led.
    pub(crate) fn retain(&self, needed: impl Fn(&str, &[Bytes]) -> bool) -> Vec<String> {
        let mut closed = Vec::new();
        self.open.lock().retain(|(address, roots), _| {
            let keep = needed(address, roots);
            if !keep {
                closed.push(address.clone());
            }
            keep
        });
        closed
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.lock().is_empty()
    }
}

/// Whether a connection was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// It was.
    Known,
    /// It was made just now.
    New,
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Connections {
        pub(crate) fn count(&self) -> usize {
            self.open.lock().len()
        }
    }

    #[tokio::test]
    async fn connections_are_kept_by_address_and_certificates() {
        let connections = Connections::new(None, Duration::from_secs(1), Keepalive::default());
        let (old, new) = ([Bytes::from_static(b"old")], [Bytes::from_static(b"new")]);
        let novelty = |address: &str, roots: &[Bytes]| connections.to(address, roots).map(|(_, novelty)| novelty);
        assert_eq!(novelty("127.0.0.1:1", &old), Ok(Novelty::New));
        assert_eq!(novelty("127.0.0.1:1", &old), Ok(Novelty::Known));
        assert_eq!(novelty("127.0.0.1:1", &new), Ok(Novelty::New), "another certificate, another connection");
        assert_eq!(novelty("127.0.0.1:2", &old), Ok(Novelty::New));
        assert!(novelty("no address", &old).is_err());

        let closed = connections.retain(|address, roots| address == "127.0.0.1:1" && roots == new);
        assert_eq!(closed.len(), 2, "{closed:?}");
        assert_eq!(novelty("127.0.0.1:1", &new), Ok(Novelty::Known));
        connections.close("127.0.0.1:1");
        assert!(connections.is_empty());
    }

    #[tokio::test]
    async fn the_number_of_connections_is_bounded() {
        let connections = Connections::new(None, Duration::from_secs(1), Keepalive::default());
        for port in 1..=MAX_CONNECTIONS + 1 {
            connections.to(&format!("127.0.0.1:{port}"), &[]).unwrap();
        }
        assert_eq!(connections.count(), 1);
    }
}
