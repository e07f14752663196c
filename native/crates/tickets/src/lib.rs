//! Keys of TLS session tickets (RFC 5077 §4): one ring for every context of the process, so that a
//! session begun on one thread, or over QUIC, goes on over another connection there.
//!
//! A crate of its own because BoringSSL's callback must be installed with `unsafe`: it is the only
//! such line, and everything that the callback does is safe code.
#![deny(unsafe_code)]

use boring::error::ErrorStack;
use boring::hash::MessageDigest;
use boring::hmac::HmacCtxRef;
use boring::ssl::{SslContextBuilder, TicketKeyCallbackResult};
use boring::symm::{Cipher, CipherCtxRef};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of one key: name, AES-128 key, HMAC key; the layout that nginx and others use for files.
pub const KEY_BYTES: usize = 48;
/// Keys kept at most: the one that seals and those that still open.
pub const KEYS_MAX: usize = 16;
const NAME_BYTES: usize = 16;
const IV_BYTES: usize = 16;
/// How long a key that this process made itself seals, and how many older ones still open. A
/// ticket is good for two days at most, so older ones open nothing that matters.
const PERIOD: Duration = Duration::from_secs(12 * 3600);
const PREVIOUS: usize = 2;

/// One key.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    name: [u8; NAME_BYTES],
    cipher: [u8; 16],
    digest: [u8; 16],
}

impl Key {
    fn new(bytes: &[u8; KEY_BYTES]) -> Key {
        let mut key = Key {
            name: [0; NAME_BYTES],
            cipher: [0; 16],
            digest: [0; 16],
        };
        let (name, rest) = bytes.split_at(NAME_BYTES);
        let (cipher, digest) = rest.split_at(16);
        key.name.copy_from_slice(name);
        key.cipher.copy_from_slice(cipher);
        key.digest.copy_from_slice(digest);
        key
    }

    fn random() -> Result<Key, ErrorStack> {
        let mut bytes = [0; KEY_BYTES];
        boring::rand::rand_bytes(&mut bytes)?;
        Ok(Key::new(&bytes))
    }
}

/// The keys, the sealing one first.
#[derive(Default)]
struct Ring {
    keys: Vec<Key>,
    /// When this process made the first one; `None`: the keys were given and stay.
    made: Option<Instant>,
}

impl Ring {
    /// Puts a fresh key in front when the first one is too old, or there is none.
    fn rotate(&mut self, now: Instant) -> Result<(), ErrorStack> {
        let fresh = self
            .made
            .is_some_and(|made| now.saturating_duration_since(made) < PERIOD);
        let given = self.made.is_none() && !self.keys.is_empty();
        if fresh || given {
            return Ok(());
        }
        self.keys.insert(0, Key::random()?);
        self.keys.truncate(1 + PREVIOUS);
        self.made = Some(now);
        Ok(())
    }
}

/// The ring that all contexts of a process share.
#[derive(Default)]
pub struct TicketKeys {
    ring: Mutex<Ring>,
}

impl TicketKeys {
    /// Replaces the keys: the first one seals, all open. None: keys of this process's own, which it
    /// changes every twelve hours.
    pub fn set(&self, keys: &[[u8; KEY_BYTES]]) {
        let keys = keys.iter().take(KEYS_MAX).map(Key::new).collect();
        *self.lock() = Ring { keys, made: None };
    }

    /// Has every ticket of `builder`'s context sealed and opened with these keys.
    #[allow(unsafe_code)]
    pub fn install(self: &Arc<Self>, builder: &mut SslContextBuilder) {
        let keys = Arc::clone(self);
        // SAFETY: whenever the callback reports success it has set the name, the IV and both
        // contexts; `seal` and `open` fail otherwise.
        unsafe {
            builder.set_ticket_key_callback(move |_, name, iv, cipher, digest, seals| {
                let contexts = Contexts { iv, cipher, digest };
                let result = match seals {
                    true => keys.seal(name, contexts),
                    false => keys.open(name, contexts),
                };
                result.unwrap_or(TicketKeyCallbackResult::Noop)
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seal(
        &self,
        name: &mut [u8; NAME_BYTES],
        contexts: Contexts<'_>,
    ) -> Result<TicketKeyCallbackResult, ErrorStack> {
        let mut ring = self.lock();
        ring.rotate(Instant::now())?;
        let Some(key) = ring.keys.first() else {
            return Ok(TicketKeyCallbackResult::Noop);
        };
        boring::rand::rand_bytes(contexts.iv)?;
        name.copy_from_slice(&key.name);
        let aes = Cipher::aes_128_cbc();
        contexts
            .cipher
            .init_encrypt(&aes, &key.cipher, contexts.iv)?;
        contexts
            .digest
            .init(&key.digest, &MessageDigest::sha256())?;
        Ok(TicketKeyCallbackResult::Success)
    }

    fn open(
        &self,
        name: &[u8; NAME_BYTES],
        contexts: Contexts<'_>,
    ) -> Result<TicketKeyCallbackResult, ErrorStack> {
        let mut ring = self.lock();
        ring.rotate(Instant::now())?;
        let Some(at) = ring.keys.iter().position(|key| key.name == *name) else {
            return Ok(TicketKeyCallbackResult::Noop);
        };
        let Some(key) = ring.keys.get(at) else {
            return Ok(TicketKeyCallbackResult::Noop);
        };
        let aes = Cipher::aes_128_cbc();
        contexts
            .cipher
            .init_decrypt(&aes, &key.cipher, contexts.iv)?;
        contexts
            .digest
            .init(&key.digest, &MessageDigest::sha256())?;
        Ok(match at {
            0 => TicketKeyCallbackResult::Success,
            _ => TicketKeyCallbackResult::DecryptSuccessRenew,
        })
    }
}

/// What BoringSSL lends the callback.
struct Contexts<'a> {
    iv: &'a mut [u8; IV_BYTES],
    cipher: &'a mut CipherCtxRef,
    digest: &'a mut HmacCtxRef,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(ring: &Ring) -> Vec<[u8; NAME_BYTES]> {
        ring.keys.iter().map(|key| key.name).collect()
    }

    #[test]
    fn own_keys_rotate_and_the_last_two_still_open() {
        let (mut ring, start) = (Ring::default(), Instant::now());
        ring.rotate(start).unwrap();
        let first = names(&ring);
        ring.rotate(start + PERIOD / 2).unwrap();
        assert_eq!(names(&ring), first);
        for turn in 1..4 {
            ring.rotate(start + PERIOD * turn).unwrap();
        }
        let last = names(&ring);
        assert_eq!(last.len(), 1 + PREVIOUS);
        assert!(!last.contains(&first.first().copied().unwrap()));
    }

    #[test]
    fn given_keys_stay_until_others_are_given() {
        let keys = TicketKeys::default();
        keys.set(&[[1; KEY_BYTES], [2; KEY_BYTES]]);
        keys.lock().rotate(Instant::now() + PERIOD * 9).unwrap();
        assert_eq!(names(&keys.lock()), [[1; NAME_BYTES], [2; NAME_BYTES]]);
        keys.set(&[]);
        keys.lock().rotate(Instant::now()).unwrap();
        assert_eq!(keys.lock().keys.len(), 1);
    }
}
