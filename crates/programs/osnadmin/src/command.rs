use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Parser as _;
use ripstop_transport::{ClientTls, Endpoint, KeyPair};
use ripstop_types::{Block, Envelope};

use crate::{Answer, Participation};

/// Orderer Service Node (OSN) administration
#[derive(Debug, clap::Parser)]
#[command(name = "osnadmin", version = "0.0.1", disable_help_subcommand = true)]
struct OsnadminCommand {
    /// Admin endpoint of the OSN
    #[arg(short = 'o', long = "orderer-address", global = true)]
    orderer: Option<String>,
    /// Path to file containing PEM-encoded TLS CA certificate(s) for the OSN
    #[arg(long = "ca-file", global = true)]
    ca_file: Option<PathBuf>,
    /// Path to file containing PEM-encoded X509 public key to use for mutual TLS communication with the OSN
    #[arg(long = "client-cert", global = true)]
    client_certificate: Option<PathBuf>,
    /// Path to file containing PEM-encoded private key to use for mutual TLS communication with the OSN
    #[arg(long = "client-key", global = true)]
    client_key: Option<PathBuf>,
    /// Remove the HTTP status message from the command output
    #[arg(long = "no-status", global = true)]
    no_status: bool,
    #[command(subcommand)]
    command: Group,
}

#[derive(Debug, clap::Subcommand)]
enum Group {
    /// Channel actions
    #[command(subcommand)]
    Channel(ChannelCommand),
}

#[derive(Debug, clap::Subcommand)]
enum ChannelCommand {
    /// Join an Ordering Service Node (OSN) to a channel. If the channel does not yet exist, it will be created.
    Join {
        /// Channel ID
        #[arg(short = 'c', long = "channelID")]
        channel: String,
        /// Path to the file containing an up-to-date config block for the channel
        #[arg(short = 'b', long = "config-block")]
        config_block: PathBuf,
    },
    /// List channel information for an Ordering Service Node (OSN). If the channelID flag is set, more detailed information will be provided for that channel.
    List {
        /// Channel ID
        #[arg(short = 'c', long = "channelID", default_value = "")]
        channel: String,
    },
    /// Remove a channel from an Ordering Service Node (OSN).
    Remove {
        /// Channel ID
        #[arg(short = 'c', long = "channelID")]
        channel: String,
    },
    /// Update an Ordering Service Node (OSN) to a channel.
    Update {
        /// Channel ID
        #[arg(short = 'c', long = "channelID")]
        channel: String,
        /// Path to the file containing an up-to-date config update envelope for the channel
        #[arg(short = 'e', long = "config-update-envelope")]
        envelope: PathBuf,
    },
    /// Fetch a specified block, writing it to a file.
    Fetch {
        /// Channel ID
        #[arg(short = 'c', long = "channelID")]
        channel: String,
        /// Block ID - <newest|oldest|config|(number)>
        #[arg(short = 'b', long = "blockID")]
        block: String,
        /// Path to a file.
        #[arg(short = 'f', long = "outputfile")]
        output: PathBuf,
    },
}

/// Runs `osnadmin` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match OsnadminCommand::try_parse_from(args) {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let request = match Prepared::new(&command) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("osnadmin: error: parsing arguments: {error:#}. Try --help");
            return ExitCode::FAILURE;
        }
    };
    match request.send().and_then(|answer| request.output(&answer, command.status_line())) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        // Fabric's command prints this on standard output, where scripts look for it.
        Err(error) => {
            println!("Error: {error:#}\n");
            ExitCode::FAILURE
        }
    }
}

/// Whether the output begins with the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatusLine {
    Shown,
    Hidden,
}

impl OsnadminCommand {
    const fn status_line(&self) -> StatusLine {
        if self.no_status { StatusLine::Hidden } else { StatusLine::Shown }
    }
}

/// A request whose every file was read.
struct Prepared<'a> {
    participation: Participation,
    command: &'a ChannelCommand,
    /// The file to send, if one is sent.
    content: Bytes,
}

impl<'a> Prepared<'a> {
    fn new(command: &'a OsnadminCommand) -> anyhow::Result<Self> {
        let Group::Channel(channel) = &command.command;
        let address = command.orderer.as_deref().context("required flag --orderer-address not provided")?;
        let mut endpoint = Endpoint::new(address)?;
        if let Some(file) = &command.ca_file {
            let roots =
                std::fs::read(file).with_context(|| format!("reading orderer CA certificate: {}", file.display()))?;
            let pair = key_pair(command.client_certificate.as_deref(), command.client_key.as_deref())
                .context("loading client cert/key pair")?;
            let tls =
                ClientTls::new([roots.as_slice()], Some(pair)).context("failed to add ca-file PEM to cert pool")?;
            endpoint = endpoint.tls(tls);
        }
        let content = match channel {
            ChannelCommand::Join { channel, config_block } => read_block(channel, config_block)?,
            ChannelCommand::Update { channel, envelope } => read_envelope(channel, envelope)?,
            ChannelCommand::Fetch { block, .. } => {
                let named = ["newest", "oldest", "config"].contains(&block.as_str());
                if !named && block.parse::<u64>().is_err() {
                    bail!("'{block}' not equal <newest|oldest|config|(number)>");
                }
                Bytes::new()
            }
            ChannelCommand::List { .. } | ChannelCommand::Remove { .. } => Bytes::new(),
        };
        Ok(Self { participation: Participation::new(endpoint), command: channel, content })
    }

    fn send(&self) -> anyhow::Result<Answer> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(async {
            match self.command {
                ChannelCommand::Join { .. } => self.participation.join(&self.content).await,
                ChannelCommand::Update { .. } => self.participation.update(&self.content).await,
                ChannelCommand::Fetch { channel, block, .. } => self.participation.fetch(channel, block).await,
                ChannelCommand::List { channel } if channel.is_empty() => self.participation.list().await,
                ChannelCommand::List { channel } => self.participation.info(channel).await,
                ChannelCommand::Remove { channel } => self.participation.remove(channel).await,
            }
        });
        Ok(answer?)
    }

    /// What is printed; a fetched block goes into its file.
    fn output(&self, answer: &Answer, status_line: StatusLine) -> anyhow::Result<String> {
        match self.command {
            ChannelCommand::Fetch { output, .. } if answer.status == 200 => {
                std::fs::write(output, &answer.body).with_context(|| format!("writing {}", output.display()))?;
                text(&Answer { status: answer.status, body: Bytes::new() }, status_line)
            }
            _ => text(answer, status_line),
        }
    }
}

fn key_pair(certificate: Option<&Path>, key: Option<&Path>) -> anyhow::Result<KeyPair> {
    let read = |file: Option<&Path>, flag: &str| {
        let file = file.with_context(|| format!("{flag} is not given"))?;
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
    };
    Ok(KeyPair::from_pem(&read(certificate, "--client-cert")?, &read(key, "--client-key")?)?)
}

/// Reads a configuration block, and makes sure that it is of the channel that the administrator means.
fn read_block(channel: &str, file: &Path) -> anyhow::Result<Bytes> {
    let bytes = Bytes::from(std::fs::read(file).with_context(|| format!("reading config block: {}", file.display()))?);
    let block = Block::parse(bytes.clone()).context("unmarshalling block")?;
    let named = block.channel_id()?;
    if named != channel {
        bail!("specified --channelID {channel} does not match channel ID {named} in config block");
    }
    Ok(bytes)
}

/// Reads an update, and makes sure that it is of the channel that the administrator means.
fn read_envelope(channel: &str, file: &Path) -> anyhow::Result<Bytes> {
    let read = std::fs::read(file).with_context(|| format!("reading config update envelope: {}", file.display()))?;
    let bytes = Bytes::from(read);
    let named = Envelope::parse(bytes.clone()).context("unmarshalling envelope")?.channel_header.channel_id;
    if named != channel {
        bail!("specified --channelID {channel} does not match channel ID {named} in config update envelope");
    }
    Ok(bytes)
}

/// The answer as Fabric's command prints it: the status, and the JSON indented with tabs.
fn text(answer: &Answer, status_line: StatusLine) -> anyhow::Result<String> {
    let mut text = match status_line {
        StatusLine::Shown => format!("Status: {}\n", answer.status),
        StatusLine::Hidden => String::new(),
    };
    if !answer.body.is_empty() {
        let json: serde_json::Value = serde_json::from_slice(&answer.body)
            .with_context(|| format!("the node answers no JSON: {}", String::from_utf8_lossy(&answer.body)))?;
        let mut indented = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        serde::Serialize::serialize(&json, &mut serde_json::Serializer::with_formatter(&mut indented, formatter))?;
        // Like Go's json.Indent, which keeps the blanks behind the value: nodes end their answers with a line feed.
        indented.extend_from_slice(&answer.body[answer.body.trim_ascii_end().len()..]);
        text.push_str(&String::from_utf8_lossy(&indented));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_printed_with_their_status_and_indented() {
        let answer = Answer { status: 201, body: Bytes::from_static(br#"{"name":"c","height":1}"#) };
        assert_eq!(text(&answer, StatusLine::Shown).unwrap(), "Status: 201\n{\n\t\"name\": \"c\",\n\t\"height\": 1\n}");
        let answer = Answer { status: 200, body: Bytes::from_static(b"[]\n") };
        assert_eq!(text(&answer, StatusLine::Shown).unwrap(), "Status: 200\n[]\n");
        assert_eq!(text(&Answer { status: 204, body: Bytes::new() }, StatusLine::Shown).unwrap(), "Status: 204\n");
    }
}
