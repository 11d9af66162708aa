use std::path::Path;

use anyhow::anyhow;
use ripstop_chaincode_builder::{Package, PackageError, package_id};
use ripstop_command_line::say;
use ripstop_lifecycle::is_label;
use serde_json::json;

use super::{Output, OutputFlag};
use crate::commands::Failure;
use crate::flags::PeerFlags;
use crate::{package, text};

/// The subcommands that are about packages alone; they need neither identity nor configuration.
#[derive(Debug, clap::Subcommand)]
pub(super) enum PackagingCommand {
    #[command(about = "Package a chaincode", long_about = "Package a chaincode and write the package to a file.")]
    Package(PackageFlags),
    #[command(
        about = "Calculate the package ID for a chaincode.",
        long_about = "Calculate the package ID for a packaged chaincode."
    )]
    Calculatepackageid {
        #[command(flatten)]
        _peers: PeerFlags,
        #[command(flatten)]
        output: OutputFlag,
        #[arg(value_name = "[packageFile]")]
        arguments: Vec<String>,
    },
}

impl PackagingCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Package(flags) => pack(&flags),
            Self::Calculatepackageid { output, arguments, .. } => calculate_package_id(&arguments, output.choice()),
        }
    }
}

/// What to pack.
#[derive(Debug, clap::Args)]
pub(super) struct PackageFlags {
    /// The package label contains a human-readable description of the package
    #[arg(long = "label", default_value = "")]
    label: String,
    /// Language the chaincode is written in
    #[arg(short = 'l', long = "lang", default_value = "golang")]
    language: String,
    /// Path to the chaincode
    #[arg(short = 'p', long = "path", default_value = "")]
    path: String,
    #[command(flatten)]
    _peers: PeerFlags,
    #[arg(value_name = "[outputfile]")]
    arguments: Vec<String>,
}

/// Packs a chaincode into a file.
fn pack(flags: &PackageFlags) -> Result<(), Failure> {
    let [file] = flags.arguments.as_slice() else {
        return Err(anyhow!("invalid number of args. expected only the output file").into());
    };
    for (missing, words) in [
        (flags.path.is_empty(), "chaincode path must be specified"),
        (flags.language.is_empty(), "chaincode language must be specified"),
        (file.is_empty(), "output file must be specified"),
        (flags.label.is_empty(), "package label must be specified"),
    ] {
        if missing {
            return Err(anyhow!(words).into());
        }
    }
    if !is_label(&flags.label) {
        return Err(PackageError::Label(flags.label.clone()).into());
    }
    let package = package::pack_directory(&flags.label, &flags.language, &flags.path)?;
    std::fs::write(file, package).map_err(|error| {
        anyhow!("error writing chaincode package to {file}: {}", text::not_opened(Path::new(file), &error))
    })?;
    Ok(())
}

/// Prints the id that peers will know a package by.
fn calculate_package_id(arguments: &[String], output: Output) -> Result<(), Failure> {
    let [file] = arguments else {
        return Err(anyhow!("invalid number of args. expected only the packaged chaincode file").into());
    };
    let bytes = read(file)?;
    let package =
        Package::parse(&bytes).map_err(|error| anyhow!("could not parse as a chaincode install package: {error}"))?;
    let id = package_id(&package.metadata.label, &bytes);
    match output {
        Output::Text => say!("{id}"),
        Output::Json => say!("{}", text::indented(&json!({ "package_id": id }))),
    }
    Ok(())
}

/// The bytes of a package file.
pub(super) fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    if file.is_empty() {
        return Err(anyhow!("chaincode install package must be provided"));
    }
    std::fs::read(file).map_err(|error| {
        anyhow!("failed to read chaincode package at '{file}': {}", text::not_opened(file.as_ref(), &error))
    })
}
