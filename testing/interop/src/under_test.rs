//! The very `ripstop` of `bin/ripstop`, built where the tests of this package can find it.

fn main() -> std::process::ExitCode {
    ripstop::run(std::env::args_os().collect())
}
