use crate::{ConfigError, Settings};

/// The discovery service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DiscoveryConfig {
    /// Whether it is offered. Not where the file does not say so, as in Fabric, whose sample file does.
    pub enabled: bool,
    /// Whether all members of the peer's organization may ask about peers as such, and not its administrators only.
    pub org_members_allowed: bool,
    /// The memory of who may ask; `None` when each request is checked anew.
    pub auth_cache: Option<AuthCacheConfig>,
}

/// The memory of who may ask the discovery service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuthCacheConfig {
    /// How many decisions are kept for each channel.
    pub max_size: usize,
    /// Which share of them, 0 to 1, stays when there are too many.
    pub retention_ratio: f64,
}

impl DiscoveryConfig {
    pub(crate) fn read(s: &Settings) -> Result<Self, ConfigError> {
        const RATIO: &str = "peer.discovery.authCachePurgeRetentionRatio";
        let is_on = |key: &str| s.flag(key).map(Option::unwrap_or_default);
        let auth_cache = AuthCacheConfig {
            max_size: s.count("peer.discovery.authCacheMaxSize")?.unwrap_or(0),
            retention_ratio: s.number(RATIO)?.unwrap_or(0.0),
        };
        if !(0.0..=1.0).contains(&auth_cache.retention_ratio) {
            return Err(s.unusable(RATIO, "a number from 0 to 1"));
        }
        Ok(Self {
            enabled: is_on("peer.discovery.enabled")?,
            org_members_allowed: is_on("peer.discovery.orgMembersAllowedAccess")?,
            auth_cache: is_on("peer.discovery.authCacheEnabled")?.then_some(auth_cache),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EmptyVariable, Value};

    #[test]
    fn the_discovery_service_is_as_the_file_says() {
        let read = |discovery: &str| {
            let root = Value::parse_yaml(&format!("peer: {{discovery: {{{discovery}}}}}")).unwrap();
            let variables = std::iter::empty::<(&str, &str)>().collect();
            let settings = Settings::new(root, "/net/core.yaml".into(), "CORE", EmptyVariable::Replaces, variables);
            DiscoveryConfig::read(&settings)
        };
        let off = DiscoveryConfig { enabled: false, org_members_allowed: false, auth_cache: None };
        assert_eq!(read("").unwrap(), off);
        let sample = "enabled: true, authCacheEnabled: true, authCacheMaxSize: 1000, authCachePurgeRetentionRatio: 0.75, \
                      orgMembersAllowedAccess: false";
        let auth_cache = Some(AuthCacheConfig { max_size: 1000, retention_ratio: 0.75 });
        assert_eq!(read(sample).unwrap(), DiscoveryConfig { enabled: true, auth_cache, ..off });
        let error = read("authCachePurgeRetentionRatio: 1.5").unwrap_err().to_string();
        assert!(error.contains("a number from 0 to 1"), "{error}");
    }
}
