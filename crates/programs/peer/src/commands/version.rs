use ripstop_command_line::{say, version};

use super::{Failure, usage};

/// Prints what `peer version` prints. It takes no words.
pub(crate) fn print(words: &[String]) -> Result<(), Failure> {
    if !words.is_empty() {
        return usage("trailing args detected");
    }
    say!("{}\n Chaincode:\n  Base Docker Label: none\n  Docker Namespace: none\n", version("peer"));
    Ok(())
}
