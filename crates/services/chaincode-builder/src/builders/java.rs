//! Chaincode in Java: Gradle or Maven, then `java` (Fabric: `core/chaincode/platforms/java` and `fabric-javaenv`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::blocking;
use super::built_in::{Launch, Start, ToolCall, Tools};
use super::workshop::Workshop;
use crate::environment::is_program;
use crate::error::{BuildError, MissingTool};
use crate::tree;

/// What the tools belong to.
const JAVA: &str = "a Java runtime";
const MAVEN: &str = "Maven (https://maven.apache.org)";
const GRADLE: &str = "Gradle (https://gradle.org)";
/// The variables of the peer that the tools see.
const VARIABLES: [&str; 8] = [
    "JAVA_HOME",
    "JAVA_TOOL_OPTIONS",
    "MAVEN_OPTS",
    "MAVEN_ARGS",
    "MAVEN_HOME",
    "GRADLE_HOME",
    "GRADLE_USER_HOME",
    "GRADLE_OPTS",
];
/// The archive with the chaincode and all it needs.
const JAR: &str = "chaincode.jar";
/// What runs contracts that lie in other archives.
const ROUTER: &str = "org.hyperledger.fabric.contract.ContractRouter";

/// A project as its tool knows it.
struct Project {
    directory: PathBuf,
    tool: Tool,
}

#[derive(Clone, Copy)]
enum Tool {
    Gradle,
    Maven,
}

impl Project {
    /// Looks at the root of the code, then in `src`; Gradle goes first.
    fn find(source: &Path) -> Option<Self> {
        [source.to_owned(), source.join("src")].into_iter().find_map(|directory| {
            let has = |file: &str| directory.join(file).is_file();
            let tool = match (has("build.gradle") || has("build.gradle.kts"), has("pom.xml")) {
                (true, _) => Tool::Gradle,
                (false, true) => Tool::Maven,
                (false, false) => return None,
            };
            Some(Self { directory, tool })
        })
    }

    /// The program, with the arguments that come first. A project's own wrapper is taken before an installed tool.
    fn program(&self, tools: &Tools<'_>) -> Result<(PathBuf, Vec<OsString>), MissingTool> {
        let (wrapper, program, toolchain) = match self.tool {
            Tool::Gradle => ("gradlew", "gradle", GRADLE),
            Tool::Maven => ("mvnw", "mvn", MAVEN),
        };
        let own = self.directory.join(wrapper);
        match own.is_file() {
            true => Ok(("/bin/sh".into(), vec![own.into_os_string()])),
            false => Ok((tools.find(program, toolchain)?, Vec::new())),
        }
    }

    const fn args(&self) -> &'static [&'static str] {
        match self.tool {
            Tool::Gradle => &["--no-daemon", "build", "shadowJar", "-x", "test"],
            Tool::Maven => &["--batch-mode", "compile", "package", "-DskipTests", "-Dmaven.test.skip=true"],
        }
    }

    fn jar(&self) -> PathBuf {
        self.directory
            .join(match self.tool {
                Tool::Gradle => "build/libs",
                Tool::Maven => "target",
            })
            .join(JAR)
    }
}

pub(super) async fn build(shop: &Workshop, tools: &Tools<'_>) -> Result<(), BuildError> {
    java(tools)?;
    let output = shop.output.clone();
    let Some(project) = Project::find(&shop.source) else {
        let source = shop.source.clone();
        let copied = blocking(move || {
            copy_jars(&source, &output).map_err(|error| BuildError::Io {
                action: "copying archives to",
                path: output,
                source: error,
            })
        });
        return match copied.await? {
            0 => Err(tools
                .wrong("Not build.gradle nor pom.xml found in chaincode source, don't know how to build chaincode")),
            _ => Ok(()),
        };
    };
    let (program, mut args) = project.program(tools)?;
    args.extend(project.args().iter().map(Into::into));
    let call = ToolCall { program, args, directory: project.directory.clone(), listed: &VARIABLES, variables: &[] };
    tools.run(call).await?;
    let made = fs::copy(project.jar(), output.join(JAR));
    made.map(drop)
        .map_err(|error| tools.wrong(format!("the build made no {JAR} ({}): {error}", project.jar().display())))
}

/// Copies all archives below a directory, and counts them.
fn copy_jars(from: &Path, to: &Path) -> io::Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            count += copy_jars(&path, &target)?;
        } else if path.extension() == Some(OsStr::new("jar")) {
            fs::create_dir_all(to)?;
            fs::copy(&path, &target)?;
            count += 1;
        }
    }
    Ok(count)
}

/// The runtime that `JAVA_HOME` or the path names.
fn java(tools: &Tools<'_>) -> Result<PathBuf, MissingTool> {
    let home = tools.environment.get_non_empty("JAVA_HOME").map(|home| Path::new(home).join("bin/java"));
    match home.filter(|java| is_program(java)) {
        Some(java) => Ok(java),
        None => tools.find("java", JAVA),
    }
}

pub(super) fn command(launch: &Launch<'_>, tools: &Tools<'_>) -> Result<Start, BuildError> {
    let mut args: Vec<OsString> = Vec::new();
    // In a container Java would see the limit by itself.
    args.extend(launch.memory.map(|bytes| format!("-XX:MaxRAM={bytes}").into()));
    let whole = launch.output.join(JAR);
    if whole.is_file() {
        args.extend(["-jar".into(), whole.into_os_string()]);
    } else {
        let failed = |source| BuildError::Io { action: "reading", path: launch.output.to_owned(), source };
        let jars = tree::files(launch.output).map_err(failed)?;
        let paths = std::env::join_paths(jars).map_err(|error| tools.wrong(error.to_string()))?;
        args.extend(["-cp".into(), paths, ROUTER.into()]);
    }
    args.extend(["--peerAddress".into(), launch.address.into()]);
    Ok(Start { program: java(tools)?, args, directory: launch.place.to_owned(), variables: Vec::new() })
}
