//! The peer's side of a shim stream as a state machine: what a message means, given what came before.

use bytes::Bytes;
use prost::Message;
use ripstop_proto::protos::{self, ChaincodeMessage, chaincode_message::Type};

/// What a stream has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing was said yet.
    Created,
    /// The chaincode registered and was told so.
    Ready,
}

/// What to do about a message.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Nothing.
    Ignore,
    /// Register the chaincode by this id; on success call [`Protocol::registered`].
    Register(String),
    /// A transaction's answer.
    Finish(ChaincodeMessage),
    /// A transaction's request.
    Request(Type, ChaincodeMessage),
    /// End the stream.
    Fail(String),
}

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Protocol {
    state: State,
}

impl Protocol {
    pub(crate) const fn new() -> Self {
        Self { state: State::Created }
    }

    /// Says what a message asks for. Keepalives may come at any time.
    pub(crate) fn handle(&self, message: ChaincodeMessage) -> Step {
        let Ok(kind) = Type::try_from(message.r#type) else {
            return self.misplaced(&message, &message.r#type.to_string());
        };
        match (self.state, kind) {
            (_, Type::Keepalive) => Step::Ignore,
            (State::Created, Type::Register) => match protos::ChaincodeId::decode(message.payload) {
                Ok(id) if id.name.is_empty() => {
                    Step::Fail("error in handling register chaincode, chaincodeID name is empty".to_owned())
                }
                Ok(id) => Step::Register(id.name),
                Err(error) => {
                    Step::Fail(format!("Error in received REGISTER, could NOT unmarshal registration info: {error}"))
                }
            },
            (State::Ready, Type::Completed | Type::Error) => Step::Finish(message),
            (
                State::Ready,
                Type::GetState
                | Type::PutState
                | Type::DelState
                | Type::InvokeChaincode
                | Type::GetStateByRange
                | Type::GetQueryResult
                | Type::GetHistoryForKey
                | Type::QueryStateNext
                | Type::QueryStateClose
                | Type::GetPrivateDataHash
                | Type::GetStateMetadata
                | Type::PutStateMetadata
                | Type::PurgePrivateData
                | Type::WriteBatchState
                | Type::GetStateMultiple,
            ) => Step::Request(kind, message),
            _ => self.misplaced(&message, kind.as_str_name()),
        }
    }

    /// The messages that tell a chaincode it is registered, and what it may use.
    pub(crate) fn registered(&mut self, parameters: protos::ChaincodeAdditionalParams) -> [ChaincodeMessage; 2] {
        self.state = State::Ready;
        [message(Type::Registered, Bytes::new()), message(Type::Ready, parameters.encode_to_vec().into())]
    }

    fn misplaced(&self, message: &ChaincodeMessage, kind: &str) -> Step {
        let state = match self.state {
            State::Created => "created",
            State::Ready => "ready",
        };
        Step::Fail(format!(
            "[{}] Fabric side handler cannot handle message ({kind}) while in {state} state",
            message.txid
        ))
    }
}

/// A message outside of any transaction.
pub(crate) fn message(kind: Type, payload: Bytes) -> ChaincodeMessage {
    ChaincodeMessage { r#type: kind as i32, payload, ..ChaincodeMessage::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(name: &str) -> ChaincodeMessage {
        let id = protos::ChaincodeId { name: name.to_owned(), ..Default::default() };
        message(Type::Register, id.encode_to_vec().into())
    }

    #[test]
    fn a_chaincode_registers_before_anything_else() {
        let mut protocol = Protocol::new();
        assert_eq!(protocol.handle(message(Type::Keepalive, Bytes::new())), Step::Ignore);
        assert_eq!(
            protocol.handle(message(Type::GetState, Bytes::new())),
            Step::Fail("[] Fabric side handler cannot handle message (GET_STATE) while in created state".to_owned())
        );
        assert!(matches!(protocol.handle(register("")), Step::Fail(_)));
        assert!(matches!(protocol.handle(message(Type::Register, Bytes::from_static(b"\xff"))), Step::Fail(_)));
        assert_eq!(protocol.handle(register("basic:1")), Step::Register("basic:1".to_owned()));

        let parameters = protos::ChaincodeAdditionalParams { use_write_batch: true, ..Default::default() };
        let [registered, ready] = protocol.registered(parameters);
        assert_eq!((registered.r#type(), ready.r#type()), (Type::Registered, Type::Ready));
        assert_eq!(protos::ChaincodeAdditionalParams::decode(ready.payload).unwrap(), parameters);
        assert!(matches!(protocol.handle(register("basic:1")), Step::Fail(_)));
    }

    #[test]
    fn a_ready_stream_takes_answers_and_requests() {
        let mut protocol = Protocol::new();
        protocol.registered(protos::ChaincodeAdditionalParams::default());
        for kind in [Type::Completed, Type::Error] {
            assert!(matches!(protocol.handle(message(kind, Bytes::new())), Step::Finish(_)), "{kind:?}");
        }
        for number in (8..=25).filter(|number| ![12, 13, 18].contains(number)) {
            let request = ChaincodeMessage { r#type: number, ..Default::default() };
            assert!(matches!(protocol.handle(request), Step::Request(..)), "{number}");
        }
        for number in [0, 2, 3, 4, 5, 12, 13, 26, -1] {
            let request = ChaincodeMessage { r#type: number, ..Default::default() };
            assert!(matches!(protocol.handle(request), Step::Fail(_)), "{number}");
        }
    }
}
