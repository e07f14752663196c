//! Two connections with a link between them, in virtual time.

use super::*;
use crate::packet;
use crate::segment::{RST, SYN, Segment};
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::time::Duration;

/// A generator of numbers that look random, the same at every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Of a thousand packets.
#[derive(Clone, Copy, Default)]
struct Faults {
    lost: u64,
    late: u64,
    doubled: u64,
}

struct Side {
    connection: Option<Connection>,
    to_write: Vec<u8>,
    read: Vec<u8>,
    reads_at_once: usize,
    closes: bool,
    has_ended: bool,
}

impl Side {
    fn new(connection: Option<Connection>, to_write: Vec<u8>) -> Side {
        Side {
            connection,
            to_write,
            read: Vec::new(),
            reads_at_once: usize::MAX,
            closes: true,
            has_ended: false,
        }
    }

    fn act(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if connection.is_open() && !self.to_write.is_empty() {
            let taken = connection.write(&self.to_write).unwrap_or(0);
            self.to_write.drain(..taken);
        }
        if self.to_write.is_empty() && self.closes && connection.is_open() {
            connection.close();
        }
        if self.reads_at_once == 0 {
            return;
        }
        let read = &mut self.read;
        while let Ok(Some(count)) =
            connection.read(self.reads_at_once, |piece| read.extend_from_slice(piece))
        {
            if count == 0 {
                self.has_ended = true;
                break;
            }
        }
    }
}

struct World {
    now: Instant,
    began: Instant,
    sides: [Side; 2],
    dice: Dice,
    faults: Faults,
    delay: Duration,
    /// Under way: when it arrives, a number that keeps the order, to whom.
    link: BTreeMap<(Instant, u64), (usize, BytesMut)>,
    sent: u64,
    /// Packets that fit on the way to one side, and how long each takes there.
    queue: Option<(usize, Duration)>,
    free_at: [Option<Instant>; 2],
}

fn ends(local: &str, remote: &str) -> Ends {
    Ends {
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        packet_bytes_max: 1420,
        secret: u32::MAX - 5000, // sequence numbers wrap soon
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

impl World {
    fn new(faults: Faults, one: Vec<u8>, other: Vec<u8>) -> World {
        let now = Instant::now();
        let first = Connection::dial(ends("10.0.0.1:1000", "10.0.0.2:2000"), now);
        World {
            now,
            began: now,
            sides: [Side::new(Some(first), one), Side::new(None, other)],
            dice: Dice(42),
            faults,
            delay: Duration::from_millis(10),
            link: BTreeMap::new(),
            sent: 0,
            queue: None,
            free_at: [None; 2],
        }
    }

    /// When a packet leaves a queue that may be full.
    fn queued(&mut self, to: usize) -> Option<Instant> {
        let Some((most, each)) = self.queue else {
            return Some(self.now);
        };
        let free = self.free_at[to].map_or(self.now, |free| free.max(self.now));
        if free - self.now > each * u32::try_from(most).unwrap() {
            return None;
        }
        self.free_at[to] = Some(free + each);
        Some(free + each)
    }

    fn send(&mut self, to: usize, packet: BytesMut) {
        let copies = if self.dice.roll(1000) < self.faults.doubled {
            2
        } else {
            1
        };
        for _ in 0..copies {
            self.sent += 1;
            if self.dice.roll(1000) < self.faults.lost {
                continue;
            }
            let late = if self.dice.roll(1000) < self.faults.late {
                self.delay / 2
            } else {
                Duration::ZERO
            };
            let Some(leaves) = self.queued(to) else {
                continue;
            };
            self.link.insert(
                (leaves + self.delay + late, self.sent),
                (to, packet.clone()),
            );
        }
    }

    fn deliver(&mut self, to: usize, bytes: &BytesMut) {
        let parsed = packet::parse(bytes).unwrap();
        let segment = Segment::parse(&parsed).unwrap();
        let answer = match &mut self.sides[to].connection {
            Some(connection) => connection.receive(&segment, self.now),
            None if segment.has(SYN) => {
                let mut offered =
                    Connection::offered(ends("10.0.0.2:2000", "10.0.0.1:1000"), &segment, self.now);
                offered.accept();
                self.sides[to].connection = Some(offered);
                None
            }
            None => segment.reset(),
        };
        if let Some(answer) = answer {
            self.send(1 - to, answer);
        }
    }

    /// One event; false when nothing is left to come.
    fn step(&mut self) -> bool {
        for at in 0..2 {
            self.sides[at].act();
            let mut packets = Vec::new();
            if let Some(connection) = &mut self.sides[at].connection {
                connection.settle(self.now);
                // Nobody asks a connection that has nothing to say.
                while connection.has_something_to_say() {
                    connection.transmit(self.now, &mut packets, 64);
                }
            }
            for packet in packets {
                self.send(1 - at, packet);
            }
        }
        let arrival = self.link.keys().next().map(|key| key.0);
        let timers = self
            .sides
            .iter()
            .filter_map(|side| side.connection.as_ref()?.deadline());
        let Some(next) = arrival.into_iter().chain(timers).min() else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.link.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to, packet) = entry.remove();
            self.deliver(to, &packet);
        }
        for side in &mut self.sides {
            if let Some(connection) = &mut side.connection {
                connection.on_time(self.now);
            }
        }
        true
    }

    fn run(&mut self, until: impl Fn(&World) -> bool) {
        let limit = self.began + Duration::from_secs(600);
        let mut steps = 0;
        while !until(self) {
            steps += 1;
            let is_alive = self.step() && self.now < limit && steps < 5_000_000;
            assert!(
                is_alive,
                "{:?} after {:?}",
                self.sides.each_ref().map(|side| &side.connection),
                self.now - self.began
            );
        }
    }

    fn phase(&self, at: usize) -> Option<Phase> {
        self.sides[at].connection.as_ref().map(Connection::phase)
    }
}

#[test]
fn bytes_of_both_sides_arrive_whatever_the_link_does() {
    let links = [
        Faults::default(),
        Faults {
            lost: 10,
            ..Faults::default()
        },
        Faults {
            late: 200,
            ..Faults::default()
        },
        Faults {
            doubled: 200,
            ..Faults::default()
        },
        Faults {
            lost: 100,
            late: 100,
            doubled: 50,
        },
        Faults {
            lost: 300,
            late: 50,
            doubled: 50,
        },
    ];
    for (number, faults) in links.into_iter().enumerate() {
        for seed in 0..8 {
            let length = if faults.lost > 99 { 100_000 } else { 3_000_000 };
            let (one, other) = (pattern(length), pattern(length / 3));
            let mut world = World::new(faults, one.clone(), other.clone());
            world.dice = Dice(seed * 977 + 1);
            world.run(|world| world.sides.iter().all(|side| side.has_ended));
            assert!(world.sides[1].read == one, "link {number} seed {seed}");
            assert!(world.sides[0].read == other, "link {number} seed {seed}");
            let is_over = |phase| matches!(phase, Some(Phase::Closed));
            world.run(|world| is_over(world.phase(0)) && is_over(world.phase(1)));
        }
    }
}

#[test]
fn a_few_losses_cost_less_than_time_outs() {
    let mut took = Vec::new();
    for lost in [0, 10] {
        let faults = Faults {
            lost,
            ..Faults::default()
        };
        let mut world = World::new(faults, pattern(8_000_000), Vec::new());
        world.run(|world| world.sides[1].has_ended);
        took.push(world.now - world.began);
        let least = 8_000_000_u64.div_ceil(1380);
        // Without a loss an acknowledgement is for many segments.
        assert!(
            lost > 0 || world.sent < least * 13 / 10,
            "{} for {least}",
            world.sent
        );
        // Each lost segment again, and acknowledgements: not the whole window.
        assert!(world.sent < least * 21 / 10, "{} for {least}", world.sent);
    }
    assert!(took[0] < Duration::from_secs(1), "{took:?}");
    assert!(took[1] < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_short_queue_on_the_way_costs_some_of_the_rate() {
    for both in [false, true] {
        let back = if both { pattern(4_000_000) } else { Vec::new() };
        let mut world = World::new(Faults::default(), pattern(8_000_000), back);
        world.delay = Duration::from_micros(200);
        // One gigabit a second, and room for a socket's usual buffer.
        world.queue = Some((90, Duration::from_micros(11)));
        world.run(|world| world.sides.iter().all(|side| side.has_ended));
        let took = world.now - world.began;
        assert!(
            took < Duration::from_secs(3),
            "{took:?}, {} sent",
            world.sent
        );
    }
}

#[test]
fn a_reader_who_waits_shuts_the_window_and_opens_it_again() {
    let bytes = pattern(4_000_000);
    let mut world = World::new(
        Faults {
            lost: 20,
            ..Faults::default()
        },
        bytes.clone(),
        Vec::new(),
    );
    world.sides[1].reads_at_once = 0;
    world.sides[1].closes = false;
    let full = |world: &World| {
        world.sides[1]
            .connection
            .as_ref()
            .is_some_and(|one| one.held() >= RECEIVE_BYTES_MAX - 1400)
    };
    world.run(full);
    // For minutes nobody reads, and the probes get lost, too.
    let until = world.now + Duration::from_secs(300);
    world.run(|world| world.now >= until);
    assert!(world.sides[1].connection.as_ref().unwrap().held() <= RECEIVE_BYTES_MAX);
    assert_eq!(world.phase(0), Some(Phase::Open));
    world.sides[1].reads_at_once = usize::MAX;
    world.run(|world| world.sides[1].has_ended);
    assert!(world.sides[1].read == bytes);
}

#[test]
fn news_of_a_window_that_are_lost_are_asked_for() {
    let bytes = pattern(2_000_000);
    let mut world = World::new(Faults::default(), bytes.clone(), Vec::new());
    world.sides[1].reads_at_once = 0;
    world.sides[1].closes = false;
    // All that went is acknowledged, and the window is shut.
    world.run(|world| {
        world.sides[0].connection.as_ref().is_some_and(|one| {
            one.is_open() && one.peer_window < 1400 && one.first == one.next && one.has_more()
        })
    });
    world.faults.lost = 1000;
    world.sides[1].reads_at_once = usize::MAX;
    world.step();
    world.faults.lost = 0;
    world.run(|world| world.sides[1].has_ended);
    assert!(world.sides[1].read == bytes);
}

#[test]
fn who_ended_its_half_still_gets_the_other() {
    let mut world = World::new(Faults::default(), b"question".to_vec(), Vec::new());
    world.sides[1].closes = false;
    world.run(|world| world.sides[1].has_ended);
    world.sides[1].to_write = pattern(500_000);
    world.sides[1].closes = true;
    world.run(|world| world.sides[0].has_ended);
    assert!(world.sides[0].read == pattern(500_000));
    // Who ended last need not remember it.
    assert_eq!(
        (world.phase(0), world.phase(1)),
        (Some(Phase::TimeWait), Some(Phase::Closed))
    );
}

#[test]
fn a_reset_ends_both_and_says_so() {
    let mut world = World::new(Faults::default(), pattern(10_000_000), Vec::new());
    world.run(|world| world.sides[1].read.len() > 100_000);
    let now = world.now;
    world.sides[1].connection.as_mut().unwrap().abandon(now);
    world.run(|world| world.phase(0) == Some(Phase::Closed));
    let one = world.sides[0].connection.as_mut().unwrap();
    assert_eq!(one.fault(), Some(ErrorKind::ConnectionReset));
    assert_eq!(one.write(b"x"), Err(ErrorKind::ConnectionReset));
    assert_eq!(one.read(1, |_| ()), Err(ErrorKind::ConnectionReset));
}

#[test]
fn who_is_refused_or_never_answered_knows_it() {
    let mut world = World::new(Faults::default(), Vec::new(), Vec::new());
    let mut packets = Vec::new();
    let first = world.sides[0].connection.as_mut().unwrap();
    first.transmit(world.now, &mut packets, 1);
    let parsed = packet::parse(&packets[0]).unwrap();
    let refusal = Segment::parse(&parsed).unwrap().reset().unwrap();
    // One that does not acknowledge our SYN says nothing.
    let forged = Segment {
        acknowledged: 1,
        ..Segment::parse(&packet::parse(&refusal).unwrap()).unwrap()
    };
    first.receive(&forged, world.now);
    assert_eq!(first.phase(), Phase::SynSent);
    first.receive(
        &Segment::parse(&packet::parse(&refusal).unwrap()).unwrap(),
        world.now,
    );
    assert_eq!(first.fault(), Some(ErrorKind::ConnectionRefused));

    let mut world = World::new(
        Faults {
            lost: 1000,
            ..Faults::default()
        },
        Vec::new(),
        Vec::new(),
    );
    world.run(|world| world.phase(0) == Some(Phase::Closed));
    assert_eq!(
        world.sides[0].connection.as_ref().unwrap().fault(),
        Some(ErrorKind::TimedOut)
    );
    assert!(world.sent < 20, "{}", world.sent);
}

#[test]
fn a_peer_that_vanished_is_given_up() {
    for (length, patience) in [(10_000_000, 200), (0, 1000)] {
        let mut world = World::new(Faults::default(), pattern(length), Vec::new());
        for side in &mut world.sides {
            side.closes = false;
        }
        world.run(|world| world.phase(1) == Some(Phase::Open));
        world.faults.lost = 1000;
        world.began = world.now + Duration::from_secs(patience);
        world.run(|world| world.phase(0) == Some(Phase::Closed));
        assert_eq!(
            world.sides[0].connection.as_ref().unwrap().fault(),
            Some(ErrorKind::TimedOut)
        );
    }
}

#[test]
fn forged_segments_neither_end_nor_disturb_a_connection() {
    let bytes = pattern(2_000_000);
    let mut world = World::new(Faults::default(), bytes.clone(), Vec::new());
    world.run(|world| world.sides[1].read.len() > 100_000);
    let mut dice = Dice(7);
    while !world.sides[1].has_ended {
        let connection = world.sides[1].connection.as_mut().unwrap();
        let genuine = connection.segment_for_test();
        for flags in [RST, SYN, RST | 16, SYN | 16, 16, 1, 0] {
            let sequence = genuine.0.wrapping_add(2 + dice.roll(1 << 31) as u32);
            let forged = Segment {
                source: connection.remote,
                target: connection.local,
                flags,
                sequence,
                acknowledged: dice.roll(1 << 32) as u32,
                window: 0,
                terms: Terms::default(),
                sacks: crate::segment::Sacks::default(),
                payload: b"",
            };
            connection.receive(&forged, world.now);
        }
        world.step();
    }
    assert!(world.sides[1].read == bytes);
}

impl Connection {
    /// What it expects next, and what it sends next.
    fn segment_for_test(&self) -> (u32, u32) {
        (self.input.next() as u32, self.next as u32)
    }
}
