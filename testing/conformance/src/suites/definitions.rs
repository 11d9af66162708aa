//! The `_lifecycle` transactions of a chain, simulated again on the state before their block: approvals and commits must
//! come to the bytes that Fabric's peers endorsed.

use prost::Message;
use ripstop_channel_config::ChannelConfig;
use ripstop_ledger::{Ledger, SimulatedLifecycle};
use ripstop_lifecycle::{
    ChaincodeDefinition, ChaincodeParameters, NAMESPACE, PackageSource, approve, check_input, commit,
};
use ripstop_proto::{lifecycle, protos};
use ripstop_rwset::TxRwSet;
use ripstop_types::{Block, Envelope, HeaderType, MspId, SerializedIdentity, Transaction};

use crate::Report;

const TOPIC: &str = "approvals and commits of definitions, byte for byte";

/// Simulates the approvals and commits in a block that is about to be committed.
pub(crate) fn definitions(report: &mut Report, block: &Block, ledger: &Ledger) {
    for (index, data) in block.data.iter().enumerate() {
        let Some(found) = Endorsed::read(data.clone()) else { continue };
        let name = format!("block {} transaction {index}: {}", block.number(), found.function);
        match found.simulate(ledger) {
            Ok(ours) if ours == found.results => report.equal(TOPIC, 1),
            Ok(ours) => {
                report.compare(TOPIC, &name, &TxRwSet::parse(found.results.clone()), &TxRwSet::parse(ours), "");
            }
            Err(error) => report.difference(TOPIC, format!("{name}: {error}")),
        }
    }
}

/// A `_lifecycle` transaction, taken apart.
struct Endorsed {
    function: String,
    arguments: bytes::Bytes,
    results: bytes::Bytes,
    envelope: Envelope,
    /// The organization whose peer endorsed first.
    org: MspId,
}

impl Endorsed {
    /// A transaction of another chaincode, or a spoilt one, is none.
    fn read(data: bytes::Bytes) -> Option<Self> {
        let envelope = Envelope::parse(data).ok()?;
        if envelope.channel_header.kind != HeaderType::EndorserTransaction {
            return None;
        }
        let transaction = Transaction::parse(envelope.data.clone()).ok()?;
        let action = transaction.action().ok()?;
        if action.chaincode.as_ref()?.name != NAMESPACE {
            return None;
        }
        let payload = protos::ChaincodeProposalPayload::decode(transaction.proposal_payload.clone()).ok()?;
        let spec = protos::ChaincodeInvocationSpec::decode(payload.input).ok()?.chaincode_spec?;
        let [function, arguments] = <[bytes::Bytes; 2]>::try_from(spec.input?.args).ok()?;
        let endorser = SerializedIdentity::parse(transaction.endorsements.first()?.endorser.clone()).ok()?;
        Some(Self {
            function: String::from_utf8(function.to_vec()).ok()?,
            arguments,
            results: action.results,
            envelope,
            org: endorser.msp_id,
        })
    }

    fn simulate(&self, ledger: &Ledger) -> Result<bytes::Bytes, String> {
        let config = ledger.config();
        let mut simulator = ledger.simulate(self.envelope.channel_header.tx_id.clone());
        let mut state = SimulatedLifecycle::new(&mut simulator);
        match self.function.as_str() {
            "ApproveChaincodeDefinitionForMyOrg" => self.approve(&mut state, &config)?,
            "CommitChaincodeDefinition" => self.commit(&mut state, &config)?,
            other => return Err(format!("{other} is not simulated here")),
        }
        Ok(simulator.finish().public_bytes)
    }

    fn approve(&self, state: &mut SimulatedLifecycle<'_>, config: &ChannelConfig) -> Result<(), String> {
        let args = lifecycle::ApproveChaincodeDefinitionForMyOrgArgs::decode(self.arguments.clone())
            .map_err(|error| error.to_string())?;
        check_input(state, config, &args.name, &args.version, args.collections.as_ref())
            .map_err(|error| error.to_string())?;
        let definition = ChaincodeDefinition {
            sequence: args.sequence,
            parameters: ChaincodeParameters {
                version: args.version,
                init_required: args.init_required,
                endorsement_plugin: args.endorsement_plugin,
                validation_plugin: args.validation_plugin,
                validation_parameter: args.validation_parameter,
                collections: args.collections.unwrap_or_default(),
            },
        };
        approve(state, config, &self.org, &args.name, definition, &PackageSource::from_proto(args.source))
            .map_err(|error| error.to_string())
    }

    fn commit(&self, state: &mut SimulatedLifecycle<'_>, config: &ChannelConfig) -> Result<(), String> {
        let args = lifecycle::CommitChaincodeDefinitionArgs::decode(self.arguments.clone())
            .map_err(|error| error.to_string())?;
        check_input(state, config, &args.name, &args.version, args.collections.as_ref())
            .map_err(|error| error.to_string())?;
        let definition = ChaincodeDefinition {
            sequence: args.sequence,
            parameters: ChaincodeParameters {
                version: args.version,
                init_required: args.init_required,
                endorsement_plugin: args.endorsement_plugin,
                validation_plugin: args.validation_plugin,
                validation_parameter: args.validation_parameter,
                collections: args.collections.unwrap_or_default(),
            },
        };
        commit(state, config, &self.org, &args.name, definition).map_err(|error| error.to_string())
    }
}
