//! Chaincode in Go: `go build` (Fabric: `core/chaincode/platforms/golang`).

use std::path::{Path, PathBuf};

use super::built_in::{Launch, Start, ToolCall, Tools};
use super::workshop::Workshop;
use crate::error::BuildError;

/// The variables of the peer that `go` sees.
const VARIABLES: [&str; 15] = [
    "GOPROXY",
    "GOSUMDB",
    "GONOPROXY",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOINSECURE",
    "GOFLAGS",
    "GOTOOLCHAIN",
    "GOCACHE",
    "GOMODCACHE",
    "GOPATH",
    "GOENV",
    "GOROOT",
    "CGO_ENABLED",
    "XDG_CACHE_HOME",
];

/// How the code lies.
#[derive(Debug, PartialEq, Eq)]
enum Layout {
    /// A module: where, whether its dependencies lie beside it, and which of its packages is the chaincode.
    Module { directory: PathBuf, flag: &'static str, package: String },
    /// Packages below `src`, as before there were modules.
    GoPath,
}

impl Layout {
    /// A module at the root of the code, else one in the directory of the chaincode, else none.
    fn of(source: &Path, path: &str) -> Self {
        let own = source.join(path);
        for (directory, package) in [(source, path), (&*own, ".")] {
            if directory.join("go.mod").is_file() {
                let flag = if directory.join("vendor").is_dir() { "-mod=vendor" } else { "-mod=readonly" };
                return Self::Module { directory: directory.to_owned(), flag, package: package.to_owned() };
            }
        }
        Self::GoPath
    }
}

pub(super) async fn build(shop: &Workshop, path: &str, tools: &Tools<'_>) -> Result<(), BuildError> {
    let go = tools.find("go", "Go (https://go.dev/dl)")?;
    if path.is_empty() || path.starts_with(['-', '/']) || path.split('/').any(|part| part == "..") {
        return Err(tools.wrong(format!("'{path}' in metadata.json is no path of a Go package")));
    }
    let source = shop.source.join("src");
    if !source.is_dir() {
        return Err(tools.wrong("the code has no directory 'src'"));
    }
    let output = shop.output.join("chaincode");
    let command = |flag: Option<&str>, package: &str| {
        let flags = ["build", "-v"].into_iter().chain(flag).map(Into::into);
        flags.chain(["-o".into(), output.clone().into_os_string(), package.into()]).collect()
    };
    let call =
        |args, directory, variables| ToolCall { program: go.clone(), args, directory, listed: &VARIABLES, variables };
    match Layout::of(&source, path) {
        Layout::Module { directory, flag, package } => {
            let variables = [("GO111MODULE", "on".to_owned())];
            tools.run(call(command(Some(flag), &package), directory, &variables)).await
        }
        Layout::GoPath => {
            let mut roots = shop.source.to_string_lossy().into_owned();
            if let Some(others) = tools.environment.get_non_empty("GOPATH") {
                roots = format!("{roots}:{others}");
            }
            let variables = [("GO111MODULE", "off".to_owned()), ("GOPATH", roots)];
            tools.run(call(command(None, path), source, &variables)).await
        }
    }
}

pub(super) fn command(launch: &Launch<'_>) -> Start {
    Start {
        program: launch.output.join("chaincode"),
        args: vec![format!("-peer.address={}", launch.address).into()],
        directory: launch.place.to_owned(),
        variables: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn modules_are_found_where_fabric_looks_for_them() {
        let place = tempfile::tempdir().unwrap();
        let source = place.path();
        fs::create_dir_all(source.join("example.com/cc/vendor")).unwrap();
        assert_eq!(Layout::of(source, "example.com/cc"), Layout::GoPath);
        fs::write(source.join("example.com/cc/go.mod"), "").unwrap();
        let own = source.join("example.com/cc");
        let expected = Layout::Module { directory: own, flag: "-mod=vendor", package: ".".to_owned() };
        assert_eq!(Layout::of(source, "example.com/cc"), expected);
        fs::write(source.join("go.mod"), "").unwrap();
        let package = "example.com/cc".to_owned();
        let expected = Layout::Module { directory: source.to_owned(), flag: "-mod=readonly", package };
        assert_eq!(Layout::of(source, "example.com/cc"), expected);
    }
}
