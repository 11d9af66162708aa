use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueHint;
use ripstop_command_line::kingpin::parse;
use ripstop_command_line::{os_text, say, version};
use ripstop_node_config::Environment;
use ripstop_proto::common;
use ripstop_proto_json::Document;
use ripstop_transport::Listener;
use tracing::info;

use crate::{rest, translate};

/// The logger that Fabric's command uses.
const LOGGER: &str = "configtxlator";
/// What stands for standard input and output as a file.
const STDIN: &str = "/dev/stdin";
const STDOUT: &str = "/dev/stdout";
/// The permissions of output files, as Fabric's.
const FILE_MODE: u32 = 0o600;

/// Utility for generating Hyperledger Fabric channel configurations
#[derive(Debug, clap::Parser)]
#[command(name = "configtxlator")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[command(rename_all = "snake_case")]
enum Command {
    /// Start the configtxlator REST server
    Start {
        /// The hostname or IP on which the REST server will listen
        #[arg(long, default_value = "0.0.0.0")]
        hostname: String,
        /// The port on which the REST server will listen
        #[arg(long, default_value_t = 7059)]
        port: u16,
        /// Allowable CORS domains, e.g. '*' or 'www.example.com' (may be repeated).
        #[arg(long = "CORS")]
        cors: Vec<String>,
    },
    /// Converts a JSON document to protobuf.
    ProtoEncode {
        /// The type of protobuf structure to encode to. For example, 'common.Config'.
        #[arg(long = "type")]
        name: String,
        /// A file containing the JSON document.
        #[arg(long, default_value = STDIN, value_hint = ValueHint::FilePath, value_parser = open_input)]
        input: Input,
        /// A file to write the output to.
        #[arg(long, default_value = STDOUT, value_hint = ValueHint::FilePath, value_parser = open_output)]
        output: Output,
    },
    /// Converts a proto message to JSON.
    ProtoDecode {
        /// The type of protobuf structure to decode from. For example, 'common.Config'.
        #[arg(long = "type")]
        name: String,
        /// A file containing the proto message.
        #[arg(long, default_value = STDIN, value_hint = ValueHint::FilePath, value_parser = open_input)]
        input: Input,
        /// A file to write the JSON document to.
        #[arg(long, default_value = STDOUT, value_hint = ValueHint::FilePath, value_parser = open_output)]
        output: Output,
    },
    /// Takes two marshaled common.Config messages and computes the config update which transitions between the two.
    ComputeUpdate {
        /// The original config message.
        #[arg(long, value_hint = ValueHint::FilePath, value_parser = open_input)]
        original: Option<Input>,
        /// The updated config message.
        #[arg(long, value_hint = ValueHint::FilePath, value_parser = open_input)]
        updated: Option<Input>,
        /// The name of the channel for this update.
        #[arg(long = "channel_id")]
        channel_id: String,
        /// A file to write the JSON document to.
        #[arg(long, default_value = STDOUT, value_hint = ValueHint::FilePath, value_parser = open_output)]
        output: Output,
    },
    /// Show version information
    Version,
}

/// A file that was opened to be read.
#[derive(Debug, Clone)]
struct Input(Option<Arc<File>>);

/// A file that was opened to be written, and is as it was until it is.
#[derive(Debug, Clone)]
struct Output(Option<Arc<File>>);

/// Runs the command with the arguments of a process, the program's name first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Arguments = match parse(args) {
        Ok(arguments) => arguments,
        Err(stop) => return stop.report("configtxlator"),
    };
    let done = match arguments.command {
        Command::Start { hostname, port, cors } => start(&format!("{hostname}:{port}"), cors),
        Command::ProtoEncode { name, input, output } => {
            encode(&name, &input, &output).map_err(|error| format!("Error decoding: {error}"))
        }
        Command::ProtoDecode { name, input, output } => {
            decode(&name, &input, &output).map_err(|error| format!("Error decoding: {error}"))
        }
        Command::ComputeUpdate { original, updated, channel_id, output } => {
            compute(original.as_ref(), updated.as_ref(), &channel_id, &output)
                .map_err(|error| format!("Error computing update: {error}"))
        }
        Command::Version => {
            say!("{}", version("configtxlator"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("configtxlator: error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn encode(name: &str, input: &Input, output: &Output) -> Result<(), String> {
    let form = translate::form(name).map_err(|error| format!("error encode input: {error}"))?;
    let json = input.read().map_err(|error| format!("error decoding input: {}", os_text(&error)))?;
    let document = Document::from_json(&form, &json).map_err(|error| format!("error decoding input: {error}"))?;
    output.write(&document.to_bytes()).map_err(|error| format!("error writing output: {}", os_text(&error)))
}

fn decode(name: &str, input: &Input, output: &Output) -> Result<(), String> {
    let form = translate::form(name).map_err(|error| format!("error encode input: {error}"))?;
    let raw = input.read().map_err(|error| format!("error reading input: {}", os_text(&error)))?;
    let document = Document::parse(&form, &raw).map_err(|error| format!("error unmarshalling: {error}"))?;
    let json = document.to_json().map_err(|error| format!("error encoding output: {error}"))?;
    output.write(json.as_bytes()).map_err(|error| format!("error encoding output: {}", os_text(&error)))
}

fn compute(original: Option<&Input>, updated: Option<&Input>, channel: &str, output: &Output) -> Result<(), String> {
    let read = |input: Option<&Input>, which: &str| -> Result<common::Config, String> {
        let input = input.ok_or_else(|| format!("error reading {which} config: name its file with --{which}"))?;
        let raw = input.read().map_err(|error| format!("error reading {which} config: {}", os_text(&error)))?;
        translate::config(&raw).map_err(|error| format!("error unmarshalling {which} config: {error}"))
    };
    let (original, updated) = (read(original, "original")?, read(updated, "updated")?);
    let update = translate::update(&original, &updated, channel)
        .map_err(|error| format!("error computing config update: {error}"))?;
    output.write(&update).map_err(|error| format!("error writing config update to output: {}", os_text(&error)))
}

/// Serves until the process ends.
fn start(address: &str, cors: Vec<String>) -> Result<(), String> {
    let environment = Environment::of_process();
    let (spec, format) = (environment.get("FABRIC_LOGGING_SPEC"), environment.get("FABRIC_LOGGING_FORMAT"));
    // Logging that was started before serves as well.
    let _ = ripstop_operations::start_logging(spec, format);
    let runtime = tokio::runtime::Runtime::new().map_err(|error| format!("Error starting server:[{error}]"))?;
    runtime.block_on(async {
        let listener =
            Listener::bind(address).await.map_err(|error| format!("Could not bind to address '{address}': {error}"))?;
        let bound = listener.address();
        if cors.is_empty() {
            info!(target: LOGGER, "Serving HTTP requests on {bound}");
        } else {
            info!(target: LOGGER, "Serving HTTP requests on {bound} with CORS [{}]", cors.join(" "));
        }
        rest::serve(listener, cors).await;
        Ok(())
    })
}

fn open_input(path: &str) -> Result<Input, String> {
    if path == STDIN {
        return Ok(Input(None));
    }
    let file = File::open(path).map_err(|error| format!("open {path}: {}", os_text(&error)))?;
    Ok(Input(Some(Arc::new(file))))
}

fn open_output(path: &str) -> Result<Output, String> {
    if path == STDOUT {
        return Ok(Output(None));
    }
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
    let file = opened.map_err(|error| format!("open {path}: {}", os_text(&error)))?;
    Ok(Output(Some(Arc::new(file))))
}

impl Input {
    fn read(&self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        match &self.0 {
            None => io::stdin().lock().read_to_end(&mut content)?,
            Some(file) => (&**file).read_to_end(&mut content)?,
        };
        Ok(content)
    }
}

impl Output {
    fn write(&self, content: &[u8]) -> io::Result<()> {
        let Some(file) = &self.0 else {
            let mut stdout = io::stdout().lock();
            stdout.write_all(content)?;
            return stdout.flush();
        };
        // A pipe has no length.
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        (&**file).write_all(content)
    }
}
