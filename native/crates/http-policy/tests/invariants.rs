//! The fuzz targets' promises on every committed seed, and on a bounded number of mutations of
//! them: the same ones on every run, so that CI needs neither nightly nor luck.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod checks;

use std::path::Path;

/// Mutated inputs of each target.
const ROUNDS: usize = 60_000;

/// Pieces that matter to a parser of HTTP.
const WORDS: [&[u8]; 32] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"\0",
    b"\x0b",
    b"\xff",
    b";",
    b",",
    b"0",
    b"0\r\n\r\n",
    b"chunked",
    b"Content-Length: 1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: a\r\n",
    b"Connection: upgrade\r\n",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"HTTP/1.1",
    b"GET / HTTP/1.1\r\n",
    b"http://a",
    b"/../",
    b"%2e",
    b"%2f",
    b"%",
    b":path\0/\n",
    b":protocol\0websocket\n",
    b"content-length\x001\n",
    b"ffffffffffffffff",
];

#[test]
fn promises_hold_on_seeds_and_their_mutations() {
    for (name, check) in checks::ALL {
        let seeds = seeds(name);
        assert!(seeds.len() >= 10, "{name}: too few seeds");
        for seed in &seeds {
            check(seed);
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..ROUNDS {
            check(&mutated(&seeds, &mut random));
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
