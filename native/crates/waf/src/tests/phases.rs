//! What there is to see in each phase, and how bodies are read.

use std::time::Duration;

use bytes::Bytes;

use super::{all, effort, inspection, inspection_with, plan, scan};
use crate::{Effort, Inspection, Memo, OverBudget};

#[test]
fn each_phase_sees_what_there_is() {
    let rules = [
        "REQUEST_BODY|ARGS|REQBODY_ERROR ;  ; @rx . ; p1",
        "ARGS ;  ; @rx . ; p2",
        "RESPONSE_STATUS|RESPONSE_PROTOCOL|RESPONSE_HEADERS:server ;  ; @rx . ; p3",
        "RESPONSE_BODY|RESPONSE_CONTENT_TYPE|STATUS_LINE ;  ; @rx . ; p4",
        "RESPONSE_STATUS|REQUEST_METHOD ;  ; @rx . ; p5",
    ];
    let plan = plan(&rules);
    let mut exchange =
        inspection("POST /?q=1\nContent-Type: application/x-www-form-urlencoded\n\na=1");
    let run = |exchange: &mut Inspection, phase| {
        all(exchange
            .scan(&plan, phase, effort(&mut Memo::new(0)))
            .unwrap())
    };
    assert_eq!(run(&mut exchange, 1), ["0 ARGS:q=1"]);
    assert_eq!(run(&mut exchange, 2), ["1 ARGS:q=1", "1 ARGS:a=1"]);
    assert_eq!(run(&mut exchange, 3), [] as [&str; 0]);
    let headers = [
        (b"Server".as_slice(), b"x".as_slice()),
        (b"content-type", b"text/html"),
    ];
    exchange.set_response(("HTTP/1.1", 404), headers.into_iter());
    let expected = [
        "2 RESPONSE_STATUS=404",
        "2 RESPONSE_PROTOCOL=HTTP/1.1",
        "2 RESPONSE_HEADERS:Server=x",
    ];
    assert_eq!(run(&mut exchange, 3), expected);
    exchange.set_response_body(&Bytes::from_static(b"<p>"), true);
    let expected = [
        "3 RESPONSE_BODY=<p>",
        "3 RESPONSE_CONTENT_TYPE=text/html",
        "3 STATUS_LINE=HTTP/1.1 404",
    ];
    assert_eq!(run(&mut exchange, 4), expected);
    assert_eq!(
        run(&mut exchange, 5),
        ["4 RESPONSE_STATUS=404", "4 REQUEST_METHOD=POST"]
    );
}

#[test]
fn bodies_are_read_by_their_processor() {
    let rules = [
        "ARGS|XML:/*|XML://@*|REQBODY_ERROR|REQBODY_PROCESSOR ;  ; @rx . ; ",
        "REQBODY_ERROR_MSG ;  ; @contains parsing ; ",
    ];
    let plan = plan(&rules);
    let cases: [(&str, &str, &[&str]); 8] = [
        (
            "JSON",
            "{\"a\":\"x\"}",
            &[
                "0 ARGS:json.a=x",
                "0 REQBODY_ERROR=0",
                "0 REQBODY_PROCESSOR=JSON",
            ],
        ),
        (
            "JSON",
            "{",
            &[
                "0 REQBODY_ERROR=1",
                "0 REQBODY_PROCESSOR=JSON",
                "1 REQBODY_ERROR_MSG=JSON parsing error: string expected at byte 1",
            ],
        ),
        (
            "JSON",
            "",
            &["0 REQBODY_ERROR=0", "0 REQBODY_PROCESSOR=JSON"],
        ),
        (
            "xml",
            "<a b='1'>x</a>",
            &[
                "0 XML:/*=x",
                "0 XML://@*=1",
                "0 REQBODY_ERROR=0",
                "0 REQBODY_PROCESSOR=XML",
            ],
        ),
        (
            "XML",
            "<a>",
            &[
                "0 REQBODY_ERROR=1",
                "0 REQBODY_PROCESSOR=XML",
                "1 REQBODY_ERROR_MSG=XML parsing error: element without end at byte 3",
            ],
        ),
        (
            "URLENCODED",
            "a=1",
            &[
                "0 ARGS:a=1",
                "0 REQBODY_ERROR=0",
                "0 REQBODY_PROCESSOR=URLENCODED",
            ],
        ),
        (
            "MULTIPART",
            "x",
            &[
                "0 REQBODY_ERROR=1",
                "0 REQBODY_PROCESSOR=MULTIPART",
                "1 REQBODY_ERROR_MSG=Multipart parsing error: Invalid MIME type",
            ],
        ),
        ("", "a=1", &["0 REQBODY_ERROR=0"]),
    ];
    for (processor, body, expected) in cases {
        let mut exchange = inspection(&format!(
            "POST / HTTP/1.1\nContent-Type: text/plain\n\n{body}"
        ));
        exchange.set_body_processor(processor);
        let seen = all(exchange.scan(&plan, 2, effort(&mut Memo::new(0))).unwrap());
        let expected: Vec<String> = expected.iter().map(|hit| (*hit).to_owned()).collect();
        assert_eq!(seen, expected, "{processor} {body}");
    }
}

#[test]
fn a_multipart_body_is_shown_as_it_came_when_forced() {
    let plan =
        plan(&["REQUEST_BODY|FILES|FILES_COMBINED_SIZE|MULTIPART_STRICT_ERROR ;  ; @rx . ; "]);
    let body = "--x\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\n123\r\n--x--\r\n";
    let request =
        format!("POST / HTTP/1.1\nContent-Type: multipart/form-data; boundary=x\n\n{body}");
    let rest = [
        "0 FILES:f=a",
        "0 FILES_COMBINED_SIZE=3",
        "0 MULTIPART_STRICT_ERROR=0",
    ]
    .map(str::to_owned);
    let mut exchange = inspection(&request);
    let seen = all(exchange.scan(&plan, 2, effort(&mut Memo::new(0))).unwrap());
    assert_eq!(seen, rest);
    let mut exchange = inspection(&request);
    exchange.force_body_variable(true);
    let seen = all(exchange.scan(&plan, 2, effort(&mut Memo::new(0))).unwrap());
    assert_eq!(seen[0], format!("0 REQUEST_BODY={body}"));
    assert_eq!(seen[1..], rest);
}

#[test]
fn an_encoded_body_is_shown_decoded_or_is_an_error() {
    let plan = plan(&["ARGS|REQUEST_BODY|REQBODY_ERROR_MSG ;  ; @rx . ; "]);
    let request = |coding: &str, body: &[u8]| {
        let form = "POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded";
        inspection_with(&format!("{form}\nContent-Encoding: {coding}"), body)
    };
    // A stored deflate block (RFC 1951 §3.2.4) holds the text as it is.
    let mut exchange = request("deflate", b"\x01\x03\0\xfc\xffa=1");
    let seen = all(exchange.scan(&plan, 2, effort(&mut Memo::new(0))).unwrap());
    assert_eq!(seen, ["0 ARGS:a=1", "0 REQUEST_BODY=a=1"]);
    let mut exchange = request("rot13", b"n=1");
    let seen = all(exchange.scan(&plan, 2, effort(&mut Memo::new(0))).unwrap());
    let expected = [
        "0 REQUEST_BODY=n=1",
        "0 REQBODY_ERROR_MSG=Content-Encoding error: unknown coding",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn an_encoded_response_body_is_shown_decoded_as_far_as_it_goes() {
    let plan = plan(&["RESPONSE_BODY|OUTBOUND_DATA_ERROR ;  ; @rx . ; p4"]);
    let cases: [(&[u8], &str, [&str; 2]); 3] = [
        (
            b"\x01\x03\0\xfc\xffabc",
            "deflate",
            ["0 RESPONSE_BODY=abc", "0 OUTBOUND_DATA_ERROR=0"],
        ),
        (
            b"\x01\x03\0\xfc\xffab",
            "deflate",
            ["0 RESPONSE_BODY=ab", "0 OUTBOUND_DATA_ERROR=0"],
        ),
        (
            b"abc",
            "rot13",
            ["0 RESPONSE_BODY=abc", "0 OUTBOUND_DATA_ERROR=1"],
        ),
    ];
    for (body, coding, expected) in cases {
        let mut exchange = inspection("GET / HTTP/1.1");
        let header = [(b"Content-Encoding".as_slice(), coding.as_bytes())];
        exchange.set_response(("HTTP/1.1", 200), header.into_iter());
        exchange.set_response_body(&Bytes::from_static(body), true);
        let seen = all(exchange.scan(&plan, 4, effort(&mut Memo::new(0))).unwrap());
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_variable_without_members_is_there_without_a_value() {
    let plan = plan(&[
        "REQUEST_BODY|QUERY_STRING ;  ; @rx ^$ ; p1",
        "AUTH_TYPE ;  ; !@streq Basic ; p1",
        "&MULTIPART_STRICT_ERROR ;  ; @eq 1 ; p1",
        "ARGS|FILES ;  ; @rx ^$ ; p1",
    ]);
    let seen = all(inspection("GET /?x=y HTTP/1.1")
        .scan(&plan, 1, effort(&mut Memo::new(0)))
        .unwrap());
    let expected = [
        "0 REQUEST_BODY=",
        "1 AUTH_TYPE=",
        "2 MULTIPART_STRICT_ERROR=1",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_body_beyond_the_limits_is_marked() {
    let plan = plan(&["INBOUND_DATA_ERROR|REQBODY_ERROR|REQUEST_BODY_LENGTH ;  ; @rx . ; "]);
    let long = "x".repeat(70_000);
    let many = "a&".repeat(101);
    let form = "POST / HTTP/1.1\nContent-Type: application/x-www-form-urlencoded\n\n";
    let seen = all(inspection(&format!("{form}{long}"))
        .scan(&plan, 2, effort(&mut Memo::new(0)))
        .unwrap());
    let expected = [
        "0 INBOUND_DATA_ERROR=1",
        "0 REQBODY_ERROR=0",
        "0 REQUEST_BODY_LENGTH=65536",
    ];
    assert_eq!(seen, expected);
    let seen = all(inspection(&format!("{form}{many}"))
        .scan(&plan, 2, effort(&mut Memo::new(0)))
        .unwrap());
    let expected = [
        "0 INBOUND_DATA_ERROR=0",
        "0 REQBODY_ERROR=1",
        "0 REQUEST_BODY_LENGTH=202",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_scan_ends_when_its_time_is_used_up() {
    let plan = plan(&[
        "ARGS|REQUEST_BODY ;  ; @rx [0-9]x ; p2",
        "ARGS|REQUEST_BODY ; lowercase ; @rx [0-9]y ; p2",
    ]);
    let head = "POST /\nContent-Type: application/x-www-form-urlencoded\n\na=";
    let mut exchange = inspection(&format!("{head}{}", "1A".repeat(30_000)));
    let mut memo = Memo::new(0);
    let used_up = Effort {
        budget: Duration::ZERO,
        memo: &mut memo,
    };
    assert_eq!(exchange.scan(&plan, 2, used_up).err(), Some(OverBudget));
    assert!(exchange.scan(&plan, 2, effort(&mut memo)).is_ok());
}

#[test]
fn a_variable_without_a_value_is_scanned_where_nothing_else_is() {
    let rules = ["AUTH_TYPE ;  ; @rx ^$ ; p1", "AUTH_TYPE ;  ; @streq x ; p1"];
    assert_eq!(scan(&rules, "GET /\n", 1), ["0 AUTH_TYPE="]);
}
