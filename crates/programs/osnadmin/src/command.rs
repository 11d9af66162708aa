use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use ripstop_command_line::kingpin::{Stop, parse_requiring};
use ripstop_command_line::{os_text, say};
use ripstop_transport::{ClientTls, Endpoint, KeyPair};
use ripstop_types::{Block, Envelope, GoDuration};

use crate::{Answer, Participation};

/// Orderer Service Node (OSN) administration
#[derive(Debug, clap::Parser)]
#[command(name = "osnadmin")]
struct OsnadminCommand {
    /// Admin endpoint of the OSN
    #[arg(short = 'o', long = "orderer-address", global = true)]
    orderer: Option<String>,
    /// Path to file containing PEM-encoded TLS CA certificate(s) for the OSN
    #[arg(long = "ca-file", global = true)]
    ca_file: Option<String>,
    /// Path to file containing PEM-encoded X509 public key to use for mutual TLS communication with the OSN
    #[arg(long = "client-cert", global = true)]
    client_certificate: Option<String>,
    /// Path to file containing PEM-encoded private key to use for mutual TLS communication with the OSN
    #[arg(long = "client-key", global = true)]
    client_key: Option<String>,
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
        config_block: String,
    },
    /// List channel information for an Ordering Service Node (OSN). If the channelID flag is set, more detailed information will be provided for that channel.
    List {
        /// Channel ID
        #[arg(short = 'c', long = "channelID")]
        channel: Option<String>,
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
        envelope: String,
        #[command(flatten)]
        clock: Clock,
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
        output: String,
        #[command(flatten)]
        clock: Clock,
    },
}

#[derive(Debug, clap::Args)]
struct Clock {
    /// The amount of time to shift backwards for certificate expiration checks during TLS handshakes with the orderer endpoint
    #[arg(short = 't', long = "tlsHandshakeTimeShift", default_value = "0", value_parser = duration)]
    time_shift: Duration,
}

/// A duration in Go's notation; a negative one shifts nothing.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = GoDuration::parse(text).map_err(|error| error.to_string())?;
    Ok(duration.to_std().unwrap_or_default())
}

impl ChannelCommand {
    fn time_shift(&self) -> Duration {
        match self {
            Self::Update { clock, .. } | Self::Fetch { clock, .. } => clock.time_shift,
            Self::Join { .. } | Self::List { .. } | Self::Remove { .. } => Duration::ZERO,
        }
    }
}

/// Runs `osnadmin` with the arguments of a process, the first of which is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let misused = |problem: String| {
        eprintln!("osnadmin: error: parsing arguments: {problem}. Try --help");
        ExitCode::FAILURE
    };
    let command: OsnadminCommand = match parse_requiring(args, &["orderer-address"]) {
        Ok(command) => command,
        Err(Stop::Fault(fault)) => return misused(fault),
        Err(help) => return help.report("osnadmin"),
    };
    let request = match Prepared::new(&command) {
        Ok(request) => request,
        Err(error) => return misused(format!("{error:#}")),
    };
    match request.send().and_then(|answer| request.output(&answer, command.status_line())) {
        Ok(text) => {
            say!("{}", text);
            ExitCode::SUCCESS
        }
        // Fabric's command prints this on standard output, where scripts look for it.
        Err(error) => {
            say!("Error: {error:#}\n");
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
        let ca_file = command.ca_file.as_deref().filter(|file| !file.is_empty());
        // Without a port the one of the protocol is meant.
        let default_port = if ca_file.is_some() { 443 } else { 80 };
        let mut endpoint = match Endpoint::new(address) {
            Err(_) if !address.contains(':') => Endpoint::new(&format!("{address}:{default_port}"))?,
            read => read?,
        };
        if let Some(file) = ca_file {
            endpoint = endpoint.tls(client_tls(command, file)?.time_shift(channel.time_shift()));
        }
        let content = match channel {
            ChannelCommand::Join { channel, config_block } => read_block(channel, config_block)?,
            ChannelCommand::Update { channel, envelope, .. } => read_envelope(channel, envelope)?,
            ChannelCommand::Fetch { block, .. } => {
                let named = ["newest", "oldest", "config"].contains(&block.as_str());
                if !named && block.parse::<i64>().is_err() {
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
                ChannelCommand::List { channel } => match channel.as_deref().filter(|channel| !channel.is_empty()) {
                    Some(channel) => self.participation.info(channel).await,
                    None => self.participation.list().await,
                },
                ChannelCommand::Remove { channel } => self.participation.remove(channel).await,
            }
        });
        Ok(answer?)
    }

    /// What is printed; a fetched block goes into its file.
    fn output(&self, answer: &Answer, status_line: StatusLine) -> anyhow::Result<String> {
        match self.command {
            ChannelCommand::Fetch { output, .. } if answer.status == 200 => {
                std::fs::write(output, &answer.body).map_err(|error| anyhow!("open {output}: {}", os_text(&error)))?;
                text(&Answer { status: answer.status, body: Bytes::new() }, status_line)
            }
            _ => text(answer, status_line),
        }
    }
}

fn client_tls(command: &OsnadminCommand, ca_file: &str) -> anyhow::Result<ClientTls> {
    let roots = read(ca_file).context("reading orderer CA certificate")?;
    ClientTls::new([roots.as_slice()], None).context("failed to add ca-file PEM to cert pool")?;
    let pair = || {
        let certificate = read(command.client_certificate.as_deref().unwrap_or_default())?;
        let key = read(command.client_key.as_deref().unwrap_or_default())?;
        Ok::<_, anyhow::Error>(KeyPair::from_pem(&certificate, &key)?)
    };
    let pair = pair().context("loading client cert/key pair")?;
    Ok(ClientTls::new([roots.as_slice()], Some(pair))?)
}

fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| anyhow!("open {file}: {}", os_text(&error)))
}

/// Reads a configuration block, and makes sure that it is of the channel that the administrator means.
fn read_block(channel: &str, file: &str) -> anyhow::Result<Bytes> {
    let bytes = Bytes::from(read(file).context("reading config block")?);
    let block = Block::parse(bytes.clone()).context("unmarshalling block")?;
    let named = block.channel_id().context("failed to retrieve channel id")?;
    if named != channel {
        bail!("specified --channelID {channel} does not match channel ID {named} in config block");
    }
    Ok(bytes)
}

/// Reads an update, and makes sure that it is of the channel that the administrator means.
fn read_envelope(channel: &str, file: &str) -> anyhow::Result<Bytes> {
    let bytes = Bytes::from(read(file).context("reading config updte envelope")?);
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
