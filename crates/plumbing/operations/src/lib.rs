//! Logging, metrics, health and version, under the names Fabric gives them.
