//! The sample contract's way through the lifecycle: package, install, approve by every organization, commit.

use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::future::try_join_all;
use ripstop_peer::client::{CallError, Invocation, Peer, Submission, SubmitError};
use ripstop_peer::package::{ServiceAddress, pack_service, package_id};
use ripstop_proto::{Message, lifecycle, protos};

use crate::member::{Member, Members, PeerNode, eventually};
use crate::plan::{CHANNEL, CONTRACT, Plan};
use crate::progress::{Progress, Step};

/// The version of the contract's definition.
const VERSION: &str = "1.0";
/// How often the definition was changed, counted from one.
const SEQUENCE: i64 = 1;
/// The package's label.
const LABEL: &str = "asset-transfer_1.0";
/// How long committing a transaction may take.
pub(crate) const COMMIT_LIMIT: Duration = Duration::from_secs(30);

const ADVICE: &str = "The peers' logs should say why. `ripstop up --fresh` begins anew, without the old ledger.";

/// The contract as the peers get it.
pub(crate) struct Package {
    /// The id that the contract's process announces itself with.
    pub(crate) id: String,
    bytes: bytes::Bytes,
}

impl Package {
    /// Packs the address at which the contract listens.
    pub(crate) fn of(plan: &Plan) -> anyhow::Result<Self> {
        let service = ServiceAddress {
            address: format!("127.0.0.1:{}", plan.contract_port),
            dial_timeout: "10s".to_owned(),
            tls_required: false,
        };
        let bytes = pack_service(LABEL, &service)?;
        Ok(Self { id: package_id(LABEL, &bytes), bytes: bytes.into() })
    }
}

/// Installs the package on one peer, unless it is there.
pub(crate) async fn install(member: &Member, node: &PeerNode, package: &Package) -> anyhow::Result<()> {
    let step =
        || Step::of(&node.plan.name, format!("the contract could not be installed on {}", node.plan.name), ADVICE);
    let query = Invocation::lifecycle("", "QueryInstalledChaincodes", &lifecycle::QueryInstalledChaincodesArgs {});
    let installed: lifecycle::QueryInstalledChaincodesResult =
        ask(&node.peer, member, &query).await.with_context(step)?.context("no answer").with_context(step)?;
    if installed.installed_chaincodes.iter().any(|installed| installed.package_id == package.id) {
        return Ok(());
    }
    let arguments = lifecycle::InstallChaincodeArgs { chaincode_install_package: package.bytes.clone() };
    let call = Invocation::lifecycle("", "InstallChaincode", &arguments);
    let answer: Option<lifecycle::InstallChaincodeResult> = ask(&node.peer, member, &call).await.with_context(step)?;
    let id = answer.unwrap_or_default().package_id;
    if id == package.id {
        Ok(())
    } else {
        Err(anyhow!("the peer names the package {id}, not {}", package.id)).with_context(step)
    }
}

/// Has every organization approve the definition, and commits it; says whether it had to be done.
pub(crate) async fn define(members: &Members, package: &Package, progress: &Progress) -> anyhow::Result<()> {
    let first = members.organisations.first().context("a network has an organisation")?;
    let peer = first.peers.first().context("an organisation has a peer")?;
    let arguments = lifecycle::QueryChaincodeDefinitionArgs { name: CONTRACT.to_owned() };
    let query = Invocation::lifecycle(CHANNEL, "QueryChaincodeDefinition", &arguments);
    let committed: Option<lifecycle::QueryChaincodeDefinitionResult> = ask(&peer.peer, first, &query)
        .await
        .with_context(|| Step::new("the channel's contracts could not be listed", ADVICE))?;
    if committed.is_some() {
        progress.done(format_args!("contract {CONTRACT} is deployed since an earlier start"));
        return Ok(());
    }
    let witnesses = members.peers();
    try_join_all(members.organisations.iter().map(|member| approve(members, member, &witnesses, package))).await?;
    progress.done(format_args!("contract {CONTRACT} approved by {}", names(members)));
    let arguments = lifecycle::CommitChaincodeDefinitionArgs {
        sequence: SEQUENCE,
        name: CONTRACT.to_owned(),
        version: VERSION.to_owned(),
        ..Default::default()
    };
    let call = Invocation::lifecycle(CHANNEL, "CommitChaincodeDefinition", &arguments);
    submit(members, first, &members.first_peers(), &witnesses, &call)
        .await
        .with_context(|| Step::new("the contract's definition could not be committed", ADVICE))?;
    progress.done(format_args!("contract {CONTRACT} committed on channel {CHANNEL}"));
    Ok(())
}

/// Approves the definition for one organization, unless it did so before. All peers of the network see it before this
/// returns, because the commit is endorsed by peers of all of them.
async fn approve(members: &Members, member: &Member, witnesses: &[Peer], package: &Package) -> anyhow::Result<()> {
    let step = || Step::new(format!("{} could not approve the contract", member.plan.name), ADVICE);
    let peer = member.peers.first().context("an organisation has a peer").with_context(step)?;
    let arguments = lifecycle::CheckCommitReadinessArgs {
        sequence: SEQUENCE,
        name: CONTRACT.to_owned(),
        version: VERSION.to_owned(),
        ..Default::default()
    };
    let query = Invocation::lifecycle(CHANNEL, "CheckCommitReadiness", &arguments);
    let readiness: Option<lifecycle::CheckCommitReadinessResult> =
        ask(&peer.peer, member, &query).await.with_context(step)?;
    if readiness.is_some_and(|readiness| readiness.approvals.get(&member.plan.msp_id) == Some(&true)) {
        return Ok(());
    }
    use lifecycle::chaincode_source::{Local, Type};
    let source = Type::LocalPackage(Local { package_id: package.id.clone() });
    let arguments = lifecycle::ApproveChaincodeDefinitionForMyOrgArgs {
        sequence: SEQUENCE,
        name: CONTRACT.to_owned(),
        version: VERSION.to_owned(),
        source: Some(lifecycle::ChaincodeSource { r#type: Some(source) }),
        ..Default::default()
    };
    let call = Invocation::lifecycle(CHANNEL, "ApproveChaincodeDefinitionForMyOrg", &arguments);
    submit(members, member, &member.peers(), witnesses, &call).await.with_context(step)?;
    Ok(())
}

/// Submits as an organization's administrator. Waits where the orderer has no leader yet.
pub(crate) async fn submit(
    members: &Members,
    member: &Member,
    endorsers: &[Peer],
    witnesses: &[Peer],
    call: &Invocation,
) -> anyhow::Result<protos::Response> {
    let submission = Submission {
        endorsers,
        witnesses,
        // Any of them gets it to the leader.
        orderers: members.orderers.get(..1).unwrap_or_default(),
        signer: &member.administrator,
        limit: COMMIT_LIMIT,
    };
    let outcome = eventually(|| async {
        match submission.submit(call).await {
            Err(SubmitError::Broadcast(CallError::Broadcast { status: "SERVICE_UNAVAILABLE", info })) => {
                Err(anyhow!("the orderer takes no transactions: {info}"))
            }
            outcome => Ok(outcome),
        }
    });
    Ok(outcome.await??)
}

/// Asks a peer; `None` when what was asked for does not exist.
async fn ask<R: Message + Default>(peer: &Peer, member: &Member, call: &Invocation) -> anyhow::Result<Option<R>> {
    let answer = peer.query(call, &member.administrator).await?.response.unwrap_or_default();
    match answer.status {
        200 => Ok(Some(R::decode(answer.payload).context("the peer's answer does not decode")?)),
        404 => Ok(None),
        status => Err(anyhow!("{} answers with status {status}: {}", peer.address(), answer.message)),
    }
}

/// The organizations' names as a list.
pub(crate) fn names(members: &Members) -> String {
    let names: Vec<_> = members.organisations.iter().map(|member| member.plan.name.as_str()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}
