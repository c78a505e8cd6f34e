//! Choices, drawn at random and kept: the same tape makes the same thing again, and a shorter or lower one a simpler.

/// A source of choices. What was chosen is on the tape; beyond a replayed tape's end every choice is the first.
pub struct Draw {
    state: u64,
    pub tape: Vec<u32>,
    at: usize,
    replayed: bool,
}

impl Draw {
    pub fn seeded(seed: u64) -> Self {
        Self {
            state: seed,
            tape: Vec::new(),
            at: 0,
            replayed: false,
        }
    }

    pub fn replay(tape: Vec<u32>) -> Self {
        Self {
            state: 0,
            tape,
            at: 0,
            replayed: true,
        }
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 is the simplest choice.
    pub fn below(&mut self, n: usize) -> usize {
        let choice = match self.replayed {
            true => self
                .tape
                .get(self.at)
                .map_or(0, |choice| *choice as usize % n),
            false => (self.random() % n as u64) as usize,
        };
        if !self.replayed {
            self.tape.push(choice as u32);
        }
        self.at += 1;
        choice
    }

    /// True in so many of a hundred; false is the simplest.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) >= 100 - percent
    }

    pub fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Simpler tapes than this one, the boldest first.
pub fn simpler(tape: &[u32]) -> Vec<Vec<u32>> {
    let mut tapes = Vec::new();
    let mut span = tape.len() / 2;
    while span > 0 {
        for start in (0..tape.len()).step_by(span) {
            let end = (start + span).min(tape.len());
            tapes.push([&tape[..start], &tape[end..]].concat());
            if tape[start..end].iter().any(|choice| *choice > 0) {
                let mut zeroed = tape.to_vec();
                zeroed[start..end].fill(0);
                tapes.push(zeroed);
            }
        }
        span /= 2;
    }
    tapes
}
