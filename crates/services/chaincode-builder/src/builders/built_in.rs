//! The peer's own builders: services, and the languages that Fabric builds in Docker.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ripstop_node_config::Environment;

use super::connection::{PeerConnection, run_directory};
use super::workshop::Workshop;
use super::{BuilderOptions, StartError, blocking, golang, java, node, template_values};
use crate::environment::{find_program, select};
use crate::error::{BuildError, MissingTool};
use crate::output::Voice;
use crate::package::PackageMetadata;
use crate::process::{Limits, Program, Running};
use crate::server_info::{ServerInfo, ServerInfoError};
use crate::tree;

const GIB: u64 = 1024 * 1024 * 1024;
/// What each process of a build may use.
const BUILD_LIMITS: Limits = Limits {
    memory: Some(8 * GIB),
    cpu_time: Some(Duration::from_secs(60 * 60)),
    file_size: Some(4 * GIB),
    open_files: Some(16_384),
};
/// How long each process of a chaincode may compute, from its start on. A chaincode that has used it up is started anew by
/// the next call; one that computes without end is not for ever a burden.
const RUN_CPU_TIME: Duration = Duration::from_secs(12 * 60 * 60);
/// How large each file may grow that a chaincode writes. What it keeps belongs into the ledger.
const RUN_FILE_SIZE: u64 = GIB;
/// How many files and connections each process of a chaincode may have open; it needs the archives it runs from and one stream.
const RUN_OPEN_FILES: u64 = 4_096;
/// What tools that fetch dependencies look at, whatever the language.
const NETWORK_VARIABLES: [&str; 9] = [
    "HOME",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// One of the peer's own builders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BuiltIn {
    /// Chaincode that somebody else runs.
    Service,
    Golang,
    Node,
    Java,
}

impl BuiltIn {
    const ALL: [Self; 4] = [Self::Service, Self::Golang, Self::Node, Self::Java];

    /// The builder for a type of package, in any case of letters.
    pub(super) fn for_type(kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|builder| builder.kind().eq_ignore_ascii_case(kind))
    }

    /// The builder of this name. An operator's builder of the same name goes first.
    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|builder| builder.name() == name)
    }

    /// The type of package.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Service => "ccaas",
            Self::Golang => "golang",
            Self::Node => "node",
            Self::Java => "java",
        }
    }

    /// The name in the note beside a build.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Service => "the peer's own for ccaas",
            Self::Golang => "the peer's own for golang",
            Self::Node => "the peer's own for node",
            Self::Java => "the peer's own for java",
        }
    }

    pub(super) async fn build(
        self,
        shop: &Workshop,
        metadata: &PackageMetadata,
        options: &BuilderOptions,
    ) -> Result<(), BuildError> {
        let tools = Tools { language: self.kind(), environment: &options.environment, home: shop.home() };
        match self {
            Self::Service => check_service(shop, &options.environment)?,
            Self::Golang => golang::build(shop, &metadata.path, &tools).await?,
            Self::Node => node::build(shop, &tools).await?,
            Self::Java => java::build(shop, &tools).await?,
        }
        let (indexes, release) = (shop.source.join("META-INF"), shop.release.clone());
        blocking(move || copy_if_there(&indexes, &release)).await
    }

    pub(super) async fn start(
        self,
        id: &str,
        output: &Path,
        connection: &PeerConnection,
        options: &BuilderOptions,
    ) -> Result<Running, StartError> {
        let directory = run_directory().map_err(StartError::Directory)?;
        let place = directory.path().to_string_lossy().into_owned();
        let mut environment = select(&options.environment, ["JAVA_HOME"]);
        environment.extend([("HOME".to_owned(), place.clone()), ("TMPDIR".to_owned(), place)]);
        environment.extend(options.logging.iter().cloned());
        environment.extend(connection.write_files(id, directory.path()).map_err(StartError::Directory)?);
        let launch = Launch { output, address: &connection.address, memory: options.memory, place: directory.path() };
        let tools = Tools { language: self.kind(), environment: &options.environment, home: directory.path() };
        let command = match self {
            Self::Service => return Err(BuildError::from(ServerInfoError::Missing).into()),
            Self::Golang => golang::command(&launch),
            Self::Node => node::command(&launch, &tools).await?,
            Self::Java => java::command(&launch, &tools)?,
        };
        environment.extend(command.variables);
        let program = Program {
            path: command.program,
            args: command.args,
            environment,
            directory: Some(command.directory),
            limits: Limits {
                memory: options.memory,
                cpu_time: Some(RUN_CPU_TIME),
                file_size: Some(RUN_FILE_SIZE),
                open_files: Some(RUN_OPEN_FILES),
            },
            voice: Voice::Chaincode(id.to_owned()),
        };
        let failed = |cause| StartError::Program { builder: self.name().to_owned(), cause };
        program.start(directory).await.map_err(failed)
    }
}

/// Chaincode that somebody else runs only says where.
fn check_service(shop: &Workshop, environment: &Environment) -> Result<(), BuildError> {
    let connection = fs::read(shop.source.join("connection.json")).map_err(|_| ServerInfoError::Missing)?;
    ServerInfo::parse(&connection, template_values(environment))?.endpoint()?;
    let directory = shop.release.join("chaincode/server");
    let kept = fs::create_dir_all(&directory).and_then(|()| fs::write(directory.join("connection.json"), &connection));
    kept.map_err(|source| BuildError::Io { action: "writing connection.json to", path: directory, source })
}

fn copy_if_there(from: &Path, to: &Path) -> Result<(), BuildError> {
    match from.is_dir() {
        true => tree::copy(from, to).map_err(|source| BuildError::Io {
            action: "copying META-INF to",
            path: to.to_owned(),
            source,
        }),
        false => Ok(()),
    }
}

/// What a chaincode is started from.
pub(super) struct Launch<'a> {
    /// What was built.
    pub(super) output: &'a Path,
    /// Where the peer listens for it.
    pub(super) address: &'a str,
    /// The most memory it may use.
    pub(super) memory: Option<u64>,
    /// A directory of its own.
    pub(super) place: &'a Path,
}

/// How a chaincode is started.
pub(super) struct Start {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) directory: PathBuf,
    pub(super) variables: Vec<(String, String)>,
}

/// The tools of a language, as this machine has them.
pub(super) struct Tools<'a> {
    pub(super) language: &'static str,
    pub(super) environment: &'a Environment,
    home: &'a Path,
}

impl Tools<'_> {
    /// Finds a program that cannot be done without.
    pub(super) fn find(&self, program: &'static str, toolchain: &'static str) -> Result<PathBuf, MissingTool> {
        let found = find_program(self.environment, program);
        found.ok_or(MissingTool { language: self.language, program, toolchain })
    }

    /// Runs a tool in a directory.
    pub(super) async fn run(&self, call: ToolCall<'_>) -> Result<(), BuildError> {
        let listed = NETWORK_VARIABLES.into_iter().chain(call.listed.iter().copied());
        let mut environment: BTreeMap<String, String> = select(self.environment, listed);
        environment.entry("HOME".to_owned()).or_insert_with(|| self.home.to_string_lossy().into_owned());
        environment.extend(call.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let name = call.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shown: Vec<_> = call.args.iter().map(|arg| arg.to_string_lossy()).collect();
        let command = format!("{name} {}", shown.join(" "));
        let program = Program {
            path: call.program,
            args: call.args,
            environment,
            directory: Some(call.directory),
            limits: BUILD_LIMITS,
            voice: Voice::Platform { language: self.language, command: name },
        };
        program.run().await.map_err(|cause| BuildError::Tool { language: self.language, command, cause })
    }

    /// The code is not what the type of the package promises.
    pub(super) fn wrong(&self, reason: impl Into<String>) -> BuildError {
        BuildError::Code { language: self.language, reason: reason.into() }
    }
}

/// One call of a tool.
pub(super) struct ToolCall<'a> {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) directory: PathBuf,
    /// Variables of the peer that the tool sees.
    pub(super) listed: &'a [&'a str],
    /// Others.
    pub(super) variables: &'a [(&'a str, String)],
}
