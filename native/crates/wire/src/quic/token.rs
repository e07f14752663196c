//! Retry tokens: which connection id the client began with, sealed for its address and the id that
//! the Retry gave it, for a few seconds (RFC 9000 §8.1.3).

use super::cid::{Cid, random};
use boring::symm::{Cipher, decrypt_aead, encrypt_aead};
use std::net::SocketAddr;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// A client whose first packet with it was lost, or found no place, tries again and again, with
/// pauses that double.
const LIFETIME_SECONDS: u64 = 30;

/// Seals and opens tokens of this program. The key dies with it: a token lives for seconds.
pub(super) struct Tokens {
    key: [u8; 16],
}

impl Tokens {
    /// A fresh key.
    pub fn new() -> Option<Tokens> {
        Some(Tokens { key: random()? })
    }

    /// A token for a client at `peer` that began with `original` and was told to use `retry`.
    pub fn seal(&self, peer: SocketAddr, original: &Cid, retry: &Cid, now: u64) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        let mut plain = now.to_be_bytes().to_vec();
        plain.extend_from_slice(original.as_slice());
        let mut tag = [0; TAG_BYTES];
        let bound = bound_to(peer, retry);
        let cipher = Cipher::aes_128_gcm();
        let sealed =
            encrypt_aead(cipher, &self.key, Some(&nonce), &bound, &plain, &mut tag).ok()?;
        Some([&nonce[..], &sealed, &tag].concat())
    }

    /// The original connection id, when the token is ours, for this client and still fresh.
    pub fn open(&self, peer: SocketAddr, token: &[u8], retry: &Cid, now: u64) -> Option<Cid> {
        let (nonce, rest) = token.split_at_checked(NONCE_BYTES)?;
        let (sealed, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_BYTES)?)?;
        let bound = bound_to(peer, retry);
        let cipher = Cipher::aes_128_gcm();
        let plain = decrypt_aead(cipher, &self.key, Some(nonce), &bound, sealed, tag).ok()?;
        let (issued, original) = plain.split_at_checked(8)?;
        let issued = u64::from_be_bytes(issued.try_into().ok()?);
        (now.checked_sub(issued)? <= LIFETIME_SECONDS).then(|| Cid::new(original))?
    }
}

fn bound_to(peer: SocketAddr, retry: &Cid) -> Vec<u8> {
    let mut bound = match peer.ip() {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bound.extend_from_slice(&peer.port().to_be_bytes());
    bound.extend_from_slice(retry.as_slice());
    bound
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_for_its_client_and_only_for_a_while() {
        let tokens = Tokens::new().unwrap();
        let peer: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let (original, retry) = (
            Cid::new(b"original").unwrap(),
            Cid::new(b"the retry's").unwrap(),
        );
        let token = tokens.seal(peer, &original, &retry, 1000).unwrap();
        assert_eq!(tokens.open(peer, &token, &retry, 1000), Some(original));
        assert_eq!(tokens.open(peer, &token, &retry, 1030), Some(original));
        assert_eq!(tokens.open(peer, &token, &retry, 1031), None);
        assert_eq!(tokens.open(peer, &token, &retry, 999), None);
        assert_eq!(tokens.open(peer, &token, &original, 1000), None);
        let elsewhere = "192.0.2.1:5001".parse().unwrap();
        assert_eq!(tokens.open(elsewhere, &token, &retry, 1000), None);
        assert_eq!(
            tokens.open(peer, token.get(1..).unwrap(), &retry, 1000),
            None
        );
        assert_eq!(tokens.open(peer, b"", &retry, 1000), None);
        assert_eq!(
            Tokens::new().unwrap().open(peer, &token, &retry, 1000),
            None
        );
    }
}
