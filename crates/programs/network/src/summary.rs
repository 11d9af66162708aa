//! What runs where and how to call it, in plain words.

use std::fmt::Write as _;
use std::path::Path;

use crate::plan::{CHANNEL, CONTRACT, HOST, Layout, Plan};
use crate::transaction::Shown;

/// The text that `ripstop up` ends with.
pub(crate) fn text(plan: &Plan, layout: &Layout, shown: &Shown, blocks: u64) -> String {
    let mut out = format!("\n  {}.\n  {} reads: {}\n\n", capitalised(&shown.deed), shown.reader, shown.asset);
    let mut row = |what: &str, place: &str| {
        let _ = writeln!(out, "  {what:<26} {place}");
    };
    for orderer in &plan.orderers {
        row(&orderer.name, &format!("{HOST}:{}", orderer.port));
    }
    for peer in plan.organisations.iter().flat_map(|organisation| &organisation.peers) {
        row(&peer.name, &format!("{HOST}:{}   (applications connect here)", peer.port));
    }
    row(&format!("contract {CONTRACT}"), &format!("{HOST}:{}", plan.contract_port));
    row("channel", &format!("{CHANNEL}, {blocks} blocks"));
    row("data, keys, configuration", &layout.root.display().to_string());
    row("logs", &layout.logs().display().to_string());
    out
}

/// How to go on in another terminal. `directory` is named where it is not the default.
pub(crate) fn how_to_call(directory: Option<&Path>) -> String {
    let program = std::env::args_os().next().map(|name| name.to_string_lossy().into_owned());
    let program = program.filter(|name| !name.is_empty()).unwrap_or_else(|| "ripstop".to_owned());
    let directory = directory.map(|directory| format!(" --dir {}", quoted(directory))).unwrap_or_default();
    format!(
        "
  In another terminal, as the administrator of org1:

    eval \"$({program} env org1{directory})\"
    {program} peer chaincode query -C {CHANNEL} -n {CONTRACT} -c '{{\"Args\":[\"GetAllAssets\"]}}'
"
    )
}

/// Text as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:+@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gets_paths_back_as_they_were() {
        assert_eq!(quoted(Path::new("/a/b-c.d")), "/a/b-c.d");
        assert_eq!(quoted(Path::new("/it's here")), r"'/it'\''s here'");
    }
}
