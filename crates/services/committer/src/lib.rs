//! Receives blocks, checks them, commits them.
