use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, bail};
use ripstop_command_line::kingpin::parse;
use ripstop_command_line::{os_text, say};
use ripstop_proto::protos;

use crate::answer;
use crate::client::{Client, Question};
use crate::settings::{Settings, SignerFiles, TlsFiles};

/// Command line client for fabric discovery service
#[derive(Debug, clap::Parser)]
#[command(name = "discover")]
struct DiscoverCommand {
    /// Specifies the config file to load the configuration from
    #[arg(long = "configFile", global = true)]
    config_file: Option<String>,
    /// Sets the TLS CA certificate file path that verifies the TLS peer's certificate
    #[arg(long = "peerTLSCA", global = true, value_parser = existing_file)]
    peer_ca: Option<String>,
    /// (Optional) Sets the client TLS certificate file path that is used when the peer enforces client authentication
    #[arg(long = "tlsCert", global = true, value_parser = existing_file)]
    tls_certificate: Option<String>,
    /// (Optional) Sets the client TLS key file path that is used when the peer enforces client authentication
    #[arg(long = "tlsKey", global = true, value_parser = existing_file)]
    tls_key: Option<String>,
    /// Sets the user's key file path that is used to sign messages sent to the peer
    #[arg(long = "userKey", global = true, value_parser = existing_file)]
    user_key: Option<String>,
    /// Sets the user's certificate file path that is used to authenticate the messages sent to the peer
    #[arg(long = "userCert", global = true, value_parser = existing_file)]
    user_certificate: Option<String>,
    /// Sets the MSP ID of the user, which represents the CA(s) that issued its user certificate
    #[arg(long = "MSP", global = true)]
    msp_id: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Discover peers
    Peers(Target),
    /// Discover channel config
    Config(Target),
    /// Discover chaincode endorsers
    Endorsers {
        /// Specifies the chaincode name(s)
        #[arg(long = "chaincode")]
        chaincodes: Vec<String>,
        /// Specifies the collection name(s) as a mapping from chaincode to a comma separated list of collections
        #[arg(long = "collection", value_parser = collections)]
        collections: Vec<(String, Vec<String>)>,
        /// Specifies chaincodes that are not expected to be have private data read
        #[arg(long = "noPrivateReads")]
        no_private_reads: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Save the config passed by flags into the file specified by --configFile
    #[command(name = "saveConfig")]
    SaveConfig,
}

#[derive(Debug, clap::Args)]
struct Target {
    /// Sets the endpoint of the server to connect
    #[arg(long = "server")]
    server: Option<String>,
    /// Sets the channel the query is intended to
    #[arg(long = "channel")]
    channel: Option<String>,
}

impl Target {
    fn channel(&self) -> Option<&str> {
        self.channel.as_deref().filter(|channel| !channel.is_empty())
    }

    fn needed_channel(&self) -> anyhow::Result<&str> {
        self.channel().context("no channel specified")
    }

    fn server(&self) -> anyhow::Result<&str> {
        self.server.as_deref().filter(|server| !server.is_empty()).context("no server specified")
    }
}

/// A file that can be opened, by its path from the root: it may be saved.
fn existing_file(path: &str) -> Result<String, String> {
    std::fs::File::open(path).map_err(|error| format!("open {path}: {}", os_text(&error)))?;
    let absolute = std::path::absolute(path).map_err(|error| format!("open {path}: {}", os_text(&error)))?;
    Ok(absolute.to_string_lossy().into_owned())
}

/// `CC:C1,C2`, as Kingpin reads a map's entry.
fn collections(text: &str) -> Result<(String, Vec<String>), String> {
    let (chaincode, names) = text.split_once([':', '=']).ok_or_else(|| format!("expected KEY=VALUE got '{text}'"))?;
    Ok((chaincode.to_owned(), names.split(',').map(str::to_owned).collect()))
}

/// Runs `discover` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command: DiscoverCommand = match parse(args) {
        Ok(command) => command,
        Err(stop) => return stop.report("discover"),
    };
    match execute(&command) {
        Ok(Some(output)) => {
            say!("{}", output);
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &DiscoverCommand) -> anyhow::Result<Option<String>> {
    let file = command.config_file.as_deref().filter(|file| !file.is_empty());
    if matches!(command.command, Command::SaveConfig) {
        match file {
            Some(file) => command.settings().save(file).context("Failed persisting configuration")?,
            // Fabric's command takes this for a success.
            None => eprintln!("--configFile must be used to specify the configuration file"),
        }
        return Ok(None);
    }
    let settings = match file {
        Some(file) => Settings::load(file).context("Failed loading config")?,
        None => command.settings(),
    };
    let output = match &command.command {
        Command::Peers(target) => {
            let server = target.server()?;
            let channel = target.channel();
            let question = channel.map_or(Question::LocalPeers, |channel| Question::Peers { channel });
            let answer = Client::new(server, &settings)?.ask(&question)?;
            answer::peers(&answer, channel)?
        }
        Command::Config(target) => {
            let server = target.server()?;
            let channel = target.needed_channel()?;
            answer::config(&Client::new(server, &settings)?.ask(&Question::Config { channel })?)?
        }
        Command::Endorsers { chaincodes, collections, no_private_reads, target } => {
            let channel = target.needed_channel()?;
            let server = target.server()?;
            let calls = calls(chaincodes, collections, no_private_reads)?;
            answer::endorsers(&Client::new(server, &settings)?.ask(&Question::Endorsers { channel, calls })?)?
        }
        Command::SaveConfig => return Ok(None),
    };
    Ok(Some(output))
}

impl DiscoverCommand {
    fn settings(&self) -> Settings {
        let text = |flag: &Option<String>| flag.clone().unwrap_or_default();
        let tls = TlsFiles {
            certificate: text(&self.tls_certificate),
            key: text(&self.tls_key),
            peer_ca: text(&self.peer_ca),
            timeout: String::new(),
        };
        let signer = SignerFiles {
            msp_id: text(&self.msp_id),
            certificate: text(&self.user_certificate),
            key: text(&self.user_key),
        };
        Settings::new(tls, signer)
    }
}

/// The calls that endorsers are wanted for.
pub(crate) fn calls(
    chaincodes: &[String],
    collections: &[(String, Vec<String>)],
    no_private_reads: &[String],
) -> anyhow::Result<Vec<protos::ChaincodeCall>> {
    if let Some(stray) = no_private_reads.iter().find(|name| !chaincodes.contains(name)) {
        bail!(
            "chaincode {stray} is specified as not containing private data reads but should be explicitly defined via a chaincode flag"
        );
    }
    let collections: BTreeMap<&String, &Vec<String>> = collections.iter().map(|(name, names)| (name, names)).collect();
    if let Some(stray) = collections.keys().find(|name| !chaincodes.contains(name)) {
        bail!("a collection specified chaincode {stray} but it wasn't specified with a chaincode flag");
    }
    if chaincodes.is_empty() {
        bail!("failed creating request: invocation chain should not be empty");
    }
    let call = |name: &String| protos::ChaincodeCall {
        name: name.clone(),
        collection_names: collections.get(name).map(|names| names.to_vec()).unwrap_or_default(),
        no_private_reads: no_private_reads.contains(name),
        ..Default::default()
    };
    Ok(chaincodes.iter().map(call).collect())
}
