//! Programs that meet, and what they refuse.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

const KEY: Key = [5; 32];

fn book(generation: u16, key: Key) -> Book {
    let mut book = Book::new(Speaker {
        generation,
        address: SocketAddr::new("10.0.0.5".parse().unwrap(), generation),
        open: true,
    });
    book.set_key(key, Instant::now());
    book
}

fn reply(heard: Heard) -> Vec<u8> {
    let Heard::Reply(letter) = heard else {
        panic!("{heard:?}")
    };
    letter.message
}

/// Every message of the acquaintance.
fn acquaint(one: &mut Book, other: &mut Book) -> [Vec<u8>; 3] {
    let now = Instant::now();
    let hello = one.hello(now).unwrap();
    let answer = reply(other.hear(&hello, now));
    let confirm = reply(one.hear(&answer, now));
    assert!(!one.knows(other.own.generation), "not before it is mutual");
    let alive = reply(other.hear(&confirm, now));
    assert_eq!(one.hear(&alive, now), Heard::Nothing);
    [hello, answer, confirm]
}

fn datagram() -> Datagram {
    Datagram {
        contents: vec![1; 1200],
        from: "192.0.2.1:9".parse().unwrap(),
        to: "10.0.0.6:8443".parse().unwrap(),
    }
}

#[test]
fn two_programs_meet_pass_datagrams_and_part() {
    let (mut one, mut other) = (book(1, KEY), book(2, KEY));
    acquaint(&mut one, &mut other);
    assert!(one.knows(2) && other.knows(1));
    assert_eq!(one.successor(), Some(2));
    let now = Instant::now();
    let pass = one.say(2, &Saying::Pass(datagram())).unwrap();
    assert_eq!(pass.to.port(), 2);
    assert_eq!(other.hear(&pass.message, now), Heard::Pass(1, datagram()));
    let back = other.say(1, &Saying::Return(datagram())).unwrap();
    assert_eq!(one.hear(&back.message, now), Heard::Return(2, datagram()));
    let closed = other.set_open(false).remove(0);
    assert_eq!(one.hear(&closed.message, now), Heard::Nothing);
    assert_eq!(one.successor(), None);
    let bye = other.leave().remove(0);
    assert_eq!(one.hear(&bye.message, now), Heard::Nothing);
    assert!(!one.knows(2) && !other.knows(1));
}

#[test]
fn hellos_that_cross_end_in_one_session() {
    let (mut one, mut other) = (book(1, KEY), book(2, KEY));
    let now = Instant::now();
    let (hello, its_hello) = (one.hello(now).unwrap(), other.hello(now).unwrap());
    let its_answer = reply(other.hear(&hello, now));
    let answer = reply(one.hear(&its_hello, now));
    assert_eq!(one.hear(&its_answer, now), Heard::Nothing, "it gives way");
    let its_confirm = reply(other.hear(&answer, now));
    let alive = reply(one.hear(&its_confirm, now));
    assert_eq!(other.hear(&alive, now), Heard::Nothing);
    let pass = one.say(2, &Saying::Pass(datagram())).unwrap();
    assert_eq!(other.hear(&pass.message, now), Heard::Pass(1, datagram()));
    let back = other.say(1, &Saying::Return(datagram())).unwrap();
    assert_eq!(one.hear(&back.message, now), Heard::Return(2, datagram()));
}

#[test]
fn nothing_recorded_is_believed_again() {
    let (mut one, mut other) = (book(1, KEY), book(2, KEY));
    let [hello, answer, confirm] = acquaint(&mut one, &mut other);
    let now = Instant::now();
    let pass = one.say(2, &Saying::Pass(datagram())).unwrap().message;
    assert!(matches!(other.hear(&pass, now), Heard::Pass(..)));
    assert_eq!(other.hear(&pass, now), Heard::Refused);
    assert_eq!(one.hear(&answer, now), Heard::Refused);
    assert_eq!(other.hear(&confirm, now), Heard::Refused);
    // A hello is answered, to the address in it, and the old confirmation does not fit.
    assert!(matches!(other.hear(&hello, now), Heard::Reply(_)));
    assert_eq!(other.hear(&confirm, now), Heard::Refused);
    let mut later = book(2, KEY);
    assert_eq!(later.hear(&confirm, now), Heard::Refused);
    assert_eq!(later.hear(&pass, now), Heard::Refused);
    assert!(!later.knows(1));
}

#[test]
fn another_key_meets_nobody() {
    let (mut one, mut other) = (book(1, KEY), book(2, [6; 32]));
    let hello = one.hello(Instant::now()).unwrap();
    assert_eq!(other.hear(&hello, Instant::now()), Heard::Refused);
    let mut keyless = Book::new(other.own);
    assert_eq!(keyless.hear(&hello, Instant::now()), Heard::Refused);
    assert_eq!(keyless.hello(Instant::now()), None);
}

#[test]
fn the_key_before_is_believed_for_a_while() {
    let (mut one, mut other) = (book(1, KEY), book(2, KEY));
    let now = Instant::now();
    assert!(one.set_key([6; 32], now));
    assert!(!one.set_key([6; 32], now), "the same");
    acquaint(&mut other, &mut one);
    let hello = other.hello(now).unwrap();
    assert_eq!(one.hear(&hello, now + KEY_GRACE), Heard::Refused);
    assert!(!one.knows(2), "met by the old key");
}

#[test]
fn its_own_hello_is_nobody() {
    let mut one = book(1, KEY);
    let hello = one.hello(Instant::now()).unwrap();
    assert_eq!(one.hear(&hello, Instant::now()), Heard::Nothing);
    assert!(!one.knows(1));
}

#[test]
fn greetings_and_neighbours_expire() {
    let (mut one, mut other) = (book(1, KEY), book(2, KEY));
    let now = Instant::now();
    let hello = one.hello(now).unwrap();
    let answer = reply(other.hear(&hello, now));
    let late = now + GREETING_EXPIRY;
    assert_eq!(one.hear(&answer, late), Heard::Refused);
    let hello = one.hello(now).unwrap();
    let answer = reply(other.hear(&hello, now));
    let confirm = reply(one.hear(&answer, now));
    assert_eq!(other.hear(&confirm, late), Heard::Refused);
    // The confirmation was lost: the next hello makes up for it.
    acquaint(&mut one, &mut other);
    one.expire(Instant::now() + SILENCE_MAX);
    assert!(!one.knows(2));
    // The other side has not noticed, and takes the new acquaintance over.
    acquaint(&mut one, &mut other);
    assert_eq!(other.others.len(), 1);
}

#[test]
fn neighbours_and_what_waits_are_bounded() {
    let mut one = book(0, KEY);
    for generation in 1..=9 {
        let mut other = book(generation, KEY);
        let hello = other.hello(Instant::now()).unwrap();
        let answer = reply(one.hear(&hello, Instant::now()));
        let confirm = reply(other.hear(&answer, Instant::now()));
        let heard = one.hear(&confirm, Instant::now());
        let has_room = usize::from(generation) <= NEIGHBOURS_MAX;
        assert_eq!(heard != Heard::Refused, has_room, "{generation}");
    }
    assert_eq!(one.others.len(), NEIGHBOURS_MAX);
    for generation in 10..60 {
        let hello = book(generation, KEY).hello(Instant::now()).unwrap();
        one.hear(&hello, Instant::now());
        one.hello(Instant::now());
    }
    assert_eq!(one.answered.len(), NEIGHBOURS_MAX);
    assert_eq!(one.hellos.len(), HELLOS_MAX);
}

/// Of every message, with octets changed, cut off and added.
#[test]
fn whatever_comes_is_refused_and_changes_nothing() {
    let (mut one, mut other) = (book(1, KEY), book(2, KEY));
    let mut all = acquaint(&mut one, &mut other).to_vec();
    all.push(one.say(2, &Saying::Pass(datagram())).unwrap().message);
    all.push(one.set_open(true).remove(0).message);
    let now = Instant::now();
    for _ in 0..2_000 {
        let noise: [u8; 8] = random().unwrap();
        let mut message = all[usize::from(noise[0]) % all.len()].clone();
        let at = usize::from(u16::from_be_bytes([noise[1], noise[2]])) % message.len();
        match noise[3] % 4 {
            0 => message.truncate(at),
            1 => message.insert(at, noise[4]),
            2 => message[at] ^= noise[4].max(1),
            _ => message = noise[..usize::from(noise[4] % 9)].to_vec(),
        }
        assert_eq!(other.hear(&message, now), Heard::Refused, "{message:?}");
    }
    assert!(other.knows(1));
    assert!(matches!(other.hear(&all[3], now), Heard::Pass(..)));
}
