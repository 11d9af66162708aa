//! The one binary of Ripstop: every Fabric command by the name it is called with, and the commands of Ripstop itself.
//!
//! What question this crate answers: *which command was meant?* It is a library with a one-line `main`, so that tests and
//! benchmarks of other packages can build the very same program.
//!
//! Absent: everything else. Each command is a crate of `crates/programs`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

mod links;
mod supervised;

/// A command: its name, what runs it, and what it is for.
struct Command {
    name: &'static str,
    run: fn(Vec<OsString>) -> ExitCode,
    purpose: &'static str,
}

/// Fabric's commands. Each also runs when the program is called by its name.
const FABRIC: [Command; 8] = [
    Command { name: "peer", run: |args| ripstop_peer::run(args), purpose: "run a peer; deploy and call contracts" },
    Command { name: "orderer", run: |args| ripstop_orderer::run(args), purpose: "run an ordering node" },
    Command {
        name: "osnadmin",
        run: |args| ripstop_osnadmin::run(args),
        purpose: "join an ordering node to channels, list and remove them",
    },
    Command {
        name: "configtxgen",
        run: |args| ripstop_configtxgen::run(args),
        purpose: "make a channel's first block from configtx.yaml",
    },
    Command {
        name: "configtxlator",
        run: |args| ripstop_configtxlator::run(args),
        purpose: "write messages as JSON, read them, compute updates of configurations",
    },
    Command {
        name: "cryptogen",
        run: |args| ripstop_cryptogen::run(args),
        purpose: "make certificates and keys for networks to try things on",
    },
    Command {
        name: "discover",
        run: |args| ripstop_discover::run(args),
        purpose: "ask a peer about peers, members and endorsers of a channel",
    },
    Command {
        name: "ledgerutil",
        run: |args| ripstop_ledgerutil::run(args),
        purpose: "compare ledgers, and look into block files",
    },
];

/// Ripstop's own commands.
const OURS: [Command; 4] = [
    Command {
        name: "up",
        run: |args| ripstop_network::run(args),
        purpose: "start a whole network with a contract and a first transaction",
    },
    Command {
        name: "env",
        run: |args| ripstop_network::run(args),
        purpose: "print the variables with which commands act as org1, org2, ...",
    },
    Command { name: "links", run: links::run, purpose: "make links named peer, orderer, ... to this program" },
    Command { name: "contract", run: contract, purpose: "run a sample contract as a service: asset-transfer" },
];

/// Runs the command that the program's name, or else the first argument, asks for.
pub fn run(args: Vec<OsString>) -> ExitCode {
    supervised::end_with_supervisor();
    let called = args.first().and_then(|name| Path::new(name).file_stem()).and_then(|name| name.to_str());
    if let Some(command) = FABRIC.iter().find(|command| called == Some(command.name)) {
        return (command.run)(args);
    }
    let Some(first) = args.get(1).and_then(|name| name.to_str()) else {
        print(&help());
        return ExitCode::SUCCESS;
    };
    if let Some(command) = FABRIC.iter().find(|command| command.name == first) {
        return (command.run)(args.into_iter().skip(1).collect());
    }
    if let Some(command) = OURS.iter().find(|command| command.name == first) {
        return (command.run)(args);
    }
    match first {
        "help" | "--help" | "-h" => {
            print(&help());
            ExitCode::SUCCESS
        }
        "version" | "--version" | "-V" => {
            print(&format!("ripstop {} (speaks Fabric 3.1)\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        unknown => {
            eprintln!("Error: there is no command '{unknown}'\n\n{}", help());
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard output. Whoever closed it wants no more, which is no error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn help() -> String {
    let list = |commands: &[Command]| -> String {
        commands.iter().map(|command| format!("  {:<13} {}\n", command.name, command.purpose)).collect()
    };
    format!(
        "Ripstop: a Hyperledger Fabric network in one binary.

Start here:

  ripstop up                    a network of two organisations on this machine, with a deployed contract
  eval \"$(ripstop env org1)\"    in another terminal: act as the administrator of org1
  ripstop peer chaincode query -C mychannel -n asset-transfer -c '{{\"Args\":[\"GetAllAssets\"]}}'

Ripstop's own commands:

{}
Fabric's commands, with Fabric's flags, files and output:

{}
`ripstop COMMAND --help` tells more about each.
",
        list(&OURS),
        list(&FABRIC)
    )
}

fn contract(args: Vec<OsString>) -> ExitCode {
    match args.get(2).and_then(|name| name.to_str()) {
        Some("asset-transfer") => ripstop_contract::run(ripstop_asset_transfer::contract()),
        _ => {
            eprintln!(
                "Usage: ripstop contract asset-transfer

Serves the contract at CHAINCODE_SERVER_ADDRESS under the package id in CHAINCODE_ID."
            );
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_command() {
        let help = help();
        for command in FABRIC.iter().chain(&OURS) {
            assert!(help.contains(&format!("\n  {:<13} ", command.name)), "{}", command.name);
        }
    }
}
