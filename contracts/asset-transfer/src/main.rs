//! Runs the sample contract as the environment says: see [`ripstop_contract::run`].

fn main() -> std::process::ExitCode {
    ripstop_contract::run(ripstop_asset_transfer::contract())
}
