use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use ripstop_types::ChannelId;

use super::LOGGER;
use super::members::Members;
use crate::{KnownPeer, NoteLevel, PkiId, Surroundings};

/// How many peers a line for the log names at most.
const NAMED: usize = 100;

/// Tells operators from time to time which members of a channel came and went.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    reported: BTreeMap<PkiId, Arc<KnownPeer>>,
    revision: u64,
}

impl Tracker {
    /// Reports what changed since the last time.
    pub(crate) fn report(&mut self, surroundings: &mut Surroundings<'_>, channel: &ChannelId, members: &Members) {
        if members.revision() == self.revision {
            return;
        }
        self.revision = members.revision();
        let present = members.present();
        let gone: Vec<_> =
            self.reported.iter().filter(|(id, _)| !present.contains(id)).map(|(_, p)| p.clone()).collect();
        let unreported = present.iter().filter(|id| !self.reported.contains_key(id));
        let came: BTreeMap<_, _> =
            unreported.filter_map(|id| Some((id.clone(), surroundings.alive.get(id)?.clone()))).collect();
        if gone.is_empty() && came.is_empty() {
            return;
        }
        self.reported.retain(|id, _| present.contains(id));
        let offline = endpoints(gone.iter());
        let online = endpoints(came.values());
        self.reported.extend(came);
        // Nobody is missing when a peer came back with another identity. (Fabric's peers say nothing then; theirs take longer
        // to start, so that it does not happen to them.)
        let offline = if offline == online { "[]".to_owned() } else { offline };
        let mut text = format!("[[{channel}] Membership view has changed. ");
        for (what, which) in [("offline", offline), ("online", online)] {
            if which != "[]" {
                let _ = write!(text, "peers went {what}:  {which} , ");
            }
        }
        let _ = write!(text, "current view:  {}]", endpoints(self.reported.values()));
        surroundings.effects.note(NoteLevel::Info, LOGGER, text);
    }
}

/// Peers as Fabric's peers write them: the external and the internal endpoint of each, or one when they are the same.
fn endpoints<'a>(peers: impl ExactSizeIterator<Item = &'a Arc<KnownPeer>>) -> String {
    let further = peers.len().saturating_sub(NAMED);
    let mut written: Vec<_> = peers
        .take(NAMED)
        .map(|peer| {
            let member = &peer.member;
            match member.endpoint == member.internal_endpoint {
                true => format!("[{}]", member.endpoint),
                false => format!("[{} {}]", member.endpoint, member.internal_endpoint),
            }
        })
        .collect();
    if further > 0 {
        written.push(format!("[and {further} more]"));
    }
    format!("[{}]", written.join(" "))
}
