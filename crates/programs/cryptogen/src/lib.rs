//! The cryptogen command: certificates and keys for test networks.
