//! core.yaml, orderer.yaml and the environment as typed configuration.
