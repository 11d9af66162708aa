//! What can be said about a transaction without the state: form, creator, endorsers' signatures, read/write set.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use ripstop_channel_config::ChannelConfig;
use ripstop_msp::Claim;
use ripstop_policy::Signers;
use ripstop_proto::protos;
use ripstop_rwset::TxRwSet;
use ripstop_types::{ChaincodeName, Envelope, EnvelopeError, HeaderType, Transaction, TxId, proposal_hash};

use crate::{ChaincodeNameError, Refusal};

/// The stateless part of a verdict, under one configuration.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The sequence of the configuration that it holds under.
    pub(crate) config_sequence: u64,
    pub(crate) form: Result<Form, Refusal>,
}

/// A transaction whose form holds.
#[derive(Debug)]
pub(crate) enum Form {
    /// The bytes of a `common.ConfigEnvelope`.
    Config(Bytes),
    /// An endorsed transaction. Whether its id is new must be asked before its content counts.
    Endorsed { tx_id: TxId, content: Result<Arc<Content>, Refusal> },
}

/// What an endorsed transaction did, and who endorsed it.
#[derive(Debug)]
pub(crate) struct Content {
    /// The invoked chaincode.
    pub(crate) chaincode: ChaincodeName,
    pub(crate) rwset: TxRwSet,
    /// The endorsers whose signatures are right.
    pub(crate) endorsers: Signers,
}

impl Content {
    /// The namespaces whose policy must agree: the invoked chaincode's, be it only reading, and all that are written.
    /// Fabric leaves the order open; here the invoked chaincode comes first and the others as the set has them.
    pub(crate) fn judged_namespaces(&self) -> impl Iterator<Item = &str> {
        let invoked = self.chaincode.name.as_str();
        let written = self.rwset.namespaces.iter().filter(|set| set.has_writes()).map(|set| set.namespace.as_str());
        std::iter::once(invoked).chain(written.filter(move |name| *name != invoked))
    }
}

/// Steps 1 to 6 and 8.1 to 8.4 of the table in the crate's documentation.
pub(crate) fn prepare(envelope: &Result<Envelope, EnvelopeError>, config: &ChannelConfig) -> Prepared {
    let form = envelope.as_ref().map_err(|error| error.clone().into()).and_then(|envelope| form(envelope, config));
    Prepared { config_sequence: config.sequence(), form }
}

fn form(envelope: &Envelope, config: &ChannelConfig) -> Result<Form, Refusal> {
    check_header(envelope)?;
    check_creator(envelope, config)?;
    match envelope.channel_header.kind {
        HeaderType::EndorserTransaction => {
            let tx_id = check_tx_id(envelope)?;
            let transaction = check_transaction(envelope)?;
            Ok(Form::Endorsed { tx_id, content: content(envelope, &transaction, config).map(Arc::new) })
        }
        HeaderType::Config if envelope.data.is_empty() => Err(Refusal::NoConfig),
        HeaderType::Config => Ok(Form::Config(envelope.data.clone())),
        other => Err(Refusal::Unsupported(other)),
    }
}

fn check_header(envelope: &Envelope) -> Result<(), Refusal> {
    let header = &envelope.channel_header;
    match header.kind {
        HeaderType::EndorserTransaction | HeaderType::ConfigUpdate | HeaderType::Config => {}
        other => return Err(Refusal::HeaderType(other)),
    }
    if header.epoch != 0 {
        return Err(Refusal::Epoch(header.epoch));
    }
    if envelope.signature_header.nonce.is_empty() {
        return Err(Refusal::SignatureHeaderLacks("nonce"));
    }
    if envelope.signature_header.creator.is_empty() {
        return Err(Refusal::SignatureHeaderLacks("creator"));
    }
    Ok(())
}

fn check_creator(envelope: &Envelope, config: &ChannelConfig) -> Result<(), Refusal> {
    // Fabric looks the members up by the channel that the header names, which makes the verdict depend on what else a
    // peer has joined. A foreign or empty name is refused here as it is by a peer that knows no such channel.
    let named = &envelope.channel_header.channel_id;
    if named != config.channel_id().as_str() {
        return Err(Refusal::ForeignChannel(named.clone()));
    }
    let signed = envelope.signed_data();
    let verified = config.msps().verify(&signed);
    verified.map(|_| ()).map_err(|source| Refusal::Creator { source, claim: Claim::of(&signed.identity) })
}

fn check_tx_id(envelope: &Envelope) -> Result<TxId, Refusal> {
    let claimed = envelope.channel_header.tx_id.clone();
    let computed = TxId::compute(&envelope.signature_header.nonce, &envelope.signature_header.creator);
    if claimed != computed {
        return Err(Refusal::TransactionId { claimed, computed });
    }
    Ok(claimed)
}

fn check_transaction(envelope: &Envelope) -> Result<Transaction, Refusal> {
    let transaction = Transaction::parse(envelope.data.clone())?;
    if transaction.proposal_payload.is_empty() {
        return Err(Refusal::NoProposal);
    }
    let computed =
        proposal_hash(&envelope.channel_header, &transaction.proposal_signature_header, &transaction.proposal_payload);
    if transaction.response.proposal_hash != computed.as_bytes()[..] {
        return Err(Refusal::ProposalHash { endorsed: hex::encode(&transaction.response.proposal_hash), computed });
    }
    Ok(transaction)
}

fn content(envelope: &Envelope, transaction: &Transaction, config: &ChannelConfig) -> Result<Content, Refusal> {
    let extension = ripstop_proto::read::<protos::ChaincodeHeaderExtension>(envelope.channel_header.extension.clone())
        .map_err(Refusal::HeaderExtension)?;
    let response = &transaction.response;
    if response.extension.is_empty() {
        return Err(Refusal::NoAction);
    }
    let action = transaction.action().map_err(Refusal::Action)?;
    let rwset = TxRwSet::parse(action.results).map_err(Refusal::RwSet)?;
    if !config.lifecycle_v2() {
        return Err(Refusal::NoLifecycle);
    }
    let invoked = extension.chaincode_id.ok_or(Refusal::NoChaincode("header extension"))?.name;
    let chaincode = action.chaincode.ok_or(Refusal::NoChaincode("ChaincodeAction"))?;
    check_names(&invoked, &chaincode).map_err(Refusal::ChaincodeName)?;
    if !action.events.is_empty() {
        let event = ripstop_proto::read::<protos::ChaincodeEvent>(action.events).map_err(Refusal::Event)?;
        if event.chaincode_id != invoked {
            return Err(Refusal::ForeignEvent { event: event.chaincode_id, action: invoked });
        }
    }
    let mut seen = HashSet::with_capacity(rwset.namespaces.len());
    if let Some(twice) = rwset.namespaces.iter().find(|set| !seen.insert(set.namespace.as_str())) {
        return Err(Refusal::RepeatedNamespace(twice.namespace.clone()));
    }
    let endorsers = Signers::collect(&transaction.endorsement_set(), config.msps());
    Ok(Content { chaincode, rwset, endorsers })
}

fn check_names(invoked: &str, chaincode: &ChaincodeName) -> Result<(), ChaincodeNameError> {
    if invoked.is_empty() {
        return Err(ChaincodeNameError::Empty);
    }
    if invoked != chaincode.name {
        return Err(ChaincodeNameError::Differs { header: invoked.to_owned(), action: chaincode.name.clone() });
    }
    if chaincode.version.is_empty() {
        return Err(ChaincodeNameError::NoVersion);
    }
    Ok(())
}
