//! The one binary of Ripstop: every Fabric command by the name it is called with, and the commands of Ripstop itself.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let called = args.first().and_then(|name| Path::new(name).file_stem()).and_then(|name| name.to_str());
    match called.unwrap_or_default() {
        "peer" => ripstop_peer::run(args),
        _ => match args.get(1).and_then(|name| name.to_str()) {
            Some("peer") => ripstop_peer::run(args.into_iter().skip(1)),
            _ => ExitCode::FAILURE,
        },
    }
}
