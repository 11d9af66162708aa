//! What programs see of the peer's environment: the variables that are listed for them, and nothing else.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ripstop_node_config::Environment;

/// Variables that every program gets (Fabric: `DefaultPropagateEnvironment`).
const ALWAYS: [&str; 4] = ["LD_LIBRARY_PATH", "LIBPATH", "PATH", "TMPDIR"];

/// The listed variables, and those that every program gets, as far as they are set.
pub(crate) fn select<'a>(
    environment: &Environment,
    names: impl IntoIterator<Item = &'a str>,
) -> BTreeMap<String, String> {
    let value = |name: &str| Some((name.to_owned(), environment.get(name)?.to_owned()));
    ALWAYS.into_iter().chain(names).filter_map(value).collect()
}

/// Where a program is found by `PATH`.
pub(crate) fn find_program(environment: &Environment, name: &str) -> Option<PathBuf> {
    std::env::split_paths(environment.get("PATH")?).map(|directory| directory.join(name)).find(|path| is_program(path))
}

/// Whether a file may be run by somebody.
pub(crate) fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_variables_are_seen() {
        let environment: Environment =
            [("PATH", "/bin"), ("GOPROXY", "off"), ("SECRET", "x"), ("TMPDIR", "")].into_iter().collect();
        let seen = select(&environment, ["GOPROXY", "HOME"]);
        let seen: Vec<_> = seen.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(seen, [("GOPROXY", "off"), ("PATH", "/bin"), ("TMPDIR", "")]);
    }

    #[test]
    fn programs_are_found_by_the_path() {
        let environment: Environment = [("PATH", "/nowhere:/bin:/usr/bin")].into_iter().collect();
        assert!(find_program(&environment, "sh").is_some_and(|path| is_program(&path)));
        assert_eq!(find_program(&environment, "no-such-program"), None);
        assert_eq!(find_program(&Environment::default(), "sh"), None);
    }
}
