//! Who the other programs of this node are: how they are met, kept and forgotten. It takes messages
//! and a clock and returns messages; `remote.rs` has the socket.

use super::message::{self, Greeting, Key, Message, Nonce, Saying, SessionId, Speaker};
use super::session::{Role, Session};
use crate::quic::cid::random;
use crate::quic::inbox::Datagram;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Programs known at once; more than two of a node only when restarts pile up.
pub(super) const NEIGHBOURS_MAX: usize = 8;
/// Hellos whose answer is still taken, how long an answer is waited for, and a confirmation.
const HELLOS_MAX: usize = 32;
const GREETING_EXPIRY: Duration = Duration::from_secs(5);
/// A program that says nothing for so long is forgotten.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long what was made with the key before this one is still believed: the kubelet brings a new
/// Secret to one pod up to two minutes after another.
const KEY_GRACE: Duration = Duration::from_secs(600);

/// A message and where it goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub to: SocketAddr,
    pub message: Vec<u8>,
}

/// What a message came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is forged, old, cut short, or one too many.
    Refused,
    Nothing,
    Reply(Letter),
    /// From the program of that generation.
    Pass(u16, Datagram),
    Return(u16, Datagram),
}

/// A key, and until when it is believed if it is not the newest.
struct Known {
    key: Key,
    until: Option<Instant>,
}

/// An answer that waits for its confirmation.
struct Answered {
    at: Instant,
    generation: u16,
    nonce: Nonce,
    echo: Nonce,
}

struct Neighbour {
    speaker: Speaker,
    session: Session,
    key: Key,
    heard: Instant,
    /// It knows this program, too. Who answered a hello learns that from the confirmation, who said
    /// it from the first message after.
    mutual: bool,
}

/// The programs that are known, and the key by which they are.
pub(super) struct Book {
    own: Speaker,
    /// The newest first.
    keys: VecDeque<Known>,
    hellos: VecDeque<(Instant, Nonce)>,
    answered: VecDeque<Answered>,
    others: Vec<Neighbour>,
    /// Acquaintances made since somebody looked.
    pub met: u64,
}

impl Book {
    /// Knows nobody, and says nothing before it has a key.
    pub fn new(own: Speaker) -> Book {
        Book {
            own,
            keys: VecDeque::new(),
            hellos: VecDeque::new(),
            answered: VecDeque::new(),
            others: Vec::new(),
            met: 0,
        }
    }

    /// Takes another key, if it is another one; whether it is. The one before stays for a while.
    pub fn set_key(&mut self, key: Key, now: Instant) -> bool {
        if self.keys.front().is_some_and(|known| known.key == key) {
            return false;
        }
        self.keys.truncate(1);
        if let Some(before) = self.keys.front_mut() {
            before.until = Some(now + KEY_GRACE);
        }
        self.keys.push_front(Known { key, until: None });
        true
    }

    /// The port where this program listens, once the kernel chose it.
    pub fn set_port(&mut self, port: u16) {
        self.own.address.set_port(port);
    }

    /// Whether new connections are taken, from now on; what to tell the others.
    pub fn set_open(&mut self, open: bool) -> Vec<Letter> {
        self.own.open = open;
        self.alive()
    }

    /// A hello to whomever it reaches. `None`: there is no key.
    pub fn hello(&mut self, now: Instant) -> Option<Vec<u8>> {
        let key = self.keys.front()?.key;
        let nonce = random()?;
        self.hellos.push_back((now, nonce));
        if self.hellos.len() > HELLOS_MAX {
            self.hellos.pop_front();
        }
        message::greet(&key, &self.own, &Greeting::Hello { nonce })
    }

    /// A sign of life for everybody known.
    pub fn alive(&mut self) -> Vec<Letter> {
        let open = self.own.open;
        self.tell_all(&Saying::Alive { open })
    }

    /// A goodbye to everybody; nobody is known after it.
    pub fn leave(&mut self) -> Vec<Letter> {
        let letters = self.tell_all(&Saying::Bye);
        self.others.clear();
        letters
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Instant) {
        let late = |at: Instant, most: Duration| now.saturating_duration_since(at) >= most;
        self.keys
            .retain(|known| known.until.is_none_or(|until| until > now));
        self.hellos.retain(|(at, _)| !late(*at, GREETING_EXPIRY));
        self.answered.retain(|one| !late(one.at, GREETING_EXPIRY));
        let keys = &self.keys;
        self.others.retain(|other| {
            let is_believed = keys.iter().any(|known| known.key == other.key);
            is_believed && !late(other.heard, SILENCE_MAX)
        });
    }

    /// Whether that program is known, and knows this one.
    pub fn knows(&self, generation: u16) -> bool {
        let mut others = self.others.iter().filter(|other| other.mutual);
        others.any(|other| other.speaker.generation == generation)
    }

    /// A program that takes new connections.
    pub fn successor(&self) -> Option<u16> {
        let mut others = self.others.iter();
        let open = others.find(|other| other.mutual && other.speaker.open);
        open.map(|other| other.speaker.generation)
    }

    /// A message for one that is known.
    pub fn say(&mut self, generation: u16, saying: &Saying) -> Option<Letter> {
        let mut others = self.others.iter_mut();
        let other = others.find(|other| other.speaker.generation == generation)?;
        let message = other.session.say(saying)?;
        let to = other.speaker.address;
        Some(Letter { to, message })
    }

    /// What a message says, and what is to be done.
    pub fn hear(&mut self, message: &[u8], now: Instant) -> Heard {
        self.expire(now);
        let heard = match message::read(message) {
            None => None,
            Some(Message::Saying(id, counter)) => self.listen(&id, counter, message, now),
            Some(Message::Greeting(speaker, greeting)) => {
                let mut keys = self.keys.iter().map(|known| known.key);
                match keys.find(|key| message::is_proven(key, message)) {
                    // Its own hello may come back to it.
                    Some(_) if speaker.generation == self.own.generation => Some(Heard::Nothing),
                    Some(key) => self.meet(&key, speaker, greeting, now),
                    None => None,
                }
            }
        };
        heard.unwrap_or(Heard::Refused)
    }

    fn listen(
        &mut self,
        id: &SessionId,
        counter: u64,
        message: &[u8],
        now: Instant,
    ) -> Option<Heard> {
        let mut others = self.others.iter_mut();
        let at = others.position(|other| other.session.id == *id)?;
        let other = self.others.get_mut(at)?;
        let saying = other.session.hear(counter, message)?;
        other.heard = now;
        self.met += u64::from(!std::mem::replace(&mut other.mutual, true));
        let generation = other.speaker.generation;
        Some(match saying {
            Saying::Alive { open } => {
                other.speaker.open = open;
                Heard::Nothing
            }
            Saying::Bye => {
                self.others.swap_remove(at);
                Heard::Nothing
            }
            Saying::Pass(datagram) => Heard::Pass(generation, datagram),
            Saying::Return(datagram) => Heard::Return(generation, datagram),
        })
    }

    /// The three steps. Each answer is made with the key that the hello was made with.
    fn meet(
        &mut self,
        key: &Key,
        speaker: Speaker,
        greeting: Greeting,
        now: Instant,
    ) -> Option<Heard> {
        let generation = speaker.generation;
        match greeting {
            Greeting::Hello { nonce: echo } => {
                let nonce = random()?;
                // One for each program: a hello that somebody recorded pushes out no other's.
                self.answered.retain(|one| one.generation != generation);
                if self.answered.len() >= NEIGHBOURS_MAX {
                    self.answered.pop_front();
                }
                self.answered.push_back(Answered {
                    at: now,
                    generation,
                    nonce,
                    echo,
                });
                self.reply(key, speaker.address, Greeting::Answer { nonce, echo })
            }
            Greeting::Answer { nonce, echo } => {
                let hello = self.hellos.iter().position(|(_, known)| *known == echo)?;
                self.hellos.remove(hello);
                // Two hellos that cross would end in two sessions, and each side would keep the one
                // that the other gave up: the larger one's hello counts.
                let is_answered = self.answered.iter().any(|one| one.generation == generation);
                let gives_way = is_answered && self.own.generation < generation;
                if self.knows(generation) || gives_way {
                    return Some(Heard::Nothing);
                }
                let session = Session::new(key, Role::First, &echo, &nonce)?;
                let address = speaker.address;
                self.befriend(key, speaker, session, now)?;
                let (nonce, echo) = (echo, nonce);
                self.reply(key, address, Greeting::Confirm { nonce, echo })
            }
            Greeting::Confirm { nonce, echo } => {
                let is_it = |one: &Answered| {
                    one.generation == generation && one.nonce == echo && one.echo == nonce
                };
                let at = self.answered.iter().position(is_it)?;
                self.answered.remove(at);
                let session = Session::new(key, Role::Second, &nonce, &echo)?;
                self.befriend(key, speaker, session, now)?;
                let other = self.others.last_mut()?;
                other.mutual = true;
                self.met += 1;
                let open = self.own.open;
                self.say(generation, &Saying::Alive { open })
                    .map(Heard::Reply)
            }
        }
    }

    fn befriend(
        &mut self,
        key: &Key,
        speaker: Speaker,
        session: Session,
        now: Instant,
    ) -> Option<()> {
        // It may have forgotten the session that is known here.
        let generation = speaker.generation;
        self.others
            .retain(|other| other.speaker.generation != generation);
        let has_room = self.others.len() < NEIGHBOURS_MAX;
        has_room.then(|| {
            self.others.push(Neighbour {
                speaker,
                session,
                key: *key,
                heard: now,
                mutual: false,
            });
        })
    }

    fn reply(&self, key: &Key, to: SocketAddr, greeting: Greeting) -> Option<Heard> {
        let message = message::greet(key, &self.own, &greeting)?;
        Some(Heard::Reply(Letter { to, message }))
    }

    fn tell_all(&mut self, saying: &Saying) -> Vec<Letter> {
        let others = self.others.iter_mut();
        let letters = others.filter_map(|other| {
            let message = other.session.say(saying)?;
            let to = other.speaker.address;
            Some(Letter { to, message })
        });
        letters.collect()
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
