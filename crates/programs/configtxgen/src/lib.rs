//! The configtxgen command: genesis blocks from profiles.
