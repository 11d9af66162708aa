//! The one binary of Ripstop: every Fabric command by the name it is called with, and the commands of Ripstop itself.
//!
//! It is a library with a one-line `main`, so that tests of other packages can build the very same program.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command that the first argument, the program's name, or else the second asks for.
pub fn run(args: Vec<OsString>) -> ExitCode {
    let called = args.first().and_then(|name| Path::new(name).file_stem()).and_then(|name| name.to_str());
    match called.unwrap_or_default() {
        "peer" => ripstop_peer::run(args),
        _ => match args.get(1).and_then(|name| name.to_str()) {
            Some("peer") => ripstop_peer::run(args.into_iter().skip(1)),
            _ => ExitCode::FAILURE,
        },
    }
}
