//! What happens when nobody reads what a command prints, as behind `| head -1`.

use std::process::{Command, Stdio};

#[test]
fn a_command_whose_output_nobody_reads_ends_quietly() {
    for argument in ["help", "version"] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_ripstop-under-test"))
            .arg(argument)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .expect("ripstop runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{argument} ended with {}: {said}", output.status);
    }
}
