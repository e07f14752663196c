//! The scan as data: leaves and a request in, hits out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::time::Duration;

mod phases;
mod plans;
mod targets;
mod trace;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::hits::{Hit, Hits};
use crate::{Effort, Inspection, Memo, Plan, RequestFacts};

/// `targets ; transformations ; operator ; options` as JSON of a leaf. Options are words: `p1`
/// (the phase, 2 when not given), `capture`, `multiMatch`, `dynamic`, `textOnly`.
fn leaf(rule: &str) -> Value {
    let parts: Vec<&str> = rule.split(" ; ").collect();
    let [targets, transformations, operator, options] = parts[..] else {
        panic!("{rule}")
    };
    let options: Vec<&str> = options.split(' ').collect();
    let phase = options
        .iter()
        .find_map(|word| word.strip_prefix('p')?.parse().ok());
    let (negated, operator) = match operator.strip_prefix('!') {
        Some(operator) => (true, operator),
        None => (false, operator),
    };
    let (name, argument) = operator.split_once(' ').unwrap_or((operator, ""));
    let transformations = transformations.split(',').filter(|name| !name.is_empty());
    json!({
        "phase": phase.unwrap_or(2),
        "targets": targets.split('|').map(target).collect::<Vec<_>>(),
        "transformations": transformations.collect::<Vec<_>>(),
        "operator": name.trim_start_matches('@'),
        "negated": negated,
        "argument": argument,
        "entries": [],
        "multiMatch": options.contains(&"multiMatch"),
        "capture": options.contains(&"capture"),
        "dynamic": options.contains(&"dynamic"),
        "textOnly": options.contains(&"textOnly"),
        "source": "rules.conf:1",
    })
}

fn target(text: &str) -> Value {
    let (exclude, text) = text
        .strip_prefix('!')
        .map_or((false, text), |rest| (true, rest));
    let (count, text) = text
        .strip_prefix('&')
        .map_or((false, text), |rest| (true, rest));
    let (variable, member) = text.split_once(':').unwrap_or((text, ""));
    let pattern = member
        .strip_prefix('/')
        .and_then(|member| member.strip_suffix('/'));
    let name = (!member.is_empty() && pattern.is_none()).then_some(member);
    json!({
        "variable": variable, "name": name, "namePattern": pattern,
        "count": count, "exclude": exclude,
    })
}

fn plan_json(rules: &[&str]) -> String {
    json!({
        "leaves": rules.iter().map(|rule| leaf(rule)).collect::<Vec<_>>(),
        "limits": {
            "scanBudgetMs": 1000, "argumentsMax": 100, "jsonDepthMax": 16, "bodyBytesMax": 65536,
        },
        "argumentSeparator": "&",
        "requestBodyAccess": true,
        "responseBodyAccess": true,
    })
    .to_string()
}

fn plan(rules: &[&str]) -> Plan {
    Plan::compile(&plan_json(rules)).unwrap()
}

/// A request as in HTTP/1.1, with line feeds only.
fn inspection(request: &str) -> Inspection {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    inspection_with(head, body.as_bytes())
}

/// A request whose body is no text.
fn inspection_with(head: &str, body: &[u8]) -> Inspection {
    let mut lines = head.lines();
    let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let facts = RequestFacts {
        method: line[0].as_bytes(),
        target: line[1].as_bytes(),
        protocol: line.get(2).copied().unwrap_or("HTTP/1.1"),
        peer: b"192.0.2.1",
        peer_port: 4711,
        local: b"",
        local_port: 443,
        unique_id: "id-1",
    };
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.as_bytes(), value.as_bytes())
    });
    let mut inspection = Inspection::new(&facts, headers);
    inspection.set_body(&Bytes::copy_from_slice(body), true);
    inspection
}

fn ample() -> Duration {
    Duration::from_secs(60)
}

fn effort(memo: &mut Memo) -> Effort<'_> {
    Effort {
        budget: ample(),
        memo,
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// `leaf VARIABLE:name=value [captures]`.
fn shown(hit: &Hit) -> String {
    let variable = hit.variable.map_or("", |variable| variable.name());
    let name = hit
        .name
        .as_ref()
        .map_or(String::new(), |name| format!(":{}", latin1(name)));
    let captures: Vec<String> = hit
        .captures
        .iter()
        .map(|capture| latin1(capture.as_deref().unwrap_or_default()))
        .collect();
    let captures = if captures.is_empty() {
        String::new()
    } else {
        format!(" [{}]", captures.join(","))
    };
    format!(
        "{} {variable}{name}={}{captures}",
        hit.leaf as i32,
        latin1(&hit.value)
    )
}

fn all(hits: &Hits) -> Vec<String> {
    hits.list().iter().map(shown).collect()
}

fn scan(rules: &[&str], request: &str, phase: u8) -> Vec<String> {
    all(inspection(request)
        .scan(&plan(rules), phase, effort(&mut Memo::new(0)))
        .unwrap())
}
