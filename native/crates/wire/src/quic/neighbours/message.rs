//! What programs on one node say to each other over UDP, and how it is proven: every message ends
//! with the first 16 bytes of an HMAC-SHA256. Those that make acquaintance are under the key of all
//! programs of a release, the others under keys that follow from the nonces of both sides. Nothing
//! is secret: what is handed on is QUIC, which protects itself.

use super::super::inbox::{Datagram, take_address, write_address};
use boring::hash::hmac_sha256;
use std::net::SocketAddr;

/// Bytes of the key that all programs of a release derive, and of those of a session.
pub(in crate::quic) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// The first octet of each message.
const VERSION: u8 = 1;
/// Longest message: a datagram with its addresses, and what is around it.
pub(super) const MESSAGE_BYTES_MAX: usize = 65_507;

pub(in crate::quic) type Key = [u8; KEY_BYTES];
pub(super) type Nonce = [u8; NONCE_BYTES];
/// Names a session in its messages.
pub(super) type SessionId = [u8; 8];

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speaker {
    pub generation: u16,
    /// Where it is reached.
    pub address: SocketAddr,
    /// It takes new connections.
    pub open: bool,
}

/// The three steps of making acquaintance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greeting {
    /// To whomever it reaches.
    Hello { nonce: Nonce },
    /// To the one who said hello, with the nonce of that.
    Answer { nonce: Nonce, echo: Nonce },
    /// With both nonces again: now either side knows that the other is there now.
    Confirm { nonce: Nonce, echo: Nonce },
}

/// What is said within a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Saying {
    /// Still there; whether it takes new connections.
    Alive {
        open: bool,
    },
    Bye,
    /// A client's datagram for the program that has its connection, or takes it.
    Pass(Datagram),
    /// The answer to a client whose datagram was passed on.
    Return(Datagram),
}

/// A message that is not proven yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    Greeting(Speaker, Greeting),
    Saying(SessionId, u64),
}

const HELLO: u8 = 1;
const ANSWER: u8 = 2;
const CONFIRM: u8 = 3;
const ALIVE: u8 = 4;
const BYE: u8 = 5;
const PASS: u8 = 6;
const RETURN: u8 = 7;

/// A greeting as bytes; `None` when the library fails.
pub(super) fn greet(key: &Key, speaker: &Speaker, greeting: &Greeting) -> Option<Vec<u8>> {
    let (kind, nonces): (u8, [Option<&Nonce>; 2]) = match greeting {
        Greeting::Hello { nonce } => (HELLO, [Some(nonce), None]),
        Greeting::Answer { nonce, echo } => (ANSWER, [Some(nonce), Some(echo)]),
        Greeting::Confirm { nonce, echo } => (CONFIRM, [Some(nonce), Some(echo)]),
    };
    let mut message = vec![VERSION, kind];
    message.extend_from_slice(&speaker.generation.to_be_bytes());
    message.push(u8::from(speaker.open));
    write_address(&mut message, speaker.address);
    for nonce in nonces.into_iter().flatten() {
        message.extend_from_slice(nonce);
    }
    seal(key, message)
}

/// A saying as bytes.
pub(super) fn say(key: &Key, id: &SessionId, counter: u64, saying: &Saying) -> Option<Vec<u8>> {
    let kind = match saying {
        Saying::Alive { .. } => ALIVE,
        Saying::Bye => BYE,
        Saying::Pass(_) => PASS,
        Saying::Return(_) => RETURN,
    };
    let mut message = vec![VERSION, kind];
    message.extend_from_slice(id);
    message.extend_from_slice(&counter.to_be_bytes());
    match saying {
        Saying::Alive { open } => message.push(u8::from(*open)),
        Saying::Bye => {}
        Saying::Pass(datagram) | Saying::Return(datagram) => datagram.write(&mut message),
    }
    let sealed = seal(key, message)?;
    (sealed.len() <= MESSAGE_BYTES_MAX).then_some(sealed)
}

/// Reads what is needed to find the key of a message.
pub(super) fn read(message: &[u8]) -> Option<Message> {
    let (text, _) = message.split_at_checked(message.len().checked_sub(TAG_BYTES)?)?;
    let ([VERSION, kind], mut rest) = text.split_first_chunk::<2>()? else {
        return None;
    };
    if !(HELLO..=CONFIRM).contains(kind) {
        let id = take(&mut rest)?;
        return Some(Message::Saying(id, u64::from_be_bytes(take(&mut rest)?)));
    }
    let generation = u16::from_be_bytes(take(&mut rest)?);
    let open = flag(&mut rest)?;
    let address = take_address(&mut rest)?;
    let nonce = take(&mut rest)?;
    let greeting = match *kind {
        HELLO => Greeting::Hello { nonce },
        ANSWER => Greeting::Answer {
            nonce,
            echo: take(&mut rest)?,
        },
        _ => Greeting::Confirm {
            nonce,
            echo: take(&mut rest)?,
        },
    };
    let speaker = Speaker {
        generation,
        address,
        open,
    };
    rest.is_empty()
        .then_some(Message::Greeting(speaker, greeting))
}

/// What a proven message of a session says.
pub(super) fn saying(message: &[u8]) -> Option<Saying> {
    let (text, _) = message.split_at_checked(message.len().checked_sub(TAG_BYTES)?)?;
    let ([_, kind], rest) = text.split_first_chunk::<2>()?;
    let mut rest = rest.get(size_of::<SessionId>() + size_of::<u64>()..)?;
    let saying = match *kind {
        ALIVE => Saying::Alive {
            open: flag(&mut rest)?,
        },
        BYE => Saying::Bye,
        PASS => Saying::Pass(Datagram::read(&mut rest)?),
        RETURN => Saying::Return(Datagram::read(&mut rest)?),
        _ => return None,
    };
    rest.is_empty().then_some(saying)
}

/// Whether a message was made with `key`; the comparison tells nothing by its time.
pub(super) fn is_proven(key: &Key, message: &[u8]) -> bool {
    let Some(end) = message.len().checked_sub(TAG_BYTES) else {
        return false;
    };
    let (text, found) = message.split_at(end);
    tag(key, text).is_some_and(|tag| boring::memcmp::eq(found, &tag))
}

/// A key that follows from another one.
pub(super) fn derive(key: &Key, parts: &[&[u8]]) -> Option<Key> {
    hmac_sha256(key, &parts.concat()).ok()
}

fn seal(key: &Key, mut message: Vec<u8>) -> Option<Vec<u8>> {
    let tag = tag(key, &message)?;
    message.extend_from_slice(&tag);
    Some(message)
}

fn tag(key: &Key, text: &[u8]) -> Option<[u8; TAG_BYTES]> {
    let whole = hmac_sha256(key, text).ok()?;
    whole.first_chunk().copied()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*bytes)
}

fn flag(rest: &mut &[u8]) -> Option<bool> {
    match take::<1>(rest)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn speaker(address: &str) -> Speaker {
        Speaker {
            generation: 0xbeef,
            address: address.parse().unwrap(),
            open: true,
        }
    }

    fn datagram() -> Datagram {
        Datagram {
            contents: vec![7; 1350],
            from: "[2001:db8::1]:6".parse().unwrap(),
            to: "10.0.0.5:8443".parse().unwrap(),
        }
    }

    #[test]
    fn greetings_survive_the_wire() {
        let (nonce, echo) = ([1; NONCE_BYTES], [2; NONCE_BYTES]);
        for address in ["192.0.2.1:4433", "[2001:db8::1]:4433"] {
            for greeting in [
                Greeting::Hello { nonce },
                Greeting::Answer { nonce, echo },
                Greeting::Confirm { nonce, echo },
            ] {
                let bytes = greet(&[9; KEY_BYTES], &speaker(address), &greeting).unwrap();
                assert!(is_proven(&[9; KEY_BYTES], &bytes));
                let wanted = Message::Greeting(speaker(address), greeting);
                assert_eq!(read(&bytes), Some(wanted));
            }
        }
    }

    #[test]
    fn sayings_survive_the_wire() {
        for wanted in [
            Saying::Alive { open: false },
            Saying::Bye,
            Saying::Pass(datagram()),
            Saying::Return(datagram()),
        ] {
            let bytes = say(&[9; KEY_BYTES], b"01234567", 5, &wanted).unwrap();
            assert!(is_proven(&[9; KEY_BYTES], &bytes));
            assert_eq!(read(&bytes), Some(Message::Saying(*b"01234567", 5)));
            assert_eq!(saying(&bytes), Some(wanted));
        }
    }

    #[test]
    fn no_octet_can_be_changed_and_no_other_key_proves() {
        let bytes = say(&[9; KEY_BYTES], b"01234567", 5, &Saying::Pass(datagram())).unwrap();
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert!(!is_proven(&[9; KEY_BYTES], &forged), "octet {at}");
        }
        assert!(!is_proven(&[8; KEY_BYTES], &bytes));
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_nothing() {
        let nonce = [1; NONCE_BYTES];
        let key = [9; KEY_BYTES];
        let hello = greet(&key, &speaker("192.0.2.1:1"), &Greeting::Hello { nonce }).unwrap();
        let pass = say(&key, b"01234567", 5, &Saying::Pass(datagram())).unwrap();
        for length in 0..hello.len() {
            assert_eq!(read(&hello[..length]), None);
        }
        for length in 0..pass.len() {
            assert!(!is_proven(&key, &pass[..length]));
            assert_eq!(saying(&pass[..length]), None);
        }
        assert_eq!(read(&[&hello[..], b"x"].concat()), None);
        assert_eq!(saying(&[&pass[..], b"x"].concat()), None);
        let large = Datagram {
            contents: vec![0; 65_500],
            ..datagram()
        };
        assert_eq!(say(&key, b"01234567", 5, &Saying::Pass(large)), None);
        let other = [&[VERSION + 1], &hello[1..]].concat();
        assert_eq!(read(&other), None);
    }
}
