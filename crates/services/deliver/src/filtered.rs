use bytes::Bytes;
use ripstop_proto::protos;
use ripstop_types::{Block, Envelope, EnvelopeError, HeaderType, MetadataSlot};

/// A block whose transactions cannot be summarised. Committed blocks never are so.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A transaction's envelope does not parse.
    #[error("could not extract payload from envelope: {0}")]
    Envelope(EnvelopeError),
    /// A message inside of an endorsed transaction does not decode.
    #[error("error unmarshal {what} for block event: {source}")]
    Decode {
        /// Which message.
        what: &'static str,
        /// Why not.
        source: prost::DecodeError,
    },
}

/// Reduces a block to what anybody on the channel may know: ids, types, verdicts, and names of events without their
/// payload. Events of invalid transactions are named too (Fabric: `core/peer/deliverevents.go`).
pub fn filtered_block(block: &Block) -> Result<protos::FilteredBlock, FilterError> {
    let verdicts = block.metadata.get(MetadataSlot::TransactionsFilter);
    let mut filtered = protos::FilteredBlock { number: block.number().get(), ..Default::default() };
    for (index, raw) in block.data.iter().enumerate() {
        let envelope = match Envelope::parse(raw.clone()) {
            Ok(envelope) => envelope,
            Err(EnvelopeError::Envelope(_) | EnvelopeError::NoHeader) => continue,
            Err(error) => return Err(FilterError::Envelope(error)),
        };
        let header = &envelope.channel_header;
        filtered.channel_id.clone_from(&header.channel_id);
        let data = match header.kind {
            HeaderType::EndorserTransaction => Some(actions(&envelope)?),
            _ => None,
        };
        filtered.filtered_transactions.push(protos::FilteredTransaction {
            txid: header.tx_id.as_str().to_owned(),
            r#type: header.kind.number(),
            tx_validation_code: verdicts.get(index).copied().unwrap_or(u8::MAX - 1).into(),
            data,
        });
    }
    Ok(filtered)
}

/// The events of all actions; here a malformed transaction with several actions or odd headers is read like any other.
fn actions(envelope: &Envelope) -> Result<protos::filtered_transaction::Data, FilterError> {
    fn read<M: ripstop_proto::Name + Default>(what: &'static str, bytes: Bytes) -> Result<M, FilterError> {
        ripstop_proto::read::<M>(bytes).map_err(|source| FilterError::Decode { what, source })
    }
    let mut filtered = protos::FilteredTransactionActions::default();
    let transaction: protos::Transaction = read("transaction payload", envelope.data.clone())?;
    for action in transaction.actions {
        let payload: protos::ChaincodeActionPayload = read("transaction action payload", action.payload)?;
        let Some(endorsed) = payload.action else { continue };
        let response: protos::ProposalResponsePayload =
            read("proposal response payload", endorsed.proposal_response_payload)?;
        let action: protos::ChaincodeAction = read("chaincode action", response.extension)?;
        let event: protos::ChaincodeEvent = read("chaincode event", action.events)?;
        if !event.chaincode_id.is_empty() {
            let event = protos::ChaincodeEvent { payload: Default::default(), ..event };
            filtered.chaincode_actions.push(protos::FilteredChaincodeAction { chaincode_event: Some(event) });
        }
    }
    Ok(protos::filtered_transaction::Data::TransactionActions(filtered))
}
