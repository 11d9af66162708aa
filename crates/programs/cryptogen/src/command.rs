use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::CryptoConfig;
use crate::config::Kind;
use crate::organization::write_organization;

const DEFAULT_CONFIG: &str = include_str!("crypto-config.yaml");

/// Utility for generating Hyperledger Fabric key material
#[derive(Debug, Parser)]
#[command(name = "cryptogen", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Generate key material
    Generate {
        /// The output directory in which to place artifacts
        #[arg(long, default_value = "crypto-config")]
        output: PathBuf,
        /// The configuration template to use
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Show the default configuration template
    Showtemplate,
    /// Show version information
    Version,
    /// Extend existing network
    Extend {
        /// The input directory in which existing network place
        #[arg(long, default_value = "crypto-config")]
        input: PathBuf,
        /// The configuration template to use
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// Runs the command with the arguments of a process, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    let done = match arguments.command {
        Command::Generate { output, config } => write_all(config.as_deref(), &output),
        Command::Extend { input, config } => write_all(config.as_deref(), &input),
        Command::Showtemplate => {
            print!("{DEFAULT_CONFIG}");
            Ok(())
        }
        Command::Version => {
            print_version();
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Writes what is missing; says which peer organisation it is at.
fn write_all(config: Option<&Path>, dir: &Path) -> Result<(), String> {
    let text = match config {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| format!("Error reading configuration: {}: {error}", path.display()))?,
        None => DEFAULT_CONFIG.to_owned(),
    };
    let config = CryptoConfig::parse(&text).map_err(|error| format!("Error reading config: {error}"))?;
    for organization in &config.peer_orgs {
        println!("{}", organization.domain);
        write_organization(organization, Kind::Peer, dir)
            .map_err(|error| format!("Error processing peer configuration: {error}"))?;
    }
    for organization in &config.orderer_orgs {
        write_organization(organization, Kind::Orderer, dir)
            .map_err(|error| format!("Error processing orderer configuration: {error}"))?;
    }
    Ok(())
}

fn print_version() {
    println!(
        "cryptogen:\n Version: v{}\n Commit SHA: {}\n OS/Arch: {}/{}",
        env!("CARGO_PKG_VERSION"),
        option_env!("RIPSTOP_COMMIT").unwrap_or("development build"),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
}
