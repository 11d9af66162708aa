//! The orderer command.
