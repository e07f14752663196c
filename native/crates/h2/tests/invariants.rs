//! The promise of the fuzz target on every committed seed, and on a bounded number of mutations of
//! them: the same ones on every run, so that CI needs neither nightly nor luck.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use edge_h2::fuzz_connection;
use edge_trials::{Random, seeds};

const ROUNDS: usize = 40_000;

#[test]
fn promises_hold_on_seeds_and_their_mutations() {
    // A seed: the length of the pieces, then frames.
    let seeds = seeds("h2_connection");
    for seed in &seeds {
        fuzz_connection(seed);
    }
    let mut random = Random::default();
    for _ in 0..ROUNDS {
        fuzz_connection(&mutated(&seeds, &mut random));
    }
}

/// Where the frames of an input begin.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (vec![1], 1);
    while let Some(header) = bytes.get(at..at + 9) {
        at += 9 + usize::from(header[1]) * 256 + usize::from(header[2]);
        starts.push(at.min(bytes.len()));
    }
    starts
}

/// One to four changes of a seed; most of them keep the frames whole, so that more than the first
/// of them is read.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let starts = frames(&bytes);
        let which = random.below(starts.len());
        let from = starts[which].min(bytes.len());
        let to = starts.get(which + 1).map_or(bytes.len(), |end| *end);
        let at = random.below(bytes.len());
        match random.below(8) {
            0 => bytes[at] = random.byte(),
            1 => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(from..to)),
            3 => bytes.truncate(at.max(1)),
            4 => {
                // Kind, flags, or the stream.
                let place = from + 3 + random.below(6);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = u8::try_from(random.below(18)).unwrap();
                }
            }
            5 => {
                let frame = bytes[from..to].to_vec();
                bytes.splice(from..from, frame.repeat(1 + random.below(60)));
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let begins = frames(other);
                let begin = begins[random.below(begins.len())].min(other.len());
                bytes.splice(from..from, other[begin..].to_vec());
            }
        }
    }
    bytes
}
