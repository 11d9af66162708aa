use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{UdpSocket, lookup_host};

/// A host that takes datagrams.
#[derive(Debug)]
pub struct DatagramTarget {
    socket: UdpSocket,
}

impl DatagramTarget {
    /// Finds `host:port`. Whether somebody listens there is not known.
    pub async fn open(address: &str) -> io::Result<Self> {
        let target = lookup_host(address).await?.next();
        let target =
            target.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address")))?;
        let own: SocketAddr = match target {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(own).await?;
        socket.connect(target).await?;
        Ok(Self { socket })
    }

    /// Sends one datagram.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes).await.map(drop)
    }
}
