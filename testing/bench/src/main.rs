//! Speed and memory of a real network, printed as a table: `cargo run --release -p ripstop-bench`; how a peer that was away
//! catches up: `cargo run --release -p ripstop-bench -- catchup`.
//!
//! Called with other arguments this program is `ripstop` itself, so that what is measured is built with it and is the very
//! same code. Figures of a busy machine say little; CPU seconds are the ones that hold.

mod catchup;
mod throughput;

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// How often a network is started from nothing.
const STARTS: usize = 5;
/// How long a network is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(10);
/// The words with which `ripstop up` says that the network runs until it is interrupted.
const READY: &str = "Ctrl-C";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let outcome = match arguments.get(1).and_then(|first| first.to_str()) {
        None if arguments.len() == 1 => first_transaction().and_then(|()| running_network()),
        Some("catchup") => catchup::run(&arguments[2..]),
        Some(catchup::SECRETS) => return catchup::serve_secrets(),
        _ => return ripstop::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("the benchmark failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// From the start of `ripstop up --once` to its end: network made, contract deployed, first transaction committed,
/// everything stopped.
fn first_transaction() -> Outcome {
    println!("{:<44} {:>9} {:>9}", "first transaction (up --once)", "seconds", "CPU s");
    for round in 1..=STARTS {
        let scratch = tempfile::tempdir()?;
        let cpu_before = cpu_of_children();
        let started = Instant::now();
        let output =
            Command::new(std::env::current_exe()?).arg("up").arg("--once").arg("--dir").arg(scratch.path()).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let cpu = cpu_of_children() - cpu_before;
        println!(
            "{:<44} {:>9.2} {:>9.2}",
            format!("  round {round}"),
            started.elapsed().as_secs_f64(),
            cpu.as_secs_f64()
        );
    }
    Ok(())
}

/// What a network needs when nobody uses it, and what it does when somebody does.
fn running_network() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let mut network = Command::new(std::env::current_exe()?)
        .arg("up")
        .arg("--dir")
        .arg(scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = network.stdout.take().ok_or("the standard output is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains(READY));
    let outcome = if ready {
        std::thread::sleep(IDLE);
        memory(network.id(), &format!("memory after {} s idle", IDLE.as_secs()));
        throughput::measure(scratch.path()).map(|()| memory(network.id(), "memory after that"))
    } else {
        Err("the network did not come to run".into())
    };
    rustix::process::kill_process(rustix::process::Pid::from_child(&network), rustix::process::Signal::INT)?;
    network.wait()?;
    outcome
}

/// Resident memory of every process of a network.
fn memory(network: u32, when: &str) {
    println!("{when:<44} {:>9} {:>9}", "RSS MB", "peak MB");
    for pid in children_of(network) {
        let what = command_line(pid);
        println!(
            "{:<44} {:>9.1} {:>9.1}",
            format!("  {what}"),
            status_megabytes(pid, "VmRSS:"),
            status_megabytes(pid, "VmHWM:")
        );
    }
}

fn cpu_of_children() -> Duration {
    // Fields 16 and 17 of /proc/self/stat: user and system ticks of children that were waited for.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// The CPU time that a process has taken so far.
fn cpu_of(pid: u32) -> Duration {
    // Fields 14 and 15 of /proc/PID/stat: user and system ticks.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn children_of(parent: u32) -> Vec<u32> {
    let mut children: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| status_field(*pid, "PPid:").and_then(|value| value.parse().ok()) == Some(parent))
        .collect();
    children.sort_unstable();
    children
}

fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

fn status_megabytes(pid: u32, name: &str) -> f64 {
    status_field(pid, name).and_then(|value| value.parse::<f64>().ok()).map_or(0.0, |kilobytes| kilobytes / 1024.0)
}

fn command_line(pid: u32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = raw.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ").trim().to_owned()
}
