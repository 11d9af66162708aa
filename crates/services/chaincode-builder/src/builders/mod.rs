//! Builders, what they built, and where it is kept.

mod built_in;
mod connection;
mod external;
mod golang;
mod java;
mod node;
mod workshop;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use ripstop_node_config::{Environment, ExternalBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedMutexGuard, Semaphore};

use crate::error::{BuildError, ProgramError};
use crate::package::Package;
use crate::process::Running;
use crate::server_info::{ServerInfo, ServerInfoError};
use crate::tree;

use built_in::BuiltIn;
use connection::make_private;
pub use connection::{PeerConnection, PeerTls};
use external::External;
use workshop::Workshop;

/// How many packages are built at once; others wait.
const MAX_BUILDS: usize = 2;
/// The note that says who built what lies beside it.
const BUILD_INFO: &str = "build-info.json";
/// Where a build says how to reach the chaincode's server.
const SERVER_INFO: &str = "release/chaincode/server/connection.json";
/// The environment variable with the values for templates in `connection.json` (of Fabric's builder for services).
const TEMPLATE_VALUES: &str = "CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG";

/// How packages are built and run.
#[derive(Debug, Clone)]
pub struct BuilderOptions {
    /// Where builds are kept: `<peer.fileSystemPath>/externalbuilder/builds`.
    pub directory: PathBuf,
    /// The operator's builders, in order (`chaincode.externalBuilders`).
    pub external: Vec<ExternalBuilder>,
    /// The peer's environment, of which programs see what is listed for them.
    pub environment: Environment,
    /// The most memory of a process that the peer's own builders run, in bytes (`vm.docker.hostConfig.Memory`).
    pub memory: Option<u64>,
    /// What chaincode that the peer's own builders run is told about logging: `CORE_CHAINCODE_LOGGING_LEVEL` and so on.
    pub logging: Vec<(String, String)>,
}

impl BuilderOptions {
    /// Only the peer's own builders, without limit.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, external: Vec::new(), environment: Environment::default(), memory: None, logging: Vec::new() }
    }
}

/// All builders, and what they built.
pub struct Builders {
    options: Arc<BuilderOptions>,
    external: Vec<Arc<External>>,
    slots: Semaphore,
    at_work: Locks,
}

impl Builders {
    /// Takes the operator's builders, then the peer's own.
    pub fn new(options: BuilderOptions) -> Self {
        let external = options.external.iter().map(|builder| Arc::new(External::new(builder, &options.environment)));
        Self {
            external: external.collect(),
            options: Arc::new(options),
            slots: Semaphore::new(MAX_BUILDS),
            at_work: Locks::default(),
        }
    }

    /// What was built of a package earlier.
    pub fn cached(&self, id: &str) -> Result<Option<Build>, BuildError> {
        let directory = self.directory(id);
        let path = directory.join(BUILD_INFO);
        let note = match fs::read(&path) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BuildError::Io { action: "reading build info at", path, source }),
        };
        let BuildInfo { builder_name } =
            serde_json::from_slice(&note).map_err(|source| BuildError::BuildInfo { path, source })?;
        let builder = self.builder(&builder_name);
        let builder = builder.ok_or_else(|| BuildError::BuilderGone { id: id.to_owned(), builder: builder_name })?;
        Ok(Some(Build { id: id.to_owned(), builder, directory, options: self.options.clone() }))
    }

    /// Builds a package, unless it was built earlier. When the future is dropped, so is the work.
    pub async fn build(&self, id: &str, package: Package) -> Result<Build, BuildError> {
        let _alone = self.at_work.lock(id).await;
        if let Some(build) = self.cached(id)? {
            return Ok(build);
        }
        let _slot = self.slots.acquire().await.map_err(|_| BuildError::GivenUp)?;
        let (metadata, name) = (package.metadata.clone(), file_name(id));
        let shop = blocking(move || Workshop::open(&name, &package)).await?;
        match self.detect(&shop).await {
            Some(external) => {
                external.build(&shop).await?;
                self.keep(id, external.name(), shop).await?;
            }
            None => {
                let built_in = BuiltIn::for_type(&metadata.kind);
                let built_in = built_in.ok_or_else(|| BuildError::NoBuilder(metadata.kind.clone()))?;
                built_in.build(&shop, &metadata, &self.options).await?;
                self.keep(id, built_in.name(), shop).await?;
            }
        }
        self.cached(id)?.ok_or(BuildError::GivenUp)
    }

    async fn detect(&self, shop: &Workshop) -> Option<&External> {
        for builder in &self.external {
            if builder.detect(shop).await {
                return Some(builder);
            }
        }
        None
    }

    fn builder(&self, name: &str) -> Option<Builder> {
        let external = self.external.iter().find(|builder| builder.name() == name);
        let external = external.map(|builder| Builder::External(builder.clone()));
        external.or_else(|| BuiltIn::by_name(name).map(Builder::BuiltIn))
    }

    /// Puts what was built into its place: all of it or nothing.
    async fn keep(&self, id: &str, builder: &str, shop: Workshop) -> Result<(), BuildError> {
        let (directory, target) = (self.options.directory.clone(), self.directory(id));
        let note = BuildInfo { builder_name: builder.to_owned() };
        blocking(move || {
            let unfinished = directory.join(format!(".new-{}", file_name_of(&target)));
            let failed = |source| BuildError::Io { action: "keeping the build in", path: target.clone(), source };
            let keep = || {
                make_private(&directory)?;
                remove(&unfinished)?;
                make_private(&unfinished)?;
                tree::copy(&shop.release, &unfinished.join("release"))?;
                tree::copy(&shop.output, &unfinished.join("bld"))?;
                fs::write(unfinished.join(BUILD_INFO), serde_json::to_vec(&note)?)?;
                tree::sync(&unfinished)?;
                remove(&target)?;
                fs::rename(&unfinished, &target)?;
                fs::File::open(&directory)?.sync_all()
            };
            let kept = keep();
            if kept.is_err() {
                remove(&unfinished).ok();
            }
            kept.map_err(failed)
        })
        .await
    }

    fn directory(&self, id: &str) -> PathBuf {
        self.options.directory.join(file_name(id))
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn file_name_of(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// A package's id as the name of a file (Fabric: `SanitizeCCIDPath`).
fn file_name(id: &str) -> String {
    id.replace(['<', '>', ':', '"', '/', '\\', '|', '?', '*', '&'], "-")
}

/// Works on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(BuildError::GivenUp))
}

/// One build of a package at a time.
#[derive(Default)]
struct Locks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    async fn lock(&self, id: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock();
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(id.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct BuildInfo {
    builder_name: String,
}

#[derive(Debug, Clone)]
enum Builder {
    External(Arc<External>),
    BuiltIn(BuiltIn),
}

/// A package that was built.
#[derive(Debug, Clone)]
pub struct Build {
    id: String,
    builder: Builder,
    directory: PathBuf,
    options: Arc<BuilderOptions>,
}

/// Why a chaincode could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its files cannot be made.
    #[error("could not create temp run dir: {0}")]
    Directory(io::Error),
    /// The program did not start.
    #[error("could not execute run: builder '{builder}' run failed to start: {cause}")]
    Program {
        /// The builder whose program it is.
        builder: String,
        /// Why.
        cause: ProgramError,
    },
    /// A program that runs it is not there any longer.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl Build {
    /// The chaincode's server, for chaincode that runs by itself; none for chaincode that is to be started.
    pub fn server(&self) -> Result<Option<ServerInfo>, ServerInfoError> {
        let path = self.directory.join(SERVER_INFO);
        let connection = match fs::read(&path) {
            Ok(connection) => connection,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ServerInfoError::Unreadable { path, source }),
        };
        ServerInfo::parse(&connection, template_values(&self.options.environment)).map(Some)
    }

    /// Starts the chaincode, which is to register with the peer at the other end of this connection.
    pub async fn start(&self, connection: &PeerConnection) -> Result<Running, StartError> {
        let output = self.directory.join("bld");
        match &self.builder {
            Builder::External(builder) => builder.start(&self.id, &output, connection).await,
            Builder::BuiltIn(builder) => builder.start(&self.id, &output, connection, &self.options).await,
        }
    }
}

fn template_values(environment: &Environment) -> &str {
    environment.get(TEMPLATE_VALUES).unwrap_or_default()
}
