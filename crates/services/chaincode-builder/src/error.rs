use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::package::UnpackError;
use crate::server_info::ServerInfoError;

/// How a process ended, in Go's words: scripts look for `exit status 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(ExitStatus);

impl Exit {
    pub(crate) const fn new(status: ExitStatus) -> Self {
        Self(status)
    }

    /// The code that a process ended with; −1 when a signal ended it.
    pub fn code(&self) -> i32 {
        self.0.code().unwrap_or(-1)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "exit status {code}"),
            (None, Some(signal)) => match signal_word(signal) {
                Some(word) => write!(f, "signal: {word}"),
                None => write!(f, "signal: signal {signal}"),
            },
            (None, None) => self.0.fmt(f),
        }
    }
}

/// The words for signals that end a chaincode.
fn signal_word(signal: i32) -> Option<&'static str> {
    use rustix::process::Signal;
    [
        (Signal::INT, "interrupt"),
        (Signal::ABORT, "aborted"),
        (Signal::KILL, "killed"),
        (Signal::SEGV, "segmentation fault"),
        (Signal::TERM, "terminated"),
        (Signal::XCPU, "CPU time limit exceeded"),
    ]
    .into_iter()
    .find_map(|(known, word)| (known.as_raw() == signal).then_some(word))
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started.
    #[error("fork/exec {program}: {source}", program = program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("{exit}{output}", output = Said(output))]
    Failed {
        /// How it ended.
        exit: Exit,
        /// The last lines it printed.
        output: Vec<String>,
    },
}

/// What a program said last, behind its exit status.
struct Said<'a>(&'a [String]);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            lines => write!(f, "; its last words: {}", lines.join(" | ")),
        }
    }
}

/// What a builder is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildStep {
    /// Making something that runs.
    Build,
    /// Saying what the peer should know of it.
    Release,
}

/// A program that a builder of the peer needs and that this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "chaincode of type '{language}' needs '{program}', which is not in the PATH of the peer; install {toolchain}, or run \
     the chaincode as a service (type 'ccaas'), or name a builder for it in chaincode.externalBuilders"
)]
pub struct MissingTool {
    /// The type of package.
    pub language: &'static str,
    /// The program.
    pub program: &'static str,
    /// What it belongs to.
    pub toolchain: &'static str,
}

/// Why a package was not built. The text is what the administrator who installs it reads.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// What was built earlier cannot be used.
    #[error(
        "external builder failed: existing build could not be restored: chaincode '{id}' was already built with builder \
         '{builder}', but that builder is no longer available"
    )]
    BuilderGone {
        /// The package.
        id: String,
        /// The builder that built it.
        builder: String,
    },
    /// The note beside what was built earlier is broken.
    #[error("external builder failed: existing build could not be restored: malformed build info at '{path}': {source}", path = path.display())]
    BuildInfo {
        /// The note.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The code cannot be unpacked.
    #[error("external builder failed: could not create build context: could not untar source package: {0}")]
    Unpack(#[from] UnpackError),
    /// An external builder did not do what it was asked for.
    #[error("external builder failed: {words}: {cause}", words = words(*step, builder))]
    External {
        /// The builder.
        builder: String,
        /// What it was asked for.
        step: BuildStep,
        /// Why it failed.
        cause: ProgramError,
    },
    /// A tool of the language refused the code.
    #[error("building {language} chaincode failed: {command}: {cause}")]
    Tool {
        /// The type of package.
        language: &'static str,
        /// What was tried.
        command: String,
        /// Why it failed.
        cause: ProgramError,
    },
    /// The code is not what the type of the package promises.
    #[error("building {language} chaincode failed: {reason}")]
    Code {
        /// The type of package.
        language: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The `connection.json` of chaincode that runs as a service is wrong.
    #[error(transparent)]
    ServerInfo(#[from] ServerInfoError),
    /// Nobody builds this.
    #[error("docker build failed: docker build is disabled; {0}")]
    MissingTool(#[from] MissingTool),
    /// Nobody builds this type.
    #[error(
        "docker build failed: docker build is disabled; no external builder takes chaincode of type '{0}', and the peer \
         itself runs only the types ccaas, golang, node and java"
    )]
    NoBuilder(String),
    /// The disk failed.
    #[error("error {action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The peer stops, or the work was given up.
    #[error("the build was given up")]
    GivenUp,
}

fn words(step: BuildStep, builder: &str) -> String {
    match step {
        BuildStep::Build => format!("external builder failed to build: external builder '{builder}' failed"),
        BuildStep::Release => format!("external builder failed to release: builder '{builder}' release failed"),
    }
}
