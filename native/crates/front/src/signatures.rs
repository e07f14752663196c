//! Signatures of many nodes at once: an agent that starts in a large mesh has thousands to check.

use ring::signature::{ED25519, UnparsedPublicKey};
use std::num::NonZero;
use std::thread;

/// Fewer are not worth a thread.
const SHARE_MIN: usize = 64;
/// More would keep a whole machine from its work.
const THREADS_MAX: usize = 8;

/// Something that was signed (Ed25519).
pub struct Signed {
    /// 32 bytes, or it is nobody's.
    pub key: Vec<u8>,
    pub text: Vec<u8>,
    /// 64 bytes, or it is none.
    pub signature: Vec<u8>,
}

impl Signed {
    fn is_true(&self) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        key.verify(&self.text, &self.signature).is_ok()
    }
}

/// Which of these the owners of the keys have signed, in their order; takes all cores.
pub fn verify_each(all: &[Signed]) -> Vec<bool> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let share = all.len().div_ceil(cores.min(THREADS_MAX)).max(SHARE_MIN);
    let of = |some: &[Signed]| some.iter().map(Signed::is_true).collect::<Vec<_>>();
    let mut shares = all.chunks(share);
    let own = shares.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|some| (some.len(), scope.spawn(move || of(some))))
            .collect();
        let mut answers = of(own);
        for (count, other) in others {
            // Of a thread that failed nothing is known to be true.
            answers.extend(other.join().unwrap_or_else(|_| vec![false; count]));
        }
        answers
    })
}

#[cfg(test)]
mod tests {
    use super::{Signed, verify_each};
    use ring::signature::{Ed25519KeyPair, KeyPair};

    fn signed(number: u16) -> Signed {
        let mut seed = [7; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let text = format!("record {number}").into_bytes();
        Signed {
            key: pair.public_key().as_ref().to_vec(),
            signature: pair.sign(&text).as_ref().to_vec(),
            text,
        }
    }

    #[test]
    fn each_gets_its_own_answer() {
        let mut all: Vec<Signed> = (0..1000).map(signed).collect();
        all[0].text.push(b'x');
        all[400].key = all[401].key.clone();
        all[700].signature.clear();
        all[999].key.clear();
        let answers = verify_each(&all);
        let wrong: Vec<usize> = (0..1000).filter(|&at| !answers[at]).collect();
        assert_eq!(wrong, [0, 400, 700, 999]);
    }

    #[test]
    fn of_none_there_are_none() {
        assert!(verify_each(&[]).is_empty());
    }
}
