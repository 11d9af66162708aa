//! The truth of one channel: open, simulate, query, commit, follow.
