//! Chaincode in Go: a module, or a package of a `GOPATH` with all it depends on.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;

use super::archive::check_name;
use super::sources::{Choice, Directories, Found, Named, walk};

/// What stands where, besides the machine's own system, for chaincode is built to run there.
const TARGET: (&str, &str) = ("linux", "amd64");

/// A chaincode's import path and its packed files.
pub(super) fn pack(path: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let normalize = "failed to normalize chaincode path";
    match Module::around(Path::new(path)).context(normalize)? {
        Some(module) => {
            let code = module.pack(path).context("error getting chaincode bytes")?;
            Ok((module.import_path, code))
        }
        None => Ok((path.to_owned(), pack_gopath(path).context("error getting chaincode bytes")?)),
    }
}

/// The module that a directory belongs to.
struct Module {
    root: PathBuf,
    /// The directory of the chaincode from the module's root, with slashes; empty for the root itself.
    below: String,
    import_path: String,
}

impl Module {
    /// The module that a directory stands in; `None` where there is neither directory nor module.
    fn around(directory: &Path) -> anyhow::Result<Option<Self>> {
        let Ok(directory) = directory.canonicalize() else { return Ok(None) };
        let Some(root) = directory.ancestors().find(|directory| directory.join("go.mod").is_file()) else {
            return Ok(None);
        };
        let definition = std::fs::read_to_string(root.join("go.mod"))
            .with_context(|| format!("cannot read {}", root.join("go.mod").display()))?;
        let name =
            module_name(&definition).with_context(|| format!("{} names no module", root.join("go.mod").display()))?;
        if !has_go_files(&directory) {
            bail!("'go list' failed with: no Go files in {}", directory.display());
        }
        let below = directory.strip_prefix(root).ok().and_then(Path::to_str);
        let below = below.with_context(|| format!("{} has no readable name", directory.display()))?.to_owned();
        let import_path = if below.is_empty() { name } else { format!("{name}/{below}") };
        Ok(Some(Self { root: root.to_owned(), below, import_path }))
    }

    /// All files of the module but those of hidden directories; the chaincode's metadata apart.
    fn pack(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let metadata = if self.below.is_empty() { "META-INF".to_owned() } else { format!("{}/META-INF", self.below) };
        let mut named = Named::default();
        let mut directory =
            |found: &Found<'_>| match found.name.starts_with('.') && !found.relative.starts_with(&metadata) {
                true => Choice::Leave,
                false => Choice::Take,
            };
        walk(&self.root, &mut directory, &mut |found| match found.relative.strip_prefix(&metadata) {
            Some(below) => named.insert_metadata(found, below.trim_start_matches('/')),
            None => named.insert_file(format!("src/{}", found.relative), found.path),
        })?;
        named.pack(path, Directories::Listed)
    }
}

/// The name in the `module` directive of a `go.mod`.
fn module_name(definition: &str) -> Option<String> {
    definition.lines().find_map(|line| {
        let line = line.split("//").next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let name = words.next().filter(|word| *word == "module").and(words.next())?;
        Some(name.trim_matches(|quote| quote == '"' || quote == '`').to_owned())
    })
}

fn has_go_files(directory: &Path) -> bool {
    let listing = std::fs::read_dir(directory).into_iter().flatten().flatten();
    listing.map(|entry| entry.path()).any(|path| path.is_file() && path.extension().is_some_and(|end| end == "go"))
}

/// A package of a `GOPATH`: only Go's own tool knows what it depends on.
fn pack_gopath(import_path: &str) -> anyhow::Result<Vec<u8>> {
    let directory = go(&["list", "-f", "{{.Dir}}", import_path], TARGET_OF_TOOL, "'go list' failed")?;
    let directory = String::from_utf8_lossy(&directory).trim().to_owned();
    let mut named = Named::default();
    let mut metadata_only = |found: &Found<'_>| match found.relative.starts_with("META-INF") {
        true => Choice::Take,
        false => Choice::Leave,
    };
    walk(Path::new(&directory), &mut metadata_only, &mut |found| match found.relative.strip_prefix("META-INF") {
        Some(below) => named.insert_metadata(found, below.trim_start_matches('/')),
        None if matches!(found.relative, "go.mod" | "go.sum") => Ok(()),
        None => named.insert_file(format!("src/{import_path}/{}", found.relative), found.path),
    })?;
    for target in targets() {
        for package in dependencies(import_path, target)? {
            for file in package.files() {
                let name = format!("src/{}/{file}", package.import_path);
                check_name(&name)?;
                named.insert_file(name, &package.directory.join(file))?;
            }
        }
    }
    named.pack(import_path, Directories::Listed)
}

/// The systems whose files are packed: that of containers, and this machine's.
fn targets() -> Vec<(&'static str, &'static str)> {
    let architecture = ripstop_command_line::architecture();
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let mut targets = vec![TARGET, (system, architecture), ("linux", architecture)];
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// A package as `go list -json` describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Package {
    import_path: String,
    #[serde(rename = "Dir", default)]
    directory: PathBuf,
    #[serde(default)]
    goroot: bool,
    #[serde(default)]
    incomplete: bool,
    #[serde(default)]
    go_files: Vec<String>,
    #[serde(rename = "CFiles", default)]
    c_files: Vec<String>,
    #[serde(default)]
    cgo_files: Vec<String>,
    #[serde(rename = "HFiles", default)]
    h_files: Vec<String>,
    #[serde(rename = "SFiles", default)]
    s_files: Vec<String>,
    #[serde(default)]
    ignored_go_files: Vec<String>,
    #[serde(default)]
    embed_files: Vec<String>,
}

impl Package {
    fn files(&self) -> impl Iterator<Item = &String> {
        let kinds = [
            &self.go_files,
            &self.c_files,
            &self.cgo_files,
            &self.h_files,
            &self.s_files,
            &self.ignored_go_files,
            &self.embed_files,
        ];
        kinds.into_iter().flatten()
    }
}

/// The packages that a package needs on a system, itself included, without those of Go's own library.
fn dependencies(import_path: &str, target: (&str, &str)) -> anyhow::Result<Vec<Package>> {
    let listed = go(&["list", "-deps", "-json", import_path], Some(target), "'go list -deps' failed")?;
    let mut packages = Vec::new();
    for package in serde_json::Deserializer::from_slice(&listed).into_iter::<Package>() {
        let package = package.context("failed to unmarshal output from 'go list'")?;
        if package.incomplete {
            bail!("failed to calculate dependencies: incomplete package: {}", package.import_path);
        }
        if !package.goroot {
            packages.push(package);
        }
    }
    Ok(packages)
}

/// Go's tool decides for which system.
const TARGET_OF_TOOL: Option<(&str, &str)> = None;

/// What Go's tool prints.
fn go(arguments: &[&str], target: Option<(&str, &str)>, failed: &str) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new("go");
    command.args(arguments);
    if let Some((system, architecture)) = target {
        command.env("GOOS", system).env("GOARCH", architecture);
    }
    let output = command.output().map_err(|error| {
        anyhow!(
            "{failed}: exec: \"go\": {error}; a package of a GOPATH can only be packed where Go's toolchain is installed, a \
             module (with a go.mod) anywhere"
        )
    })?;
    if !output.status.success() {
        bail!("{failed} with: {}: {}", String::from_utf8_lossy(&output.stderr).trim_end(), status(output.status));
    }
    Ok(output.stdout)
}

/// How a process ended, in Go's words.
fn status(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_its_directive() {
        for (definition, name) in [
            ("// about\nmodule example.com/cc // here\n\ngo 1.20\n", Some("example.com/cc")),
            ("module \"quoted/name\"", Some("quoted/name")),
            ("go 1.20\n", None),
            ("modules x", None),
        ] {
            assert_eq!(module_name(definition).as_deref(), name, "{definition}");
        }
    }

    #[test]
    fn a_directory_is_found_in_its_module_if_it_has_code() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("cc/v1");
        std::fs::create_dir_all(&directory).unwrap();
        assert!(Module::around(&directory).unwrap().is_none(), "no module");
        std::fs::write(root.path().join("go.mod"), "module example.com/m\n").unwrap();
        let error = Module::around(&directory).err().unwrap().to_string();
        assert!(error.starts_with("'go list' failed with: no Go files in "), "{error}");
        std::fs::write(directory.join("main.go"), "package main\n").unwrap();
        assert_eq!(Module::around(&directory).unwrap().unwrap().import_path, "example.com/m/cc/v1");
        assert!(Module::around(Path::new("/no/such/directory")).unwrap().is_none());
    }
}
