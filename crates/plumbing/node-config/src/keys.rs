//! Keys of Fabric's files that a node does not act on. Everything that the typed configurations ask for is effective; a key
//! that they do not ask for is named in the log, with what takes its place when it stands here.

/// A key of Fabric's, with everything under it, that a node does not act on.
#[derive(Debug)]
pub(crate) struct Ineffective {
    /// The key as Fabric's sample files spell it.
    pub(crate) key: &'static str,
    /// Values of it that describe what happens anyway: nothing is said about them.
    pub(crate) unless: &'static [&'static str],
    /// What takes its place. Keys with the same text are named together. Empty for keys that commands read and nodes do
    /// not: nothing is said about them.
    pub(crate) instead: &'static str,
}

const fn ineffective(key: &'static str, instead: &'static str) -> Ineffective {
    Ineffective { key, unless: &[], instead }
}

const fn unless(key: &'static str, unless: &'static [&'static str], instead: &'static str) -> Ineffective {
    Ineffective { key, unless, instead }
}

const BY_COMMANDS: &str = "";
const ALWAYS_VERIFIED: &str = "blocks of other peers are always verified";
const NO_HEADERS: &str = "blocks come from one ordering node at a time, others are not asked for their headers yet";
const MAY_PING: &str = "clients may ping as often as they like";
const NO_DOCKER: &str = "there is no Docker here, chaincode runs as a service, by external builders or as a process of this \
                         machine, built with this machine's toolchains";
const NO_PLUGINS: &str = "plug-ins in Go cannot be loaded, what Fabric's default handlers do is built in";
const NO_PKCS11: &str = "private keys are read from files";
const NO_COUCHDB: &str = "the state database is inside the peer";
const NO_SYSTEM_CHANNEL: &str = "the system channel is gone, join channels with osnadmin";
const NO_KAFKA: &str = "ordering by Kafka is gone, channels use etcdraft";
const FROM_ENVIRONMENT: &str = "set FABRIC_LOGGING_SPEC and FABRIC_LOGGING_FORMAT in the environment";
const PRIVATE_DATA: &str = "private data is removed, when it expires or is purged, as blocks are committed";

/// Those of `core.yaml`.
pub(crate) const CORE: &[Ineffective] = &[
    ineffective("peer.client", BY_COMMANDS),
    ineffective("chaincode.id", BY_COMMANDS),
    ineffective("orderer", BY_COMMANDS),
    unless("peer.gossip.skipBlockVerification", &["false"], ALWAYS_VERIFIED),
    unless("peer.gossip.nonBlockingCommitMode", &["false"], "a peer that commits slowly always makes others wait"),
    ineffective("peer.gossip.state.channelSize", "each peer is sent the blocks of one request at a time"),
    ineffective("peer.gossip.stateInfoRetentionInterval", "it has no effect in Fabric either"),
    ineffective("peer.deliveryclient.blockCensorshipTimeoutKey", NO_HEADERS),
    unless("peer.deliveryclient.policy", &["simple"], NO_HEADERS),
    ineffective("peer.keepalive.minInterval", MAY_PING),
    ineffective("peer.events", "the event hub is gone, events come from the Deliver and Gateway services"),
    unless("peer.validatorPoolSize", &["0"], "blocks are checked on all processors that there are"),
    unless("peer.handlers.endorsers.escc.name", &["DefaultEndorsement"], NO_PLUGINS),
    unless("peer.handlers.validators.vscc.name", &["DefaultValidation"], NO_PLUGINS),
    unless("peer.handlers.decorators", &["DefaultDecorator"], NO_PLUGINS),
    ineffective("peer.handlers.endorsers", NO_PLUGINS),
    ineffective("peer.handlers.validators", NO_PLUGINS),
    ineffective("peer.BCCSP", NO_PKCS11),
    ineffective("vm", NO_DOCKER),
    ineffective("chaincode.builder", NO_DOCKER),
    ineffective("chaincode.pull", NO_DOCKER),
    ineffective("chaincode.golang", NO_DOCKER),
    ineffective("chaincode.java", NO_DOCKER),
    ineffective("chaincode.node", NO_DOCKER),
    ineffective("ledger.blockchain", "it has no keys in Fabric either"),
    ineffective("ledger.state.couchDBConfig", NO_COUCHDB),
    unless("ledger.history.enableHistoryDatabase", &["true"], "the history of keys is always kept"),
    ineffective("ledger.pvtdataStore", PRIVATE_DATA),
    ineffective("logging", FROM_ENVIRONMENT),
    // Fabric's own words.
    ineffective(
        "logging_level",
        "CORE_LOGGING_LEVEL is no longer supported, please use the FABRIC_LOGGING_SPEC environment variable",
    ),
];

/// Those of `orderer.yaml`.
pub(crate) const ORDERER: &[Ineffective] = &[
    unless("General.BootstrapMethod", &["none"], NO_SYSTEM_CHANNEL),
    unless("General.GenesisMethod", &["none"], NO_SYSTEM_CHANNEL),
    ineffective("General.BootstrapFile", NO_SYSTEM_CHANNEL),
    ineffective("General.GenesisFile", NO_SYSTEM_CHANNEL),
    ineffective("General.GenesisProfile", NO_SYSTEM_CHANNEL),
    ineffective("General.SystemChannel", NO_SYSTEM_CHANNEL),
    ineffective("General.Cluster.ReplicationBackgroundRefreshInterval", NO_SYSTEM_CHANNEL),
    ineffective("General.Keepalive.ServerMinInterval", MAY_PING),
    ineffective("General.BCCSP", NO_PKCS11),
    ineffective("General.LogLevel", FROM_ENVIRONMENT),
    ineffective("General.LogFormat", FROM_ENVIRONMENT),
    ineffective("FileLedger.Prefix", "it has none in Fabric either"),
    ineffective("RAMLedger", "ledgers are always kept in files"),
    ineffective(
        "Debug",
        "requests are traced through the log, by its modules orderer.common.broadcast and common.deliver",
    ),
    unless("ChannelParticipation.Enabled", &["true"], "channel participation is always offered"),
    ineffective("Kafka", NO_KAFKA),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EmptyVariable, OrdererConfig, PeerConfig, Settings, Value};

    /// The keys of the files that Fabric 2.5 and 3.1 ship and of those that its test suites write.
    const CORE_KEYS: &str = include_str!("../testdata/core.keys");
    const ORDERER_KEYS: &str = include_str!("../testdata/orderer.keys");

    fn settings(yaml: &str, prefix: &'static str) -> Settings {
        let root = Value::parse_yaml(yaml).unwrap();
        Settings::new(
            root,
            "/net/node.yaml".into(),
            prefix,
            EmptyVariable::Replaces,
            std::iter::empty::<(&str, &str)>().collect(),
        )
    }

    /// Every key is asked for or stands in the table; what stands in the table is not asked for.
    fn check(settings: &Settings, keys: &str, table: &[Ineffective]) {
        let lost: Vec<&str> = keys
            .lines()
            .filter(|key| !settings.was_asked_for(key))
            .filter(|key| !table.iter().any(|entry| crate::warning::is_or_under(key, entry.key, '.')))
            .collect();
        assert!(lost.is_empty(), "neither effective nor in the table: {lost:?}");
        let wrong: Vec<&str> = table.iter().map(|entry| entry.key).filter(|key| settings.was_asked_for(key)).collect();
        assert!(wrong.is_empty(), "effective and in the table: {wrong:?}");
    }

    #[test]
    fn every_key_of_core_yaml_is_effective_or_has_a_reason() {
        let s = settings("peer: {address: 'a:1', listenAddress: 'a:1', localMspId: X, mspConfigPath: msp}", "CORE");
        PeerConfig::from_settings(&s).unwrap();
        check(&s, CORE_KEYS, CORE);
    }

    #[test]
    fn every_key_of_orderer_yaml_is_effective_or_has_a_reason() {
        let s = settings("", "ORDERER");
        OrdererConfig::from_settings(&s).unwrap();
        check(&s, ORDERER_KEYS, ORDERER);
    }
}
