//! `qscc`: what stands in a ledger.

use bytes::Bytes;
use prost::Message;
use ripstop_channel_config::acl::Resource;
use ripstop_ledger::Ledger;
use ripstop_proto::{common, protos};
use ripstop_types::{Block, BlockNumber, ChannelId, Digest, TxId};

use super::{Answer, SystemCall, text};
use crate::error::Refusal;

const NAME: &str = "qscc";

pub(super) fn answer(request: &SystemCall) -> Answer {
    let (function, channel, parameter) = match request.args.as_slice() {
        [function, channel, rest @ ..] => (text(function), text(channel), rest.first()),
        args => return Err(format!("Incorrect number of arguments, {}", args.len()).into()),
    };
    let proposed = &request.call.proposed;
    if proposed != NAME {
        return Err(format!(
            "Rejecting invoke of QSCC from another chaincode because of potential for deadlocks, original invocation for '{proposed}'"
        )
        .into());
    }
    if function != "GetChainInfo" && parameter.is_none() {
        return Err(format!("missing 3rd argument for {function}").into());
    }
    let ledger = ChannelId::new(&channel).ok().and_then(|id| request.host.node().ledgers.get(&id));
    let ledger = ledger.ok_or_else(|| Refusal::from(format!("Invalid chain ID, {channel}")))?;

    let denied = |why: &str| format!("access denied for [{function}][{channel}]: [{why}]");
    let name = format!("{NAME}/{function}");
    let resource = Resource::from_name(&name).ok_or_else(|| denied(&format!("Unmapped policy for {name}")))?;
    request.host.authorize(resource, Some(&ledger), &request.call.signed).map_err(|refusal| refusal.within(denied))?;

    let parameter = parameter.cloned().unwrap_or_default();
    match resource {
        Resource::QsccGetChainInfo => Ok(chain_info(&ledger)),
        Resource::QsccGetBlockByNumber => block_by_number(&ledger, &parameter),
        Resource::QsccGetBlockByHash => block_by_hash(&ledger, &parameter),
        Resource::QsccGetTransactionById => transaction(&ledger, &parameter),
        Resource::QsccGetBlockByTxId => block_by_tx_id(&ledger, &parameter),
        _ => Err(format!("Requested function {function} not found.").into()),
    }
}

fn chain_info(ledger: &Ledger) -> Bytes {
    let info = ledger.info();
    common::BlockchainInfo {
        height: info.height,
        current_block_hash: info.current_hash,
        previous_block_hash: info.previous_hash,
        bootstrapping_snapshot_info: info
            .last_block_in_snapshot
            .map(|block| common::BootstrappingSnapshotInfo { last_block_in_snapshot: block.get() }),
    }
    .encode_to_vec()
    .into()
}

fn block_by_number(ledger: &Ledger, number: &[u8]) -> Answer {
    let number = text(number);
    let number: u64 = number.parse().map_err(|_| {
        format!("Failed to parse block number with error strconv.ParseUint: parsing {number:?}: invalid syntax")
    })?;
    // The greatest number means the newest block.
    let wanted = if number == u64::MAX { ledger.height().saturating_sub(1) } else { number };
    let failed = |reason: &dyn std::fmt::Display| format!("Failed to get block number {number}, error {reason}");
    match ledger.block(BlockNumber::new(wanted)).map_err(|error| failed(&error))? {
        Some(block) => Ok(encode(&block)),
        None => Err(failed(&format!("no such block number [{wanted}] in index")).into()),
    }
}

fn block_by_hash(ledger: &Ledger, hash: &[u8]) -> Answer {
    let failed = |reason: &dyn std::fmt::Display| format!("Failed to get block hash {}, error {reason}", text(hash));
    let missing = || failed(&format!("no such block hash [{}] in index", hex::encode(hash)));
    let digest = <[u8; 32]>::try_from(hash).map(Digest::new).map_err(|_| missing())?;
    match ledger.block_by_hash(&digest).map_err(|error| failed(&error))? {
        Some(block) => Ok(encode(&block)),
        None => Err(missing().into()),
    }
}

fn transaction(ledger: &Ledger, id: &[u8]) -> Answer {
    let id = text(id);
    let failed = |reason: &dyn std::fmt::Display| format!("Failed to get transaction with id {id}, error {reason}");
    let found = ledger.transaction(&TxId::new(&id)).map_err(|error| failed(&error))?;
    let found = found.ok_or_else(|| failed(&format!("no such transaction ID [{id}] in index")))?;
    let envelope = common::Envelope::decode(found.envelope).map_err(|error| failed(&error))?;
    let processed =
        protos::ProcessedTransaction { transaction_envelope: Some(envelope), validation_code: found.code as i32 };
    Ok(processed.encode_to_vec().into())
}

fn block_by_tx_id(ledger: &Ledger, id: &[u8]) -> Answer {
    let id = text(id);
    let failed = |reason: &dyn std::fmt::Display| format!("Failed to get block for txID {id}, error {reason}");
    match ledger.block_by_tx_id(&TxId::new(&id)).map_err(|error| failed(&error))? {
        Some(block) => Ok(encode(&block)),
        None => Err(failed(&format!("no such transaction ID [{id}] in index")).into()),
    }
}

fn encode(block: &Block) -> Bytes {
    block.to_proto().encode_to_vec().into()
}
