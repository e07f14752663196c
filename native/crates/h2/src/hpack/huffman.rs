//! The Huffman code of RFC 7541 appendix B. It is canonical: the lengths alone give the codes.

use bytes::{BufMut, BytesMut};

const SYMBOLS: usize = 257;
const LENGTH_MAX: usize = 30;
const END: u16 = 256;

/// Code length of each byte, and of the end mark.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// All codes of one length, left-justified in 32 bits.
#[derive(Clone, Copy)]
struct Rank {
    /// The first value beyond them; u64 because the last one is 2^32.
    limit: u64,
    /// The first of them.
    first: u32,
    /// Where their symbols begin in `sorted`.
    offset: usize,
}

struct Tables {
    ranks: [Rank; LENGTH_MAX + 1],
    /// Symbols by length, then by value.
    sorted: [u16; SYMBOLS],
    /// By the next eight bits: symbol and length; length 0 where the code is longer.
    short: [(u8, u8); 256],
}

static TABLES: Tables = tables();

#[allow(clippy::indexing_slicing)] // evaluated by the compiler
const fn tables() -> Tables {
    let rank = Rank {
        limit: 0,
        first: 0,
        offset: 0,
    };
    let mut built = Tables {
        ranks: [rank; LENGTH_MAX + 1],
        sorted: [0; SYMBOLS],
        short: [(0, 0); 256],
    };
    let (mut code, mut at, mut length) = (0u64, 0, 1);
    while length <= LENGTH_MAX {
        code <<= 1;
        let shift = 32 - length;
        built.ranks[length].first = (code << shift) as u32;
        built.ranks[length].offset = at;
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                built.sorted[at] = symbol as u16;
                if length <= 8 {
                    let mut slot = (code << (8 - length)) as usize;
                    let end = slot + (1 << (8 - length));
                    while slot < end {
                        built.short[slot] = (symbol as u8, length as u8);
                        slot += 1;
                    }
                }
                at += 1;
                code += 1;
            }
            symbol += 1;
        }
        built.ranks[length].limit = code << shift;
        length += 1;
    }
    built
}

/// Symbol and length of the code at the top of `window`.
fn next(window: u32) -> Option<(u8, u32)> {
    let (symbol, length) = *TABLES.short.get((window >> 24) as usize)?;
    if length > 0 {
        return Some((symbol, u32::from(length)));
    }
    let longer = TABLES.ranks.iter().enumerate().skip(9);
    for (length, rank) in longer {
        if u64::from(window) < rank.limit {
            let nth = (window - rank.first) >> (32 - length);
            let symbol = *TABLES.sorted.get(rank.offset + nth as usize)?;
            let symbol = u8::try_from(symbol).ok()?; // the end mark must not occur (§5.2)
            return Some((symbol, u32::try_from(length).ok()?));
        }
    }
    None
}

/// Appends what `coded` stands for; false when it is no valid code.
#[must_use]
pub fn decode(coded: &[u8], output: &mut BytesMut) -> bool {
    output.reserve(coded.len() * 8 / 5 + 1);
    let (mut bits, mut held) = (0u64, 0u32);
    let mut coded = coded.iter();
    loop {
        while held <= 56 {
            let Some(byte) = coded.next() else { break };
            bits |= u64::from(*byte) << (56 - held);
            held += 8;
        }
        if held == 0 {
            return true;
        }
        // Fewer than eight ones are padding (§5.2); no code of that length is all ones.
        if held < 8 && bits == !0 << (64 - held) {
            return true;
        }
        let Some((symbol, length)) = next((bits >> 32) as u32).filter(|found| found.1 <= held)
        else {
            return false;
        };
        output.put_u8(symbol);
        bits <<= length;
        held -= length;
    }
}

/// The code of a symbol, right-justified, and its length. For tests: responses are sent plain.
#[cfg(test)]
pub fn code(symbol: u8) -> Option<(u32, u32)> {
    let length = u32::from(*LENGTHS.get(usize::from(symbol))?);
    let rank = TABLES.ranks.get(length as usize)?;
    let sorted = TABLES.sorted.iter().skip(rank.offset);
    let nth = sorted
        .take_while(|other| **other != u16::from(symbol))
        .count();
    let code = (rank.first >> (32 - length)) + u32::try_from(nth).ok()?;
    Some((code, length))
}

const _: () = assert!(END as usize + 1 == SYMBOLS);
