//! The course of `ripstop up`, from nothing to a committed transaction.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures_util::future::{select_all, try_join_all};
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::deploy::{self, Package};
use crate::material;
use crate::member::{Members, listening, orderer_admin};
use crate::neighbours;
use crate::plan::{self, CHANNEL, CONTRACT, HOST, Layout, OrdererPlan, PeerPlan, Plan};
use crate::process::{Kind, Process};
use crate::progress::{Progress, Step};
use crate::restarts::{MAX_ENDS, Restarts, Spare};
use crate::transaction::{self, Shown};
use crate::{DEFAULT_DIRECTORY, Size, UpOptions, channel, summary};
use ripstop_command_line::say;

/// The contract's process, and its log.
const CONTRACT_PROCESS: &str = "contract";

/// Runs a network until it is told to stop, or once.
pub(crate) fn run(options: &UpOptions) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error: there is no runtime to run on: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let mut processes = Vec::new();
        let outcome = go(options, &mut processes).await;
        if let Err(error) = &outcome {
            explain(error, &processes);
        }
        try_stop(processes).await;
        match outcome {
            Ok(End::Done) => ExitCode::SUCCESS,
            Ok(End::Interrupted) => {
                say!("Stopped.");
                ExitCode::SUCCESS
            }
            Err(_) => ExitCode::FAILURE,
        }
    })
}

/// Why a network stopped though nothing failed.
enum End {
    /// All was done that was asked for.
    Done,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

async fn go(options: &UpOptions, processes: &mut Vec<Process>) -> anyhow::Result<End> {
    let progress = Progress::start();
    let mut stop = StopSignals::listen()?;
    let layout = Layout::new(&options.directory)?;
    std::fs::create_dir_all(&layout.root).with_context(|| format!("cannot make {}", layout.root.display()))?;
    let _lock = lock(&layout)?;
    let plan = prepare(options, &layout, &progress)?;
    let package = Package::of(&plan)?;
    start_processes(&plan, &layout, &package, processes)?;
    let genesis_block = material::genesis_block(&layout)?;
    plan.save(&layout)?;
    let members = Members::load(&plan, &layout)?;
    let brought_up = bring_up(&plan, &layout, &members, &package, genesis_block, &progress);
    let (shown, blocks) = tokio::select! {
        biased;
        () = stop.next() => return Ok(End::Interrupted),
        (place, how) = first_end(processes) => return Err(ended_by_itself(&processes[place], &how)),
        outcome = brought_up => outcome?,
    };
    say!("{}", summary::text(&plan, &layout, &shown, blocks));
    if !options.once {
        let elsewhere = options.directory.as_os_str() != DEFAULT_DIRECTORY;
        say!("{}", summary::how_to_call(elsewhere.then_some(layout.root.as_path())));
        say!("  Ctrl-C stops everything; the next `up` goes on with the same ledger.\n");
    }
    let mut acquaintance = std::pin::pin!(neighbours::lines(&plan, &layout, &members));
    let mut are_acquainted = false;
    let mut restarts = Restarts::default();
    loop {
        tokio::select! {
            biased;
            () = stop.next() => return Ok(End::Interrupted),
            lines = &mut acquaintance, if !are_acquainted => {
                lines.iter().for_each(|line| say!("  {line}"));
                if options.once {
                    return Ok(End::Done);
                }
                are_acquainted = true;
            }
            (place, how) = first_end(processes) => {
                let (spare, pause) = may_go_on_without(&plan, &mut restarts, &processes[place], &how)?;
                tokio::select! {
                    biased;
                    () = stop.next() => return Ok(End::Interrupted),
                    () = tokio::time::sleep(pause) => processes[place] = start_again(spare, &layout)?,
                }
            }
        }
    }
}

/// What the network can do without is to be started again when it was killed, after a pause where it ended soon after its
/// start. Whatever else ends, ends all.
fn may_go_on_without<'a>(
    plan: &'a Plan,
    restarts: &mut Restarts,
    process: &Process,
    how: &std::io::Result<ExitStatus>,
) -> anyhow::Result<(Spare<'a>, Duration)> {
    let signal = how.as_ref().ok().and_then(ExitStatus::signal);
    let (Some(signal), Some(spare)) = (signal, Spare::named(&process.name, plan)) else {
        return Err(ended_by_itself(process, how));
    };
    let Some(pause) = restarts.pause(&process.name, process.age()) else {
        let step = Step::of(&process.name, format!("{} does not stay up", process.name), "Its log should say why.");
        let cause =
            anyhow!("it was killed soon after its start {MAX_ENDS} times in a row, the last time by signal {signal}");
        return Err(cause.context(step));
    };
    match pause.as_secs() {
        0 => say!("  {} was killed (signal {signal}); it is started again", process.name),
        seconds => say!("  {} was killed (signal {signal}); it is started again in {seconds} s", process.name),
    }
    Ok((spare, pause))
}

/// Makes sure that nobody else runs the network in this directory. The lock ends with the returned file.
fn lock(layout: &Layout) -> anyhow::Result<std::fs::File> {
    let path = layout.lock();
    let file = std::fs::File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot write {}", path.display()))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        anyhow!(
            "another `ripstop up` runs the network in {}: stop it, or name another directory with --dir",
            layout.root.display()
        )
    })?;
    Ok(file)
}

/// Finds the network of an earlier start, or makes a new one.
fn prepare(options: &UpOptions, layout: &Layout, progress: &Progress) -> anyhow::Result<Plan> {
    if !options.fresh
        && let Some(plan) = Plan::load(layout)?
    {
        check_same(options, &plan, layout)?;
        if let Some(port) = plan::first_occupied(&plan.ports()) {
            bail!(
                "port {port}, which this network has used before, is in use by another program: stop that, or begin anew with --fresh"
            );
        }
        progress.done(format_args!("found the network in {}: {}", layout.root.display(), plan.size()));
        return Ok(plan);
    }
    material::clear(layout)?;
    let size = Size {
        organisations: options.organisations.unwrap_or(2),
        peers: options.peers.unwrap_or(1),
        orderers: options.orderers.unwrap_or(1),
    };
    let plan = match options.first_port {
        Some(first) => Plan::new(size, plan::ports_from(first))?,
        None => Plan::new(size, plan::free_ports())?,
    };
    if let Some(port) = plan::first_occupied(&plan.ports()) {
        bail!(
            "port {port} is in use by another program: name other ports with --ports, or leave it out to use free ones"
        );
    }
    material::make(&plan, layout)?;
    progress.done(format_args!("keys, certificates and configuration for {size}"));
    Ok(plan)
}

/// A network keeps the size and ports it was made with.
fn check_same(options: &UpOptions, plan: &Plan, layout: &Layout) -> anyhow::Result<()> {
    let size = plan.size();
    let asked = Size {
        organisations: options.organisations.unwrap_or(size.organisations),
        peers: options.peers.unwrap_or(size.peers),
        orderers: options.orderers.unwrap_or(size.orderers),
    };
    if asked != size {
        bail!(
            "the network in {} has {size}, not {asked}: begin anew with --fresh, or name another directory with --dir",
            layout.root.display()
        );
    }
    let first_used = plan.first_orderer()?.port;
    if options.first_port.is_some_and(|first| first != first_used) {
        bail!(
            "the network in {} uses ports from {} on: begin anew with --fresh, or name another directory with --dir",
            layout.root.display(),
            first_used
        );
    }
    Ok(())
}

/// Starts every process of the network. They find each other when all are there.
fn start_processes(
    plan: &Plan,
    layout: &Layout,
    package: &Package,
    processes: &mut Vec<Process>,
) -> anyhow::Result<()> {
    for orderer in &plan.orderers {
        processes.push(start_orderer(orderer, layout)?);
    }
    for peer in plan.organisations.iter().flat_map(|organisation| &organisation.peers) {
        processes.push(start_peer(peer, layout)?);
    }
    let variables = [
        ("CHAINCODE_SERVER_ADDRESS", format!("127.0.0.1:{}", plan.contract_port).into()),
        ("CHAINCODE_ID", package.id.clone().into()),
    ];
    processes.push(Process::start(
        CONTRACT_PROCESS,
        Kind::Other,
        &["contract", CONTRACT],
        &variables,
        layout.log(CONTRACT_PROCESS),
    )?);
    Ok(())
}

fn start_orderer(orderer: &OrdererPlan, layout: &Layout) -> anyhow::Result<Process> {
    let variables = [("FABRIC_CFG_PATH", layout.orderer(orderer).into_os_string())];
    Process::start(&orderer.name, Kind::Orderer, &["orderer"], &variables, layout.log(&orderer.name))
}

fn start_peer(peer: &PeerPlan, layout: &Layout) -> anyhow::Result<Process> {
    let variables = [("FABRIC_CFG_PATH", layout.peer(peer).into_os_string())];
    Process::start(&peer.name, Kind::Other, &["peer", "node", "start"], &variables, layout.log(&peer.name))
}

fn start_again(spare: Spare<'_>, layout: &Layout) -> anyhow::Result<Process> {
    match spare {
        Spare::Orderer(orderer) => start_orderer(orderer, layout),
        Spare::Peer(peer) => start_peer(peer, layout),
    }
}

/// Joins, deploys and transacts; returns what the transaction did and how many blocks the channel has then.
async fn bring_up(
    plan: &Plan,
    layout: &Layout,
    members: &Members,
    package: &Package,
    genesis_block: bytes::Bytes,
    progress: &Progress,
) -> anyhow::Result<(Shown, u64)> {
    let orderer = async {
        try_join_all(plan.orderers.iter().map(async |orderer| {
            let (name, admin) = (&orderer.name, orderer_admin(orderer, layout)?);
            listening(name, &admin).await?;
            channel::join_orderer(name, &admin, &genesis_block).await?;
            progress.done(format_args!("{name} runs at {HOST}:{} and orders {CHANNEL}", orderer.port));
            anyhow::Ok(())
        }))
        .await?;
        channel::orderer_height(members).await
    };
    let peers = try_join_all(members.nodes().map(async |(member, node)| {
        let name = &node.plan.name;
        listening(name, &node.endpoint).await?;
        channel::join_peer(member, node, genesis_block.clone()).await?;
        deploy::install(member, node, package).await?;
        progress.done(format_args!("{name} runs at {HOST}:{} and keeps {CHANNEL}", node.plan.port));
        Ok(())
    }));
    let contract = async {
        let endpoint = ripstop_transport::Endpoint::new(&format!("127.0.0.1:{}", plan.contract_port))?;
        listening(CONTRACT_PROCESS, &endpoint).await
    };
    let (height, _, ()) = tokio::try_join!(orderer, peers, contract)?;
    try_join_all(members.nodes().map(|(member, node)| channel::caught_up(member, node, height))).await?;
    deploy::define(members, package, progress).await?;
    let shown = transaction::show(members).await?;
    progress.done(format_args!("first transaction, endorsed by {}, committed", deploy::names(members)));
    Ok((shown, channel::orderer_height(members).await?))
}

/// Waits until a process ends, which none should; tells which and how.
async fn first_end(processes: &mut [Process]) -> (usize, std::io::Result<ExitStatus>) {
    let (how, place, _) = select_all(processes.iter_mut().map(|process| Box::pin(process.ended()))).await;
    (place, how)
}

fn ended_by_itself(process: &Process, how: &std::io::Result<ExitStatus>) -> anyhow::Error {
    let how = match how {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    let step = Step::of(&process.name, format!("{} has stopped", process.name), "Its log should say why.");
    anyhow!("it ended by itself: {how}").context(step)
}

/// Stops what runs: peers and contract first, then the orderers, all at once within these.
async fn try_stop(processes: Vec<Process>) {
    let (orderers, others): (Vec<_>, Vec<_>) = processes.into_iter().partition(|process| process.is_orderer());
    for group in [others, orderers] {
        futures_util::future::join_all(group.into_iter().map(Process::stop)).await;
    }
}

/// Says what failed, why, what to do, and what the log says.
fn explain(error: &anyhow::Error, processes: &[Process]) {
    eprintln!("\n✗ {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because {cause}");
    }
    let Some(step) = error.downcast_ref::<Step>() else { return };
    let process = step.process.as_ref().and_then(|name| processes.iter().find(|process| process.name == *name));
    if let Some(process) = process {
        let lines = process.tail();
        if !lines.is_empty() {
            eprintln!("\n  The last lines of {}:", process.log.display());
            lines.iter().for_each(|line| eprintln!("    {line}"));
        }
    }
    eprintln!("\n  {}", step.advice);
    if !processes.is_empty() {
        eprintln!("  Everything that was started is stopped.");
    }
}

/// Ctrl-C, and what service managers send.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
