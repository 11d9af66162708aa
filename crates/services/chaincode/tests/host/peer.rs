//! A peer without a network: one organization, a real ledger in a temporary directory, a chaincode host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use ripstop_chaincode::{ChaincodeHost, ExecuteError, Execution, HostOptions, Invocation, JoinChannel, NodeParts};
use ripstop_channel_config::genesis;
use ripstop_crypto::SigningIdentity;
use ripstop_ledger::{Ledger, LedgerOptions, Ledgers, PrivateData};
use ripstop_msp::LocalMsp;
use ripstop_operations::Metrics;
use ripstop_proto::{lifecycle, protos};
use ripstop_testkit::{Channel, Organization, Proposal, signed_block};
use ripstop_types::{Block, BlockNumber, ChannelId, MspId, Timestamp, ValidationCode};
use ripstop_validation::VerifiedBlock;
use tempfile::TempDir;

/// Creates ledgers, and nothing else.
struct Join(Arc<Ledgers>);

impl JoinChannel for Join {
    fn join(&self, genesis: Block) -> Result<(), String> {
        self.0.create(genesis).map(drop).map_err(|error| error.to_string())
    }

    fn join_by_snapshot(&self, directory: &Path) -> Result<(), String> {
        self.0.create_from_snapshot(directory, &MspId::new("Org1MSP")).map(drop).map_err(|error| error.to_string())
    }

    fn joining(&self) -> Option<PathBuf> {
        None
    }
}

pub(crate) struct Peer {
    pub(crate) host: ChaincodeHost,
    pub(crate) admin: SigningIdentity,
    pub(crate) client: SigningIdentity,
    endorser: SigningIdentity,
    orderer: SigningIdentity,
    /// The collections of the definitions that are approved and committed.
    pub(crate) collections: protos::CollectionConfigPackage,
    ledgers: Arc<Ledgers>,
    options: HostOptions,
    node: NodeParts,
    genesis: Block,
    sequence: AtomicU64,
    _directory: TempDir,
}

impl Peer {
    /// A peer in no channel yet.
    pub(crate) fn outside(options: impl FnOnce(&mut HostOptions)) -> Self {
        Self::outside_of_channel("V2_5", options)
    }

    fn outside_of_channel(application_capability: &'static str, options: impl FnOnce(&mut HostOptions)) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let (ordering, organization) = (Organization::new("OrdererMSP"), Organization::new("Org1MSP"));
        let channel = Channel { application_capability, ..Channel::new(&ordering, [&organization]) };
        let group = channel.group();
        let id = ChannelId::new("mychannel").expect("the name is well formed");
        let genesis = genesis::block(&id, group, [7; 24], Timestamp { seconds: 1_704_067_200, nanos: 0 });
        let ledgers = Ledgers::open(&directory.path().join("ledgers"), LedgerOptions::default());
        let ledgers = Arc::new(ledgers.expect("a new directory can be opened"));
        let node = NodeParts {
            ledgers: ledgers.clone(),
            local_msp: Arc::new(LocalMsp::new(&organization.msp_config()).expect("the MSP can be set up")),
            join: Arc::new(Join(ledgers.clone())),
            metrics: Metrics::new(),
        };
        let mut host_options = HostOptions::new(directory.path().join("lifecycle").join("chaincodes"));
        options(&mut host_options);
        Self {
            host: ChaincodeHost::new(host_options.clone(), node.clone()).expect("a new store can be opened"),
            admin: organization.admin("admin"),
            client: organization.client("user"),
            endorser: organization.peer("peer0"),
            orderer: ordering.orderer("orderer0"),
            collections: protos::CollectionConfigPackage::default(),
            ledgers,
            options: host_options,
            node,
            genesis,
            sequence: AtomicU64::new(0),
            _directory: directory,
        }
    }

    /// A peer in a channel.
    pub(crate) async fn new(options: impl FnOnce(&mut HostOptions)) -> Self {
        Self::outside(options).joined().await
    }

    /// A peer in a channel whose applications have this capability.
    pub(crate) async fn with_capability(application_capability: &'static str) -> Self {
        Self::outside_of_channel(application_capability, |_| {}).joined().await
    }

    /// Runs chaincode by another host on the same directories, as after a restart of the peer.
    pub(crate) async fn restart(&mut self) {
        self.host.stop().await;
        self.host = ChaincodeHost::new(self.options.clone(), self.node.clone()).expect("the store can be opened");
    }

    /// What is counted.
    pub(crate) fn metrics(&self) -> String {
        self.node.metrics.text()
    }

    async fn joined(self) -> Self {
        let joined = self.local(&self.admin, "cscc", &[b"JoinChain", &self.genesis_bytes()]).await;
        assert_eq!(joined.expect("the peer joins").response.status, 200);
        self
    }

    /// A snapshot that another peer made of the channel's first block.
    pub(crate) fn snapshot_of_genesis(&self, place: &Path) -> PathBuf {
        let snapshots = place.join("snapshots");
        let options = LedgerOptions { snapshots: Some(snapshots.clone()), ..LedgerOptions::default() };
        let ledgers = Ledgers::open(&place.join("ledgers"), options).expect("a new directory can be opened");
        let ledger = ledgers.create(self.genesis.clone()).expect("the genesis block begins a ledger");
        ledger.request_snapshot(BlockNumber::GENESIS).expect("nothing was requested before");
        ledger.wait_for_snapshots();
        snapshots.join("completed/mychannel/0")
    }

    pub(crate) fn genesis_bytes(&self) -> Vec<u8> {
        self.genesis.to_proto().encode_to_vec()
    }

    pub(crate) fn ledger(&self) -> Arc<Ledger> {
        let id = ChannelId::new("mychannel").expect("the name is well formed");
        self.ledgers.get(&id).expect("the peer is in the channel")
    }

    /// Calls a chaincode outside of any channel.
    pub(crate) async fn local(
        &self,
        signer: &SigningIdentity,
        chaincode: &str,
        args: &[&[u8]],
    ) -> Result<Execution, ExecuteError> {
        self.execute(&Proposal::new(None, signer, chaincode, args), None).await
    }

    /// Proposes a call in the channel.
    pub(crate) fn propose(&self, signer: &SigningIdentity, chaincode: &str, args: &[&[u8]]) -> Proposal {
        Proposal::new(Some(self.ledger().channel_id()), signer, chaincode, args)
    }

    pub(crate) async fn execute(
        &self,
        proposal: &Proposal,
        ledger: Option<Arc<Ledger>>,
    ) -> Result<Execution, ExecuteError> {
        let invocation = Invocation {
            ledger,
            tx_id: proposal.tx_id.clone(),
            proposal: proposal.signed.clone(),
            creator: proposal.creator.clone(),
            chaincode: proposal.chaincode.clone(),
            input: proposal.input.clone(),
        };
        self.host.execute(invocation).await
    }

    /// Calls a chaincode in the channel without committing anything.
    pub(crate) async fn evaluate(&self, chaincode: &str, args: &[&str]) -> Result<Execution, ExecuteError> {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let proposal = self.propose(&self.client, chaincode, &args);
        self.execute(&proposal, Some(self.ledger())).await
    }

    /// [`Self::evaluate`] for its text: the payload, or the message of a failure.
    pub(crate) async fn ask(&self, chaincode: &str, args: &[&str]) -> Result<String, String> {
        let execution = self.evaluate(chaincode, args).await.map_err(|error| error.to_string())?;
        match execution.response.status {
            200 => Ok(String::from_utf8_lossy(&execution.response.payload).into_owned()),
            _ => Err(execution.response.message),
        }
    }

    /// Calls a chaincode in the channel and commits what it wrote.
    pub(crate) async fn submit(&self, chaincode: &str, args: &[&str]) -> Execution {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        let proposal = self.propose(&self.client, chaincode, &args);
        self.submit_proposal(&proposal, &self.client).await
    }

    pub(crate) async fn submit_proposal(&self, proposal: &Proposal, signer: &SigningIdentity) -> Execution {
        let execution = self.execute(proposal, Some(self.ledger())).await.expect("the proposal is executed");
        assert_eq!(execution.response.status, 200, "{}", execution.response.message);
        let results = execution.results.as_ref().expect("the call simulates");
        let action = protos::ChaincodeAction {
            results: results.public_bytes.clone(),
            events: execution.event.as_ref().map(|event| event.encode_to_vec().into()).unwrap_or_default(),
            response: Some(execution.response.clone()),
            chaincode_id: Some(execution.chaincode.clone().into()),
        };
        let envelope = proposal.transaction(signer, &action, std::slice::from_ref(&self.endorser));
        let private: BTreeMap<u64, _> = results.private.clone().map(|private| (0, private)).into_iter().collect();
        self.commit(vec![envelope], private.into());
        execution
    }

    fn commit(&self, envelopes: Vec<Bytes>, private: PrivateData) {
        let ledger = self.ledger();
        let number = BlockNumber::new(ledger.height());
        let last = number.previous().expect("there is a genesis block");
        let last = ledger.block(last).expect("the ledger can be read").expect("the block is committed");
        let block = signed_block(&self.orderer, number, last.header.hash().to_bytes(), envelopes);
        let (config, state) = (ledger.config(), ledger.snapshot());
        let verified = VerifiedBlock::verify(block, &config, number, &last.header.hash().to_bytes());
        let checked = verified.expect("the block is signed").check(&config, state.as_ref()).expect("it is decided");
        let validated = checked.validate(state.as_ref(), &ledger.commit_hash()).expect("it is decided");
        let reasons: Vec<String> = validated
            .transactions()
            .iter()
            .filter_map(|transaction| transaction.refusal.as_ref().map(ToString::to_string))
            .collect();
        let all_valid = validated.codes().as_slice().iter().all(|code| *code == ValidationCode::Valid);
        assert!(all_valid, "{reasons:?}");
        ledger.commit(validated, private).expect("the ledger can be written");
    }

    /// Calls a function of `_lifecycle` as an administrator.
    pub(crate) async fn lifecycle<R: Message + Default>(
        &self,
        function: &str,
        args: &impl Message,
    ) -> Result<R, (i32, String)> {
        let proposal = self.propose(&self.admin, "_lifecycle", &[function.as_bytes(), &args.encode_to_vec()]);
        let execution = self.execute(&proposal, Some(self.ledger())).await.expect("_lifecycle answers");
        match execution.response.status {
            200 => Ok(R::decode(execution.response.payload).expect("the result decodes")),
            status => Err((status, execution.response.message)),
        }
    }

    /// Installs a package outside of any channel; gives its id.
    pub(crate) async fn install(&self, package: Vec<u8>) -> Result<String, String> {
        let args = lifecycle::InstallChaincodeArgs { chaincode_install_package: package.into() }.encode_to_vec();
        let installed = self.local(&self.admin, "_lifecycle", &[b"InstallChaincode", &args]).await;
        let response = installed.expect("_lifecycle answers").response;
        match response.status {
            200 => Ok(lifecycle::InstallChaincodeResult::decode(response.payload).expect("it decodes").package_id),
            _ => Err(response.message),
        }
    }

    /// Approves a first definition.
    pub(crate) async fn approve(&self, name: &str, package_id: &str, init_required: bool) {
        self.approve_sequence(name, 1, package_id, init_required).await;
    }

    /// Approves a definition; an empty package id means none.
    pub(crate) async fn approve_sequence(&self, name: &str, sequence: i64, package_id: &str, init_required: bool) {
        use lifecycle::chaincode_source::{Local, Type};
        let source = lifecycle::ChaincodeSource {
            r#type: Some(Type::LocalPackage(Local { package_id: package_id.to_owned() })),
        };
        let args = lifecycle::ApproveChaincodeDefinitionForMyOrgArgs {
            sequence,
            name: name.to_owned(),
            version: format!("{sequence}.0"),
            init_required,
            source: Some(source),
            collections: Some(self.collections.clone()),
            ..Default::default()
        };
        let args = args.encode_to_vec();
        let proposal = self.propose(&self.admin, "_lifecycle", &[b"ApproveChaincodeDefinitionForMyOrg", &args]);
        self.submit_proposal(&proposal, &self.admin).await;
    }

    /// Commits a first definition.
    pub(crate) async fn define(&self, name: &str, init_required: bool) {
        self.define_sequence(name, 1, init_required).await;
    }

    /// Commits a definition.
    pub(crate) async fn define_sequence(&self, name: &str, sequence: i64, init_required: bool) {
        let args = lifecycle::CommitChaincodeDefinitionArgs {
            sequence,
            name: name.to_owned(),
            version: format!("{sequence}.0"),
            init_required,
            collections: Some(self.collections.clone()),
            ..Default::default()
        };
        let args = args.encode_to_vec();
        let proposal = self.propose(&self.admin, "_lifecycle", &[b"CommitChaincodeDefinition", &args]);
        self.submit_proposal(&proposal, &self.admin).await;
    }

    /// Installs, approves and commits; gives the package's id.
    pub(crate) async fn deploy(&self, name: &str, address: &str) -> String {
        let label = format!("{name}_{}", self.sequence.fetch_add(1, Ordering::Relaxed));
        let id = self.install(service_package(&label, address)).await.expect("the package is good");
        self.approve(name, &id, false).await;
        self.define(name, false).await;
        id
    }
}

/// A package of chaincode as a service at this address.
pub(crate) fn service_package(label: &str, address: &str) -> Vec<u8> {
    let connection = format!(r#"{{"address":"{address}","dial_timeout":"5s","tls_required":false}}"#);
    let code = archive(&[("connection.json", connection.as_bytes())]);
    package("ccaas", label, &code)
}

/// A package of chaincode as a service with this connection file.
pub(crate) fn package_with_connection(label: &str, connection: &str) -> Vec<u8> {
    package("CCAAS", label, &archive(&[("connection.json", connection.as_bytes())]))
}

/// A package of any type.
pub(crate) fn package(kind: &str, label: &str, code: &[u8]) -> Vec<u8> {
    let metadata = format!(r#"{{"type":"{kind}","path":"","label":"{label}"}}"#);
    archive(&[("metadata.json", metadata.as_bytes()), ("code.tar.gz", code)])
}

pub(crate) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o100_644);
        header.set_cksum();
        builder.append_data(&mut header, name, *content).expect("memory can be written");
    }
    builder.into_inner().and_then(GzEncoder::finish).expect("memory can be written")
}
