//! Random numbers without a state: a hash of seed, step, stream and index, the same on both devices.
//!
//! `shaders/random.wgsl` is the twin. A resumed run draws what the first would have drawn, and no order of
//! threads matters.

pub mod streams;

/// The seed and the step that a draw belongs to: the words of the clock buffer are `[step, seed]`.
pub type Clock = [u32; 2];

/// Scrambles a word: each input bit changes about half of the output's. The constants are Chris Wellons'
/// "triple32 / hash prospector" two-round ones, bias 0.1 %.
#[inline(always)]
pub fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x21f0_aaad);
    let x = (x ^ (x >> 15)).wrapping_mul(0x735a_2d97);
    x ^ (x >> 15)
}

/// The key of all draws of one stream (one dropout layer, one noise) in one step.
#[inline(always)]
pub fn key([step, seed]: Clock, stream: u32) -> u32 {
    mix(mix(mix(seed ^ 0x9e37_79b9).wrapping_add(step)) ^ stream.wrapping_mul(0x85eb_ca6b))
}

/// 32 random bits for an index under a key. Mixed twice: mixing once would make two keys' sequences permutations of
/// each other.
#[inline(always)]
pub fn draw(key: u32, index: u32) -> u32 {
    mix(mix(index.wrapping_mul(0x9e37_79b1) ^ key).wrapping_add(key))
}

#[inline(always)]
pub fn bits(clock: Clock, stream: u32, index: u32) -> u32 {
    draw(key(clock, stream), index)
}

/// Uniform in [0, 1), from the upper 24 bits: every value is exact in f32.
#[inline(always)]
pub fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A shuffle of `0..count`, without a table: a bijection, determined by `seed` and `round`.
///
/// Four Feistel rounds over the smallest even number of bits that holds `count`; results outside are sent
/// round again (the cycle they are on re-enters the range, since the permutation is one of the larger range).
#[derive(Clone, Copy)]
pub struct Shuffle {
    count: u32,
    half: u32,
    key: u32,
}

impl Shuffle {
    #[inline(always)]
    pub fn new(count: u32, seed: u32, round: u32) -> Shuffle {
        Shuffle { count, half: half_bits(count.max(2)), key: key([round, seed], streams::SHUFFLE) }
    }

    /// Where `index` goes.
    #[inline(always)]
    pub fn at(self, index: u32) -> u32 {
        self.inside(self.once(index))
    }

    /// Where `first` and the indices after it go, many at once.
    #[inline(always)]
    pub fn from(self, first: u32, out: &mut [u32]) {
        out.iter_mut().zip(first..).for_each(|(out, index)| *out = self.once(index));
        // Few are left to be sent round again.
        out.iter_mut().for_each(|out| *out = self.inside(*out));
    }

    #[inline(always)]
    fn once(self, index: u32) -> u32 {
        let mask = (1u32 << self.half) - 1;
        let (mut left, mut right) = (index >> self.half, index & mask);
        for i in 0..4 {
            (left, right) = (right, left ^ (draw(self.key.wrapping_add(i), right) & mask));
        }
        (left << self.half) | right
    }

    #[inline(always)]
    fn inside(self, mut x: u32) -> u32 {
        while x >= self.count {
            x = self.once(x);
        }
        x
    }
}

/// Half the bits of the range that a [`Shuffle`] works in.
pub fn half_bits(count: u32) -> u32 {
    (32 - (count - 1).leading_zeros()).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_visits_every_index_once() {
        for count in [1, 2, 3, 10, 97, 256, 257, 60_000] {
            for round in 0..3 {
                let mut seen = vec![false; count as usize];
                let shuffle = Shuffle::new(count, 1, round);
                (0..count).for_each(|i| seen[shuffle.at(i) as usize] = true);
                assert!(seen.iter().all(|s| *s), "count {count} round {round}");
            }
        }
    }

    #[test]
    fn another_seed_and_another_round_are_another_shuffle() {
        let order = |seed, round| (0..97).map(|i| Shuffle::new(97, seed, round).at(i)).collect::<Vec<u32>>();
        assert_ne!(order(1, 0), order(2, 0));
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 2), order(2, 1));
    }

    #[test]
    fn a_shuffle_sends_neighbours_where_it_sends_each() {
        for (count, first) in [(60_000, 12_345), (257, 0), (3, 1), (1, 0)] {
            let shuffle = Shuffle::new(count, 9, 4);
            let mut together = vec![0; (count - first).min(500) as usize];
            shuffle.from(first, &mut together);
            let each: Vec<u32> = (first..count).take(together.len()).map(|index| shuffle.at(index)).collect();
            assert_eq!(together, each, "{count} from {first}");
        }
    }

    #[test]
    fn a_shuffle_has_as_many_fixed_points_and_neighbours_as_chance_gives() {
        let count = 10_000;
        let fixed =
            (0..100).map(|r| (0..count).filter(|i| Shuffle::new(count, 3, r).at(*i) == *i).count()).sum::<usize>();
        assert!((60..150).contains(&fixed), "{fixed} fixed points in 100 shuffles, 100 expected");
    }

    #[test]
    fn draws_are_uniform_and_streams_are_independent() {
        let n = 100_000u32;
        let draw = |stream, i| f64::from(unit(bits([5, 9], stream, i)));
        let mean = (0..n).map(|i| draw(0, i)).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 4.0 * (1.0 / 12.0f64).sqrt() / f64::from(n).sqrt(), "mean {mean}");
        let product = (0..n).map(|i| (draw(0, i) - 0.5) * (draw(1, i) - 0.5)).sum::<f64>() / f64::from(n);
        assert!(product.abs() < 4.0 / 12.0 / f64::from(n).sqrt(), "correlation {product}");
    }
}
