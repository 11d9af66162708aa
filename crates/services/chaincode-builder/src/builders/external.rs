//! Builders that the operator names: programs in a directory (Fabric: `core/container/externalbuilder`).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use ripstop_node_config::{Environment, ExternalBuilder};

use super::StartError;
use super::connection::{PeerConnection, run_directory};
use super::workshop::Workshop;
use crate::environment::{is_program, select};
use crate::error::{BuildError, BuildStep};
use crate::output::Voice;
use crate::process::{Limits, Program, Running};

/// One of the operator's builders.
#[derive(Debug)]
pub(super) struct External {
    name: String,
    programs: PathBuf,
    environment: BTreeMap<String, String>,
}

impl External {
    pub(super) fn new(builder: &ExternalBuilder, environment: &Environment) -> Self {
        let names = builder.propagate_environment.iter().map(String::as_str);
        Self { name: builder.name.clone(), programs: builder.path.join("bin"), environment: select(environment, names) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the builder wants this package.
    pub(super) async fn detect(&self, shop: &Workshop) -> bool {
        let detected = self.program("detect", &[&shop.source, &shop.metadata]).run().await;
        if let Err(error) = &detected {
            tracing::debug!(target: "chaincode.externalbuilder", "builder '{}' detect failed: {error}", self.name);
        }
        detected.is_ok()
    }

    /// Has the package built, and the peer told about it; the second program may be missing.
    pub(super) async fn build(&self, shop: &Workshop) -> Result<(), BuildError> {
        let failed = |step| {
            let builder = self.name.clone();
            move |cause| BuildError::External { builder, step, cause }
        };
        let build = self.program("build", &[&shop.source, &shop.metadata, &shop.output]);
        build.run().await.map_err(failed(BuildStep::Build))?;
        let release = self.program("release", &[&shop.output, &shop.release]);
        match is_program(&release.path) {
            true => release.run().await.map_err(failed(BuildStep::Release)),
            false => Ok(()),
        }
    }

    /// Starts what was built.
    pub(super) async fn start(
        &self,
        id: &str,
        output: &Path,
        connection: &PeerConnection,
    ) -> Result<Running, StartError> {
        let directory = run_directory().map_err(StartError::Directory)?;
        connection.write_metadata(id, directory.path()).map_err(StartError::Directory)?;
        let run = self.program("run", &[output, directory.path()]);
        run.start(directory).await.map_err(|cause| StartError::Program { builder: self.name.clone(), cause })
    }

    /// A program of the builder. It runs where the peer runs, and without limits: it is the operator's.
    fn program(&self, command: &str, directories: &[&Path]) -> Program {
        Program {
            path: self.programs.join(command),
            args: directories.iter().map(|directory| OsString::from(directory.as_os_str())).collect(),
            environment: self.environment.clone(),
            directory: None,
            limits: Limits::default(),
            voice: Voice::Builder { name: self.name.clone(), command: command.to_owned() },
        }
    }
}
