//! Gzip with the very bytes that Go's standard library writes at its default level.
//!
//! A package's id is a hash of the package, so that two tools give one chaincode the same id only if they compress alike.
//! What must be alike is written down here: which earlier text is matched ([`Matcher`]), where a block ends, and which code
//! a block gets ([`Block`]). The code of a block is the best one of RFC 1951 that a comparison of sizes finds.

use std::num::NonZeroUsize;

/// How far back a match may lie.
const WINDOW: usize = 1 << 15;
/// The shortest match that is used.
const MIN_MATCH: usize = 4;
/// The longest match there is.
const MAX_MATCH: usize = 258;
/// Input that must be at hand to look for a match, unless there is no more.
const LOOKAHEAD: usize = MIN_MATCH + MAX_MATCH;
/// A match of this length ends the search for a better one.
const NICE_MATCH: usize = 128;
/// Behind a match of this length, none is looked for that begins one byte later.
const LAZY_MATCH: usize = 16;
/// Earlier places that are tried for a match.
const MAX_TRIES: usize = 128;
/// The shortest matches are not worth their distance when they lie further back.
const MAX_SHORT_DISTANCE: usize = 4096;
/// Earlier text is found by the hash of its first bytes.
const HASH_BITS: u32 = 17;
/// Tokens in a block.
const BLOCK_TOKENS: usize = 1 << 14;
/// Bytes in a block that is stored as it is.
const MAX_STORED: usize = 65535;

/// The symbol that ends a block; the lengths of matches follow.
const END_OF_BLOCK: usize = 256;
/// Symbols of literals and lengths.
const LITERALS: usize = 286;
/// Symbols of distances.
const DISTANCES: usize = 30;
/// The longest code of a literal, a length or a distance.
const MAX_CODE: usize = 15;
/// The longest code of a code's length.
const MAX_LENGTH_CODE: usize = 7;
/// Where the lengths of matches begin that share a symbol, less the shortest of all, and how many bits tell them apart.
const LENGTHS: [(u16, u8); 29] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 1),
    (10, 1),
    (12, 1),
    (14, 1),
    (16, 2),
    (20, 2),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 3),
    (56, 3),
    (64, 4),
    (80, 4),
    (96, 4),
    (112, 4),
    (128, 5),
    (160, 5),
    (192, 5),
    (224, 5),
    (255, 0),
];
/// The same for distances.
const OFFSETS: [(u16, u8); DISTANCES] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 1),
    (6, 1),
    (8, 2),
    (12, 2),
    (16, 3),
    (24, 3),
    (32, 4),
    (48, 4),
    (64, 5),
    (96, 5),
    (128, 6),
    (192, 6),
    (256, 7),
    (384, 7),
    (512, 8),
    (768, 8),
    (1024, 9),
    (1536, 9),
    (2048, 10),
    (3072, 10),
    (4096, 11),
    (6144, 11),
    (8192, 12),
    (12288, 12),
    (16384, 13),
    (24576, 13),
];
/// The order in which the lengths of the codes of lengths are written.
const CODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// A piece of text: a byte, or a repetition.
#[derive(Debug, Clone, Copy)]
enum Token {
    Literal(u8),
    Match { length: usize, distance: usize },
}

/// Compresses what is written to it. Where one write ends and the next begins has an influence on the result, because the
/// window is moved between writes only.
pub(super) struct Gzip {
    matcher: Matcher,
    out: Bits,
    checksum: flate2::Crc,
}

impl Gzip {
    pub(super) fn new() -> Self {
        // Neither a name nor a time, made on an unknown system.
        let out = Bits { bytes: vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], pending: 0, count: 0 };
        Self { matcher: Matcher::new(), out, checksum: flate2::Crc::new() }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        self.checksum.update(bytes);
        while !bytes.is_empty() {
            self.matcher.run(More::Expected, &mut self.out);
            let taken = self.matcher.fill(bytes);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.matcher.run(More::None, &mut self.out);
        self.out.stored(&[], 1);
        let mut bytes = self.out.bytes;
        bytes.extend(self.checksum.sum().to_le_bytes());
        bytes.extend(self.checksum.amount().to_le_bytes());
        bytes
    }
}

/// Whether more input may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    Expected,
    None,
}

/// Turns text into tokens. All places count from the beginning of the text.
struct Matcher {
    text: Vec<u8>,
    /// Where the text begins that may be referred to.
    window: usize,
    /// The next byte to look at.
    next: usize,
    /// The byte before was not written yet: a match that begins here may be better than it and the match before.
    pending: bool,
    /// The match that was found for the byte before.
    found: Option<(NonZeroUsize, usize)>,
    tokens: Vec<Token>,
    /// Where the text of `tokens` begins, unless the window has left it behind.
    block: Option<usize>,
    /// By the hash of what stands there: the last place, plus one.
    last: Vec<usize>,
    /// By place within the window: the place before with the same hash, plus one.
    before: Vec<usize>,
}

impl Matcher {
    fn new() -> Self {
        Self {
            text: Vec::new(),
            window: 0,
            next: 0,
            pending: false,
            found: None,
            tokens: Vec::with_capacity(BLOCK_TOKENS),
            block: Some(0),
            last: vec![0; 1 << HASH_BITS],
            before: vec![0; WINDOW],
        }
    }

    /// Takes as much input as there is room for, and says how much.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        if self.next >= self.window + 2 * WINDOW - LOOKAHEAD {
            self.window += WINDOW;
            self.block = self.block.filter(|&block| block >= self.window);
        }
        let taken = bytes.len().min(self.window + 2 * WINDOW - self.text.len());
        self.text.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        taken
    }

    /// Goes on as long as there is input enough.
    fn run(&mut self, more: More, out: &mut Bits) {
        loop {
            let ahead = self.text.len() - self.next;
            if ahead < LOOKAHEAD && more == More::Expected {
                return;
            }
            if ahead == 0 {
                if self.pending {
                    self.pending = false;
                    self.literal_before();
                }
                self.end_block(self.next, out);
                return;
            }
            self.step(ahead, out);
        }
    }

    /// Looks at one byte: is there a match that is better than the one that begins before it?
    fn step(&mut self, ahead: usize, out: &mut Bits) {
        let candidate = self.remember(self.next);
        let previous = self.found.take();
        let length_before = previous.map_or(MIN_MATCH - 1, |(length, _)| length.get());
        let lower = self.window.max(self.next.saturating_sub(WINDOW));
        if let Some(candidate) = candidate.filter(|&candidate| candidate >= lower)
            && ahead > length_before
            && length_before < LAZY_MATCH
        {
            self.found = self.longest_match(candidate, ahead.min(MAX_MATCH));
        }
        match previous {
            Some((length, distance)) if self.found.is_none_or(|(found, _)| found <= length) => {
                let length = length.get();
                self.tokens.push(Token::Match { length, distance });
                let behind = self.next + length - 1;
                for place in self.next + 1..behind {
                    self.remember(place);
                }
                (self.next, self.pending, self.found) = (behind, false, None);
                self.end_full_block(behind, out);
            }
            _ => {
                if self.pending {
                    self.literal_before();
                    self.end_full_block(self.next, out);
                }
                (self.next, self.pending) = (self.next + 1, true);
            }
        }
    }

    fn literal_before(&mut self) {
        let byte = self.next.checked_sub(1).and_then(|before| self.text.get(before));
        self.tokens.extend(byte.map(|&byte| Token::Literal(byte)));
    }

    /// Notes what stands at a place, and gives the last place with the same hash. What ends too soon is not noted.
    fn remember(&mut self, place: usize) -> Option<usize> {
        let bytes = self.text.get(place..place + MIN_MATCH)?;
        let number = bytes.iter().fold(0_u32, |number, &byte| number << 8 | u32::from(byte));
        let hash = number.wrapping_mul(0x1e35_a7bd) >> (32 - HASH_BITS);
        let last = self.last.get_mut(usize::try_from(hash).ok()?)?;
        let candidate = std::mem::replace(last, place + 1);
        if let Some(before) = self.before.get_mut(place % WINDOW) {
            *before = candidate;
        }
        candidate.checked_sub(1)
    }

    /// The longest match for the next bytes, and how far back it lies.
    fn longest_match(&self, candidate: usize, limit: usize) -> Option<(NonZeroUsize, usize)> {
        let wanted = self.text.get(self.next..self.next + limit)?;
        let (mut best, mut length) = (None, MIN_MATCH - 1);
        let mut place = candidate;
        for _ in 0..MAX_TRIES {
            // What differs where it would have to be longer is not worth the comparison.
            if self.text.get(place + length) == wanted.get(length) {
                let there = self.text.get(place..place + limit)?;
                let equal = there.iter().zip(wanted).take_while(|(a, b)| a == b).count();
                let distance = self.next - place;
                if equal > length && (equal > MIN_MATCH || distance <= MAX_SHORT_DISTANCE) {
                    (length, best) = (equal, NonZeroUsize::new(equal).map(|equal| (equal, distance)));
                    if equal >= limit.min(NICE_MATCH) {
                        break;
                    }
                }
            }
            let earlier = self.before.get(place % WINDOW).and_then(|before| before.checked_sub(1));
            match earlier {
                // At the window's edge, what was noted is overwritten already.
                Some(earlier)
                    if place + WINDOW != self.next && earlier >= self.window && earlier + WINDOW >= self.next =>
                {
                    place = earlier;
                }
                _ => break,
            }
        }
        best
    }

    fn end_full_block(&mut self, end: usize, out: &mut Bits) {
        if self.tokens.len() == BLOCK_TOKENS {
            self.end_block(end, out);
        }
    }

    fn end_block(&mut self, end: usize, out: &mut Bits) {
        if self.tokens.is_empty() {
            return;
        }
        let text = self.block.and_then(|begin| self.text.get(begin..end));
        Block::new(&self.tokens).write(text, out);
        self.tokens.clear();
        self.block = Some(end);
    }
}

/// Tokens and how often each symbol occurs in them.
struct Block<'a> {
    tokens: &'a [Token],
    literals: [u32; LITERALS],
    distances: [u32; DISTANCES],
    /// Bits that stand behind symbols, whatever the code.
    extra: usize,
}

impl<'a> Block<'a> {
    fn new(tokens: &'a [Token]) -> Self {
        let mut block = Self { tokens, literals: [0; LITERALS], distances: [0; DISTANCES], extra: 0 };
        let count = |frequencies: &mut [u32], symbol: usize| {
            if let Some(frequency) = frequencies.get_mut(symbol) {
                *frequency += 1;
            }
        };
        for token in tokens {
            match *token {
                Token::Literal(byte) => count(&mut block.literals, usize::from(byte)),
                Token::Match { length, distance } => {
                    let (length, distance) = (Symbol::of_length(length), Symbol::of_distance(distance));
                    count(&mut block.literals, length.symbol);
                    count(&mut block.distances, distance.symbol);
                    block.extra += usize::from(length.bits) + usize::from(distance.bits);
                }
            }
        }
        count(&mut block.literals, END_OF_BLOCK);
        // A code of distances is needed, also where there are none.
        if block.distances.iter().all(|&frequency| frequency == 0) {
            count(&mut block.distances, 0);
        }
        block
    }

    /// Writes the block in its smallest form.
    fn write(&self, text: Option<&[u8]>, out: &mut Bits) {
        let fixed = Codes::fixed();
        let own =
            Codes { literals: Code::of(&self.literals, MAX_CODE), distances: Code::of(&self.distances, MAX_CODE) };
        let description = Description::new(&own, used(&self.literals), used(&self.distances));
        let (fixed_size, own_size) = (3 + self.size(&fixed), description.size() + self.size(&own));
        let text = text.filter(|text| text.len() <= MAX_STORED);
        if let Some(text) = text.filter(|text| (text.len() + 5) * 8 < fixed_size.min(own_size)) {
            out.stored(text, 0);
            return;
        }
        if own_size < fixed_size {
            description.write(out);
            self.write_tokens(&own, out);
        } else {
            out.push(2, 3);
            self.write_tokens(&fixed, out);
        }
    }

    fn size(&self, codes: &Codes) -> usize {
        codes.literals.size(&self.literals) + codes.distances.size(&self.distances) + self.extra
    }

    fn write_tokens(&self, codes: &Codes, out: &mut Bits) {
        for token in self.tokens {
            match *token {
                Token::Literal(byte) => codes.literals.write(usize::from(byte), out),
                Token::Match { length, distance } => {
                    Symbol::of_length(length).write(&codes.literals, out);
                    Symbol::of_distance(distance).write(&codes.distances, out);
                }
            }
        }
        codes.literals.write(END_OF_BLOCK, out);
    }
}

/// How many symbols there are up to the last one that occurs.
fn used(frequencies: &[u32]) -> usize {
    frequencies.iter().rposition(|&frequency| frequency > 0).map_or(0, |last| last + 1)
}

/// A length or distance: the symbol of its range, and bits that say which one of the range it is.
struct Symbol {
    symbol: usize,
    extra: u16,
    bits: u8,
}

impl Symbol {
    fn of_length(length: usize) -> Self {
        let symbol = Self::within(&LENGTHS, length - 3);
        Self { symbol: END_OF_BLOCK + 1 + symbol.symbol, ..symbol }
    }

    fn of_distance(distance: usize) -> Self {
        Self::within(&OFFSETS, distance - 1)
    }

    fn within(ranges: &[(u16, u8)], value: usize) -> Self {
        let value = u16::try_from(value).unwrap_or(u16::MAX);
        let symbol = ranges.partition_point(|&(begin, _)| begin <= value).saturating_sub(1);
        let (begin, bits) = ranges.get(symbol).copied().unwrap_or_default();
        Self { symbol, extra: value - begin, bits }
    }

    fn write(&self, code: &Code, out: &mut Bits) {
        code.write(self.symbol, out);
        out.push(u64::from(self.extra), self.bits);
    }
}

/// The two codes of a block.
struct Codes {
    literals: Code,
    distances: Code,
}

impl Codes {
    /// The codes that every reader knows.
    fn fixed() -> Self {
        let length = |symbol: usize| match symbol {
            0..144 => 8,
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        };
        Self { literals: Code::new((0..288).map(length).collect()), distances: Code::new(vec![5; 32]) }
    }
}

/// A prefix code: for each symbol its bits, and how many; none where it does not occur.
struct Code(Vec<(u64, u8)>);

impl Code {
    /// The code in which symbols of the same length stand in their order.
    fn new(lengths: Vec<u8>) -> Self {
        let mut code = vec![(0, 0); lengths.len()];
        let mut next = 0_u16;
        for length in 1..=MAX_CODE as u8 {
            for (_, entry) in lengths.iter().zip(&mut code).filter(|(own, _)| **own == length) {
                // Codes are written from their first bit on, numbers from their last.
                *entry = (u64::from(next.reverse_bits() >> (16 - length)), length);
                next += 1;
            }
            next <<= 1;
        }
        Self(code)
    }

    /// The best code for these frequencies whose codes are not longer than `limit`.
    fn of(frequencies: &[u32], limit: usize) -> Self {
        let mut leaves: Vec<(u32, usize)> = frequencies
            .iter()
            .enumerate()
            .filter(|(_, frequency)| **frequency > 0)
            .map(|(symbol, &frequency)| (frequency, symbol))
            .collect();
        leaves.sort_unstable();
        let mut lengths = vec![0; frequencies.len()];
        for (level_leaves, (_, symbol)) in code_lengths(&leaves, limit).into_iter().zip(&leaves) {
            if let Some(length) = lengths.get_mut(*symbol) {
                *length = level_leaves;
            }
        }
        Self::new(lengths)
    }

    fn size(&self, frequencies: &[u32]) -> usize {
        self.0.iter().zip(frequencies).map(|((_, length), &frequency)| usize::from(*length) * frequency as usize).sum()
    }

    fn length(&self, symbol: usize) -> u8 {
        self.0.get(symbol).map_or(0, |(_, length)| *length)
    }

    fn write(&self, symbol: usize, out: &mut Bits) {
        if let Some((bits, length)) = self.0.get(symbol) {
            out.push(*bits, *length);
        }
    }
}

/// The lengths of the codes of symbols that are sorted by frequency: the package-merge algorithm. Of a symbol and a pair of
/// the same weight, the pair comes first.
fn code_lengths(leaves: &[(u32, usize)], limit: usize) -> Vec<u8> {
    let count = leaves.len();
    if count <= 2 {
        return vec![1; count];
    }
    // Each level: the weights of its items, and which of them are symbols.
    let mut levels: Vec<Vec<(u64, bool)>> = Vec::new();
    for _ in 0..limit.min(count - 1) {
        let symbols = leaves.iter().map(|(frequency, _)| (u64::from(*frequency), true));
        let pairs = levels.last().into_iter().flat_map(|below| below.chunks_exact(2));
        let pairs = pairs.map(|pair| (pair.iter().map(|(weight, _)| weight).sum(), false));
        let mut level: Vec<(u64, bool)> = pairs.chain(symbols).collect();
        level.sort_by_key(|(weight, _)| *weight);
        levels.push(level);
    }
    let mut lengths = vec![0; count];
    let mut taken = 2 * count - 2;
    for level in levels.iter().rev() {
        let symbols = level.iter().take(taken).filter(|(_, symbol)| *symbol).count();
        lengths.iter_mut().take(symbols).for_each(|length| *length += 1);
        taken = 2 * (taken - symbols);
    }
    lengths
}

/// How a block tells its own codes: the lengths of all codes, repetitions shortened, in a code of their own.
struct Description {
    literals: usize,
    distances: usize,
    /// Lengths, or repetitions and how many bits say how often.
    lengths: Vec<(usize, u64, u8)>,
    frequencies: [u32; 19],
    code: Code,
}

impl Description {
    fn new(codes: &Codes, literals: usize, distances: usize) -> Self {
        let lengths = (0..literals).map(|symbol| codes.literals.length(symbol));
        let lengths: Vec<u8> = lengths.chain((0..distances).map(|symbol| codes.distances.length(symbol))).collect();
        let lengths: Vec<_> = lengths.chunk_by(|a, b| a == b).flat_map(shortened).collect();
        let mut frequencies = [0; 19];
        for (symbol, ..) in &lengths {
            if let Some(frequency) = frequencies.get_mut(*symbol) {
                *frequency += 1;
            }
        }
        let code = Code::of(&frequencies, MAX_LENGTH_CODE);
        Self { literals, distances, lengths, frequencies, code }
    }

    /// How many of the lengths of the codes of lengths are written.
    fn code_lengths(&self) -> usize {
        let used = |symbol: &usize| self.frequencies.get(*symbol).is_some_and(|frequency| *frequency > 0);
        CODE_ORDER.iter().rposition(used).map_or(4, |last| (last + 1).max(4))
    }

    fn size(&self) -> usize {
        let extra: usize = self.lengths.iter().map(|(_, _, bits)| usize::from(*bits)).sum();
        3 + 5 + 5 + 4 + 3 * self.code_lengths() + self.code.size(&self.frequencies) + extra
    }

    fn write(&self, out: &mut Bits) {
        let codes = self.code_lengths();
        out.push(4, 3);
        out.push((self.literals - 257) as u64, 5);
        out.push((self.distances - 1) as u64, 5);
        out.push((codes - 4) as u64, 4);
        for symbol in CODE_ORDER.iter().take(codes) {
            out.push(u64::from(self.code.length(*symbol)), 3);
        }
        for (symbol, extra, bits) in &self.lengths {
            self.code.write(*symbol, out);
            out.push(*extra, *bits);
        }
    }
}

/// A run of one length: itself, and then how often it is repeated, as far as that is shorter.
fn shortened(run: &[u8]) -> Vec<(usize, u64, u8)> {
    let length = usize::from(run.first().copied().unwrap_or_default());
    let mut left = run.len();
    let mut out = Vec::new();
    if length == 0 {
        while left >= 11 {
            let count = left.min(138);
            out.push((18, count as u64 - 11, 7));
            left -= count;
        }
        if left >= 3 {
            out.push((17, left as u64 - 3, 3));
            left = 0;
        }
    } else {
        out.push((length, 0, 0));
        left -= 1;
        while left >= 3 {
            let count = left.min(6);
            out.push((16, count as u64 - 3, 2));
            left -= count;
        }
    }
    out.extend(std::iter::repeat_n((length, 0, 0), left));
    out
}

/// Bytes that are written bit by bit, from their lowest on.
struct Bits {
    bytes: Vec<u8>,
    pending: u64,
    count: u8,
}

impl Bits {
    /// Writes the lowest `count` bits of a number, at most 16.
    fn push(&mut self, bits: u64, count: u8) {
        self.pending |= bits << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.count -= 8;
        }
    }

    /// Writes a block of bytes as they are. `last` is one if it is the last block.
    fn stored(&mut self, text: &[u8], last: u64) {
        self.push(last, 3);
        if self.count > 0 {
            self.push(0, 8 - self.count);
        }
        let length = text.len() as u64;
        self.push(length, 16);
        self.push(!length & 0xffff, 16);
        self.bytes.extend_from_slice(text);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;
    use ripstop_types::Digest;

    use super::*;

    fn compressed(text: &[u8], chunk: usize) -> Vec<u8> {
        let mut gzip = Gzip::new();
        text.chunks(chunk).for_each(|chunk| gzip.write(chunk));
        gzip.finish()
    }

    /// A text of a kind that can be made again by other programs.
    fn text(kind: &str, size: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut out = Vec::new();
        while out.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match kind {
                "zeros" => out.push(0),
                "noise" => out.push((state >> 32) as u8),
                "letters" => out.push(b"etaoin shrdlu\n"[(state >> 32) as usize % 14]),
                "words" => {
                    let word = (state >> 20) % 500;
                    out.extend(format!("w{}", word * word).bytes());
                    out.push(b" \n;"[(state >> 40) as usize % 3]);
                }
                _ if state >> 60 < 9 => {
                    let from = out.len().saturating_sub((state >> 40) as usize % 40000);
                    let to = out.len().min(from + (state >> 24) as usize % 300);
                    out.extend_from_within(from..to);
                    if out.is_empty() {
                        out.push(b'x');
                    }
                }
                _ => out.push((state >> 32) as u8),
            }
        }
        out.truncate(size);
        out
    }

    /// The first bytes of the SHA-256 of what Go 1.26 writes. (Its output has been the same since Go 1.7.)
    #[test]
    fn texts_become_the_bytes_that_go_writes() {
        for (kind, size, chunk, digest) in [
            ("zeros", 100, usize::MAX, "30cea967a38994ea"),
            ("zeros", 5000, usize::MAX, "3fa6457fda2d343b"),
            ("zeros", 150000, usize::MAX, "08b40418dc79fac8"),
            ("noise", 100, usize::MAX, "81d26533f60aaa69"),
            ("noise", 5000, usize::MAX, "d6bf2da59cfe28ad"),
            ("noise", 150000, usize::MAX, "84bf04ae4946864e"),
            ("letters", 0, usize::MAX, "30e6fa98fb48c2b1"),
            ("letters", 1, usize::MAX, "e950ddd1f1b66c06"),
            ("letters", 5, usize::MAX, "0813f00ea457c867"),
            ("letters", 100, usize::MAX, "0bf89aec4b44b74b"),
            ("letters", 5000, usize::MAX, "1a26000fea03f4cf"),
            ("letters", 150000, usize::MAX, "4b8d329129e6446d"),
            ("words", 100, usize::MAX, "638c3deca17aaa76"),
            ("words", 5000, usize::MAX, "964878dc0eeff357"),
            ("words", 150000, usize::MAX, "8999b0f57afae7ad"),
            ("mixed", 100, usize::MAX, "e9f6da5e4ebd317f"),
            ("mixed", 5000, usize::MAX, "7ebbf840aff2cc8a"),
            ("mixed", 150000, usize::MAX, "fef818d2f230e354"),
            ("mixed", 150000, 32768, "fef818d2f230e354"),
            ("mixed", 150000, 512, "fef818d2f230e354"),
            ("mixed", 150000, 65274, "fef818d2f230e354"),
        ] {
            let bytes = compressed(&text(kind, size), chunk);
            let found = Digest::of(&bytes).to_string();
            assert!(found.starts_with(digest), "{kind} {size} {chunk}: {found}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_compressed_comes_back(
            parts in proptest::collection::vec((any::<u8>(), 0_usize..3000, any::<bool>()), 0..60),
            chunk in 1_usize..70000,
        ) {
            let mut text = Vec::new();
            for (byte, count, again) in parts {
                match again {
                    true => text.extend_from_within(text.len().saturating_sub(count)..),
                    false => text.extend(std::iter::repeat_n(byte, count % 50)),
                }
            }
            let mut back = Vec::new();
            GzDecoder::new(compressed(&text, chunk).as_slice()).read_to_end(&mut back).unwrap();
            prop_assert_eq!(back, text);
        }
    }
}
