use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use ripstop_channel_config::ChannelConfig;
use ripstop_command_line::{os_text, say, version};
use ripstop_node_config::Environment;
use ripstop_proto::Message as _;
use ripstop_types::{ChannelId, Timestamp};
use tracing::{error, info, warn};

use crate::flags::{Flags, Stop};
use crate::{ConfigTx, Profile, ProfileError, inspect};

/// The permissions of files and of directories made for them, as Fabric's.
const FILE_MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;
/// The exit status of arguments that make no sense, and of a configuration that Fabric panics at.
const MISUSE: u8 = 2;
/// The logger that Fabric's command uses.
const LOGGER: &str = "common.tools.configtxgen";

/// Why the command fails: what it says, and its exit status.
#[derive(Debug)]
struct Failure {
    message: String,
    status: u8,
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self { message, status: 1 }
    }
}

/// A file that cannot be read, or says nothing that makes sense.
impl From<ProfileError> for Failure {
    fn from(error: ProfileError) -> Self {
        let status = if matches!(error, ProfileError::NoProfile { .. }) { 1 } else { MISUSE };
        let mut message = error.to_string();
        if error.is_no_file() {
            message.push_str(
                ". Could not find configtx.yaml. Please make sure that FABRIC_CFG_PATH or -configPath is set to a path \
                 which contains configtx.yaml",
            );
        }
        Self { message, status }
    }
}

/// Runs `configtxgen` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags = match Flags::parse(args.into_iter().skip(1)) {
        Ok(flags) => flags,
        Err(Stop::Help) => {
            eprint!("{}", Flags::usage());
            return ExitCode::SUCCESS;
        }
        Err(Stop::Fault(fault)) => {
            eprint!("{fault}\n{}", Flags::usage());
            return ExitCode::from(MISUSE);
        }
    };
    let environment = Environment::of_process();
    let (spec, format) = (environment.get("FABRIC_LOGGING_SPEC"), environment.get("FABRIC_LOGGING_FORMAT"));
    // Logging that was started before serves as well.
    let _ = ripstop_operations::start_logging(spec, format);
    match execute(&flags, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, status }) => {
            error!(target: LOGGER, "{message}");
            ExitCode::from(status)
        }
    }
}

fn execute(flags: &Flags, environment: &Environment) -> Result<(), Failure> {
    let outputs = [&flags.output_block, &flags.output_create_channel_tx, &flags.output_anchor_peers_update];
    let any_output = outputs.iter().any(|path| !path.is_empty());
    if any_output && flags.channel_id.is_empty() {
        return Err(Failure::from("Missing channelID, please specify it with '-channelID'".to_owned()));
    }
    if flags.version {
        say!("{}", version("configtxgen"));
        return Ok(());
    }
    info!(target: LOGGER, "Loading configuration");
    if any_output {
        write_outputs(flags, environment)?;
    }
    print_json(flags, environment)
}

/// Prints what is asked for as JSON.
fn print_json(flags: &Flags, environment: &Environment) -> Result<(), Failure> {
    if !flags.inspect_block.is_empty() {
        info!(target: LOGGER, "Inspecting block");
        let json = inspect::block(&flags.inspect_block);
        print(&json.map_err(|problem| format!("Error on inspectBlock: {problem}"))?);
    }
    if !flags.inspect_channel_create_tx.is_empty() {
        info!(target: LOGGER, "Inspecting transaction");
        let json = inspect::transaction(&flags.inspect_channel_create_tx);
        print(&json.map_err(|problem| format!("Error on inspectChannelCreateTx: {problem}"))?);
    }
    if !flags.print_org.is_empty() {
        let config = load(flags, environment)?;
        let json = config.organization_json(&flags.print_org);
        print(&json.map_err(|problem| format!("Error on printOrg: {problem}"))?);
    }
    Ok(())
}

/// Writes the block and the transactions that are asked for.
fn write_outputs(flags: &Flags, environment: &Environment) -> Result<(), Failure> {
    if flags.profile.is_empty() {
        let problem = "The '-profile' is required when '-outputBlock', '-outputChannelCreateTx' is specified";
        return Err(Failure::from(problem.to_owned()));
    }
    let config = load(flags, environment)?;
    let profile = usable(&config, &flags.profile)?;
    let base = match flags.channel_create_tx_base_profile.as_str() {
        "" => None,
        name => Some(usable(&config, name)?),
    };
    if base.is_some() && flags.output_create_channel_tx.is_empty() {
        warn!(
            target: LOGGER,
            "Specified 'channelCreateTxBaseProfile', but did not specify 'outputChannelCreateTx', 'channelCreateTxBaseProfile' will not affect output."
        );
    }
    let channel_id = ChannelId::new(&flags.channel_id).map_err(|invalid| Failure::from(invalid.to_string()))?;
    if !flags.output_block.is_empty() {
        output_block(&flags.output_block, profile, &channel_id)
            .map_err(|problem| format!("Error on outputBlock: {problem}"))?;
    }
    if !flags.output_create_channel_tx.is_empty() {
        info!(target: LOGGER, "Generating new channel configtx");
        let envelope = profile
            .channel_creation(&channel_id, base, now())
            .map_err(|problem| format!("Error on outputChannelCreateTx: {problem}"))?;
        info!(target: LOGGER, "Writing new channel tx");
        write_file(&flags.output_create_channel_tx, &envelope.encode_to_vec())
            .map_err(|problem| format!("Error on outputChannelCreateTx: error writing channel create tx: {problem}"))?;
    }
    if !flags.output_anchor_peers_update.is_empty() {
        info!(target: LOGGER, "Generating anchor peer update");
        let envelope = profile
            .anchor_peers_update(&channel_id, &flags.as_org, now())
            .map_err(|problem| format!("Error on outputAnchorPeersUpdate: {problem}"))?;
        info!(target: LOGGER, "Writing anchor peer update");
        write_file(&flags.output_anchor_peers_update, &envelope.encode_to_vec()).map_err(|problem| {
            format!("Error on outputAnchorPeersUpdate: error writing channel anchor peer update: {problem}")
        })?;
    }
    Ok(())
}

/// Opens the file that the flags or the environment name.
fn load(flags: &Flags, environment: &Environment) -> Result<ConfigTx, Failure> {
    let directory = Some(Path::new(&flags.config_path)).filter(|path| !path.as_os_str().is_empty());
    let config = ConfigTx::load(directory, environment)?;
    info!(target: "common.tools.configtxgen.localconfig", "Loaded configuration: {}", config.file.display());
    Ok(config)
}

/// The profile of that name, once it says all that it must.
fn usable<'a>(config: &'a ConfigTx, name: &str) -> Result<&'a Profile, Failure> {
    let profile = config.profile(name)?;
    profile.check()?;
    if let Some(orderer) = &profile.orderer {
        info!(target: "common.tools.configtxgen.localconfig", "orderer type: {}", orderer.consensus.name());
    }
    Ok(profile)
}

fn output_block(path: &str, profile: &Profile, channel_id: &ChannelId) -> Result<(), String> {
    info!(target: LOGGER, "Generating genesis block");
    let block =
        profile.genesis_block(channel_id, ripstop_keys::nonce(), now()).map_err(|problem| problem.to_string())?;
    if profile.consortiums.is_some() {
        error!(
            target: LOGGER,
            "Warning: 'Consortiums' should be nil since system channel is no longer supported in Fabric v3.x"
        );
    } else {
        info!(target: LOGGER, "Creating application channel genesis block");
    }
    if let Err(problem) = ChannelConfig::from_block(&block).and_then(|config| config.check_level()) {
        warn!(target: LOGGER, "Ripstop's nodes will refuse this block: {problem}");
    }
    info!(target: LOGGER, "Writing genesis block");
    write_file(path, &block.to_proto().encode_to_vec())
        .map_err(|problem| format!("error writing genesis block: {problem}"))
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

fn write_file(name: &str, content: &[u8]) -> Result<(), String> {
    use std::io::Write as _;
    let path = Path::new(name);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let made = std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent);
        made.map_err(|error| format!("mkdir {}: {}", parent.display(), os_text(&error)))?;
    }
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(path);
    let mut file = opened.map_err(|error| format!("open {name}: {}", os_text(&error)))?;
    file.write_all(content).map_err(|error| format!("write {name}: {}", os_text(&error)))
}

/// Prints to standard output. Whoever closed it wants no more, which is no error.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
