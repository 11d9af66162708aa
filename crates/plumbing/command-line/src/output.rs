use std::io;

use ripstop_proto::FABRIC_RELEASE;

/// Prints a line on standard output. Whoever reads may have gone (`| head -1`), which is no reason to fail.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use ::std::io::Write as _;
        let _ = ::std::writeln!(::std::io::stdout(), $($text)*);
    }};
}

/// What a command says of its version, in Fabric's form; the last line has no end.
pub fn version(program: &str) -> String {
    format!(
        "{program}:\n Version: {FABRIC_RELEASE}\n Commit SHA: ripstop-{}\n Go version: none (Rust)\n OS/Arch: {}/{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        architecture()
    )
}

/// This machine's processor as Go names it.
pub const fn architecture() -> &'static str {
    // The names that differ among the machines this builds for.
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}

/// What the operating system says, in the form that Go prints: `no such file or directory`.
pub fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_says_reads_as_in_go() {
        assert_eq!(os_text(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(os_text(&io::Error::other("Odd")), "odd");
    }

    #[test]
    fn a_version_has_fabrics_lines() {
        let version = version("peer");
        let names: Vec<&str> = version.lines().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(names, ["peer", " Version", " Commit SHA", " Go version", " OS/Arch"]);
    }
}
