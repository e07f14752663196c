//! How matches are told, step by step.

use super::*;
use crate::{Excerpt, Place, Trace, TraceQuery};

fn traced(rule: &str, request: &str, place: Place<'_>, value: &str) -> Option<Trace> {
    let plan = plan(&[rule]);
    let mut inspection = inspection(request);
    inspection
        .scan(&plan, 2, effort(&mut Memo::new(0)))
        .unwrap();
    let query = TraceQuery {
        leaf: 0,
        argument: "",
        value: value.as_bytes(),
        excerpt_bytes_max: 64,
    };
    inspection.trace(&plan, &query, &place).unwrap()
}

fn argument(nth: usize) -> Place<'static> {
    Place {
        variable: "ARGS",
        name: Some(b"q"),
        nth,
    }
}

fn whole(text: &str) -> Excerpt {
    Excerpt {
        bytes: text.as_bytes().to_vec(),
        offset: 0,
        len: text.len(),
    }
}

const RULE: &str = "ARGS ; urldecodeuni,lowercase,trim ; @rx se(l)ect ; ";

#[test]
fn every_transformation_that_changed_the_value_is_told_and_the_match_has_its_place() {
    let trace = traced(RULE, "GET /?q=a%2520SELECT", argument(0), "a select").unwrap();
    assert_eq!(trace.before, whole("a%20SELECT"));
    let steps = vec![Some(whole("a SELECT")), Some(whole("a select")), None];
    assert_eq!(trace.steps, steps);
    assert_eq!(trace.span, Some((2, 6)));
    assert_eq!(trace.captures, [whole("select"), whole("l")]);
}

#[test]
fn of_equal_names_the_one_is_told_whose_text_matched() {
    let request = "GET /?q=clean&q=Select&q=SELECT";
    let before = |nth| traced(RULE, request, argument(nth), "select").map(|trace| trace.before);
    assert_eq!(before(0), Some(whole("Select")));
    assert_eq!(before(1), Some(whole("SELECT")));
    assert_eq!(before(2), None);
}

#[test]
fn multi_match_stops_at_the_text_that_matched() {
    let rule = "ARGS ; urldecodeuni,lowercase ; @rx SELECT ; multiMatch";
    let trace = traced(rule, "GET /?q=%2553ELECT", argument(0), "SELECT").unwrap();
    assert_eq!(trace.steps, vec![Some(whole("SELECT"))]);
}

#[test]
fn a_long_text_is_cut_around_the_match() {
    let request = format!("GET /?q={}select{}", "x".repeat(100), "y".repeat(100));
    let value = format!("{}select{}", "x".repeat(100), "y".repeat(100));
    let trace = traced(RULE, &request, argument(0), &value).unwrap();
    assert_eq!((trace.before.offset, trace.before.len), (84, 206));
    assert_eq!(trace.before.bytes.len(), 64);
    assert_eq!(trace.span, Some((100, 6)));
}

#[test]
fn a_value_beyond_the_work_that_a_trace_may_do_is_not_told() {
    let value = format!("select{}", "x".repeat(300 * 1024));
    let body =
        format!("POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\nq={value}");
    assert_eq!(traced(RULE, &body, argument(0), &value), None);
}

#[test]
fn a_text_known_only_while_reasoning_is_told_alike() {
    let plan = plan(&["TX ; lowercase ; @pm Foo bar ; textOnly"]);
    let query = TraceQuery {
        leaf: 0,
        argument: "",
        value: b"a foo",
        excerpt_bytes_max: 64,
    };
    let trace = crate::trace_text(&plan, &query, b"A FOO").unwrap().unwrap();
    assert_eq!(trace.before, whole("A FOO"));
    assert_eq!(trace.span, Some((2, 3)));
    let other = crate::trace_text(&plan, &query, b"A BAR").unwrap();
    assert_eq!(other, None);
}
