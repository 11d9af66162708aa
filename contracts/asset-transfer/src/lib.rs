//! The asset-transfer sample contract.
