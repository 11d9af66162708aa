//! Where a peer keeps the block files of its channels.
//!
//! | layout | block files of a channel |
//! |---|---|
//! | this project's | `ledgersData/CHANNEL/blocks` |
//! | Fabric's | `ledgersData/chains/chains/CHANNEL` |

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;
use ripstop_command_line::os_text;

/// The block files of one channel.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) channel: String,
    pub(crate) directory: PathBuf,
}

/// The chains under a peer's file system path, in order of their names.
pub(crate) fn find(file_system: &Path, command: &str) -> anyhow::Result<Vec<Chain>> {
    let ledgers = file_system.join("ledgersData");
    let fabric = ledgers.join("chains").join("chains");
    let mut chains = if fabric.is_dir() {
        list(&fabric, |directory| directory)?
    } else if ledgers.is_dir() {
        list(&ledgers, |directory| directory.join("blocks"))?
    } else {
        let missing = ledgers.join("chains");
        bail!("error opening dir [{path}]: open {path}: no such file or directory", path = missing.display());
    };
    if chains.is_empty() {
        bail!("provided path {} is empty. Aborting {command}", file_system.display());
    }
    chains.sort_by(|a, b| a.channel.cmp(&b.channel));
    Ok(chains)
}

fn list(parent: &Path, blocks: impl Fn(PathBuf) -> PathBuf) -> anyhow::Result<Vec<Chain>> {
    let failed =
        |error: std::io::Error| anyhow::anyhow!("error reading dir [{}]: {}", parent.display(), os_text(&error));
    let mut chains = Vec::new();
    for entry in fs::read_dir(parent).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let channel = entry.file_name().to_string_lossy().into_owned();
        let directory = blocks(entry.path());
        // Names with a dot in front are of ledgers that are being made or removed.
        if directory.is_dir() && !channel.starts_with('.') {
            chains.push(Chain { channel, directory });
        }
    }
    Ok(chains)
}
