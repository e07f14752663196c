//! Who may ask, and who may answer: both sides prove that they know the secret, and neither says
//! it. Frames after that are in clear, as the requests that they are about were on their way here.

use boring::hash::hmac_sha256;

/// Bytes of a nonce, and of a proof.
pub const NONCE_BYTES: usize = 32;

pub type Nonce = [u8; NONCE_BYTES];

/// A fresh nonce; `None` when the system has no randomness.
pub fn nonce() -> Option<Nonce> {
    let mut nonce = [0; NONCE_BYTES];
    boring::rand::rand_bytes(&mut nonce).ok()?;
    Some(nonce)
}

/// Which side proves: else its own proof could be sent back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Proxy,
    Service,
}

/// What `side` proves with, over the nonces of both.
pub fn proof(secret: &str, side: Side, service: &Nonce, proxy: &Nonce) -> Option<[u8; 32]> {
    let label: &[u8] = match side {
        Side::Proxy => b"edge waf proxy",
        Side::Service => b"edge waf service",
    };
    let text = [label, service, proxy].concat();
    hmac_sha256(secret.as_bytes(), &text).ok()
}

/// Compares in a time that tells nothing.
pub fn is_proof(found: &[u8], expected: Option<[u8; 32]>) -> bool {
    expected.is_some_and(|expected| {
        found.len() == expected.len() && boring::memcmp::eq(found, &expected)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_secret_side_and_nonces_only() {
        let (one, other) = (nonce().unwrap(), nonce().unwrap());
        assert_ne!(one, other);
        let of = |secret, side, service, proxy| proof(secret, side, service, proxy).unwrap();
        let sound = of("key", Side::Proxy, &one, &other);
        assert!(is_proof(&sound, proof("key", Side::Proxy, &one, &other)));
        for wrong in [
            of("", Side::Proxy, &one, &other),
            of("key", Side::Service, &one, &other),
            of("key", Side::Proxy, &other, &one),
        ] {
            assert!(!is_proof(&sound, Some(wrong)));
        }
        assert!(!is_proof(&[], Some(sound)));
        assert!(!is_proof(&sound, None));
    }
}
