use super::*;
use crate::Framing;

const LIMITS: HeadLimits = HeadLimits {
    bytes_max: 2048,
    line_bytes_max: 512,
    count_max: 10,
};

fn read(text: &[u8]) -> Result<Option<Head>, Refusal> {
    read_head(&mut BytesMut::from(text), &LIMITS)
}

fn head(text: &str) -> Head {
    read(text.as_bytes()).expect(text).expect(text)
}

#[test]
fn a_head_is_taken_off_the_buffer_and_nothing_more() {
    let text = b"POST /a/./b?c=d HTTP/1.1\r\nHost: EXAMPLE.org:80\r\nX-Y:  v \t\r\n\
                 Content-Length: 3\r\n\r\nabcGET";
    let mut buffer = BytesMut::from(&text[..]);
    let head = read_head(&mut buffer, &LIMITS)
        .expect("valid")
        .expect("complete");
    assert_eq!(buffer, &b"abcGET"[..]);
    assert_eq!(head.method, "POST");
    assert_eq!(head.target, "/a/./b?c=d");
    assert_eq!(head.path, "/a/b");
    assert_eq!(head.query.as_deref(), Some(&b"c=d"[..]));
    assert_eq!(head.authority, "example.org:80");
    assert_eq!(head.headers[0].value, "EXAMPLE.org:80");
    assert_eq!(head.header("x-y").next().map(|v| &v[..]), Some(&b"v"[..]));
    assert_eq!(head.framing, Framing::Length(3));
    assert_eq!(head.doubts, Doubts::DOT_SEGMENTS);
    assert!(head.keep_alive && !head.upgrade && !head.expect_continue);
}

#[test]
fn doubts_are_flags_and_not_refusals() {
    let cases: [(&str, Doubts); 17] = [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Doubts(0)),
        ("GET / HTTP/1.0\r\n\r\n", Doubts(0)),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", Doubts(0)),
        ("GET / HTTP/1.1\r\n\r\n", Doubts::ODD_HOST),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Doubts::ODD_HOST),
        ("GET / HTTP/1.1\r\nHost: a@b/c?d\r\n\r\n", Doubts::ODD_HOST),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", Doubts::ODD_HOST),
        (
            "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n",
            Doubts::ODD_HOST,
        ),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Doubts::UNKNOWN_METHOD),
        (
            "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
            Doubts::UNKNOWN_METHOD,
        ),
        ("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", Doubts::FRAGMENT),
        (
            "GET /%2f HTTP/1.1\r\nHost: a\r\n\r\n",
            Doubts::ENCODED_SLASH,
        ),
        ("GET /\\ HTTP/1.1\r\nHost: a\r\n\r\n", Doubts::BACKSLASH),
        ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", Doubts::NUL),
        ("GET /%q HTTP/1.1\r\nHost: a\r\n\r\n", Doubts::BAD_ESCAPE),
        (
            "GET /?ü HTTP/1.1\r\nHost: a\r\n\r\n",
            Doubts::CONTROL_OR_NON_ASCII,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX_Y: 1\r\n\r\n",
            Doubts::UNDERSCORE_NAME,
        ),
    ];
    for (text, doubts) in cases {
        let head = head(text);
        assert_eq!(head.doubts, doubts, "{text}");
        assert_eq!(
            head.authority.is_empty(),
            !text.contains("Host: a\r\n") && !text.contains("127"),
            "{text}"
        );
    }
}

#[test]
fn accepted_heads_say_how_the_body_ends() {
    let cases: [(&str, Framing); 8] = [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("content-length:\t12 \r\n", Framing::Length(12)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("transfer-encoding: Chunked\r\n", Framing::Chunked),
        ("Connection: keep-alive, close\r\n", Framing::None),
        ("X: \u{e4}\u{f6}\r\n", Framing::None),
        (
            "Content-Length: 5\r\nExpect: 100-continue\r\n",
            Framing::Length(5),
        ),
    ];
    for (fields, framing) in cases {
        let head = head(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(head.framing, framing, "{fields}");
        assert_eq!(head.expect_continue, fields.contains("Expect"), "{fields}");
        assert_eq!(head.keep_alive, !fields.contains("close"), "{fields}");
    }
}

#[test]
fn connection_persistence_and_upgrade_follow_the_version() {
    let cases: [(&str, &str, bool, bool); 7] = [
        ("1.1", "", true, false),
        ("1.0", "", false, false),
        ("1.0", "Connection: Keep-Alive\r\n", true, false),
        ("1.0", "Connection: keep-alive, close\r\n", false, false),
        (
            "1.1",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
            true,
            true,
        ),
        ("1.1", "Upgrade: websocket\r\n", true, false),
        (
            "1.0",
            "Connection: upgrade\r\nUpgrade: websocket\r\n",
            false,
            false,
        ),
    ];
    for (version, fields, keep_alive, upgrade) in cases {
        let head = head(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n"));
        assert_eq!(
            (head.keep_alive, head.upgrade),
            (keep_alive, upgrade),
            "{version} {fields}"
        );
    }
}

#[test]
fn the_absolute_form_replaces_host() {
    let head = head("GET HTTP://Real.example:8080/x HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(head.authority, "real.example:8080");
    assert_eq!(head.path, "/x");
    assert_eq!(head.target, "HTTP://Real.example:8080/x");
}

#[test]
fn refused_request_lines() {
    let bad = [
        "\r\nGET / HTTP/1.1",
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /",
        "GET",
        "GET / x HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/1",
        "GET  HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT a:80 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "GET gopher://a/ HTTP/1.1",
        "GET h:80 HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET /\x01 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /a\rb HTTP/1.1",
        "\x16\x03\x01 / HTTP/1.1",
        "G\u{e4}T / HTTP/1.1",
    ];
    for line in bad {
        let got = read(format!("{line}\r\nHost: a\r\n\r\n").as_bytes());
        assert!(
            matches!(got, Err(Refusal::BadRequest(_))),
            "{line:?} {got:?}"
        );
    }
    for version in ["2.0", "1.2", "0.9", "3.0"] {
        let got = read(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(got.err(), Some(Refusal::VersionNotSupported), "{version}");
    }
}

#[test]
fn refused_fields() {
    let bad = [
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1, 1",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 1 1",
        "Content-Length: 0x1",
        "Content-Length:",
        "Content-Length: \x0b1",
        "Content-Length: 1\x0c",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Host: a\r\nHost: b",
        "Host: a\r\nhost: a",
        "X : y",
        " X: y",
        "X: a\r\n b",
        "X: a\r\n\tb",
        "X",
        ": y",
        "X\0: y",
        "X: a\0b",
        "X: a\rb",
        "X: a\nY: b",
        "X: a\n",
        "X: a\x7f",
        "X: a\x08",
        "(X): y",
        "X\u{e4}: y",
        "Connection: host",
        "Connection: close, X-Forwarded-For",
        "Connection: content-length",
        "Connection: Content-Type",
        "Connection: x_forwarded_for",
        "Connection: close;x",
        "Connection: \"close\"",
        "X_Forwarded_For: 1.2.3.4",
        "Content_Length: 1",
        "Transfer_Encoding: chunked",
    ];
    for fields in bad {
        let got = read(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes());
        assert!(
            matches!(got, Err(Refusal::BadRequest(_))),
            "{fields:?} {got:?}"
        );
    }
    let old = read(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(matches!(old, Err(Refusal::BadRequest(_))));
}

#[test]
fn expectations_are_exact_and_only_for_1_1() {
    let read_expect = |version: &str, value: &str| {
        let text = format!("PUT / HTTP/{version}\r\nHost: a\r\nContent-Length: 1\r\n{value}\r\n");
        read(text.as_bytes()).map(|head| head.expect("complete").expect_continue)
    };
    assert_eq!(read_expect("1.1", "Expect: 100-Continue\r\n"), Ok(true));
    assert_eq!(read_expect("1.0", "Expect: 100-continue\r\n"), Ok(false));
    assert_eq!(read_expect("1.0", "Expect: x\r\n"), Ok(false));
    for bad in [
        "y 100-continue",
        "100-continue, x",
        "",
        "100-continue;a",
        "200-ok",
    ] {
        let got = read_expect("1.1", &format!("Expect: {bad}\r\n"));
        assert_eq!(got, Err(Refusal::ExpectationFailed), "{bad}");
    }
}

#[test]
fn limits_are_exact() {
    let line = |length: usize| format!("GET /{} HTTP/1.1\r\n", "a".repeat(length - 16));
    assert!(read(format!("{}Host: a\r\n\r\n", line(512)).as_bytes()).is_ok());
    let over = format!("{}Host: a\r\n\r\n", line(513));
    assert_eq!(read(over.as_bytes()).err(), Some(Refusal::UriTooLong));
    let field = |length: usize| format!("X: {}\r\n", "b".repeat(length - 5));
    let with = |fields: &str| read(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes());
    assert!(with(&field(512)).is_ok());
    assert_eq!(with(&field(513)).err(), Some(Refusal::HeaderTooLarge));
    assert!(with(&"a: b\r\n".repeat(10)).is_ok());
    assert_eq!(
        with(&"a: b\r\n".repeat(11)).err(),
        Some(Refusal::HeaderTooLarge)
    );
    let full = format!("{}{}", field(506).repeat(4), "a: b\r\n");
    assert_eq!(16 + full.len() + 2, 2048);
    assert!(with(&full).is_ok());
    assert_eq!(
        with(&format!("{full}a:\r\n")).err(),
        Some(Refusal::HeaderTooLarge)
    );
    let endless = format!("GET / HTTP/1.1\r\n{}", field(400).repeat(6));
    assert_eq!(
        read(endless.as_bytes()).err(),
        Some(Refusal::HeaderTooLarge)
    );
    assert_eq!(
        read("G".repeat(513).as_bytes()).err(),
        Some(Refusal::UriTooLong)
    );
}

#[test]
fn what_can_become_a_head_waits_and_the_rest_is_refused_at_once() {
    let whole = "GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    for length in 0..whole.len() {
        let got = read(&whole.as_bytes()[..length]);
        assert!(matches!(got, Ok(None)), "{length} {got:?}");
    }
    for bad in [
        "\x16\x03",
        "\r\n",
        "\n",
        "GET /\r\n",
        "GET /\n",
        "GET / HTTP/1.1\r\nHost: a\n",
    ] {
        assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ASK: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n";
const THIRTEEN: &str = "Sec-WebSocket-Version: 13\r\n";

fn read_opening(start: &str, fields: &[&str]) -> Result<Head, Refusal> {
    let text = format!("{start}\r\nHost: a\r\n{}\r\n", fields.concat());
    read(text.as_bytes()).map(|head| head.expect("complete"))
}

#[test]
fn a_websocket_opening_is_strict() {
    let start = "GET /chat HTTP/1.1";
    let head = read_opening(start, &[ASK, THIRTEEN, KEY]).expect("valid");
    assert!(head.websocket && head.upgrade && head.framing == Framing::None);
    let head = read_opening(start, &[ASK, THIRTEEN, KEY, "Content-Length: 0\r\n"]);
    assert_eq!(head.expect("no body").framing, Framing::None);
    let bad: [(&str, &[&str]); 14] = [
        ("POST / HTTP/1.1", &[ASK, THIRTEEN, KEY]),
        ("get / HTTP/1.1", &[ASK, THIRTEEN, KEY]),
        (start, &[ASK, KEY]),
        (start, &[ASK, THIRTEEN]),
        (start, &[ASK, THIRTEEN, THIRTEEN, KEY]),
        (start, &[ASK, THIRTEEN, KEY, KEY]),
        (start, &[ASK, "Sec-WebSocket-Version: 8\r\n", KEY]),
        (start, &[ASK, THIRTEEN, "Sec-WebSocket-Key: c2hvcnQ=\r\n"]),
        (
            start,
            &[
                ASK,
                THIRTEEN,
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n",
            ],
        ),
        (start, &[ASK, THIRTEEN, KEY, "Content-Length: 1\r\n"]),
        (
            start,
            &[ASK, THIRTEEN, KEY, "Transfer-Encoding: chunked\r\n"],
        ),
        (start, &[ASK, THIRTEEN, KEY, "Upgrade: h2c\r\n"]),
        (
            start,
            &[
                "Connection: upgrade\r\nUpgrade: h2c, websocket\r\n",
                THIRTEEN,
                KEY,
            ],
        ),
        (
            start,
            &[
                "Connection: upgrade\r\nUpgrade: websocket/13\r\n",
                THIRTEEN,
                KEY,
            ],
        ),
    ];
    for (start, fields) in bad {
        let got = read_opening(start, fields);
        assert!(
            matches!(got, Err(Refusal::BadRequest(_))),
            "{start} {fields:?} {got:?}"
        );
    }
}

#[test]
fn what_does_not_ask_for_a_websocket_is_an_ordinary_request() {
    let ordinary: [(&str, &[&str]); 4] = [
        ("GET / HTTP/1.0", &[ASK, THIRTEEN, KEY]),
        ("GET / HTTP/1.1", &["Upgrade: websocket\r\n", THIRTEEN, KEY]),
        (
            "GET / HTTP/1.1",
            &["Connection: upgrade\r\n", THIRTEEN, KEY],
        ),
        (
            "POST / HTTP/1.1",
            &["Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n"],
        ),
    ];
    for (start, fields) in ordinary {
        let head = read_opening(start, fields).expect(start);
        assert!(!head.websocket, "{start} {fields:?}");
    }
}
