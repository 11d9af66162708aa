use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use ripstop_command_line::kingpin::parse;
use ripstop_command_line::{os_text, say, version};

use crate::CryptoConfig;
use crate::config::Kind;
use crate::organization::write_organization;

const DEFAULT_CONFIG: &str = include_str!("crypto-config.yaml");
/// The exit status of a configuration that cannot be carried out: Fabric ends with -1.
const BAD_CONFIGURATION: u8 = 255;

/// Utility for generating Hyperledger Fabric key material
#[derive(Debug, clap::Parser)]
#[command(name = "cryptogen")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Generate key material
    Generate {
        /// The output directory in which to place artifacts
        #[arg(long, default_value = "crypto-config")]
        output: String,
        /// The configuration template to use
        #[arg(long, value_parser = read_config)]
        config: Option<String>,
    },
    /// Show the default configuration template
    Showtemplate,
    /// Show version information
    Version,
    /// Extend existing network
    Extend {
        /// The input directory in which existing network place
        #[arg(long, default_value = "crypto-config")]
        input: String,
        /// The configuration template to use
        #[arg(long, value_parser = read_config)]
        config: Option<String>,
    },
}

/// Runs the command with the arguments of a process, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Arguments = match parse(args) {
        Ok(arguments) => arguments,
        Err(stop) => return stop.report("cryptogen"),
    };
    match arguments.command {
        Command::Generate { output, config } => write_all(config.as_deref(), Path::new(&output)),
        Command::Extend { input, config } => write_all(config.as_deref(), Path::new(&input)),
        Command::Showtemplate => {
            say!("{}", DEFAULT_CONFIG.trim_end());
            ExitCode::SUCCESS
        }
        Command::Version => {
            say!("{}", version("cryptogen"));
            ExitCode::SUCCESS
        }
    }
}

/// The text of a configuration, whose file the flag names: a file that cannot be read makes no sense as an argument.
fn read_config(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("open {path}: {}", os_text(&error)))
}

/// Writes what is missing; says on standard output, as Fabric does, which peer organization it is at and what went wrong.
fn write_all(config: Option<&str>, dir: &Path) -> ExitCode {
    let config = match CryptoConfig::parse(config.unwrap_or(DEFAULT_CONFIG)) {
        Ok(config) => config,
        Err(error) => {
            say!("Error reading config: {error}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    for (kind, organization) in config.organizations() {
        let organization = match organization.clone().render(kind) {
            Ok(organization) => organization,
            Err(error) => {
                say!("Error processing {} configuration: {error}", kind.name());
                return ExitCode::from(BAD_CONFIGURATION);
            }
        };
        if kind == Kind::Peer {
            say!("{}", &organization.domain);
        }
        if let Err(error) = write_organization(&organization, kind, dir) {
            say!("Error generating material for org {}:\n{error}", organization.domain);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
