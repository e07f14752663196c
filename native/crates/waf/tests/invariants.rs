//! The promises of the fuzz targets on every committed seed, and on a bounded number of mutations
//! of them: the same ones on every run, so that CI needs neither nightly nor luck.
use edge_trials::{Random, mutated, seeds};
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
        for seed in &seeds {
            check(seed);
        }
        let mut random = Random::default();
        for _ in 0..rounds {
            let input = mutated(&seeds, &WORDS, &mut random);
            let caught = std::panic::catch_unwind(|| check(&input));
            assert!(caught.is_ok(), "{name} of {}", input.escape_ascii());
        }
    }
}
