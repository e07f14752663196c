//! The store in virtual time: the clock is an argument of every call.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::thread;

use crate::{Applied, Change, Limits, Store, Write};

const HOUR: u64 = 3_600_000;
const ROOMY: Limits = Limits {
    entries: 100,
    memory_bytes: 1 << 20,
    value_bytes: 64,
    members: 4,
};

fn write<'a>(key: &'a str, name: &'a str, now_ms: u64) -> Write<'a> {
    Write {
        key,
        name,
        timeout_ms: HOUR,
        now_ms,
        first: true,
    }
}

fn set(store: &Store, key: &str, name: &str, text: &str, now_ms: u64) -> Applied {
    store.write(write(key, name, now_ms), Change::Set(text))
}

fn add(store: &Store, key: &str, amount: i64, now_ms: u64) -> Applied {
    store.write(write(key, "count", now_ms), Change::Add(amount))
}

#[test]
fn members_are_set_counted_and_removed() {
    let store = Store::new(ROOMY);
    assert_eq!(store.read("a", "count", 0), None);
    assert_eq!(add(&store, "a", 5, 0), Applied::Done);
    assert_eq!(add(&store, "a", -7, 1), Applied::Done);
    assert_eq!(store.read("a", "count", 1).as_deref(), Some("-2"));
    set(&store, "a", "text", "12abc", 2);
    store.write(write("a", "text", 3), Change::Add(1));
    let all = store.read_all("a", 3);
    assert_eq!(
        all,
        [("count".into(), "-2".into()), ("text".into(), "13".into())]
    );
    assert_eq!(
        store.write(write("a", "count", 4), Change::Remove),
        Applied::Done
    );
    assert_eq!(
        store.write(write("a", "count", 4), Change::Remove),
        Applied::Nothing
    );
    assert_eq!(store.read("a", "count", 4), None);
    assert_eq!(store.read("b", "text", 4), None);
}

#[test]
fn increments_of_many_threads_are_all_counted() {
    let store = Arc::new(Store::new(ROOMY));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for at in 0..5_000 {
                    assert_eq!(add(&store, "a", 1, at), Applied::Done);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(store.read("a", "count", 0).as_deref(), Some("40000"));
    assert_eq!(store.facts("a", 0).unwrap().updates, 40_000);
}

#[test]
fn a_number_never_overflows() {
    let store = Store::new(ROOMY);
    for _ in 0..3 {
        add(&store, "a", i64::MAX, 0);
    }
    assert_eq!(
        store.read("a", "count", 0).as_deref(),
        Some("999999999999999")
    );
}

#[test]
fn a_member_ends_at_its_time_and_begins_without_an_end() {
    let store = Store::new(ROOMY);
    add(&store, "a", 3, 0);
    store.write(write("a", "count", 0), Change::Expire(1_000));
    assert_eq!(store.read("a", "count", 999).as_deref(), Some("3"));
    assert_eq!(store.read("a", "count", 1_000), None);
    add(&store, "a", 1, 1_001);
    assert_eq!(store.read("a", "count", 500_000).as_deref(), Some("1"));
    // A change of the value leaves the end alone.
    store.write(write("a", "count", 500_000), Change::Expire(500_010));
    add(&store, "a", 1, 500_001);
    assert_eq!(store.read("a", "count", 500_010), None);
}

#[test]
fn an_end_may_come_before_the_value() {
    let store = Store::new(ROOMY);
    store.write(write("a", "late", 0), Change::Expire(100));
    assert_eq!(store.read("a", "late", 1), None);
    assert!(store.read_all("a", 1).is_empty());
    set(&store, "a", "late", "x", 2);
    assert_eq!(store.read("a", "late", 99).as_deref(), Some("x"));
    assert_eq!(store.read("a", "late", 100), None);
}

#[test]
fn a_collection_ends_a_timeout_after_its_last_update() {
    let store = Store::new(ROOMY);
    add(&store, "a", 1, 0);
    add(&store, "a", 1, HOUR - 1);
    assert_eq!(store.read("a", "count", 2 * HOUR - 2).as_deref(), Some("2"));
    assert_eq!(store.read("a", "count", 2 * HOUR - 1), None);
    assert_eq!(store.facts("a", 2 * HOUR), None);
    set(&store, "b", "timeout", "60", 0);
    assert_eq!(store.facts("b", 59_999).unwrap().timeout_ms, 60_000);
    assert_eq!(store.facts("b", 60_000), None);
    assert_eq!((store.stats().entries, store.stats().expired), (0, 2));
}

#[test]
fn decay_takes_its_amount_for_each_interval_once() {
    let decay = |seen_ms| Change::Decay {
        amount: 60,
        interval_ms: 300_000,
        seen_ms,
    };
    let store = Store::new(ROOMY);
    assert_eq!(
        store.write(write("a", "count", 0), decay(0)),
        Applied::Nothing
    );
    add(&store, "a", 200, 0);
    let at = |now_ms| write("a", "count", now_ms);
    assert_eq!(store.write(at(299_999), decay(0)), Applied::Nothing);
    // Two transactions saw the same last update.
    assert_eq!(store.write(at(650_000), decay(0)), Applied::Done);
    assert_eq!(store.write(at(650_001), decay(0)), Applied::Nothing);
    assert_eq!(store.read("a", "count", 650_001).as_deref(), Some("80"));
    assert_eq!(store.write(at(3_000_000), decay(650_000)), Applied::Done);
    assert_eq!(store.read("a", "count", 3_000_000).as_deref(), Some("0"));
}

#[test]
fn values_and_members_have_limits() {
    let store = Store::new(ROOMY);
    assert_eq!(set(&store, "a", "x", &"v".repeat(64), 0), Applied::Done);
    assert_eq!(
        set(&store, "a", "x", &"v".repeat(65), 0),
        Applied::ValueTooLong
    );
    assert_eq!(
        set(&store, "a", &"n".repeat(65), "v", 0),
        Applied::ValueTooLong
    );
    for name in ["1", "2", "3"] {
        assert_eq!(set(&store, "a", name, "v", 0), Applied::Done);
    }
    assert_eq!(set(&store, "a", "4", "v", 0), Applied::TooManyMembers);
    assert_eq!(set(&store, "a", "3", "w", 0), Applied::Done);
    // What is over makes room.
    store.write(write("a", "1", 0), Change::Expire(5));
    assert_eq!(set(&store, "a", "4", "v", 5), Applied::Done);
    let stats = store.stats();
    assert_eq!((stats.values_refused, stats.members_refused), (2, 1));
}

#[test]
fn a_full_store_loses_what_is_over_then_what_was_updated_longest_ago() {
    let store = Store::new(Limits {
        entries: 3,
        ..ROOMY
    });
    for (key, at) in [("a", 0), ("b", 1), ("c", 2), ("a", 3)] {
        add(&store, key, 1, at);
    }
    add(&store, "d", 1, 4);
    assert_eq!(store.read("b", "count", 4), None);
    assert_eq!(store.read("a", "count", 4).as_deref(), Some("2"));
    assert_eq!((store.stats().entries, store.stats().evicted), (3, 1));
    set(&store, "d", "timeout", "1", 5);
    add(&store, "e", 1, 2_000);
    assert_eq!(store.read("c", "count", 2_000).as_deref(), Some("1"));
    assert_eq!((store.stats().evicted, store.stats().expired), (1, 1));
}

#[test]
fn memory_is_bounded_and_given_back() {
    let store = Store::new(Limits {
        entries: 100_000,
        memory_bytes: 20_000,
        ..ROOMY
    });
    for index in 0..1_000 {
        set(&store, &format!("key {index}"), "x", &"v".repeat(60), index);
        assert!(store.stats().bytes <= 20_000);
    }
    assert!(store.stats().entries > 10);
    assert!(store.read("key 999", "x", 1_000).is_some());
    store.set_limits(ROOMY);
    assert_eq!(store.sweep(u64::MAX, 5), 5);
    while store.sweep(u64::MAX, 100) > 0 {}
    assert_eq!((store.stats().entries, store.stats().bytes), (0, 0));
}

#[test]
fn lowered_limits_come_true_with_the_writes_that_follow() {
    let store = Store::new(ROOMY);
    (0..90).for_each(|at| assert_eq!(add(&store, &at.to_string(), 1, at), Applied::Done));
    store.set_limits(Limits {
        entries: 10,
        ..ROOMY
    });
    add(&store, "x", 1, 100);
    add(&store, "y", 1, 100);
    assert_eq!(store.stats().entries, 10);
}

#[test]
fn changes_are_taken_once_and_load_into_another_store() {
    let store = Store::new(ROOMY);
    add(&store, "before", 1, 0);
    store.keep_changes();
    set(&store, "a", "text", "ü\u{0}\"", 10);
    store.write(write("a", "text", 10), Change::Expire(500));
    add(&store, "gone", 1, 10);
    store.sweep(10 + HOUR - 10, 10);
    let mut changes = store.take_changes(100);
    changes.sort_by(|one, other| one.key.cmp(&other.key));
    let keys: Vec<_> = changes.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["a", "gone"]);
    assert!(store.take_changes(100).is_empty());

    let next = Store::new(ROOMY);
    next.keep_changes();
    let record = changes[0].record.as_deref().unwrap();
    assert!(next.load("a", record, 20));
    assert!(!next.load("late", record, 10 + HOUR));
    assert!(!next.load("broken", "{", 20));
    assert_eq!(next.read("a", "text", 499).as_deref(), Some("ü\u{0}\""));
    assert_eq!(next.read("a", "text", 500), None);
    assert_eq!(next.facts("a", 20), store.facts("a", 20));
    assert!(next.take_changes(100).is_empty());
}

#[test]
fn the_end_of_a_filed_collection_is_a_change_and_that_of_another_is_none() {
    let store = Store::new(ROOMY);
    store.keep_changes();
    add(&store, "filed", 1, 0);
    assert_eq!(store.take_changes(1).len(), 1);
    add(&store, "unknown", 1, 0);
    store.sweep(HOUR, 10);
    let changes = store.take_changes(10);
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (changes[0].key.as_str(), &changes[0].record),
        ("filed", &None)
    );
    // One that comes again under the same key is in the file as well.
    add(&store, "filed", 1, HOUR);
    assert!(store.take_changes(10)[0].record.is_some());
}
