//! For tests alone: the seeds of the fuzz targets and mutations of them, the same ones on every
//! run, so that CI needs neither nightly nor luck.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;

/// xorshift64*: the same numbers on every machine.
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Random {
    /// Other numbers than those of other seeds.
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % end.max(1)
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// `native/fuzz/seeds/<target>.txt`: a seed a line, `\xNN` for bytes that are not printable. At
/// least ten, or the file is not what it should be.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let text = std::fs::read_to_string(folder.join(target).with_extension("txt")).expect(target);
    let seeds: Vec<_> = text.lines().map(unescaped).collect();
    assert!(seeds.len() >= 10, "{target}: too few seeds");
    seeds
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte == b'\\' {
            assert_eq!(rest[0], b'x', "{line}");
            let digits = std::str::from_utf8(&rest[1..3]).expect(line);
            out.push(u8::from_str_radix(digits, 16).expect(line));
            rest = &rest[3..];
        } else {
            out.push(*byte);
        }
    }
    out
}

/// One to four changes of a seed: bytes, stretches, the end of another seed, or one of the words.
pub fn mutated(seeds: &[Vec<u8>], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(16)).min(bytes.len());
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = random.byte(),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            4 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let piece = other[from..].to_vec();
                bytes.splice(at.., piece);
            }
            _ => {
                let word = words[random.below(words.len())].to_vec();
                bytes.splice(at..at, word);
            }
        }
    }
    bytes
}
