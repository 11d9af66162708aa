use ripstop_gossip::{Note, NoteLevel};

/// Writes a line under Fabric's logger. The macros of `tracing` want that name when they are compiled.
macro_rules! under {
    ($note:expr, [$($logger:literal),*]) => {
        match $note.logger {
            $($logger => at!($logger, $note),)*
            _ => at!("gossip.gossip", $note),
        }
    };
}

macro_rules! at {
    ($logger:literal, $note:expr) => {
        match $note.level {
            NoteLevel::Debug => tracing::debug!(target: $logger, "{}", $note.text),
            NoteLevel::Info => tracing::info!(target: $logger, "{}", $note.text),
            NoteLevel::Warning => tracing::warn!(target: $logger, "{}", $note.text),
            NoteLevel::Error => tracing::error!(target: $logger, "{}", $note.text),
        }
    };
}

/// Writes a note of the machine to the log.
pub(crate) fn write(note: &Note) {
    under!(
        note,
        [
            "gossip.channel",
            "gossip.comm",
            "gossip.discovery",
            "gossip.election",
            "gossip.gossip",
            "gossip.identity",
            "gossip.privdata",
            "gossip.pull",
            "gossip.service",
            "gossip.state"
        ]
    );
}
