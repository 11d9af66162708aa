use prost::Message;
use ripstop_proto::protos;
use ripstop_types::{Block, Envelope, EnvelopeError, HeaderType, MetadataSlot, Transaction, TransactionError};

/// A block whose transactions cannot be summarised. Committed blocks never are so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("could not extract payload from envelope: {0}")]
    Envelope(EnvelopeError),
    #[error("error unmarshal transaction payload for block event: {0}")]
    Transaction(TransactionError),
    #[error("error unmarshal chaincode event for block event: {0}")]
    Event(prost::DecodeError),
}

/// Reduces a block to what anybody on the channel may know: ids, types, verdicts, and names of events without their
/// payload. Events of invalid transactions are named too (Fabric: `core/peer/deliverevents.go`).
pub(crate) fn filtered_block(block: &Block) -> Result<protos::FilteredBlock, FilterError> {
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

fn actions(envelope: &Envelope) -> Result<protos::filtered_transaction::Data, FilterError> {
    let mut actions = protos::FilteredTransactionActions::default();
    // What has no single endorsed action (only an invalid transaction) names no event.
    match Transaction::parse(envelope.data.clone()) {
        Ok(transaction) => {
            let action = transaction.action().map_err(FilterError::Event)?;
            let event = protos::ChaincodeEvent::decode(action.events).map_err(FilterError::Event)?;
            if !event.chaincode_id.is_empty() {
                let event = protos::ChaincodeEvent { payload: Default::default(), ..event };
                actions.chaincode_actions.push(protos::FilteredChaincodeAction { chaincode_event: Some(event) });
            }
        }
        Err(error @ TransactionError::Transaction(_)) => return Err(FilterError::Transaction(error)),
        Err(_) => {}
    }
    Ok(protos::filtered_transaction::Data::TransactionActions(actions))
}
