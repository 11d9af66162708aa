//! Append-only block files and their index.
