//! Hostile bodies cost in proportion to their length: one body costs no more than a few times what
//! sixteen bodies of a sixteenth cost; with a squared cost it would be sixteen times as much.

use std::time::Duration;

use super::super::{Arguments, Body, ParseLimits, json, multipart, urlencoded, xml};
use super::held;
use crate::variable::Slot;

const FORM: &[u8] = b"multipart/form-data; boundary=xx";
const PARTS: usize = 16;
/// The greatest ratio that is still taken for linear: large bodies miss the caches.
const RATIO_MAX: u32 = 7;
/// Long enough for the clock, which may be one tick late.
const MEASURED_MIN: Duration = Duration::from_millis(40);

type Parse = fn(&[u8]);
/// A body of a length.
type Of = Box<dyn Fn(usize) -> String>;

fn read_json(body: &[u8]) {
    let (mut store, bytes, text) = held(body);
    let body = Body {
        bytes: &bytes,
        text,
    };
    let limits = limits();
    let _ = json::parse(&mut store, body, &mut Arguments::default(), &limits);
}

fn read_xml(body: &[u8]) {
    let (mut store, bytes, text) = held(body);
    let body = Body {
        bytes: &bytes,
        text,
    };
    let _ = xml::parse(&mut store, body, &limits());
}

fn read_multipart(body: &[u8]) {
    let (mut store, bytes, text) = held(body);
    let form = (
        FORM,
        Body {
            bytes: &bytes,
            text,
        },
    );
    let _ = multipart::parse(&mut store, form, &mut Arguments::default(), &limits());
}

fn read_form(body: &[u8]) {
    let (mut store, _, text) = held(body);
    let form = (text, Slot::ArgsPost);
    urlencoded::parse(&mut store, form, &mut Arguments::default(), &limits());
}

fn limits() -> ParseLimits {
    ParseLimits {
        arguments_max: usize::MAX,
        json_depth_max: usize::MAX,
        ..ParseLimits::default()
    }
}

/// The CPU time of this thread so far: other programs on the machine do not count.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = stat.split(' ').next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

fn cost(parse: Parse, body: &str, times: usize) -> Duration {
    let start = cpu_time();
    for _ in 0..times {
        parse(body.as_bytes());
    }
    cpu_time() - start
}

/// Whether the long body costs many times what `PARTS` short ones do.
fn grows_faster(parse: Parse, short: &str, long: &str) -> bool {
    let mut rounds = 1;
    let short = loop {
        let cost = cost(parse, short, PARTS * rounds);
        if cost >= MEASURED_MIN {
            break cost;
        }
        rounds *= 2;
    };
    cost(parse, long, rounds) > short * RATIO_MAX
}

#[test]
fn the_work_grows_as_the_body_does() {
    let numbered =
        |count: usize, text: fn(usize) -> String| -> String { (0..count).map(text).collect() };
    let cases: [(&str, Parse, Of); 12] = [
        ("arrays", read_json, Box::new(|n| "[".repeat(n))),
        ("objects", read_json, Box::new(|n| "{\"a\":".repeat(n))),
        (
            "long outer name",
            read_json,
            Box::new(|n| format!("{{\"{}\":[{}1]}}", "a".repeat(n), "1,".repeat(n))),
        ),
        (
            "elements",
            read_json,
            Box::new(|n| format!("[{}1]", "[],{},".repeat(n))),
        ),
        ("open elements", read_xml, Box::new(|n| "<a>".repeat(n))),
        (
            "attributes",
            read_xml,
            Box::new(move |n| format!("<a{}/>", numbered(n, |i| format!(" a{i}=''")))),
        ),
        (
            "references",
            read_xml,
            Box::new(|n| format!("<a>{}</a>", "&amp;&#65;".repeat(n))),
        ),
        (
            "ampersands without end",
            read_xml,
            Box::new(|n| format!("<a>{}</a>", "& ".repeat(n))),
        ),
        (
            "boundaries",
            read_multipart,
            Box::new(|n| "--xx\r\n".repeat(n)),
        ),
        (
            "near boundaries",
            read_multipart,
            Box::new(|n| format!("--xx\r\n{}", "--x--x--x--x\n".repeat(n))),
        ),
        (
            "part headers",
            read_multipart,
            Box::new(move |n| format!("--xx\r\n{}", numbered(n, |i| format!("a{i}: b\r\n")))),
        ),
        ("arguments", read_form, Box::new(|n| "a=%41&".repeat(n))),
    ];
    for (name, parse, body) in cases {
        let (short, long) = (body(2_500), body(2_500 * PARTS));
        assert!(!grows_faster(parse, &short, &long), "{name}");
    }
}
