//! Which files of a directory make up a chaincode.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{anyhow, bail};
use ripstop_chaincode_builder::check_metadata_file;

use super::archive::{Archive, Writing};
use crate::text;

/// The directory with what is not source.
const METADATA: &str = "META-INF";

/// A file below a directory.
pub(super) struct Found<'a> {
    pub(super) path: &'a Path,
    /// Its path from the directory, with slashes.
    pub(super) relative: &'a str,
    /// Its own name.
    pub(super) name: &'a str,
}

/// What to do with a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Take,
    Leave,
}

/// Visits all files below `root`; in each directory, files and directories in the order of their names. Links are not
/// followed into directories.
pub(super) fn walk(
    root: &Path,
    directories: &mut dyn FnMut(&Found<'_>) -> Choice,
    files: &mut dyn FnMut(&Found<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // The first directory may be a link.
    let root = root
        .canonicalize()
        .map_err(|error| anyhow!("lstat {}: {}", root.display(), ripstop_command_line::os_text(&error)))?;
    walk_below(&root, &root, directories, files)
}

fn walk_below(
    root: &Path,
    directory: &Path,
    directories: &mut dyn FnMut(&Found<'_>) -> Choice,
    files: &mut dyn FnMut(&Found<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let listed = std::fs::read_dir(directory).and_then(|listing| listing.collect::<Result<Vec<_>, _>>());
    let mut listed = listed.map_err(|error| anyhow!(text::not_opened(directory, &error)))?;
    listed.sort_by_key(std::fs::DirEntry::file_name);
    for entry in listed {
        let path = entry.path();
        let name = entry.file_name();
        let (Some(name), Some(relative)) = (name.to_str(), path.strip_prefix(root).ok().and_then(Path::to_str)) else {
            bail!("{} has no readable name", path.display());
        };
        let found = Found { path: &path, relative, name };
        let kind = entry.file_type().map_err(|error| anyhow!(text::not_opened(&path, &error)))?;
        if !kind.is_dir() {
            files(&found)?;
        } else if directories(&found) == Choice::Take {
            walk_below(root, &path, directories, files)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow!(text::not_opened(path, &error)))
}

/// What a packager of a language leaves out.
pub(super) struct LeftOut {
    pub(super) directories: &'static [&'static str],
    pub(super) extension: Option<&'static str>,
}

/// Packs sources below `src/`, and metadata as it stands, in the order in which they are found.
pub(super) fn pack(path: &str, left_out: &LeftOut) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::new(Writing::Sources);
    let mut empty = true;
    let mut directory = |found: &Found<'_>| match found.name == ".git" || left_out.directories.contains(&found.name) {
        true => Choice::Leave,
        false => Choice::Take,
    };
    walk(Path::new(path), &mut directory, &mut |found| {
        let extension = found.path.extension().and_then(|extension| extension.to_str());
        if extension.is_some() && extension == left_out.extension {
            return Ok(());
        }
        if !found.relative.starts_with(METADATA) {
            archive.file(&format!("src/{}", found.relative), &read(found.path)?)?;
        } else if let Some(content) = read_metadata(found, found.relative)? {
            archive.file(found.relative, &content)?;
        } else {
            return Ok(());
        }
        empty = false;
        Ok(())
    })?;
    if empty {
        bail!("no source files found in '{path}'");
    }
    Ok(archive.finish())
}

/// The content of a file of metadata, checked; `None` for hidden files, which users often do not know of.
fn read_metadata(found: &Found<'_>, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    if found.name.starts_with('.') {
        tracing::warn!(target: "chaincode.platform.util", "Ignoring hidden file in metadata directory: {name}");
        return Ok(None);
    }
    let content = read(found.path)?;
    check_metadata_file(name, &content)?;
    Ok(Some(content))
}

/// Packs files as they stand.
pub(super) fn pack_unchanged(path: &str) -> anyhow::Result<Vec<u8>> {
    let mut named = Named::default();
    walk(Path::new(path), &mut |_| Choice::Take, &mut |found| {
        named.insert_file(found.relative.to_owned(), found.path)
    })?;
    named.pack(path, Directories::Implied)
}

/// Whether an archive has entries for directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directories {
    Implied,
    Listed,
}

/// Files by their names in a package.
#[derive(Default)]
pub(super) struct Named(BTreeMap<String, Vec<u8>>);

impl Named {
    /// Adds a file under a name of its own.
    pub(super) fn insert_file(&mut self, name: String, file: &Path) -> anyhow::Result<()> {
        self.0.insert(name, read(file)?);
        Ok(())
    }

    /// Adds a file of metadata below `META-INF`.
    pub(super) fn insert_metadata(&mut self, found: &Found<'_>, below: &str) -> anyhow::Result<()> {
        let name = format!("{METADATA}/{below}");
        if let Some(content) = read_metadata(found, &name)? {
            self.0.insert(name, content);
        }
        Ok(())
    }

    /// Packs the files in the order of their names.
    pub(super) fn pack(&self, path: &str, directories: Directories) -> anyhow::Result<Vec<u8>> {
        if self.0.is_empty() {
            bail!("no source files found in '{path}'");
        }
        let mut archive = Archive::new(Writing::Sources);
        if directories == Directories::Listed {
            let parents = self.0.keys().flat_map(|name| name.match_indices('/').filter_map(|(at, _)| name.get(..at)));
            for directory in parents.collect::<BTreeSet<_>>() {
                archive.directory(directory)?;
            }
        }
        for (name, content) in &self.0 {
            archive.file(name, content)?;
        }
        Ok(archive.finish())
    }
}
