use std::sync::Arc;

use ripstop_channel_config::acl::Resource;
use ripstop_ledger::{Follower, Ledger};
use ripstop_proto::{gateway, orderer, protos};
use ripstop_transport::Permit;
use ripstop_types::{Block, BlockNumber, Envelope, HeaderType, MetadataSlot, SignedData, Transaction, TxId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::service::Gateway;

/// How many blocks' events may wait for a slow client; reading stops meanwhile.
const EVENTS_AHEAD: usize = 4;

type Answers = mpsc::Sender<Result<gateway::ChaincodeEventsResponse, Status>>;

impl Gateway {
    /// Streams the events of a chaincode's valid transactions, block by block.
    pub(crate) fn follow_events(
        &self,
        signed: gateway::SignedChaincodeEventsRequest,
        permit: Permit,
    ) -> Result<ReceiverStream<Result<gateway::ChaincodeEventsResponse, Status>>, Status> {
        if signed.request.is_empty() {
            return Err(Status::invalid_argument("a chaincode events request is required"));
        }
        let request = ripstop_proto::read::<gateway::ChaincodeEventsRequest>(signed.request.clone())
            .map_err(|error| Status::invalid_argument(format!("invalid chaincode events request: {error}")))?;
        let signed =
            SignedData { identity: request.identity.clone(), message: signed.request, signature: signed.signature };
        self.check_access(Resource::GatewayChaincodeEvents, &request.channel_id, &signed)?;
        let ledger = self
            .ledger(&request.channel_id)
            .ok_or_else(|| Status::not_found(format!("channel not found: {}", request.channel_id)))?;
        let start = start_block(&ledger, &request)?;
        let filter = EventFilter::new(&request);
        let (answers, receiver) = mpsc::channel(EVENTS_AHEAD);
        tokio::spawn(send_events(ledger.follow(start), filter, answers, permit));
        Ok(ReceiverStream::new(receiver))
    }
}

/// Where to begin: at the block of the transaction after which events are wanted, where that is known, else at the
/// asked position, else with the next block.
fn start_block(ledger: &Arc<Ledger>, request: &gateway::ChaincodeEventsRequest) -> Result<BlockNumber, Status> {
    use orderer::seek_position::Type;
    if !request.after_transaction_id.is_empty() {
        let found = ledger.validation_code(&TxId::new(&request.after_transaction_id));
        if let Ok(Some((_, block))) = found {
            return Ok(block);
        }
    }
    match request.start_position.as_ref().and_then(|position| position.r#type.as_ref()) {
        None | Some(Type::NextCommit(_)) => Ok(BlockNumber::new(ledger.height())),
        Some(Type::Specified(specified)) => Ok(BlockNumber::new(specified.number)),
        Some(Type::Oldest(_)) => {
            Err(Status::invalid_argument("invalid start position type: *orderer.SeekPosition_Oldest"))
        }
        Some(Type::Newest(_)) => {
            Err(Status::invalid_argument("invalid start position type: *orderer.SeekPosition_Newest"))
        }
    }
}

async fn send_events(mut blocks: Follower, mut filter: EventFilter, answers: Answers, _permit: Permit) {
    loop {
        let block = tokio::select! {
            block = blocks.next() => block,
            () = answers.closed() => return,
        };
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                answers.send(Err(Status::aborted(error.to_string()))).await.ok();
                return;
            }
        };
        let events = filter.events(&block);
        if events.is_empty() {
            continue;
        }
        let answer = gateway::ChaincodeEventsResponse { events, block_number: block.number().get() };
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
}

/// Which events a client wants.
struct EventFilter {
    chaincode: String,
    /// Events up to and with this transaction are left out.
    after: Option<String>,
}

impl EventFilter {
    fn new(request: &gateway::ChaincodeEventsRequest) -> Self {
        let after = Some(request.after_transaction_id.clone()).filter(|id| !id.is_empty());
        Self { chaincode: request.chaincode_id.clone(), after }
    }

    fn events(&mut self, block: &Block) -> Vec<protos::ChaincodeEvent> {
        let verdicts = block.metadata.get(MetadataSlot::TransactionsFilter);
        let valid = |index: usize| verdicts.get(index) == Some(&0);
        let transactions = block.data.iter().enumerate().filter(|(index, _)| valid(*index));
        transactions.filter_map(|(_, raw)| event_of(raw)).filter(|event| self.wants(event)).collect()
    }

    fn wants(&mut self, event: &protos::ChaincodeEvent) -> bool {
        match &self.after {
            Some(after) => {
                if event.tx_id == *after {
                    self.after = None;
                }
                false
            }
            None => event.chaincode_id == self.chaincode,
        }
    }
}

/// The event of an endorsed transaction.
fn event_of(raw: &bytes::Bytes) -> Option<protos::ChaincodeEvent> {
    let envelope = Envelope::parse(raw.clone()).ok()?;
    if envelope.channel_header.kind != HeaderType::EndorserTransaction {
        return None;
    }
    let action = Transaction::parse(envelope.data).ok()?.action().ok()?;
    let event = ripstop_proto::read::<protos::ChaincodeEvent>(action.events).ok()?;
    Some(event).filter(|event| !event.chaincode_id.is_empty())
}
