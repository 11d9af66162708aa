/// Spoilt copies of bytes; the same for the same number.
#[derive(Debug)]
pub(crate) struct Mutations(u64);

/// At most so many bytes are cut out, repeated or put in at once.
const MOST_BYTES: usize = 16;

/// Bytes that mean something to varints, lengths and DER.
const TELLING: [u8; 12] = [0x00, 0x01, 0x02, 0x08, 0x0a, 0x12, 0x30, 0x7f, 0x80, 0x82, 0xfe, 0xff];

impl Mutations {
    /// Begins at a number.
    pub(crate) const fn from(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        // xorshift64*: enough to choose places.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        number as usize % bound.max(1)
    }

    /// One to four changes: a byte replaced or flipped, a piece cut out, repeated, or put in, the end cut off.
    pub(crate) fn spoil(&mut self, original: &[u8]) -> Vec<u8> {
        let mut bytes = original.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let rest = bytes.len() - at;
            let length = self.below(MOST_BYTES.min(rest) + 1);
            match self.below(6) {
                0 if rest > 0 => bytes[at] = TELLING[self.below(TELLING.len())],
                1 if rest > 0 => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.drain(at..at + length)),
                3 => {
                    let piece = bytes[at..at + length].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, piece);
                }
                4 => bytes.truncate(at),
                _ => {
                    let piece: Vec<u8> = (0..=length).map(|_| TELLING[self.below(TELLING.len())]).collect();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}
