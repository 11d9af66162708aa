//! `ripstop links DIR`: Fabric's commands, and `ripstop` itself, as links to this program.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::FABRIC;

/// Makes the links in the directory that the second argument names.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let [_, _, directory] = args.as_slice() else {
        eprintln!(
            "Usage: ripstop links DIR\n\nMakes links named peer, orderer, ... in DIR. Put DIR into PATH to use them."
        );
        return ExitCode::FAILURE;
    };
    let directory = Path::new(directory);
    match make(directory) {
        Ok(()) => {
            crate::print(&format!("{} now has {}\n", directory.display(), names().collect::<Vec<_>>().join(", ")));
            ExitCode::SUCCESS
        }
        Err((path, error)) => {
            eprintln!("Error: cannot make {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    FABRIC.iter().map(|command| command.name).chain(["ripstop"])
}

fn make(directory: &Path) -> Result<(), (PathBuf, io::Error)> {
    let program = std::env::current_exe().map_err(|error| (PathBuf::from("a link to this program"), error))?;
    std::fs::create_dir_all(directory).map_err(|error| (directory.to_owned(), error))?;
    for name in names() {
        let link = directory.join(name);
        // An older link is replaced; anything else of that name is not ours to remove.
        if link.is_symlink() {
            std::fs::remove_file(&link).map_err(|error| (link.clone(), error))?;
        }
        std::os::unix::fs::symlink(&program, &link).map_err(|error| (link, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_renewed_but_files_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path()).unwrap();
        make(directory.path()).unwrap();
        assert!(directory.path().join("peer").is_symlink());
        std::fs::remove_file(directory.path().join("orderer")).unwrap();
        std::fs::write(directory.path().join("orderer"), "mine").unwrap();
        assert!(make(directory.path()).is_err());
        assert_eq!(std::fs::read(directory.path().join("orderer")).unwrap(), b"mine");
    }
}
