use bytes::Bytes;
use ripstop_crypto::Certificate;
use ripstop_raft::{Consenters, NodeId};
use ripstop_transport::host_and_port;

/// A consenter as the others reach and recognise it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: NodeId,
    /// Where it listens for other consenters, `host:port`.
    pub(crate) address: String,
    /// The public key of the certificate that it shows as a client.
    client_key: Bytes,
    /// The public key of the certificate that it shows as a server.
    pub(crate) server_key: Bytes,
}

/// The consenters of a channel with their certificates read. Certificates count by their public keys, so that one may be
/// renewed without a change of the channel's configuration (Fabric: `crypto.CertificatesWithSamePublicKey`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Members(Vec<Member>);

impl Members {
    pub(crate) fn of(consenters: &Consenters) -> Self {
        let key = |pem: &[u8]| Certificate::from_pem(pem).map(|certificate| certificate.public_key().spki().clone());
        let member = |(id, consenter): (NodeId, &ripstop_proto::etcdraft::Consenter)| {
            let address = host_and_port(&consenter.host, consenter.port);
            let keys =
                key(&consenter.client_tls_cert).and_then(|client| Ok((client, key(&consenter.server_tls_cert)?)));
            let (client_key, server_key) = keys
                .inspect_err(|error| tracing::error!(target: "orderer.consensus.etcdraft", "Consenter {id} ({address}) cannot take part, because its TLS certificate cannot be read: {error}"))
                .ok()?;
            Some(Member { id, address, client_key, server_key })
        };
        Self(consenters.iter().filter_map(member).collect())
    }

    /// The consenter that shows a certificate with this public key as a client.
    pub(crate) fn by_client_key(&self, key: &[u8]) -> Option<NodeId> {
        self.0.iter().find(|member| member.client_key == key).map(|member| member.id)
    }

    /// The consenter whose server certificate has the public key of this one, which is DER.
    pub(crate) fn by_server_certificate(&self, der: &[u8]) -> Option<NodeId> {
        let certificate = Certificate::from_der(der).ok()?;
        let key = certificate.public_key().spki();
        self.0.iter().find(|member| member.server_key == *key).map(|member| member.id)
    }

    /// Where a consenter listens for others, `host:port`.
    pub(crate) fn address(&self, id: NodeId) -> Option<&str> {
        self.0.iter().find(|member| member.id == id).map(|member| member.address.as_str())
    }

    /// All but one.
    pub(crate) fn others(&self, own: NodeId) -> impl Iterator<Item = &Member> {
        self.0.iter().filter(move |member| member.id != own)
    }
}
