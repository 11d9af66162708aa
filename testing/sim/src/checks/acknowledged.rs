//! Nothing is lost of which a client was told that it is ordered, and what clients want is ordered while it is calm.
//!
//! Bound: an election of raft takes at most two times its ticks, and may have to be repeated; a client asks again and again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::story::Story;
use crate::world::{TICK, World};

/// Ticks until orderers agree on a leader, with elections in vain.
const TICKS: u32 = 100;

/// From the moment at which the network is calm.
pub(crate) fn bound(_: &Story) -> Duration {
    TICK * TICKS
}

/// Whether what was wanted when the network became calm is ordered.
pub(crate) fn goes_on(world: &mut World) -> Result<(), String> {
    match world.wanted_before.iter().find(|transaction| world.wanted.contains(*transaction)) {
        Some(transaction) => Err(format!("\"{transaction}\" is not ordered")),
        None => Ok(()),
    }
}

/// Whether all that was acknowledged is in the chain of every orderer that is up, and nothing waits.
pub(crate) fn holds(world: &mut World) -> Result<(), String> {
    if let Some(transaction) = world.wanted.first() {
        return Err(format!("\"{transaction}\" is not ordered"));
    }
    for orderer in world.orderers.iter().filter(|orderer| orderer.is_up()) {
        let ledger = &orderer.ledger;
        let written: BTreeSet<&str> = (0..ledger.height()).flat_map(|number| ledger.transactions(number)).collect();
        if let Some(lost) = world.acknowledged.iter().find(|acknowledged| !written.contains(acknowledged.as_str())) {
            return Err(format!("orderer {} does not have \"{lost}\", which was acknowledged", orderer.id));
        }
    }
    Ok(())
}
