//! Identities, channels and blocks in memory, for tests.
