use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::Parser as _;
use ripstop_channel_config::ChannelConfig;
use ripstop_node_config::Environment;
use ripstop_proto::Message as _;
use ripstop_types::{ChannelId, Timestamp};

use crate::{ConfigTx, ProfileError};

/// The permissions of a block's file and of directories made for it, as Fabric's.
const BLOCK_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// Makes the first block of a channel from a profile of configtx.yaml.
#[derive(Debug, clap::Parser)]
#[command(name = "configtxgen", args_override_self = true, disable_version_flag = true)]
struct Command {
    /// The profile from configtx.yaml to use for generation.
    #[arg(long, value_name = "string")]
    profile: Option<String>,
    /// The channel ID to use in the configtx
    #[arg(long = "channelID", value_name = "string")]
    channel_id: Option<String>,
    /// The path to write the genesis block to (if set)
    #[arg(long = "outputBlock", value_name = "string")]
    output_block: Option<PathBuf>,
    /// The path containing the configuration to use (if set)
    #[arg(long = "configPath", value_name = "string")]
    config_path: Option<PathBuf>,
    /// Show version information
    #[arg(long)]
    version: bool,
    /// Not built yet: print the configuration contained in the block at the specified path
    #[arg(long = "inspectBlock", value_name = "string")]
    inspect_block: Option<PathBuf>,
    /// Not built yet: print the definition of an organization as JSON
    #[arg(long = "printOrg", value_name = "string")]
    print_org: Option<String>,
    /// Gone with the system channel
    #[arg(long = "outputCreateChannelTx", value_name = "string", hide = true)]
    output_create_channel_tx: Option<PathBuf>,
    /// Gone with the system channel
    #[arg(long = "channelCreateTxBaseProfile", value_name = "string", hide = true)]
    channel_create_tx_base_profile: Option<String>,
    /// Gone with the system channel
    #[arg(long = "inspectChannelCreateTx", value_name = "string", hide = true)]
    inspect_channel_create_tx: Option<PathBuf>,
    /// Gone with the system channel
    #[arg(long = "asOrg", value_name = "string", hide = true)]
    as_org: Option<String>,
}

/// Runs `configtxgen` with the arguments of a process, the first of which is the program's name. Flags may have one dash
/// or two.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Command::try_parse_from(args.into_iter().map(two_dashes)) {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match execute(&command, &Environment::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `-profile` as `--profile`; a lone letter such as `-h` stays.
fn two_dashes(argument: OsString) -> OsString {
    match argument.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(rest) if !rest.starts_with('-') && rest.len() > 1 => format!("--{rest}").into(),
        _ => argument,
    }
}

fn execute(command: &Command, environment: &Environment) -> anyhow::Result<()> {
    let creates_channel = command.output_create_channel_tx.is_some();
    if command.channel_id.is_none() && (command.output_block.is_some() || creates_channel) {
        bail!("Missing channelID, please specify it with '-channelID'");
    }
    if command.version {
        print_version();
        return Ok(());
    }
    if creates_channel || command.inspect_channel_create_tx.is_some() {
        bail!(
            "there is no system channel any more: make the channel's genesis block with -outputBlock and join orderers \
             with 'osnadmin channel join'"
        );
    }
    for (flag, given, instead) in [
        ("-inspectBlock", command.inspect_block.is_some(), "configtxlator proto_decode of Fabric 3.1 prints any block"),
        ("-printOrg", command.print_org.is_some(), "configtxgen -printOrg of Fabric 3.1 reads the same configtx.yaml"),
    ] {
        if given {
            bail!("{flag} is not built yet; {instead}");
        }
    }
    match (&command.output_block, &command.profile, &command.channel_id) {
        (None, ..) => Ok(()),
        (Some(_), None, _) | (Some(_), _, None) => {
            bail!("The '-profile' is required when '-outputBlock', '-outputChannelCreateTx' is specified")
        }
        (Some(path), Some(profile), Some(channel_id)) => {
            output_block(path, profile, channel_id, command.config_path.as_deref(), environment)
        }
    }
}

fn output_block(
    path: &Path,
    profile: &str,
    channel_id: &str,
    config_path: Option<&Path>,
    environment: &Environment,
) -> anyhow::Result<()> {
    let config = ConfigTx::load(config_path, environment).map_err(|error| {
        if error.is_no_file() {
            anyhow::Error::new(error).context(
                "Could not find configtx.yaml. Please make sure that FABRIC_CFG_PATH or -configPath is set to a path \
                 which contains configtx.yaml",
            )
        } else {
            error.into()
        }
    })?;
    let channel_id = ChannelId::new(channel_id)?;
    let generate = || -> Result<_, ProfileError> {
        config.profile(profile)?.genesis_block(&channel_id, ripstop_keys::nonce(), now())
    };
    let block = generate().context("Error on outputBlock")?;
    if let Err(error) = ChannelConfig::from_block(&block).and_then(|config| config.check_level()) {
        eprintln!("Warning: Ripstop's nodes will refuse this block: {error}");
    }
    write_file(path, &block.to_proto().encode_to_vec())
        .with_context(|| format!("Error on outputBlock: error writing genesis block: {}", path.display()))?;
    eprintln!("Wrote the genesis block of channel {channel_id} to {}", path.display());
    Ok(())
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

fn write_file(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(BLOCK_MODE).open(path)?;
    file.write_all(content)
}

fn print_version() {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    println!(
        "configtxgen:\n Version: v{}\n OS/Arch: {}/{architecture}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS
    );
}
