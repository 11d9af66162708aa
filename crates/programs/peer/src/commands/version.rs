/// The release of Fabric whose wire contract this is.
const FABRIC_RELEASE: &str = "v3.1.5";

/// Prints what `peer version` prints.
pub(crate) fn print() {
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
}
