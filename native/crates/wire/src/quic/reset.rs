//! Stateless resets (RFC 9000 §10.3): a client that goes on with a connection which nobody knows
//! any more is told so, by a packet that only the holder of the key could have made.

use super::cid::{Cid, random};
use boring::hash::MessageDigest;
use boring::hmac::Hmac;
use std::time::Instant;

/// Bytes of the key that tokens are derived from.
pub(super) const KEY_BYTES: usize = 32;
const TOKEN_BYTES: usize = 16;
/// Smallest reset that looks like a packet, and the length beyond which longer ones gain nothing.
const RESET_BYTES_MIN: usize = 21;
const RESET_BYTES_MAX: usize = 42;
/// Resets, and refusals of tokens, that one endpoint sends a second.
const PER_SECOND: u32 = 100;

/// The token of a connection id.
pub(super) fn token(key: &[u8; KEY_BYTES], cid: &Cid) -> Option<u128> {
    let mut hmac = Hmac::init(key, &MessageDigest::sha256()).ok()?;
    hmac.update(b"stateless reset").ok()?;
    hmac.update(cid.as_slice()).ok()?;
    let digest = hmac.finalize().ok()?;
    let token: [u8; TOKEN_BYTES] = digest.get(..TOKEN_BYTES)?.try_into().ok()?;
    Some(u128::from_be_bytes(token))
}

/// The answer to a packet of `received` bytes with a short header, always shorter than that: two
/// endpoints that know nothing of each other would else go on for ever (§10.3.3).
pub(super) fn packet(received: usize, token: u128) -> Option<Vec<u8>> {
    let length = received.checked_sub(1)?.min(RESET_BYTES_MAX);
    if length < RESET_BYTES_MIN {
        return None;
    }
    let noise: [u8; RESET_BYTES_MAX] = random()?;
    let mut packet = noise.get(..length - TOKEN_BYTES)?.to_vec();
    if let Some(first) = packet.first_mut() {
        *first = 0x40 | (*first & 0x3f); // a short header with the fixed bit
    }
    packet.extend_from_slice(&token.to_be_bytes());
    Some(packet)
}

/// So many a second, no more.
pub(super) struct Allowance {
    second: Instant,
    used: u32,
}

impl Allowance {
    /// All of it.
    pub fn new() -> Allowance {
        Allowance {
            second: Instant::now(),
            used: 0,
        }
    }

    /// Takes one, if there is one left in this second.
    pub fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.second).as_secs() > 0 {
            (self.second, self.used) = (now, 0);
        }
        self.used += 1;
        self.used <= PER_SECOND
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tokens_depend_on_key_and_id() {
        let (one, two) = (Cid::new(&[1; 16]).unwrap(), Cid::new(&[2; 16]).unwrap());
        let (a, b) = ([1; KEY_BYTES], [2; KEY_BYTES]);
        assert_eq!(token(&a, &one), token(&a, &one));
        assert_ne!(token(&a, &one), token(&a, &two));
        assert_ne!(token(&a, &one), token(&b, &one));
    }

    #[test]
    fn a_reset_is_shorter_than_its_cause_and_never_tiny() {
        for (received, expected) in [(21, None), (22, Some(21)), (40, Some(39)), (1200, Some(42))] {
            let packet = packet(received, 7);
            assert_eq!(packet.as_ref().map(Vec::len), expected, "{received}");
            assert!(
                packet.is_none_or(|packet| packet.ends_with(&7u128.to_be_bytes())
                    && packet.first().is_some_and(|first| first & 0xc0 == 0x40))
            );
        }
    }

    #[test]
    fn an_allowance_returns_with_the_next_second() {
        let mut allowance = Allowance::new();
        let now = Instant::now();
        assert!((0..PER_SECOND).all(|_| allowance.take(now)));
        assert!(!allowance.take(now));
        assert!(allowance.take(now + Duration::from_secs(2)));
    }
}
