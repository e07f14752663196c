//! Retry tokens and stateless resets (RFC 9000 §8.1.3 and §10.3).

use boring::hash::MessageDigest;
use boring::hmac::Hmac;
use boring::symm::{Cipher, decrypt_aead, encrypt_aead};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// A client whose first packet with it was lost tries again with pauses that double.
const LIFETIME_SECONDS: u64 = 30;
/// Smallest reset that looks like a packet, and the length beyond which longer ones gain nothing.
const RESET_BYTES_MIN: usize = 21;
const RESET_BYTES_MAX: usize = 42;
/// Answers a second to packets that belong to no connection.
const STRAYS_PER_SECOND: u32 = 100;

/// Random bytes; `None` when the system has none.
pub fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    boring::rand::rand_bytes(&mut bytes).ok()?;
    Some(bytes)
}

/// What a server makes without remembering it.
pub struct Tokens {
    retry_key: [u8; 16],
    /// Of the node's identity: a program that was started again resets what the one before served.
    reset_key: [u8; 32],
    began: Instant,
    second: u64,
    strays: u32,
}

impl Tokens {
    /// `secret`: what only this node knows.
    pub fn new(secret: &[u8]) -> Option<Tokens> {
        Some(Tokens {
            retry_key: random()?,
            reset_key: digest(secret, &[b"edge mesh carrier: stateless reset"])?,
            began: Instant::now(),
            second: 0,
            strays: 0,
        })
    }

    fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// A token for a client there that began with `original` and was told to use `retry`.
    pub fn seal(&self, peer: SocketAddr, original: &[u8], retry: &[u8]) -> Option<Vec<u8>> {
        self.seal_at(self.seconds(), peer, (original, retry))
    }

    /// The id that it began with, when the token is ours, for this client and still fresh.
    pub fn open(&self, peer: SocketAddr, token: &[u8], retry: &[u8]) -> Option<Vec<u8>> {
        self.open_at(self.seconds(), peer, (token, retry))
    }

    fn seal_at(&self, now: u64, peer: SocketAddr, ids: (&[u8], &[u8])) -> Option<Vec<u8>> {
        let (original, retry) = ids;
        let nonce: [u8; NONCE_BYTES] = random()?;
        let plain = [&now.to_be_bytes()[..], original].concat();
        let mut tag = [0; TAG_BYTES];
        let bound = bound_to(peer, retry);
        let cipher = Cipher::aes_128_gcm();
        let key = &self.retry_key;
        let sealed = encrypt_aead(cipher, key, Some(&nonce), &bound, &plain, &mut tag).ok()?;
        Some([&nonce[..], &sealed, &tag].concat())
    }

    fn open_at(&self, now: u64, peer: SocketAddr, given: (&[u8], &[u8])) -> Option<Vec<u8>> {
        let (token, retry) = given;
        let (nonce, rest) = token.split_at_checked(NONCE_BYTES)?;
        let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_BYTES)?)?;
        let bound = bound_to(peer, retry);
        let cipher = Cipher::aes_128_gcm();
        let plain = decrypt_aead(cipher, &self.retry_key, Some(nonce), &bound, sealed, tag).ok()?;
        let (issued, original) = plain.split_at_checked(8)?;
        let issued = u64::from_be_bytes(issued.try_into().ok()?);
        (now.checked_sub(issued)? <= LIFETIME_SECONDS).then(|| original.to_vec())
    }

    /// What makes a reset of the connection with this id believable.
    pub fn reset(&self, cid: &[u8]) -> Option<u128> {
        let found: [u8; 32] = digest(&self.reset_key, &[cid])?;
        let (token, _) = found.split_first_chunk()?;
        Some(u128::from_be_bytes(*token))
    }

    /// The answer to a packet of `received` bytes with a short header, always shorter than that:
    /// two ends that know nothing of each other would else go on for ever (RFC 9000 §10.3.3).
    pub fn reset_packet(&self, received: usize, cid: &[u8]) -> Option<Vec<u8>> {
        let length = received.checked_sub(1)?.min(RESET_BYTES_MAX);
        if length < RESET_BYTES_MIN {
            return None;
        }
        let token = self.reset(cid)?.to_be_bytes();
        let noise: [u8; RESET_BYTES_MAX] = random()?;
        let mut packet = noise.get(..length - token.len())?.to_vec();
        if let Some(first) = packet.first_mut() {
            *first = 0x40 | (*first & 0x3f); // a short header with the fixed bit
        }
        packet.extend_from_slice(&token);
        Some(packet)
    }

    /// Whether one more packet that belongs to nothing is answered in this second.
    pub fn may_answer(&mut self) -> bool {
        let second = self.seconds();
        if std::mem::replace(&mut self.second, second) != second {
            self.strays = 0;
        }
        self.strays += 1;
        self.strays <= STRAYS_PER_SECOND
    }
}

fn digest(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    let mut hmac = Hmac::init(key, &MessageDigest::sha256()).ok()?;
    for part in parts {
        hmac.update(part).ok()?;
    }
    hmac.finalize().ok()?.try_into().ok()
}

fn bound_to(peer: SocketAddr, retry: &[u8]) -> Vec<u8> {
    let mut bound = match peer.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bound.extend_from_slice(&peer.port().to_be_bytes());
    bound.extend_from_slice(retry);
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_for_its_client_and_only_for_a_while() {
        let tokens = Tokens::new(b"secret").unwrap();
        let peer: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let token = tokens.seal_at(1000, peer, (b"original", b"retry")).unwrap();
        let open = |now, peer, retry: &[u8]| tokens.open_at(now, peer, (&token, retry));
        assert_eq!(open(1000, peer, b"retry"), Some(b"original".to_vec()));
        assert_eq!(open(1030, peer, b"retry"), Some(b"original".to_vec()));
        assert_eq!(open(1031, peer, b"retry"), None);
        assert_eq!(open(999, peer, b"retry"), None);
        assert_eq!(open(1000, peer, b"other"), None);
        assert_eq!(
            open(1000, "192.0.2.1:5001".parse().unwrap(), b"retry"),
            None
        );
        assert_eq!(tokens.open_at(1000, peer, (b"", b"retry")), None);
        let other = Tokens::new(b"secret").unwrap();
        assert_eq!(other.open_at(1000, peer, (&token, b"retry")), None);
    }

    #[test]
    fn a_reset_is_shorter_than_its_cause_and_the_same_after_a_start() {
        let (one, same) = (
            Tokens::new(b"secret").unwrap(),
            Tokens::new(b"secret").unwrap(),
        );
        assert_eq!(one.reset(&[1; 8]), same.reset(&[1; 8]));
        assert_ne!(one.reset(&[1; 8]), one.reset(&[2; 8]));
        assert_ne!(
            one.reset(&[1; 8]),
            Tokens::new(b"other").unwrap().reset(&[1; 8])
        );
        let token = one.reset(&[1; 8]).unwrap().to_be_bytes();
        for (received, expected) in [(21, None), (22, Some(21)), (40, Some(39)), (1200, Some(42))] {
            let packet = one.reset_packet(received, &[1; 8]);
            assert_eq!(packet.as_ref().map(Vec::len), expected, "{received}");
            assert!(packet.is_none_or(|bytes| bytes.ends_with(&token) && bytes[0] & 0xc0 == 0x40));
        }
    }

    #[test]
    fn strays_are_answered_so_often_a_second() {
        let mut tokens = Tokens::new(b"secret").unwrap();
        let answered = (0..STRAYS_PER_SECOND * 2)
            .filter(|_| tokens.may_answer())
            .count();
        assert!((STRAYS_PER_SECOND..STRAYS_PER_SECOND * 2).contains(&(answered as u32)));
    }
}
