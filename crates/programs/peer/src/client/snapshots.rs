use ripstop_keys::SigningIdentity;
use ripstop_proto::protos::snapshot_client::SnapshotClient;
use ripstop_proto::{Message, common, protos};
use tonic::transport::Channel;

use super::{CallError, Peer};

impl Peer {
    /// Asks for a snapshot of the state after a block; block 0 stands for the last one.
    pub async fn request_snapshot(&self, channel: &str, block: u64, signer: &SigningIdentity) -> Result<(), CallError> {
        let signed = signed_request(channel, block, signer)?;
        self.snapshot_client().generate(signed).await.map_err(|status| self.snapshots_failed(status))?;
        Ok(())
    }

    /// Takes a request for a snapshot back.
    pub async fn cancel_snapshot(&self, channel: &str, block: u64, signer: &SigningIdentity) -> Result<(), CallError> {
        let signed = signed_request(channel, block, signer)?;
        self.snapshot_client().cancel(signed).await.map_err(|status| self.snapshots_failed(status))?;
        Ok(())
    }

    /// The blocks of which snapshots are requested and not made yet.
    pub async fn pending_snapshots(&self, channel: &str, signer: &SigningIdentity) -> Result<Vec<u64>, CallError> {
        let query = protos::SnapshotQuery { signature_header: Some(header(signer)), channel_id: channel.to_owned() };
        let signed = signed(&query, signer)?;
        let answer = self.snapshot_client().query_pendings(signed).await;
        Ok(answer.map_err(|status| self.snapshots_failed(status))?.into_inner().block_numbers)
    }

    fn snapshot_client(&self) -> SnapshotClient<Channel> {
        SnapshotClient::new(self.channel())
    }

    fn snapshots_failed(&self, status: tonic::Status) -> CallError {
        match self.failed(status) {
            CallError::Connect { address, reason, .. } => CallError::Connect { role: "snapshot", address, reason },
            error => error,
        }
    }
}

fn header(signer: &SigningIdentity) -> common::SignatureHeader {
    let nonce = bytes::Bytes::copy_from_slice(&ripstop_keys::nonce());
    common::SignatureHeader { creator: signer.identity().raw.clone(), nonce }
}

fn signed_request(
    channel: &str,
    block: u64,
    signer: &SigningIdentity,
) -> Result<protos::SignedSnapshotRequest, CallError> {
    let request = protos::SnapshotRequest {
        signature_header: Some(header(signer)),
        channel_id: channel.to_owned(),
        block_number: block,
    };
    signed(&request, signer)
}

fn signed(request: &impl Message, signer: &SigningIdentity) -> Result<protos::SignedSnapshotRequest, CallError> {
    let request = request.encode_to_vec();
    let signature = signer.sign(&request)?;
    Ok(protos::SignedSnapshotRequest { request: request.into(), signature })
}
