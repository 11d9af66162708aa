//! Which chaincode? Definitions, approvals, readiness, collections.
