//! Directories with all they hold.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Up to this many files are brought onto the disk one by one.
const SYNCED_SINGLY: usize = 64;

/// Copies a directory with all it holds. Links are copied as links, and only such that stay inside; devices, pipes and the
/// like are refused (Fabric: `externalbuilder.CopyDir`).
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    copy_below(from, Path::new(""), to)
}

fn copy_below(root: &Path, below: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_below(root, &below.join(entry.file_name()), &target)?;
        } else if kind.is_symlink() {
            let destination = fs::read_link(&path)?;
            if !stays_inside(below, &destination) {
                let text = format!(
                    "refusing to copy symlink {} -> {} pointing outside of source root",
                    path.display(),
                    destination.display()
                );
                return Err(io::Error::other(text));
            }
            std::os::unix::fs::symlink(destination, &target)?;
        } else if kind.is_file() {
            fs::copy(&path, &target)?;
        } else {
            return Err(io::Error::other(format!("refusing to copy unsupported file {}", path.display())));
        }
    }
    Ok(())
}

/// Brings a directory with all it holds onto the disk.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    let files = files(directory)?;
    if files.len() > SYNCED_SINGLY {
        // Waits for what others wrote too, but once.
        rustix::fs::sync();
        return Ok(());
    }
    files.iter().try_for_each(|file| fs::File::open(file)?.sync_all())
}

/// All files below a directory, in order of their paths.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true if !path.is_symlink() => found.extend(files(&path)?),
            _ => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a link in the directory `below` a root leads to something in that root.
fn stays_inside(below: &Path, destination: &Path) -> bool {
    let mut depth = below.components().count();
    for component in destination.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_tree_is_copied_with_its_modes_and_inner_links() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("bin")).unwrap();
        fs::write(from.join("bin/run"), "x").unwrap();
        fs::set_permissions(from.join("bin/run"), fs::Permissions::from_mode(0o750)).unwrap();
        symlink("../bin/run", from.join("bin/link")).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::metadata(to.join("bin/run")).unwrap().permissions().mode() & 0o777, 0o750);
        assert_eq!(fs::read_link(to.join("bin/link")).unwrap(), Path::new("../bin/run"));
    }

    #[test]
    fn links_that_lead_outside_are_refused() {
        for destination in ["/etc/passwd", "../../x", "../a/../../x"] {
            let place = tempfile::tempdir().unwrap();
            let from = place.path().join("from");
            fs::create_dir_all(from.join("a")).unwrap();
            symlink(destination, from.join("a/link")).unwrap();
            let error = copy(&from, &place.path().join("to")).unwrap_err().to_string();
            assert!(error.starts_with("refusing to copy symlink"), "{error}");
        }
    }
}
