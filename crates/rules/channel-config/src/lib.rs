//! What are the rules now? The configuration tree of a channel, typed.
