//! Going back to an earlier end of the chain.

use std::path::Path;

use ripstop_files::{FileError, FileSystem};
use ripstop_types::BlockNumber;

use crate::store::LOCATIONS;
use crate::{BlockStore, BlockStoreError};

impl BlockStore {
    /// Removes all blocks behind `last`; nothing happens when there are none. The store has to be opened again.
    ///
    /// A crash in the middle leaves a whole chain that ends between `last` and its former end: files go from the last one
    /// backwards, each safely before the next. Whoever wants all or nothing notes down what it is about to do, and does it
    /// again.
    pub fn truncate_after(self, last: BlockNumber) -> Result<(), BlockStoreError> {
        let Self { files, locations, .. } = self;
        let mut locations = locations.into_inner();
        let kept = last.next().get();
        if kept >= locations.next() {
            return Ok(());
        }
        let end = locations.get(last.get())?;
        // First of all nothing may say any more that what goes is safe.
        locations.truncate(kept)?;
        locations.sync()?;
        for file in (end.file + 1..files.count()?).rev() {
            files.remove(file)?;
        }
        Ok(files.cut(end.file, end.end())?)
    }
}

/// Removes what is derived from the block files of a directory. It comes back when the store is opened, which reads and
/// checks every block then. The store must not be open.
pub fn drop_index(directory: &Path) -> Result<(), FileError> {
    FileSystem::host().remove_file(&directory.join(LOCATIONS))
}
