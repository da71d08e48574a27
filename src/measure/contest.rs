//! Candidates timed in turn.

use std::fmt;
use std::time::{Duration, Instant};

/// Times candidates in interleaved rounds: every round gives each of them one slice, and begins with another one.
///
/// Whatever slows the machine down meets all candidates of a round, so a ratio is taken within each round and the median over
/// the rounds.
pub struct Contest<'a> {
    rounds: usize,
    slice: Duration,
    candidates: Vec<Candidate<'a>>,
}

struct Candidate<'a> {
    units: u64,
    calls: u32,
    run: Box<dyn FnMut() + 'a>,
}

impl<'a> Contest<'a> {
    /// Plans `rounds` rounds, at least one, with slices of at least `slice`.
    pub fn new(rounds: usize, slice: Duration) -> Self {
        Self { rounds: rounds.max(1), slice, candidates: Vec::new() }
    }

    /// Adds a candidate, each call of which does `units` of work (bytes or operations); returns its number.
    pub fn add(&mut self, units: u64, run: impl FnMut() + 'a) -> usize {
        self.candidates.push(Candidate { units, calls: 1, run: Box::new(run) });
        self.candidates.len() - 1
    }

    /// Runs all rounds, after one that only warms up and finds out how many calls fill a slice.
    pub fn run(mut self) -> Rates {
        for candidate in &mut self.candidates {
            candidate.calibrate(self.slice);
        }
        let count = self.candidates.len();
        let mut rates = vec![Vec::with_capacity(self.rounds); count];
        for round in 0..self.rounds {
            for turn in 0..count {
                let number = (turn + round) % count;
                if let (Some(candidate), Some(rates)) = (self.candidates.get_mut(number), rates.get_mut(number)) {
                    rates.push(candidate.rate());
                }
            }
        }
        Rates { rates }
    }
}

impl Candidate<'_> {
    fn calibrate(&mut self, slice: Duration) {
        loop {
            let took = self.time();
            if took >= slice || self.calls >= MOST_CALLS {
                return;
            }
            // Doubled at least, so that this ends; not more than tenfold, because the first calls are cold.
            let factor = slice.as_nanos().div_ceil(took.as_nanos().max(1)).clamp(2, 10);
            self.calls = self.calls.saturating_mul(u32::try_from(factor).unwrap_or(2)).min(MOST_CALLS);
        }
    }

    fn time(&mut self) -> Duration {
        let start = Instant::now();
        for _ in 0..self.calls {
            (self.run)();
        }
        start.elapsed()
    }

    fn rate(&mut self) -> f64 {
        let seconds = self.time().as_secs_f64().max(f64::MIN_POSITIVE);
        self.units as f64 * f64::from(self.calls) / seconds
    }
}

impl fmt::Debug for Contest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Contest({} candidates, {} rounds)", self.candidates.len(), self.rounds)
    }
}

/// What the candidates of a [`Contest`] did.
#[derive(Clone, Debug)]
pub struct Rates {
    rates: Vec<Vec<f64>>,
}

impl Rates {
    /// Returns the median rate of a candidate, in units a second; 0 for a number that was not given out.
    pub fn rate(&self, candidate: usize) -> f64 {
        median(self.rounds(candidate).to_vec())
    }

    /// Returns how many times as fast `candidate` is as `other`: the median of the rounds' ratios.
    pub fn ratio(&self, candidate: usize, other: usize) -> f64 {
        let pairs = self.rounds(candidate).iter().zip(self.rounds(other));
        median(pairs.map(|(mine, theirs)| mine / theirs).collect())
    }

    fn rounds(&self, candidate: usize) -> &[f64] {
        self.rates.get(candidate).map_or(&[], Vec::as_slice)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    if values.len().is_multiple_of(2) && middle > 0 { f64::midpoint(at(middle - 1), at(middle)) } else { at(middle) }
}

const MOST_CALLS: u32 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn every_candidate_gets_its_turn_in_every_round() {
        let (first, second) = (Cell::new(0_u32), Cell::new(0_u32));
        let mut contest = Contest::new(5, Duration::ZERO);
        let one = contest.add(10, || first.set(first.get() + 1));
        let two = contest.add(20, || second.set(second.get() + 1));
        let rates = contest.run();
        assert_eq!((first.get(), second.get()), (6, 6), "five rounds and the one that warms up");
        assert!(rates.rate(one) > 0.0 && rates.rate(two) > 0.0);
        assert_eq!(rates.rate(7), 0.0);
    }

    #[test]
    fn a_candidate_that_works_twice_as_long_is_half_as_fast() {
        let spin = |duration: Duration| {
            let start = Instant::now();
            while start.elapsed() < duration {}
        };
        let mut contest = Contest::new(5, Duration::from_millis(2));
        let fast = contest.add(1, || spin(Duration::from_micros(100)));
        let slow = contest.add(1, || spin(Duration::from_micros(200)));
        let ratio = contest.run().ratio(fast, slow);
        assert!((1.5..2.7).contains(&ratio), "{ratio}");
    }
}
