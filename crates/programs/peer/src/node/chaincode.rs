//! How the peer hosts chaincode: addresses, TLS and options from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ripstop_chaincode::{ChaincodeAuthority, ChaincodeHost, HostOptions, NodeParts, Registration};
use ripstop_chaincode_builder::BuilderOptions;
use ripstop_node_config::{Environment, PeerConfig};
use ripstop_transport::ServerTls;

use super::at;
use super::channels::PeerChannels;
use super::identity::Tls;
use super::parts::Peer;

/// Where the peer listens for chaincode in development mode when its own address says nothing (Fabric:
/// `createChaincodeServer`).
const DEVELOPMENT_ENDPOINT: &str = "0.0.0.0:7052";

/// Where the peer listens for chaincode, and under which address chaincode finds it.
pub(super) fn endpoint(config: &PeerConfig, advertised: &str) -> anyhow::Result<(String, String)> {
    match config.chaincode_endpoint(advertised) {
        Ok(endpoint) => Ok(endpoint),
        Err(error) if config.chaincode.development_mode => {
            tracing::warn!(target: "nodeCmd", function = "createChaincodeServer", "use {DEVELOPMENT_ENDPOINT} as chaincode endpoint because of error in computeChaincodeEndpoint: {error}");
            Ok((DEVELOPMENT_ENDPOINT.to_owned(), DEVELOPMENT_ENDPOINT.to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The host of all chaincode, and the TLS of its listener. `address` is where chaincode finds the peer.
pub(super) fn host(
    peer: &Peer,
    channels: &PeerChannels,
    address: &str,
) -> anyhow::Result<(ChaincodeHost, Option<ServerTls>)> {
    let (options, tls) = options(&peer.config, address, peer.identity.tls.as_ref())?;
    let parts = NodeParts {
        ledgers: Arc::clone(&peer.ledgers),
        local_msp: Arc::clone(&peer.identity.local_msp),
        join: Arc::new(channels.clone()),
        metrics: peer.node.metrics.clone(),
    };
    let host = ChaincodeHost::new(options, parts).map_err(at("the store of chaincode packages"))?;
    Ok((host, tls))
}

/// How chaincode is run, and how its listener speaks TLS. A listener with TLS lets in only chaincode with a certificate
/// that was made for it. In development mode there is nobody to make one for: chaincode sees the peer's own certificate,
/// and is known by the id it registers with.
fn options(config: &PeerConfig, address: &str, tls: Option<&Tls>) -> anyhow::Result<(HostOptions, Option<ServerTls>)> {
    let (authority, tls) = match tls {
        None => (None, None),
        Some(tls) if config.chaincode.development_mode => (None, Some(tls.chaincode.clone())),
        Some(_) => {
            let authority = ChaincodeAuthority::new()?;
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let tls = authority.listener_tls(host.trim_matches(['[', ']']))?;
            (Some(Arc::new(authority)), Some(tls))
        }
    };
    let chaincode = &config.chaincode;
    let options = HostOptions {
        packages: config.file_system_path.join("lifecycle").join("chaincodes"),
        execute_timeout: chaincode.execute_timeout,
        install_timeout: chaincode.install_timeout,
        startup_timeout: chaincode.startup_timeout,
        keepalive: Some(chaincode.keepalive).filter(|interval| !interval.is_zero()),
        total_query_limit: config.ledger.total_query_limit,
        write_batch: chaincode.write_batch,
        multiple_keys: chaincode.multiple_keys,
        disabled: disabled(&chaincode.system),
        registration: match chaincode.development_mode {
            true => Registration::AnyInDevelopment,
            false => Registration::OnlyLaunched,
        },
        builders: builders(config),
        address: address.to_owned(),
        authority,
    };
    Ok((options, tls))
}

/// The system chaincodes that the configuration switches off.
fn disabled(system: &BTreeMap<String, bool>) -> BTreeSet<String> {
    let disabled: BTreeSet<String> =
        system.iter().filter(|(_, enabled)| !**enabled).map(|(name, _)| name.to_ascii_lowercase()).collect();
    for name in &disabled {
        tracing::info!(target: "nodeCmd", function = "serve", "not deploying chaincode {name} as it is not enabled");
    }
    disabled
}

fn builders(config: &PeerConfig) -> BuilderOptions {
    let chaincode = &config.chaincode;
    let logging = [
        ("CORE_CHAINCODE_LOGGING_LEVEL", &chaincode.log_level),
        ("CORE_CHAINCODE_LOGGING_SHIM", &chaincode.shim_log_level),
        ("CORE_CHAINCODE_LOGGING_FORMAT", &chaincode.log_format),
    ];
    BuilderOptions {
        directory: config.file_system_path.join("externalbuilder").join("builds"),
        external: chaincode.external_builders.clone(),
        environment: Environment::of_process(),
        memory: chaincode.memory,
        logging: logging.map(|(name, value)| (name.to_owned(), value.clone())).into(),
    }
}
