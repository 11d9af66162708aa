//! Result files, byte by byte as Fabric's tool writes them.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use ripstop_command_line::os_text;

/// Makes a directory for results, which may be there but must be empty.
pub(crate) fn result_directory(parent: &Path, name: &str, command: &str) -> anyhow::Result<PathBuf> {
    let directory = parent.join(name);
    let failed = |error: io::Error| anyhow!("error while creating dir: {}: {}", directory.display(), os_text(&error));
    fs::create_dir_all(&directory).map_err(failed)?;
    if fs::read_dir(&directory).map_err(failed)?.next().is_some() {
        bail!(
            "{name} already exists in {}. Choose a different location or remove the existing results. Aborting {command}",
            parent.display()
        );
    }
    Ok(directory)
}

/// A file with a list of JSON values, one a line with commas on lines of their own.
pub(crate) struct ListFile {
    path: PathBuf,
    file: BufWriter<File>,
    entries: usize,
}

impl ListFile {
    /// Begins a file: `head` stands before the list.
    pub(crate) fn begin(path: PathBuf, head: &str) -> anyhow::Result<Self> {
        let file = File::create(&path).map_err(|error| anyhow!("open {}: {}", path.display(), os_text(&error)))?;
        let mut list = Self { path, file: BufWriter::new(file), entries: 0 };
        list.write(head)?;
        list.write("[\n")?;
        Ok(list)
    }

    pub(crate) fn push(&mut self, entry: &str) -> anyhow::Result<()> {
        if self.entries > 0 {
            self.write(",\n")?;
        }
        self.entries += 1;
        self.write(entry)?;
        self.write("\n")
    }

    /// Ends the list and the file: `tail` stands behind the list. Returns when all is on disk.
    pub(crate) fn end(mut self, tail: &str) -> anyhow::Result<()> {
        self.write("]\n")?;
        self.write(tail)?;
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|error| self.failed(&error))
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        self.file.write_all(text.as_bytes()).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> anyhow::Error {
        anyhow!("write {}: {}", self.path.display(), os_text(error))
    }
}

/// A JSON object on one line. The values are JSON.
pub(crate) fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members: Vec<String> = members.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// Bytes as a JSON text, escaped as Go does it: what is no UTF-8 becomes the replacement character.
pub(crate) fn text(bytes: impl AsRef<[u8]>) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.as_ref().utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\0'..'\u{20}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(out, "\\u{:04x}", u32::from(letter));
                }
                _ => out.push(letter),
            }
        }
        // Go replaces every byte by itself.
        chunk.invalid().iter().for_each(|_| out.push_str("\\ufffd"));
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_go_does_it() {
        assert_eq!(text("a\"\\\n\t\r\u{8}\u{c}\u{0}\u{7f}"), "\"a\\\"\\\\\\n\\t\\r\\b\\f\\u0000\u{7f}\"");
        assert_eq!(text("<&>\u{2028}ü\u{fffd}"), "\"\\u003c\\u0026\\u003e\\u2028ü\u{fffd}\"");
        assert_eq!(text(b"\xff\xe2\x82x"), "\"\\ufffd\\ufffd\\ufffdx\"");
    }
}
