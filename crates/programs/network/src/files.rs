//! The configuration files of a network: ordinary ones, in the words that Fabric's own commands read.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;

use crate::plan::{HOST, Layout, ORDERER_DOMAIN, ORDERER_MSP, OrdererPlan, Organisation, PeerPlan, Plan};

/// The profile of the channel in `configtx.yaml`.
pub(crate) const PROFILE: &str = "MyChannel";

/// How long the orderer waits for more transactions before it cuts a block. Fabric's sample says 2 s; a network on one
/// machine need not make its first users wait.
const BATCH_TIMEOUT: &str = "100ms";

/// A path or text as YAML takes it.
fn quoted(text: impl AsRef<Path>) -> String {
    serde_json::Value::from(text.as_ref().to_string_lossy().as_ref()).to_string()
}

/// Writes a file and the directories above it.
pub(crate) fn write(file: &Path, content: &[u8]) -> anyhow::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    std::fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}

/// `crypto-config.yaml`: who gets which certificates.
pub(crate) fn crypto_config(plan: &Plan) -> String {
    let mut out = format!(
        "# Read by `cryptogen generate`.
OrdererOrgs:
  - Name: Orderer
    Domain: {ORDERER_DOMAIN}
    EnableNodeOUs: true
    Specs:
"
    );
    for orderer in &plan.orderers {
        let hostname = orderer.name.split('.').next().unwrap_or_default();
        let _ = write!(out, "      - Hostname: {hostname}\n        SANS: [{HOST}, 127.0.0.1]\n");
    }
    out.push_str("PeerOrgs:\n");
    for organisation in &plan.organisations {
        let _ = write!(
            out,
            "  - Name: {}
    Domain: {}
    EnableNodeOUs: true
    Template:
      Count: {}
      SANS: [{HOST}, 127.0.0.1]
    Users:
      Count: 1
",
            organisation.name,
            organisation.domain,
            organisation.peers.len()
        );
    }
    out
}

/// `configtx.yaml`: what the channel's first block says.
pub(crate) fn configtx(plan: &Plan, layout: &Layout) -> String {
    let addresses: Vec<_> = plan.orderers.iter().map(|orderer| format!("'{HOST}:{}'", orderer.port)).collect();
    let mut out = format!(
        "# Read by `configtxgen -profile {PROFILE}`.
Organizations:
  - &OrdererOrg
    Name: OrdererOrg
    ID: {ORDERER_MSP}
    MSPDir: {msp}
    Policies:
      Readers: {{Type: Signature, Rule: \"OR('{ORDERER_MSP}.member')\"}}
      Writers: {{Type: Signature, Rule: \"OR('{ORDERER_MSP}.member')\"}}
      Admins: {{Type: Signature, Rule: \"OR('{ORDERER_MSP}.admin')\"}}
    OrdererEndpoints: [{addresses}]
",
        msp = quoted(layout.orderer_organisation().join("msp")),
        addresses = addresses.join(", "),
    );
    for organisation in &plan.organisations {
        put_organisation(&mut out, organisation, layout);
    }
    let _ = write!(
        out,
        "Profiles:
  {PROFILE}:
    Capabilities: {{V2_0: true}}
    Policies: &ImplicitMeta
      Readers: {{Type: ImplicitMeta, Rule: ANY Readers}}
      Writers: {{Type: ImplicitMeta, Rule: ANY Writers}}
      Admins: {{Type: ImplicitMeta, Rule: MAJORITY Admins}}
    Orderer:
      OrdererType: etcdraft
      BatchTimeout: {BATCH_TIMEOUT}
      BatchSize: {{MaxMessageCount: 500, AbsoluteMaxBytes: 10 MB, PreferredMaxBytes: 2 MB}}
      EtcdRaft:
        Consenters:
{consenters}        Options:
          TickInterval: 100ms
          ElectionTick: 10
          HeartbeatTick: 1
          MaxInflightBlocks: 5
          SnapshotIntervalSize: 16 MB
      Organizations: [*OrdererOrg]
      Policies:
        <<: *ImplicitMeta
        BlockValidation: {{Type: ImplicitMeta, Rule: ANY Writers}}
      Capabilities: {{V2_0: true}}
    Application:
      Organizations: [{organisations}]
      Policies:
        <<: *ImplicitMeta
        LifecycleEndorsement: {{Type: ImplicitMeta, Rule: MAJORITY Endorsement}}
        Endorsement: {{Type: ImplicitMeta, Rule: MAJORITY Endorsement}}
      Capabilities: {{V2_5: true}}
",
        consenters = consenters(plan, layout),
        organisations = plan.organisations.iter().map(|o| format!("*{}", o.name)).collect::<Vec<_>>().join(", "),
    );
    out
}

fn put_organisation(out: &mut String, organisation: &Organisation, layout: &Layout) {
    let Organisation { name, msp_id, .. } = organisation;
    let _ = write!(
        out,
        "  - &{name}
    Name: {msp_id}
    ID: {msp_id}
    MSPDir: {msp}
    Policies:
      Readers: {{Type: Signature, Rule: \"OR('{msp_id}.admin', '{msp_id}.peer', '{msp_id}.client')\"}}
      Writers: {{Type: Signature, Rule: \"OR('{msp_id}.admin', '{msp_id}.client')\"}}
      Admins: {{Type: Signature, Rule: \"OR('{msp_id}.admin')\"}}
      Endorsement: {{Type: Signature, Rule: \"OR('{msp_id}.peer')\"}}
",
        msp = quoted(layout.organisation(organisation).join("msp")),
    );
    // The anchor peer is how the peers of other organizations are found.
    if let Some(anchor) = organisation.peers.first() {
        let _ = writeln!(out, "    AnchorPeers: [{{Host: {HOST}, Port: {}}}]", anchor.port);
    }
}

/// How many peers of its organization a peer asks first who else there is.
const BOOTSTRAP_PEERS: usize = 2;

/// A peer's `core.yaml`.
pub(crate) fn core_yaml(layout: &Layout, organisation: &Organisation, peer: &PeerPlan) -> String {
    let crypto = layout.peer_crypto(organisation, peer);
    let tls = |file: &str| quoted(crypto.join("tls").join(file));
    let others = organisation.peers.iter().filter(|other| other.name != peer.name).take(BOOTSTRAP_PEERS);
    let bootstrap: Vec<_> = others.map(|other| format!("'{HOST}:{}'", other.port)).collect();
    format!(
        "# The configuration of {name}. CORE_... variables override it.
peer:
  id: {name}
  networkId: ripstop
  address: {HOST}:{port}
  listenAddress: 127.0.0.1:{port}
  chaincodeListenAddress: 127.0.0.1:{chaincode_port}
  chaincodeAddress: 127.0.0.1:{chaincode_port}
  localMspId: {msp_id}
  mspConfigPath: {msp}
  fileSystemPath: {data}
  tls:
    enabled: true
    clientAuthRequired: false
    cert: {{file: {certificate}}}
    key: {{file: {key}}}
    rootcert: {{file: {root}}}
  BCCSP: {{Default: SW, SW: {{Hash: SHA2, Security: 256}}}}
  gateway: {{enabled: true}}
  gossip: {{externalEndpoint: '{HOST}:{port}', bootstrap: [{bootstrap}], pvtData: {{pullRetryThreshold: 60s}}}}
  discovery:
    enabled: true
    orgMembersAllowedAccess: false
    authCacheEnabled: true
    authCacheMaxSize: 1000
    authCachePurgeRetentionRatio: 0.75
  handlers:
    authFilters: [{{name: DefaultAuth}}, {{name: ExpirationCheck}}]
    decorators: [{{name: DefaultDecorator}}]
    endorsers: {{escc: {{name: DefaultEndorsement}}}}
    validators: {{vscc: {{name: DefaultValidation}}}}
ledger:
  state: {{stateDatabase: goleveldb}}
  history: {{enableHistoryDatabase: true}}
chaincode:
  executetimeout: 30s
  installTimeout: 300s
  startuptimeout: 300s
  system: {{_lifecycle: enable, cscc: enable, lscc: enable, qscc: enable}}
operations: {{listenAddress: '127.0.0.1:{operations_port}', tls: {{enabled: false}}}}
metrics: {{provider: prometheus}}
",
        name = peer.name,
        port = peer.port,
        chaincode_port = peer.chaincode_port,
        operations_port = peer.operations_port,
        msp_id = organisation.msp_id,
        msp = quoted(crypto.join("msp")),
        data = quoted(layout.peer(peer).join("data")),
        certificate = tls("server.crt"),
        key = tls("server.key"),
        root = tls("ca.crt"),
        bootstrap = bootstrap.join(", "),
    )
}

/// The orderers as consenters, each known by its TLS certificate.
fn consenters(plan: &Plan, layout: &Layout) -> String {
    let mut out = String::new();
    for orderer in &plan.orderers {
        let (port, tls) = (orderer.port, quoted(layout.orderer_crypto(orderer).join("tls").join("server.crt")));
        let _ = write!(
            out,
            "          - Host: {HOST}
            Port: {port}
            ClientTLSCert: {tls}
            ServerTLSCert: {tls}
"
        );
    }
    out
}

/// An orderer's `orderer.yaml`.
pub(crate) fn orderer_yaml(orderer: &OrdererPlan, layout: &Layout) -> String {
    let crypto = layout.orderer_crypto(orderer);
    let tls = |file: &str| quoted(crypto.join("tls").join(file));
    let data = layout.orderer(orderer).join("data");
    format!(
        "# The configuration of {name}. ORDERER_... variables override it.
General:
  ListenAddress: 127.0.0.1
  ListenPort: {port}
  LocalMSPID: {ORDERER_MSP}
  LocalMSPDir: {msp}
  BootstrapMethod: none
  TLS:
    Enabled: true
    Certificate: {certificate}
    PrivateKey: {key}
    RootCAs: [{root}]
    ClientAuthRequired: false
  Cluster:
    ClientCertificate: {certificate}
    ClientPrivateKey: {key}
    RootCAs: [{root}]
  BCCSP: {{Default: SW, SW: {{Hash: SHA2, Security: 256}}}}
FileLedger: {{Location: {ledger}}}
Consensus: {{WALDir: {wal}, SnapDir: {snapshots}}}
ChannelParticipation: {{Enabled: true, MaxRequestBodySize: 1 MB}}
Admin:
  ListenAddress: 127.0.0.1:{admin_port}
  TLS:
    Enabled: true
    Certificate: {certificate}
    PrivateKey: {key}
    RootCAs: [{root}]
    ClientAuthRequired: true
    ClientRootCAs: [{root}]
Operations: {{ListenAddress: '127.0.0.1:{operations_port}', TLS: {{Enabled: false}}}}
Metrics: {{Provider: prometheus}}
",
        name = orderer.name,
        port = orderer.port,
        admin_port = orderer.admin_port,
        operations_port = orderer.operations_port,
        msp = quoted(crypto.join("msp")),
        certificate = tls("server.crt"),
        key = tls("server.key"),
        root = tls("ca.crt"),
        ledger = quoted(data.join("ledger")),
        wal = quoted(data.join("etcdraft").join("wal")),
        snapshots = quoted(data.join("etcdraft").join("snapshot")),
    )
}
