//! Runs chaincode: shim streams, launching, system chaincodes.
