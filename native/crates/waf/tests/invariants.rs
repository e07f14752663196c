//! The promises of the fuzz targets on every committed seed, and on a bounded number of mutations
//! of them: the same ones on every run, so that CI needs neither nightly nor luck.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;

use edge_waf::{fuzz_body, fuzz_transformations};

type Check = fn(&[u8]);

const CHECKS: [(&str, Check, usize); 2] = [
    ("waf_body", fuzz_body, 60_000),
    ("waf_transformations", fuzz_transformations, 20_000),
];

/// Pieces that matter to a body processor or a transformation.
const WORDS: [&[u8]; 40] = [
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"\"",
    b"'",
    b"\\",
    b"\\u",
    b"\\ud83d",
    b"{",
    b"}",
    b"[",
    b"],",
    b":",
    b",",
    b"null",
    b"1e5",
    b"<a>",
    b"</a>",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"]]>",
    b"&#x41;",
    b"&lt;",
    b"<?xml version='1.0'?>",
    b"--xx\r\n",
    b"--xx--",
    b"Content-Disposition: form-data; name=a\r\n\r\n",
    b"; filename*=UTF-8''a",
    b"%41",
    b"%u0041",
    b"%",
    b"+",
    b"&",
    b"=",
    b"/*",
    b"*/",
    b"../",
];

#[test]
fn promises_hold_on_seeds_and_their_mutations() {
    for (name, check, rounds) in CHECKS {
        let seeds = seeds(name);
        assert!(seeds.len() >= 10, "{name}: too few seeds");
        for seed in &seeds {
            check(seed);
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..rounds {
            let input = mutated(&seeds, &mut random);
            let caught = std::panic::catch_unwind(|| check(&input));
            assert!(caught.is_ok(), "{name} of {}", input.escape_ascii());
        }
    }
}

/// `native/fuzz/seeds/<target>.txt`: a seed a line, `\xNN` for bytes that are not printable.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let text = std::fs::read_to_string(folder.join(name).with_extension("txt")).expect(name);
    text.lines().map(unescaped).collect()
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut parts = line.split("\\x");
    let mut out = parts.next().expect(line).as_bytes().to_vec();
    for part in parts {
        let (digits, plain) = part.split_at(2);
        out.push(u8::from_str_radix(digits, 16).expect(line));
        out.extend_from_slice(plain.as_bytes());
    }
    out
}

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap() % end.max(1)
    }
}

/// One to four changes of a seed.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(16)).min(bytes.len());
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] = u8::try_from(random.below(256)).unwrap(),
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
                let word = WORDS[random.below(WORDS.len())].to_vec();
                bytes.splice(at..at, word);
            }
        }
    }
    bytes
}
