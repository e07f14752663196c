//! The answer to an Initial that carries a Retry token which does not open: too old, altered, or
//! another client's. Its sender has followed our Retry and would not follow a second one, and a
//! connection opened as if there were no token would not name the id that the client began with.
//! So the client is told at once that it must begin anew (RFC 9000 §8.1.3), by a packet that needs
//! no connection: everybody who saw the client's packet has the keys of Initials (RFC 9001 §5.2).

use boring::hash::MessageDigest;
use boring::hkdf::HkdfSuite;
use boring::symm::{Cipher, Crypter, Mode, encrypt_aead};
use quiche::Header;

/// RFC 9001 §5.2, of QUIC version 1.
const INITIAL_SALT: [u8; 20] = [
    0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad,
    0xcc, 0xbb, 0x7f, 0x0a,
];
const SECRET_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Packet numbers are written in full: the sample that protects the header starts after four bytes.
const NUMBER: [u8; 4] = [0; 4];
const INITIAL_WITH_FULL_NUMBER: u8 = 0xc3;
/// CONNECTION_CLOSE of the transport, INVALID_TOKEN, caused by no frame, without a reason.
const CLOSE: [u8; 4] = [0x1c, 0x0b, 0, 0];

/// Keys of the server's Initials.
struct Keys {
    key: [u8; 16],
    iv: [u8; 12],
    header: [u8; 16],
}

impl Keys {
    /// For the connection whose client sent its first packet to `destination`. The number of our
    /// only packet is 0, so the nonce is the IV itself.
    fn new(destination: &[u8]) -> Option<Keys> {
        let suite = HkdfSuite::new(MessageDigest::sha256());
        let initial = suite.extract(&INITIAL_SALT, destination).ok()?;
        let secret: [u8; SECRET_BYTES] = expand(suite, &initial, "server in")?;
        Some(Keys {
            key: expand(suite, &secret, "quic key")?,
            iv: expand(suite, &secret, "quic iv")?,
            header: expand(suite, &secret, "quic hp")?,
        })
    }

    /// The mask for a header (RFC 9001 §5.4.3).
    fn mask(&self, sample: &[u8]) -> Option<[u8; 32]> {
        let cipher = Cipher::aes_128_ecb();
        let mut crypter = Crypter::new(cipher, Mode::Encrypt, &self.header, None).ok()?;
        let mut mask = [0; 32]; // `update` wants room for a block more
        crypter.update(sample, &mut mask).ok()?;
        Some(mask)
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
fn expand<const N: usize>(suite: HkdfSuite, secret: &[u8], label: &str) -> Option<[u8; N]> {
    let (length, label) = (u16::try_from(N).ok()?, format!("tls13 {label}"));
    let mut info = length.to_be_bytes().to_vec();
    info.push(u8::try_from(label.len()).ok()?);
    info.extend_from_slice(label.as_bytes());
    info.push(0);
    let mut out = [0; N];
    suite.expand(secret, &info, &mut out).ok()?;
    Some(out)
}

/// The packet that refuses the token of the Initial with this header.
pub(super) fn packet(received: &Header<'_>) -> Option<Vec<u8>> {
    let keys = Keys::new(&received.dcid)?;
    let mut packet = vec![INITIAL_WITH_FULL_NUMBER];
    packet.extend_from_slice(&received.version.to_be_bytes());
    for id in [&received.scid, &received.dcid] {
        packet.push(u8::try_from(id.len()).ok()?);
        packet.extend_from_slice(id);
    }
    // No token, then what is left of the packet.
    packet.push(0);
    packet.push(u8::try_from(NUMBER.len() + CLOSE.len() + TAG_BYTES).ok()?);
    let number_at = packet.len();
    packet.extend_from_slice(&NUMBER);
    let mut tag = [0; TAG_BYTES];
    let cipher = Cipher::aes_128_gcm();
    let sealed = encrypt_aead(cipher, &keys.key, Some(&keys.iv), &packet, &CLOSE, &mut tag).ok()?;
    packet.extend_from_slice(&sealed);
    packet.extend_from_slice(&tag);
    let sample_at = number_at + NUMBER.len();
    let mask = keys.mask(packet.get(sample_at..sample_at + 16)?)?;
    *packet.first_mut()? ^= mask.first()? & 0x0f;
    let number = packet.get_mut(number_at..sample_at)?;
    for (byte, mask) in number.iter_mut().zip(mask.iter().skip(1)) {
        *byte ^= mask;
    }
    Some(packet)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_rfc_9001_appendix_a() {
        let keys = Keys::new(&0x8394_c8f0_3e51_5708_u64.to_be_bytes()).unwrap();
        let key = 0xcf3a_5331_653c_364c_88f0_f379_b606_7e37_u128;
        let header = 0xc206_b8d9_b9f0_f376_4443_0b49_0eea_a314_u128;
        assert_eq!(keys.key, key.to_be_bytes());
        let iv = 0x0ac1_493c_a190_5853_b0bb_a03e_u128.to_be_bytes();
        assert!(iv.ends_with(&keys.iv));
        assert_eq!(keys.header, header.to_be_bytes());
    }
}
