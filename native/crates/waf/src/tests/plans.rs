//! What else a plan and an inspection answer, and what they refuse.

use std::time::Duration;

use super::{all, ample, effort, inspection, plan, plan_json};
use crate::hits::Hits;
use crate::{Effort, EvaluateError, Memo, OverBudget, Plan, match_text};

#[test]
fn dynamic_leaves_run_only_when_asked() {
    let plan = plan(&[
        "ARGS|&ARGS|!ARGS:c ; lowercase ; @streq %{tx.a} ; dynamic",
        "TX ; lowercase ; @rx (b). ; textOnly capture",
        "ARGS ;  ; @rx %{tx.a} ; dynamic",
    ]);
    let mut exchange = inspection("GET /?a=AB&b=x&c=ab");
    assert_eq!(
        all(exchange.scan(&plan, 2, effort(&mut Memo::new(0))).unwrap()),
        [] as [&str; 0]
    );
    let seen = all(exchange.evaluate(&plan, (0, "ab"), ample()).unwrap());
    assert_eq!(seen, ["0 ARGS:a=ab"]);
    let seen = all(exchange.evaluate(&plan, (0, "3"), ample()).unwrap());
    assert_eq!(seen, ["0 ARGS=3"]);
    let error = exchange.evaluate(&plan, (2, "("), ample());
    assert!(matches!(error, Err(EvaluateError::Invalid(_))));
    let mut hits = Hits::default();
    match_text(&plan, (1, ""), b"ABC", &mut hits).unwrap();
    assert_eq!(all(&hits), ["1 =abc [bc,b]"]);
    match_text(&plan, (0, "x"), b"X", &mut hits).unwrap();
    assert_eq!(all(&hits), ["0 =x"]);
    assert!(match_text(&plan, (9, ""), b"", &mut hits).is_err());
}

#[test]
fn variables_are_shown_on_request() {
    let mut exchange = inspection("GET /?a=1&A=2\nHost: h");
    assert_eq!(
        all(exchange.variable("ARGS", "a")),
        ["-1 ARGS:a=1", "-1 ARGS:A=2"]
    );
    assert_eq!(
        all(exchange.variable("ARGS_NAMES", "")),
        ["-1 ARGS_NAMES:a=a", "-1 ARGS_NAMES:A=A"]
    );
    assert_eq!(
        all(exchange.variable("REQUEST_METHOD", "")),
        ["-1 REQUEST_METHOD=GET"]
    );
    assert_eq!(all(exchange.variable("TX", "a")), [] as [&str; 0]);
    assert_eq!(all(exchange.variable("NONSENSE", "")), [] as [&str; 0]);
}

#[test]
fn the_time_budget_ends_a_scan() {
    let plan = plan(&["ARGS ;  ; @rx a.*b.*c ; "]);
    let mut exchange = inspection(&format!("GET /?q={}", "ab".repeat(100_000)));
    assert_eq!(
        exchange
            .scan(
                &plan,
                2,
                Effort {
                    budget: Duration::ZERO,
                    memo: &mut Memo::new(0)
                }
            )
            .err(),
        Some(OverBudget)
    );
}

#[test]
fn hits_cross_as_words_then_texts() {
    let plan = plan(&["ARGS ;  ; @rx (1) ; capture"]);
    let mut out = vec![1];
    let mut exchange = inspection("GET /?a=1");
    exchange
        .scan(&plan, 2, effort(&mut Memo::new(0)))
        .unwrap()
        .write(&mut out);
    let words: Vec<u32> = out
        .chunks_exact(4)
        .take(9)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    assert_eq!(words, [1, 4, 0, 0, 1, 1, 2, 1, 1]);
    assert_eq!(&out[36..], b"a111");
    exchange.variable("TX", "").write(&mut out);
    assert_eq!(out, b"");
}

#[test]
fn plans_that_can_not_be_kept_are_refused() {
    let cases = [
        ("ARGZ ;  ; @rx a ; ", "rules.conf:1: unknown variable ARGZ"),
        (
            "TX:a ;  ; @rx a ; ",
            "rules.conf:1: TX is not known to the scan",
        ),
        (
            "XML://a/b ;  ; @rx a ; ",
            "rules.conf:1: XML://a/b is not supported: use XML:/* or XML://@*",
        ),
        (
            "XML ;  ; @rx a ; ",
            "rules.conf:1: XML needs a path: XML:/* or XML://@*",
        ),
        (
            "ARGS ; rot13 ; @rx a ; ",
            "rules.conf:1: unknown transformation t:rot13",
        ),
        (
            "ARGS ;  ; @rx a ; p7",
            "rules.conf:1: phase 7 is not 1 to 5",
        ),
        (
            "ARGS ;  ; @nonsense %{tx.a} ; dynamic",
            "rules.conf:1: unknown operator @nonsense",
        ),
    ];
    for (rule, expected) in cases {
        let error = Plan::compile(&plan_json(&[rule]))
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected), "{rule}");
    }
    for rule in [
        "ARGS ;  ; @rx ( ; ",
        "ARGS:/(/ ;  ; @rx a ; ",
        "ARGS ;  ; @nonsense ; ",
    ] {
        assert!(Plan::compile(&plan_json(&[rule])).is_err(), "{rule}");
    }
    assert!(Plan::compile("{}").is_err());
}

#[test]
fn a_memo_changes_no_hit() {
    let plan = plan(&[
        "REQUEST_HEADERS|REQUEST_COOKIES|ARGS_NAMES ;  ; @rx evil ; ",
        "REQUEST_HEADERS:x-a ;  ; !@rx ok ; ",
        "REQUEST_HEADERS|!REQUEST_HEADERS:/^x-b/ ;  ; @rx worse ; ",
        "ARGS ;  ; @rx evil ; ",
    ]);
    let requests = [
        "GET /?evil=1&b=evil\nX-A: ok\nX-B: worse\nX-C: plain\nCookie: a=evil",
        "GET /?c=1&b=evil\nX-A: no\nX-C: worse\nX-D: ok",
        "GET /?c=1\nX-B: ok\nX-A: worse\nX-C: evil\nCookie: b=plain",
    ];
    let mut memo = Memo::new(1024);
    for request in requests.iter().chain(&requests).chain(&requests) {
        let with = all(inspection(request)
            .scan(&plan, 2, effort(&mut memo))
            .unwrap());
        let without = all(inspection(request)
            .scan(&plan, 2, effort(&mut Memo::new(0)))
            .unwrap());
        assert_eq!(with, without, "{request}");
        assert!(!with.is_empty());
    }
}
