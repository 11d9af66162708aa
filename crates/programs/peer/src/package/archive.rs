//! Archives with the very bytes that Go's `archive/tar` and `compress/gzip` write.

use anyhow::{Context, bail};

use super::gzip::Gzip;

/// The size of a header, and what content is filled up to.
const BLOCK: usize = 512;
/// The most bytes of a name, and of the directories that are written apart from it.
const MAX_NAME: usize = 100;
const MAX_PREFIX: usize = 155;
/// The most that a file's size may be: eleven octal digits.
const MAX_SIZE: usize = 0o777_7777_7777;
/// What Fabric's packager reads of a file at once; see [`Gzip`] for why it matters.
const CHUNK: usize = 32 * 1024;

/// What the entries of an archive have in common.
#[derive(Debug, Clone, Copy)]
pub(super) enum Writing {
    /// The two files of a package: nobody's, and written at once.
    Package,
    /// Source files: they belong to a certain number, and are written as they are read.
    Sources,
}

impl Writing {
    /// The number of the user and of the group that own the files.
    fn owner(self) -> u64 {
        match self {
            Self::Package => 0,
            Self::Sources => 500,
        }
    }
}

/// A compressed archive that is being written.
pub(super) struct Archive {
    out: Gzip,
    writing: Writing,
}

impl Archive {
    pub(super) fn new(writing: Writing) -> Self {
        Self { out: Gzip::new(), writing }
    }

    /// Adds a directory.
    pub(super) fn directory(&mut self, name: &str) -> anyhow::Result<()> {
        self.header(&format!("{name}/"), 0o040_755, b'5', 0)
    }

    /// Adds a file.
    pub(super) fn file(&mut self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        self.header(name, 0o100_644, b'0', content.len())?;
        match self.writing {
            Writing::Package => self.out.write(content),
            Writing::Sources => content.chunks(CHUNK).for_each(|chunk| self.out.write(chunk)),
        }
        self.fill_up(content.len());
        Ok(())
    }

    fn fill_up(&mut self, size: usize) {
        self.out.write(&[0; BLOCK][..size.next_multiple_of(BLOCK) - size]);
    }

    fn header(&mut self, name: &str, mode: u64, kind: u8, size: usize) -> anyhow::Result<()> {
        if size > MAX_SIZE {
            bail!("{name} is too large for an archive: it has {size} bytes");
        }
        let Some((prefix, short)) = split(name) else {
            return self.header_of_long_name(name, mode, kind, size);
        };
        let header = Header { name: short, prefix, mode, owner: self.writing.owner(), size, kind };
        self.out.write(&header.bytes());
        Ok(())
    }

    /// A name that fits into no header stands in a file of its own before it.
    fn header_of_long_name(&mut self, name: &str, mode: u64, kind: u8, size: usize) -> anyhow::Result<()> {
        let (directory, file) = name.trim_end_matches('/').rsplit_once('/').unwrap_or(("", name));
        let record = record("path", name);
        let beside = ascii(&format!("{directory}/PaxHeaders.0/{file}"));
        let beside = beside.trim_start_matches('/');
        let header = Header { name: cut(beside), prefix: "", mode: 0, owner: 0, size: record.len(), kind: b'x' };
        self.out.write(&header.bytes());
        self.out.write(record.as_bytes());
        self.fill_up(record.len());
        let short = ascii(name);
        let owner = self.writing.owner();
        self.out.write(&Header { name: cut(&short), prefix: "", mode, owner, size, kind }.bytes());
        Ok(())
    }

    /// The archive's bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.out.write(&[0; BLOCK]);
        self.out.write(&[0; BLOCK]);
        self.out.finish()
    }
}

/// The directories that are written apart, and the rest of a name; `None` for names that fit into no header.
fn split(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= MAX_NAME {
        return Some(("", name));
    }
    let within = name.trim_end_matches('/').get(..=MAX_PREFIX).unwrap_or(name.trim_end_matches('/'));
    let (prefix, _) = within.rsplit_once('/')?;
    let short = name.get(prefix.len() + 1..)?;
    (!prefix.is_empty() && !short.is_empty() && short.len() <= MAX_NAME).then_some((prefix, short))
}

/// A record of a file that describes the next one: its own length stands first.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let digits = |length: usize| length.to_string().len();
    let mut length = rest.len() + digits(rest.len());
    if digits(length) > digits(rest.len()) {
        length = rest.len() + digits(length);
    }
    format!("{length}{rest}")
}

fn ascii(name: &str) -> String {
    name.chars().filter(char::is_ascii).collect()
}

fn cut(name: &str) -> &str {
    name.get(..MAX_NAME).map_or(name, |name| name.trim_end_matches('/'))
}

/// A header in the form of POSIX 1003.1-1988.
struct Header<'a> {
    name: &'a str,
    prefix: &'a str,
    mode: u64,
    owner: u64,
    size: usize,
    kind: u8,
}

impl Header<'_> {
    fn bytes(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = block.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(0, self.name.as_bytes());
        put(100, format!("{:07o}", self.mode).as_bytes());
        put(108, format!("{:07o}", self.owner).as_bytes());
        put(116, format!("{:07o}", self.owner).as_bytes());
        put(124, format!("{:011o}", self.size).as_bytes());
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(257, b"ustar\x0000");
        // A file that describes the next one has no device numbers.
        if self.kind != b'x' {
            put(329, b"0000000");
            put(337, b"0000000");
        }
        put(345, self.prefix.as_bytes());
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        if let Some(place) = block.get_mut(148..156) {
            place.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        block
    }
}

/// Whether an archive can hold a file of this name; a packager that reads names from elsewhere asks before.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    name.split('/').all(|part| !part.is_empty() && part != "..").then_some(()).with_context(|| {
        format!("{name} cannot be the name of a file in a package: it must be a path below the package's root")
    })
}

#[cfg(test)]
mod tests {
    use ripstop_types::Digest;

    use super::*;

    /// The hash is that of what a program in Go 1.26 writes for the same entries.
    #[test]
    fn names_of_all_lengths_are_written_as_go_writes_them() {
        let mut archive = Archive::new(Writing::Sources);
        archive.directory("src").unwrap();
        for name in [
            "src/main.go".to_owned(),
            format!("src/{}/{}/f", "d".repeat(60), "e".repeat(60)),
            format!("src/{}", "m".repeat(120)),
            format!("src/{}f", format!("{}/", "d".repeat(60)).repeat(4)),
            "src/ünïcode.txt".to_owned(),
            format!("src/{}", "n".repeat(96)),
            format!("src/{}", "n".repeat(97)),
            format!("{}/{}", "p".repeat(155), "q".repeat(100)),
            format!("{}/q", "p".repeat(156)),
        ] {
            archive.file(&name, format!("content of {name}").as_bytes()).unwrap();
        }
        let digest = "3270340d5f1cbf7b98aaea95a4e8712be2c267daadc3eb1e1493cb67349597f4";
        assert_eq!(Digest::of(&archive.finish()).to_string(), digest);
    }

    #[test]
    fn names_that_leave_the_package_are_refused() {
        check_name("src/a/b.go").unwrap();
        for name in ["src/../b", "/src/b", "src//b", ""] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
