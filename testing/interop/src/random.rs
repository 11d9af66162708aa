/// Numbers that look random and come again with the same seed (SplitMix64). Not for secrets.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Begins with the seed in the variable `RIPSTOP_TEST_SEED`, or with `seed` where there is none; prints it, so that a
    /// failure can be repeated.
    pub fn from_environment(seed: u64) -> Self {
        let given = std::env::var("RIPSTOP_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or(seed);
        println!("RIPSTOP_TEST_SEED={seed}");
        Self(seed)
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub const fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Spoils one to four bytes somewhere.
    pub fn spoil(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut spoilt = bytes.to_vec();
        if spoilt.is_empty() {
            return spoilt;
        }
        for _ in 0..=self.below(4) {
            let place = self.below(spoilt.len());
            spoilt[place] ^= 1 << self.below(8);
        }
        spoilt
    }
}
