use bytes::Bytes;
use ripstop_rwset::{PrivateExpectation, TxRwSet};
use ripstop_types::{Envelope, HeaderType, Transaction};
use ripstop_validation::ValidatedBlock;

/// The sets of private writes that the transactions of a block announce, in block order. Also invalid transactions do, and
/// peers keep their sets beside the ledger: another peer may have found them valid, and then this one has them too. What does
/// not even decode announces nothing.
pub fn announced_private_data(validated: &ValidatedBlock) -> Vec<PrivateExpectation> {
    let mut valid = validated.updates().private_expectations().iter().peekable();
    let mut announced = Vec::new();
    for (place, transaction) in (0u64..).zip(validated.transactions()) {
        while let Some(expectation) = valid.next_if(|expectation| expectation.tx == place) {
            announced.push(expectation.clone());
        }
        if transaction.code.is_valid() || transaction.kind != Some(HeaderType::EndorserTransaction) {
            continue;
        }
        let raw = usize::try_from(place).ok().and_then(|place| validated.block().data.get(place));
        if let Some(set) = raw.and_then(read_set) {
            announced.extend(PrivateExpectation::of(place, &set));
        }
    }
    announced
}

/// The read/write set of an endorsed transaction; `None` for anything else.
pub(crate) fn read_set(raw: &Bytes) -> Option<TxRwSet> {
    let envelope = Envelope::parse(raw.clone()).ok()?;
    if envelope.channel_header.kind != HeaderType::EndorserTransaction {
        return None;
    }
    let action = Transaction::parse(envelope.data).ok()?.action().ok()?;
    TxRwSet::parse(action.results).ok()
}
