//! Where choices come from: a seed, or the bytes of a fuzzer. When the bytes are spent, every choice is the first one, which
//! ends what is being made; so shorter bytes are smaller specs.

/// A source of choices.
pub struct Dice {
    bytes: Option<Vec<u8>>,
    at: usize,
    state: u64,
}

impl Dice {
    /// Choices that a seed decides: splitmix64.
    pub fn seeded(seed: u64) -> Dice {
        Dice { bytes: None, at: 0, state: seed }
    }

    /// Choices that bytes decide.
    pub fn of(bytes: &[u8]) -> Dice {
        Dice { bytes: Some(bytes.to_vec()), at: 0, state: 0 }
    }

    /// Whether there is nothing left to decide by.
    pub fn spent(&self) -> bool {
        self.bytes.as_ref().is_some_and(|bytes| self.at >= bytes.len())
    }

    fn next(&mut self) -> u64 {
        if let Some(bytes) = &self.bytes {
            let byte = bytes.get(self.at).copied().unwrap_or(0);
            self.at += 1;
            return u64::from(byte);
        }
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// True once in n times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) + 1 == n
    }

    /// One of some things.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A number of [-1, 1).
    pub fn real(&mut self) -> f64 {
        let fine = match self.bytes {
            Some(_) => self.next() << 8 | self.next(),
            None => self.next() >> 48,
        };
        fine as f64 / 32768.0 - 1.0
    }
}
