//! PEM as Go's `encoding/pem` reads and writes it. Whether an identity can be read decides validation codes, so what Go
//! skips, joins or refuses is skipped, joined and refused here too.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";
const LINE: usize = 64;

/// Standard alphabet, padding required, left-over bits of the last character ignored, as in Go.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// One block of a PEM text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemBlock {
    /// What stands behind `BEGIN`, such as `CERTIFICATE`.
    pub label: String,
    /// The decoded bytes.
    pub content: Vec<u8>,
}

/// Finds the first block of a text; returns it and what follows it. Text before the block and headers inside are skipped.
pub fn decode_pem(text: &[u8]) -> Option<(PemBlock, &[u8])> {
    let mut rest = text;
    loop {
        let end = find(rest, END)?;
        let behind_end = rest.get(end + END.len()..)?;
        let begin = rfind(&rest[..end], BEGIN).filter(|at| *at == 0 || rest[at - 1] == b'\n');
        if let Some(begin) = begin {
            match block_at(&rest[begin + BEGIN.len()..]) {
                Attempt::Block(block, behind) => return Some((block, behind)),
                Attempt::Over => return None,
                Attempt::Skip => {}
            }
        }
        rest = behind_end;
    }
}

enum Attempt<'a> {
    Block(PemBlock, &'a [u8]),
    /// This is no block; a later one may be.
    Skip,
    /// The text ends inside the block.
    Over,
}

/// Reads a block from just behind its `-----BEGIN `.
fn block_at(text: &[u8]) -> Attempt<'_> {
    let (type_line, mut rest) = line(text);
    let Some(label) = type_line.strip_suffix(DASHES) else { return Attempt::Skip };
    loop {
        if rest.is_empty() {
            return Attempt::Over;
        }
        let (header, next) = line(rest);
        if !header.contains(&b':') {
            break;
        }
        rest = next;
    }
    // Where the block is empty, the newline before END was taken with the line above.
    let (body, trailer) = if let Some(trailer) = rest.strip_prefix(&END[1..]) {
        (&rest[..0], trailer)
    } else {
        match find(rest, END) {
            Some(end) => (&rest[..end], &rest[end + END.len()..]),
            None => return Attempt::Skip,
        }
    };
    let Some(behind) = trailer.strip_prefix(label).and_then(|t| t.strip_prefix(DASHES)) else { return Attempt::Skip };
    let (end_line, behind) = line(behind);
    if !end_line.is_empty() {
        return Attempt::Skip;
    }
    let body: Vec<u8> = body.iter().copied().filter(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')).collect();
    match LENIENT.decode(&body) {
        Ok(content) => Attempt::Block(PemBlock { label: String::from_utf8_lossy(label).into_owned(), content }, behind),
        Err(_) => Attempt::Skip,
    }
}

/// The text of a block, with lines of 64 characters.
pub fn encode_pem(label: &str, content: &[u8]) -> String {
    let body = STANDARD.encode(content);
    let mut out = String::with_capacity(body.len() + body.len() / LINE + 2 * label.len() + 40);
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.len().min(LINE));
        out.push_str(head);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

/// The line at the start without its end and trailing blanks, and what follows.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    let (mut line, rest) = match text.iter().position(|byte| *byte == b'\n') {
        Some(at) => (text[..at].strip_suffix(b"\r").unwrap_or(&text[..at]), &text[at + 1..]),
        None => (text, &text[text.len()..]),
    };
    while let [head @ .., b' ' | b'\t'] = line {
        line = head;
    }
    (line, rest)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn rfind(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).rposition(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in [0, 1, 47, 48, 49, 200] {
            let content = vec![0xa5; length];
            let text = encode_pem("CERTIFICATE", &content);
            let (block, rest) = decode_pem(text.as_bytes()).unwrap();
            assert_eq!((block.label.as_str(), block.content, rest), ("CERTIFICATE", content, &b""[..]));
        }
    }

    #[test]
    fn blocks_are_found_where_go_finds_them() {
        let found = [
            ("-----BEGIN A-----\nAAAA\n-----END A-----", ""),
            ("text\n-----BEGIN A-----\r\nAAAA\r\n-----END A-----\r\nmore", "more"),
            ("-----BEGIN A-----\nKey: value\n\nAA\n AA\n-----END A-----  \n", ""),
            ("-----BEGIN B-----\n-----BEGIN A-----\nAAAA\n-----END A-----\n", ""),
            ("-----BEGIN B-----\nAA%A\n-----END B-----\n-----BEGIN A-----\nAAAA\n-----END A-----\n", ""),
        ];
        for (text, expected_rest) in found {
            let (block, rest) = decode_pem(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((block.label.as_str(), block.content.as_slice()), ("A", &[0, 0, 0][..]), "{text}");
            assert_eq!(rest, expected_rest.as_bytes());
        }
        let refused = [
            "",
            "AAAA",
            "x-----BEGIN A-----\nAAAA\n-----END A-----\n",
            "-----BEGIN A-----\nAAAA\n-----END B-----\n",
            "-----BEGIN A-----\nAAAA\n-----END A-----x\n",
            "-----BEGIN A\nAAAA\n-----END A-----\n",
            "-----BEGIN A-----\nAAAA\n",
        ];
        for text in refused {
            assert!(decode_pem(text.as_bytes()).is_none(), "{text}");
        }
    }
}
