use ripstop_gossip::{Logger, Note, NoteLevel};

/// The macros of `tracing` want the name of a logger when they are compiled.
macro_rules! under {
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
    match note.logger {
        Logger::Channel => under!("gossip.channel", note),
        Logger::Comm => under!("gossip.comm", note),
        Logger::Discovery => under!("gossip.discovery", note),
        Logger::Election => under!("gossip.election", note),
        Logger::Gossip => under!("gossip.gossip", note),
        Logger::State => under!("gossip.state", note),
    }
}
