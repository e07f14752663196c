//! Hostile bodies cost in proportion to their length: for sixteen times the input, far less than
//! the 256 times the work that a squared cost would be.

use std::time::{Duration, Instant};

use super::super::{Arguments, Body, ParseLimits, json, multipart, urlencoded, xml};
use super::held;
use crate::variable::Slot;

const FORM: &[u8] = b"multipart/form-data; boundary=xx";
/// The greatest ratio that is still taken for linear; the machine may be busy.
const RATIO_MAX: u32 = 110;

type Parse = fn(&[u8]);

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

/// The least of some runs: what the work costs when nothing interrupts it.
fn cost(parse: Parse, body: &[u8]) -> Duration {
    let run = |_| {
        let start = Instant::now();
        parse(body);
        start.elapsed()
    };
    (0..5).map(run).min().unwrap_or_default()
}

#[test]
fn the_work_grows_as_the_body_does() {
    let numbered =
        |count: usize, text: fn(usize) -> String| -> String { (0..count).map(text).collect() };
    let cases: [(&str, Parse, Box<dyn Fn(usize) -> String>); 12] = [
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
        let (once, longer) = (body(2_500), body(40_000));
        // A busy moment may spoil one comparison, not all of them.
        let grows = |_| cost(parse, longer.as_bytes()) > cost(parse, once.as_bytes()) * RATIO_MAX;
        assert!(!(0..6).all(grows), "{name}");
    }
}
