//! Peers that packets are sent to, and who never have anything to say.

use super::*;

/// Sends so long; how long the other one's silence grew.
fn silence(one: &Machine, two: &Machine, within: Duration) -> Duration {
    let until = Instant::now() + within;
    let mut longest = Duration::ZERO;
    while Instant::now() < until {
        one.send(&packet(1, 2, b"no answer is wanted"));
        two.got(Duration::from_millis(20));
        longest = longest.max(one.seen(2).unanswered.unwrap_or_default());
    }
    longest
}

fn watch(machine: &Machine, number: u8) {
    let key = key(number);
    machine.apply(&format!(
        r#"{{"peers":[{{"publicKey":"{key}","isWatched":true}}]}}"#
    ));
}

#[test]
fn a_live_peer_that_only_hears_answers_when_it_is_watched() {
    let (watched, other) = (pair(), pair());
    watch(&watched.0, 2);
    let within = Duration::from_secs(5);
    std::thread::scope(|scope| {
        let of_other = scope.spawn(|| silence(&other.0, &other.1, within));
        let silence = silence(&watched.0, &watched.1, within);
        assert!(silence < Duration::from_secs(4), "{silence:?}");
        let silence = of_other.join().expect("no panic");
        assert!(silence > Duration::from_secs(4), "{silence:?}");
    });
}

#[test]
fn a_watched_peer_to_whom_nothing_is_sent_is_not_asked() {
    let (one, two) = pair();
    watch(&one, 2);
    one.reaches(&two, &packet(1, 2, b"there"));
    two.reaches(&one, &packet(2, 1, b"back"));
    let before = one.seen(2);
    assert_eq!(before.unanswered, None);
    assert_eq!(one.got(Duration::from_millis(3000)), None);
    let after = one.seen(2);
    assert_eq!(after.sent_bytes, before.sent_bytes);
    assert_eq!(after.unanswered, None);
}

#[test]
fn one_that_is_gone_is_asked_until_it_is_back() {
    let (one, two) = pair();
    watch(&one, 2);
    one.reaches(&two, &packet(1, 2, b"there"));
    let port = two.port;
    drop(two);
    one.send(&packet(1, 2, b"nobody is there"));
    relay::wait_for(|| one.seen(2).unanswered > Some(Duration::from_secs(3)));
    // It comes back where it was and has nothing to say: the device finds it, without a packet.
    let back = Machine::at(2, port);
    back.knows(1, "10.0.0.1/32", &one);
    relay::wait_for(|| one.seen(2).unanswered.is_none());
    assert!(one.seen(2).last_handshake < Some(Duration::from_secs(2)));
}
