use std::collections::BTreeMap;

use ripstop_proto::{common, discovery, msp};

/// `msp.MSPConfig.type` of an X.509 MSP, the only one that applications can use.
const X509: i32 = 0;

/// Why a configuration cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("config is invalid: {0}")]
    Incomplete(&'static str),
    #[error("failed parsing {what} of {group}: {reason}")]
    Malformed { what: &'static str, group: String, reason: String },
    #[error("failed parsing orderer endpoint {0}")]
    Endpoint(String),
}

/// The organizations of a channel and its orderers, by MSP id (Fabric: `discovery/support/config`).
pub(crate) fn config_result(config: &common::Config) -> Result<discovery::ConfigResult, ConfigError> {
    let channel = config.channel_group.as_ref().ok_or(ConfigError::Incomplete("it has no channel group"))?;
    let group = |name: &str| channel.groups.get(name);
    let orderers = group("Orderer").ok_or(ConfigError::Incomplete("it has no group Orderer"))?;
    let application = group("Application").ok_or(ConfigError::Incomplete("it has no group Application"))?;
    let mut msps = BTreeMap::new();
    for (name, organization) in orderers.groups.iter().chain(&application.groups) {
        if let Some(msp) = organization_msp(name, organization)? {
            msps.entry(msp.name.clone()).or_insert(msp);
        }
    }
    Ok(discovery::ConfigResult { msps, orderers: orderer_endpoints(channel, orderers)? })
}

fn organization_msp(
    name: &str,
    organization: &common::ConfigGroup,
) -> Result<Option<msp::FabricMspConfig>, ConfigError> {
    let malformed = |reason: String| ConfigError::Malformed { what: "the MSP", group: name.to_owned(), reason };
    let value = organization.values.get("MSP").map(|value| value.value.clone()).unwrap_or_default();
    let config: msp::MspConfig = ripstop_proto::read(value).map_err(|error| malformed(error.to_string()))?;
    if config.r#type != X509 {
        return Ok(None);
    }
    ripstop_proto::read(config.config).map(Some).map_err(|error| malformed(error.to_string()))
}

/// The endpoints of each orderer organization. Where none has any of its own, the channel's go for all of them.
fn orderer_endpoints(
    channel: &common::ConfigGroup,
    orderers: &common::ConfigGroup,
) -> Result<BTreeMap<String, discovery::Endpoints>, ConfigError> {
    let mut own: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, organization) in &orderers.groups {
        if let Some(msp) = organization_msp(name, organization)? {
            own.insert(msp.name, addresses(name, organization, "Endpoints")?);
        }
    }
    if own.values().any(|addresses| !addresses.is_empty()) {
        let told = own.into_iter().map(|(msp_id, addresses)| {
            let (good, bad): (Vec<_>, Vec<_>) =
                addresses.iter().map(|address| endpoint(address)).partition(Result::is_ok);
            for error in bad.into_iter().filter_map(Result::err) {
                tracing::warn!(target: "discovery.config", "an endpoint of {msp_id} is left out: {error}");
            }
            (msp_id, discovery::Endpoints { endpoint: good.into_iter().flatten().collect() })
        });
        return Ok(told.collect());
    }
    let shared = addresses("Channel", channel, "OrdererAddresses")?;
    let shared = shared.iter().map(|address| endpoint(address)).collect::<Result<Vec<_>, _>>()?;
    let told = own.into_keys().map(|msp_id| (msp_id, discovery::Endpoints { endpoint: shared.clone() }));
    Ok(told.collect())
}

fn addresses(name: &str, group: &common::ConfigGroup, key: &str) -> Result<Vec<String>, ConfigError> {
    let Some(value) = group.values.get(key) else { return Ok(Vec::new()) };
    let addresses: common::OrdererAddresses = ripstop_proto::read(value.value.clone()).map_err(|error| {
        ConfigError::Malformed { what: "the orderers' addresses", group: name.to_owned(), reason: error.to_string() }
    })?;
    Ok(addresses.addresses)
}

fn endpoint(address: &str) -> Result<discovery::Endpoint, ConfigError> {
    let malformed = || ConfigError::Endpoint(address.to_owned());
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok(discovery::Endpoint { host: host.to_owned(), port: port.parse().map_err(|_| malformed())? })
}

#[cfg(test)]
mod tests {
    use ripstop_proto::Message as _;

    use super::*;

    fn value(message: &impl ripstop_proto::Message) -> common::ConfigValue {
        common::ConfigValue { value: message.encode_to_vec().into(), ..Default::default() }
    }

    fn organization(name: &str, kind: i32, endpoints: &[&str]) -> (String, common::ConfigGroup) {
        let msp = msp::FabricMspConfig { name: format!("{name}MSP"), ..Default::default() };
        let msp = msp::MspConfig { r#type: kind, config: msp.encode_to_vec().into() };
        let mut values = BTreeMap::from([("MSP".to_owned(), value(&msp))]);
        if !endpoints.is_empty() {
            values.insert("Endpoints".to_owned(), value(&orderer_addresses(endpoints)));
        }
        (name.to_owned(), common::ConfigGroup { values, ..Default::default() })
    }

    fn orderer_addresses(addresses: &[&str]) -> common::OrdererAddresses {
        common::OrdererAddresses { addresses: addresses.iter().map(|address| (*address).to_owned()).collect() }
    }

    fn config(orderers: &[(&str, &[&str])], shared: &[&str]) -> common::Config {
        let group = |groups: BTreeMap<_, _>| common::ConfigGroup { groups, ..Default::default() };
        let orderers = orderers.iter().map(|(name, endpoints)| organization(name, X509, endpoints)).collect();
        let application = [organization("Org1", X509, &[]), organization("Idemix", 1, &[])].into();
        let channel = common::ConfigGroup {
            groups: [("Orderer".to_owned(), group(orderers)), ("Application".to_owned(), group(application))].into(),
            values: [("OrdererAddresses".to_owned(), value(&orderer_addresses(shared)))].into(),
            ..Default::default()
        };
        common::Config { channel_group: Some(channel), ..Default::default() }
    }

    fn told(config: &common::Config) -> Vec<String> {
        let result = config_result(config).unwrap();
        let orderers = result.orderers.iter().map(|(msp_id, endpoints)| {
            let endpoints = endpoints.endpoint.iter().map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port));
            format!("{msp_id}={}", endpoints.collect::<Vec<_>>().join(","))
        });
        result.msps.keys().cloned().chain(orderers).collect()
    }

    #[test]
    fn organisations_and_their_own_endpoints_are_told() {
        let config = config(&[("O", &["o1:7050", "nonsense", "[::1]:7"]), ("P", &[])], &["shared:1"]);
        assert_eq!(told(&config), ["OMSP", "Org1MSP", "PMSP", "OMSP=o1:7050,::1:7", "PMSP="]);
    }

    #[test]
    fn the_channels_endpoints_go_for_all_where_no_organisation_has_its_own() {
        assert_eq!(
            told(&config(&[("O", &[]), ("P", &[])], &["shared:1"])),
            ["OMSP", "Org1MSP", "PMSP", "OMSP=shared:1", "PMSP=shared:1"]
        );
        let error = config_result(&config(&[("O", &[])], &["nonsense"])).unwrap_err();
        assert_eq!(error.to_string(), "failed parsing orderer endpoint nonsense");
    }

    #[test]
    fn configurations_without_their_groups_are_refused() {
        let error = config_result(&common::Config::default()).unwrap_err();
        assert_eq!(error.to_string(), "config is invalid: it has no channel group");
        let empty = common::Config { channel_group: Some(common::ConfigGroup::default()), ..Default::default() };
        assert_eq!(config_result(&empty).unwrap_err().to_string(), "config is invalid: it has no group Orderer");
    }
}
