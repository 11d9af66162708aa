//! `ripstop`, and every Fabric command it is called as.

fn main() -> std::process::ExitCode {
    ripstop::run(std::env::args_os().collect())
}
