//! The peer command: node, channel, lifecycle, chaincode.
