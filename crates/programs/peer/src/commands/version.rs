use ripstop_node::FABRIC_RELEASE;

use super::{Failure, usage};

/// Prints what `peer version` prints. It takes no words.
pub(crate) fn print(words: &[String]) -> Result<(), Failure> {
    if !words.is_empty() {
        return usage("trailing args detected");
    }
    say!(
        "peer:\n Version: {FABRIC_RELEASE}\n Commit SHA: ripstop-{}\n Go version: none (Rust)\n OS/Arch: {}/{}\n Chaincode:\n  Base Docker Label: none\n  Docker Namespace: none\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
    );
    Ok(())
}
