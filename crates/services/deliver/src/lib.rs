//! Serves blocks, and pulls and verifies them.
