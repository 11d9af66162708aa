//! The architecture as a test.
//!
//! What question this crate answers: *does the code still stand as ARCHITECTURE.md says?* [`Workspace::read`] takes the
//! packages from `cargo metadata` and the sources from the tree; each rule is a function that returns the places which break
//! it, so that a failing test prints all of them at once.
//!
//! Absent: style that rustfmt and clippy already keep.

pub mod style;

use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};
use style::{Exception, Function};

/// The longest source file, in lines.
pub const MAX_FILE_LINES: usize = 800;

/// The floors, lowest first, each with the folder its crates live in. A crate uses lower floors only.
pub const FLOORS: [(&str, &str); 6] = [
    ("base", "crates/base/"),
    ("rules", "crates/rules/"),
    ("storage", "crates/storage/"),
    ("plumbing", "crates/plumbing/"),
    ("services", "crates/services/"),
    ("programs", "crates/programs/"),
];

/// The only edges within one floor.
pub const SAME_FLOOR_EDGES: &[(&str, &str)] = &[
    ("ripstop-types", "ripstop-proto"),
    ("ripstop-proto-json", "ripstop-proto"),
    ("ripstop-rwset", "ripstop-types"),
    ("ripstop-rwset", "ripstop-proto"),
    ("ripstop-crypto", "ripstop-types"),
    ("ripstop-crypto", "ripstop-proto"),
    ("ripstop-policy", "ripstop-msp"),
    ("ripstop-channel-config", "ripstop-msp"),
    ("ripstop-channel-config", "ripstop-policy"),
    ("ripstop-lifecycle", "ripstop-msp"),
    ("ripstop-lifecycle", "ripstop-policy"),
    ("ripstop-lifecycle", "ripstop-channel-config"),
    ("ripstop-validation", "ripstop-msp"),
    ("ripstop-validation", "ripstop-policy"),
    ("ripstop-validation", "ripstop-channel-config"),
    ("ripstop-validation", "ripstop-lifecycle"),
    ("ripstop-sharing", "ripstop-gossip"),
    ("ripstop-sharing", "ripstop-lifecycle"),
    ("ripstop-sharing", "ripstop-msp"),
    ("ripstop-ordering", "ripstop-msp"),
    ("ripstop-ordering", "ripstop-policy"),
    ("ripstop-ordering", "ripstop-channel-config"),
    ("ripstop-kv", "ripstop-files"),
    ("ripstop-block-store", "ripstop-files"),
    ("ripstop-block-store", "ripstop-kv"),
    ("ripstop-state-db", "ripstop-kv"),
    ("ripstop-private-store", "ripstop-files"),
    ("ripstop-private-store", "ripstop-kv"),
    ("ripstop-snapshot", "ripstop-files"),
    ("ripstop-ledger", "ripstop-files"),
    ("ripstop-ledger", "ripstop-kv"),
    ("ripstop-ledger", "ripstop-block-store"),
    ("ripstop-ledger", "ripstop-state-db"),
    ("ripstop-ledger", "ripstop-private-store"),
    ("ripstop-ledger", "ripstop-snapshot"),
    ("ripstop-operations", "ripstop-transport"),
    ("ripstop-node", "ripstop-node-config"),
    ("ripstop-node", "ripstop-operations"),
    ("ripstop-node", "ripstop-runtime"),
    ("ripstop-node", "ripstop-transport"),
    ("ripstop-chaincode", "ripstop-chaincode-builder"),
    ("ripstop-endorser", "ripstop-chaincode"),
    ("ripstop-gateway", "ripstop-discovery"),
    ("ripstop-private-data", "ripstop-gossip-service"),
    ("ripstop-committer", "ripstop-deliver"),
    ("ripstop-committer", "ripstop-private-data"),
    ("ripstop-endorser", "ripstop-private-data"),
    ("ripstop-ordering-service", "ripstop-deliver"),
    ("ripstop-network", "ripstop-peer"),
    ("ripstop-network", "ripstop-osnadmin"),
    ("ripstop-network", "ripstop-cryptogen"),
    ("ripstop-network", "ripstop-configtxgen"),
];

/// What may not appear below the plumbing among the crates of the rules: they are pure.
pub const BANNED_IN_RULES: &[&str] = &["tokio", "tonic", "rand", "fjall", "tempfile", "axum", "hyper", "rustls"];

/// One package of the workspace.
#[derive(Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its folder, relative to the workspace, with `/` at the end.
    pub folder: String,
    /// The names of what it depends on, dev-dependencies left out.
    pub dependencies: Vec<String>,
}

/// Packages and source files.
#[derive(Debug)]
pub struct Workspace {
    /// The folder of the workspace.
    pub root: PathBuf,
    /// All member packages.
    pub packages: Vec<Package>,
    /// All `.rs` files of the members, relative to the root, with their text.
    pub sources: Vec<(String, String)>,
}

impl Workspace {
    /// Reads the workspace this crate belongs to.
    ///
    /// # Panics
    /// When cargo does not answer or a file cannot be read: the test cannot be run then.
    pub fn read() -> Self {
        let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata answers inside a workspace");
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let relative = |path: &Path| path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned();
        let mut packages = Vec::new();
        let mut sources = Vec::new();
        for package in metadata.workspace_packages() {
            let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
            packages.push(Package {
                name: package.name.to_string(),
                folder: relative(folder.as_std_path()) + "/",
                dependencies: package
                    .dependencies
                    .iter()
                    .filter(|dependency| dependency.kind != DependencyKind::Development)
                    .map(|dependency| dependency.name.clone())
                    .collect(),
            });
            collect_sources(folder.as_std_path(), &mut |path, text| sources.push((relative(path), text)));
        }
        sources.sort();
        sources.dedup();
        Self { root, packages, sources }
    }

    /// Dependencies on the same floor that are not listed, or on a higher one.
    pub fn wrong_edges(&self) -> Vec<String> {
        let floor_of = |package: &Package| FLOORS.iter().position(|(_, folder)| package.folder.starts_with(folder));
        let mut wrong = Vec::new();
        for package in &self.packages {
            let Some(floor) = floor_of(package) else { continue };
            for dependency in &package.dependencies {
                let Some(target) = self.packages.iter().find(|other| other.name == *dependency) else { continue };
                let allowed = match floor_of(target) {
                    Some(below) if below < floor => true,
                    Some(same) if same == floor => {
                        SAME_FLOOR_EDGES.contains(&(package.name.as_str(), dependency.as_str()))
                    }
                    // Contracts are linked by the command that serves the sample; nobody else stands on them.
                    None => floor == FLOORS.len() - 1 && target.folder.starts_with("contracts/"),
                    Some(_) => false,
                };
                if !allowed {
                    wrong.push(format!("{} ({}) must not use {dependency}", package.name, FLOORS[floor].0));
                }
            }
        }
        wrong
    }

    /// Packages whose name is not `ripstop-` and their folder.
    pub fn wrong_names(&self) -> Vec<String> {
        self.packages
            .iter()
            .filter(|package| package.folder != "bin/ripstop/")
            .filter(|package| {
                let directory = package.folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
                package.name != format!("ripstop-{directory}")
            })
            .map(|package| format!("{} in {}", package.name, package.folder))
            .collect()
    }

    /// Crates of the rules that depend on something impure.
    pub fn impure_rules(&self) -> Vec<String> {
        self.packages
            .iter()
            .filter(|package| package.folder.starts_with("crates/rules/"))
            .flat_map(|package| {
                package
                    .dependencies
                    .iter()
                    .filter(|dependency| BANNED_IN_RULES.contains(&dependency.as_str()))
                    .map(|dependency| format!("{} uses {dependency}", package.name))
            })
            .collect()
    }

    /// Files that are longer than [`MAX_FILE_LINES`].
    pub fn long_files(&self) -> Vec<String> {
        self.sources
            .iter()
            .map(|(path, text)| (path, text.lines().count()))
            .filter(|(_, lines)| *lines > MAX_FILE_LINES)
            .map(|(path, lines)| format!("{path} has {lines} lines"))
            .collect()
    }

    /// Functions that are longer than [`style::MAX_FUNCTION_LINES`] though no exception lets them, and exceptions for
    /// functions that are not.
    pub fn long_functions(&self) -> Vec<String> {
        let long = |function: &Function| function.lines > style::MAX_FUNCTION_LINES;
        self.breaking(style::LONG_FUNCTIONS, long, |function| format!("has {} lines", function.lines))
    }

    /// Functions that others call with a boolean, of which nobody can tell at the call what it means.
    pub fn boolean_parameters(&self) -> Vec<String> {
        let boolean = |function: &Function| function.is_public && !function.booleans.is_empty();
        self.breaking(style::BOOLEAN_PARAMETERS, boolean, |function| format!("takes {}", function.booleans.join(", ")))
    }

    /// The functions that break a rule, and the exceptions that nothing needs.
    fn breaking(
        &self,
        exceptions: &[Exception],
        breaks: impl Fn(&Function) -> bool,
        how: impl Fn(&Function) -> String,
    ) -> Vec<String> {
        let mut unused: Vec<&Exception> = exceptions.iter().collect();
        let mut wrong = Vec::new();
        for (path, text) in self.sources.iter().filter(|(path, _)| !style::is_test_file(path)) {
            let functions = style::functions(text).unwrap_or_else(|error| panic!("{path}: {error}"));
            for function in functions.iter().filter(|function| breaks(function)) {
                let excepts = |exception: &Exception| exception.path == path && exception.function == function.name;
                if exceptions.iter().any(excepts) {
                    unused.retain(|exception| !excepts(exception));
                } else {
                    wrong.push(format!("{path}:{} {} {}", function.line, function.name, how(function)));
                }
            }
        }
        wrong.extend(unused.iter().map(|unused| format!("{}: {} needs no exception", unused.path, unused.function)));
        wrong
    }

    /// Metrics that `fabric_metrics.tsv` calls served, and that no source asks for.
    ///
    /// # Panics
    /// When the table cannot be read: there is nothing to test then.
    pub fn unserved_metrics(&self) -> Vec<String> {
        let table = self.root.join("crates/plumbing/operations/src/fabric_metrics.tsv");
        let table = fs::read_to_string(&table).unwrap_or_else(|error| panic!("{}: {error}", table.display()));
        let served =
            table.lines().filter_map(|line| line.split_once("\tserved\t")).map(|(name, _)| format!("\"{name}\""));
        let crates: Vec<&str> = self
            .sources
            .iter()
            .filter(|(path, _)| path.starts_with("crates/"))
            .map(|(_, text)| text.as_str())
            .collect();
        served.filter(|name| !crates.iter().any(|text| text.contains(name))).collect()
    }

    /// `lib.rs` and `main.rs` files that do not open with their documentation.
    pub fn undocumented_crates(&self) -> Vec<String> {
        self.sources
            .iter()
            .filter(|(path, _)| path.ends_with("src/lib.rs") || path.ends_with("src/main.rs"))
            .filter(|(_, text)| !text.starts_with("//!"))
            .map(|(path, _)| path.clone())
            .collect()
    }
}

fn collect_sources(folder: &Path, found: &mut dyn FnMut(&Path, String)) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != "node_modules" && !name.starts_with('.') {
                collect_sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
            found(&path, text);
        }
    }
}
