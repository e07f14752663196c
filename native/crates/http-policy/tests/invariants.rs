//! The fuzz targets' promises on every committed seed, and on a bounded number of mutations of
//! them: the same ones on every run, so that CI needs neither nightly nor luck.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod checks;

use edge_trials::{Random, mutated, seeds};

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
        for seed in &seeds {
            check(seed);
        }
        let mut random = Random::default();
        for _ in 0..ROUNDS {
            check(&mutated(&seeds, &WORDS, &mut random));
        }
    }
}
