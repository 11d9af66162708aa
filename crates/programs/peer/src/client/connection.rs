use std::sync::Arc;

use bytes::Bytes;
use ripstop_keys::SigningIdentity;
use ripstop_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use ripstop_proto::protos::deliver_client::DeliverClient;
use ripstop_proto::protos::endorser_client::EndorserClient;
use ripstop_proto::{common, orderer, protos};
use ripstop_transport::{Endpoint, MessageLimits};
use ripstop_types::{Block, BlockError, ChannelId, Digest};
use tonic::transport::Channel;

use super::seek::{BlockRequest, Seek, seek_envelope};
use super::{Invocation, Proposal};

/// Why a peer or an orderer did not do what a client asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answered at the address.
    #[error("{role} client failed to connect to {address}: failed to create new connection: {reason}")]
    Connect {
        /// What the node was wanted for: `endorser`, `snapshot` or `orderer`.
        role: &'static str,
        /// The node.
        address: String,
        /// What went wrong, down to the operating system's or the TLS library's reason.
        reason: String,
    },
    /// The node answered with a gRPC error. The text is the one Go clients print.
    #[error("rpc error: code = {:?} desc = {}", .0.code(), .0.message())]
    Status(tonic::Status),
    /// The node ended a stream before it answered.
    #[error("{address} ended the stream without an answer")]
    Ended {
        /// The node.
        address: String,
    },
    /// The request could not be signed.
    #[error(transparent)]
    Sign(#[from] ripstop_keys::SignError),
    /// The ordering service did not take a transaction.
    #[error("got unexpected status: {status} -- {info}")]
    Broadcast {
        /// The status' name.
        status: &'static str,
        /// The orderer's reason.
        info: String,
    },
    /// The node sent a status where a block was expected.
    #[error("can't read the block: &{{{status}}}")]
    NoBlock {
        /// The status' name.
        status: &'static str,
    },
    /// What the node sent as a block is none.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The node sent something else than was asked for.
    #[error("received unexpected response type from {address}")]
    Unexpected {
        /// The node.
        address: String,
    },
}

/// A node's address and the connection to it. Connects at its first request.
#[derive(Debug, Clone)]
struct Connection {
    role: &'static str,
    address: Arc<str>,
    channel: Channel,
    secure: bool,
    messages: MessageLimits,
    /// SHA-256 of the certificate the client presents, or empty.
    tls_certificate_hash: Bytes,
}

impl Connection {
    fn new(role: &'static str, endpoint: &Endpoint, client_certificate: Option<&[u8]>) -> Self {
        Self {
            role,
            address: endpoint.address().into(),
            secure: endpoint.uses_tls(),
            messages: endpoint.message_limits(),
            channel: endpoint.channel(),
            tls_certificate_hash: client_certificate.map(|der| Digest::of(der).to_bytes()).unwrap_or_default(),
        }
    }

    fn failed(&self, status: tonic::Status) -> CallError {
        let mut cause = std::error::Error::source(&status);
        let mut reason = None;
        while let Some(error) = cause {
            reason = Some(error.downcast_ref().map_or_else(|| error.to_string(), ripstop_command_line::os_text));
            cause = error.source();
        }
        let address = self.address.to_string();
        let without_certificate = self.secure && self.tls_certificate_hash.is_empty();
        match (status.code(), reason) {
            (tonic::Code::Unavailable, Some(reason)) => CallError::Connect { role: self.role, address, reason },
            // The connection broke before the request was on its way: so do servers refuse clients without TLS or, from
            // TLS 1.3 on, without a certificate. Their refusal may also come when the request is on its way.
            (code, Some(reason))
                if code == tonic::Code::Cancelled || (code == tonic::Code::Unknown && without_certificate) =>
            {
                let reason =
                    format!("context deadline exceeded: {reason}; does {address} expect a client certificate?");
                CallError::Connect { role: self.role, address, reason }
            }
            (tonic::Code::Unknown | tonic::Code::Internal, Some(reason)) if !self.secure => {
                let reason = format!("context deadline exceeded: {reason}; does {address} expect TLS?");
                CallError::Connect { role: self.role, address, reason }
            }
            _ => CallError::Status(status),
        }
    }

    fn ended(&self) -> CallError {
        CallError::Ended { address: self.address.to_string() }
    }
}

/// A peer as its clients see it.
#[derive(Debug, Clone)]
pub struct Peer(Connection);

impl Peer {
    /// The peer at `endpoint`; `client_certificate` is the DER of the TLS certificate the client presents, if any.
    pub fn new(endpoint: &Endpoint, client_certificate: Option<&[u8]>) -> Self {
        Self(Connection::new("endorser", endpoint, client_certificate))
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Asks the peer to execute a proposal and to sign the result. A refusal is an answer, not an error.
    pub async fn endorse(&self, proposal: &Proposal) -> Result<protos::ProposalResponse, CallError> {
        let mut client = EndorserClient::new(self.0.channel.clone())
            .max_decoding_message_size(self.0.messages.receive)
            .max_encoding_message_size(self.0.messages.send);
        match client.process_proposal(proposal.signed.clone()).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(self.0.failed(status)),
        }
    }

    /// Asks for the chaincode's answer to a call, as one would to query; the transaction it might become is dropped.
    pub async fn query(
        &self,
        call: &Invocation,
        signer: &SigningIdentity,
    ) -> Result<protos::ProposalResponse, CallError> {
        let proposal = call.propose(signer, ripstop_types::HeaderType::EndorserTransaction)?;
        self.endorse(&proposal).await
    }

    /// The block at a place in the peer's ledger.
    pub async fn block(&self, asked: BlockRequest<'_>, signer: &SigningIdentity) -> Result<Block, CallError> {
        let request =
            seek_envelope(asked.channel, asked.seek.only(asked.patience), &self.0.tls_certificate_hash, signer)?;
        let mut client = DeliverClient::new(self.0.channel.clone()).max_decoding_message_size(self.0.messages.receive);
        let answers = client.deliver(once(request)).await.map_err(|status| self.0.failed(status))?;
        let answer = answers.into_inner().message().await.map_err(|status| self.0.failed(status))?;
        match answer.ok_or_else(|| self.0.ended())?.r#type {
            Some(protos::deliver_response::Type::Block(block)) => Ok(Block::from_proto(block)?),
            Some(protos::deliver_response::Type::Status(status)) => {
                Err(CallError::NoBlock { status: status_name(status) })
            }
            _ => Err(CallError::Unexpected { address: self.0.address.to_string() }),
        }
    }

    /// Opens the stream of the peer's filtered blocks, from the newest one on.
    pub(super) async fn filtered_blocks(
        &self,
        channel: &ChannelId,
        signer: &SigningIdentity,
    ) -> Result<tonic::Streaming<protos::DeliverResponse>, CallError> {
        let request = seek_envelope(channel, Seek::Newest.onwards(), &self.0.tls_certificate_hash, signer)?;
        let mut client = DeliverClient::new(self.0.channel.clone()).max_decoding_message_size(self.0.messages.receive);
        let answers = client.deliver_filtered(once(request)).await.map_err(|status| self.0.failed(status))?;
        Ok(answers.into_inner())
    }

    pub(super) fn channel(&self) -> Channel {
        self.0.channel.clone()
    }

    pub(super) fn failed(&self, status: tonic::Status) -> CallError {
        self.0.failed(status)
    }

    pub(super) fn ended(&self) -> CallError {
        self.0.ended()
    }
}

/// An ordering node as its clients see it.
#[derive(Debug, Clone)]
pub struct Orderer(Connection);

impl Orderer {
    /// The orderer at `endpoint`; `client_certificate` is the DER of the TLS certificate the client presents, if any.
    pub fn new(endpoint: &Endpoint, client_certificate: Option<&[u8]>) -> Self {
        Self(Connection::new("orderer", endpoint, client_certificate))
    }

    /// Hands a transaction over to be ordered.
    pub async fn broadcast(&self, envelope: common::Envelope) -> Result<(), CallError> {
        let mut client = AtomicBroadcastClient::new(self.0.channel.clone())
            .max_decoding_message_size(self.0.messages.receive)
            .max_encoding_message_size(self.0.messages.send);
        let answers = client.broadcast(once(envelope)).await.map_err(|status| self.0.failed(status))?;
        let answer = answers.into_inner().message().await.map_err(|status| self.0.failed(status))?;
        let answer = answer.ok_or_else(|| self.0.ended())?;
        if answer.status == common::Status::Success as i32 {
            return Ok(());
        }
        Err(CallError::Broadcast { status: status_name(answer.status), info: answer.info })
    }

    /// The block at a place in the channel; waits for it where it is yet to come.
    pub async fn block(&self, asked: BlockRequest<'_>, signer: &SigningIdentity) -> Result<Block, CallError> {
        let request =
            seek_envelope(asked.channel, asked.seek.only(asked.patience), &self.0.tls_certificate_hash, signer)?;
        let mut client =
            AtomicBroadcastClient::new(self.0.channel.clone()).max_decoding_message_size(self.0.messages.receive);
        let answers = client.deliver(once(request)).await.map_err(|status| self.0.failed(status))?;
        let answer = answers.into_inner().message().await.map_err(|status| self.0.failed(status))?;
        match answer.ok_or_else(|| self.0.ended())?.r#type {
            Some(orderer::deliver_response::Type::Block(block)) => Ok(Block::from_proto(block)?),
            Some(orderer::deliver_response::Type::Status(status)) => {
                Err(CallError::NoBlock { status: status_name(status) })
            }
            None => Err(CallError::Unexpected { address: self.0.address.to_string() }),
        }
    }
}

/// A request stream of one message. It ends behind it, because a request that goes on for ever would keep its stream open
/// after the answer was dropped.
fn once(envelope: common::Envelope) -> impl futures_util::Stream<Item = common::Envelope> + Send + 'static {
    futures_util::stream::once(std::future::ready(envelope))
}

pub(super) fn status_name(status: i32) -> &'static str {
    common::Status::try_from(status).map_or("UNKNOWN", |status| status.as_str_name())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_breaks_before_the_request_is_sent_is_no_answer() {
        let connection = Connection::new("orderer", &Endpoint::new("localhost:7050").unwrap(), None);
        let status = |code, reason: &str| {
            let mut status = tonic::Status::new(code, "transport error");
            status.set_source(Arc::new(io::Error::other(reason.to_owned())));
            status
        };
        let told = |status| connection.failed(status).to_string();
        let failed = "orderer client failed to connect to localhost:7050: failed to create new connection: ";
        for (code, reason, words) in [
            (tonic::Code::Unavailable, "Connection refused (os error 111)", "connection refused"),
            (
                tonic::Code::Unknown,
                "http2 error",
                "context deadline exceeded: http2 error; does localhost:7050 expect TLS?",
            ),
            (
                tonic::Code::Cancelled,
                "operation was canceled",
                "context deadline exceeded: operation was canceled; does localhost:7050 expect a client certificate?",
            ),
        ] {
            assert_eq!(told(status(code, reason)), format!("{failed}{words}"));
        }
        assert_eq!(told(tonic::Status::unknown("access denied")), "rpc error: code = Unknown desc = access denied");
    }
}
