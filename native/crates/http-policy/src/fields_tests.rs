use super::*;

const LIMITS: HeadLimits = HeadLimits {
    bytes_max: 1024,
    line_bytes_max: 256,
    count_max: 5,
};
const BASE: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "Example.org"),
    (":path", "/a?b"),
];

fn build_head(fields: &[(&str, &str)], end_stream: bool) -> Result<Head, Refusal> {
    let fields = fields.iter().map(|(name, value)| {
        (
            Bytes::copy_from_slice(name.as_bytes()),
            Bytes::copy_from_slice(value.as_bytes()),
        )
    });
    head_from_fields(Version::Http3, fields, end_stream, &LIMITS)
}

fn with(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let all = BASE.iter().chain(more);
    all.map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn build_with(more: &[(&str, &str)], end_stream: bool) -> Result<Head, Refusal> {
    let all = with(more);
    let all: Vec<_> = all
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    build_head(&all, end_stream)
}

#[test]
fn a_valid_head_shows_the_authority_as_host() {
    let head = build_with(
        &[("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers")],
        true,
    );
    let head = head.expect("valid");
    assert_eq!(head.target, "/a?b");
    assert_eq!(head.path, "/a");
    assert_eq!(head.authority, "example.org");
    assert_eq!(
        head.headers.first().map(|h| &h.value[..]),
        Some(&b"Example.org"[..])
    );
    assert_eq!(head.header("cookie").count(), 2);
    assert_eq!(head.framing, Framing::None);
    assert_eq!(head.doubts, Doubts(0));
}

#[test]
fn accepted_variations() {
    let no_authority = [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/"),
        ("host", "h"),
    ];
    let head = build_head(&no_authority, true).expect("host instead of :authority");
    assert_eq!(
        (head.authority.as_ref(), head.headers.len()),
        (&b"h"[..], 1)
    );
    let same = build_with(&[("host", "EXAMPLE.ORG")], true).expect("host equals :authority");
    assert_eq!(same.headers.len(), 1);
    let framings = [
        (build_with(&[], false), Framing::UntilEnd),
        (
            build_with(&[("content-length", "4")], false),
            Framing::Length(4),
        ),
        (build_with(&[("content-length", "0")], true), Framing::None),
        (
            build_with(&[("content-length", "0")], false),
            Framing::Length(0),
        ),
    ];
    for (head, framing) in framings {
        assert_eq!(head.expect("valid").framing, framing);
    }
    let odd = [
        (":method", "foo"),
        (":scheme", "https"),
        (":authority", "a,b"),
        (":path", "/%2f#x"),
    ];
    let head = build_head(&odd, true).expect("doubts are flags");
    for doubt in [
        Doubts::UNKNOWN_METHOD,
        Doubts::ODD_HOST,
        Doubts::ENCODED_SLASH,
        Doubts::FRAGMENT,
    ] {
        assert!(head.doubts.has(doubt), "{doubt:?}");
    }
    assert!(head.authority.is_empty());
}

#[test]
fn refused_fields() {
    let bad: [&[(&str, &str)]; 27] = [
        &[(":path", "/")],
        &[(":method", "GET")],
        &[(":protocol", "websocket")],
        &[(":status", "200")],
        &[(":", "x")],
        &[("a", "b"), (":late", "x")],
        &[("Upper", "x")],
        &[("a b", "x")],
        &[("", "x")],
        &[("a:", "x")],
        &[("connection", "close")],
        &[("keep-alive", "1")],
        &[("proxy-connection", "x")],
        &[("transfer-encoding", "chunked")],
        &[("upgrade", "websocket")],
        &[("te", "gzip")],
        &[("te", "trailers, gzip")],
        &[("host", "other")],
        &[("host", "example.org"), ("host", "example.org")],
        &[("a", "x\r\ny: z")],
        &[("a", "x\0")],
        &[("a", " x")],
        &[("a", "x\t")],
        &[("content-length", "1"), ("content-length", "1")],
        &[("content-length", "+1")],
        &[("content-length", "")],
        &[("content-length", "4")], // with the stream ended
    ];
    for more in bad {
        let got = build_with(more, true);
        assert!(
            matches!(got, Err(Refusal::BadRequest(_))),
            "{more:?} {got:?}"
        );
    }
    assert_eq!(
        build_with(&[("expect", "x")], false).err(),
        Some(Refusal::ExpectationFailed)
    );
}

#[test]
fn refused_pseudo_fields() {
    let all = |method, scheme, authority, path| {
        build_head(
            &[
                (":method", method),
                (":scheme", scheme),
                (":authority", authority),
                (":path", path),
            ],
            true,
        )
    };
    assert!(all("OPTIONS", "https", "h", "*").is_ok());
    let bad = [
        ("", "https", "h", "/"),
        ("G T", "https", "h", "/"),
        ("CONNECT", "https", "h", "/"),
        ("GET", "http", "h", "/"),
        ("GET", "gopher", "h", "/"),
        ("GET", "https", "h", ""),
        ("GET", "https", "h", "a"),
        ("GET", "https", "h", "*"),
        ("GET", "https", "h", "/a b"),
        ("GET", "https", "h", "https://h/"),
    ];
    for (method, scheme, authority, path) in bad {
        let got = all(method, scheme, authority, path);
        assert!(
            matches!(got, Err(Refusal::BadRequest(_))),
            "{method} {scheme} {path} {got:?}"
        );
    }
    for missing in 0..4 {
        let mut fields = BASE.to_vec();
        fields.remove(missing);
        assert!(
            matches!(build_head(&fields, true), Err(Refusal::BadRequest(_))),
            "{missing}"
        );
    }
}

#[test]
fn limits_are_exact() {
    let path = format!("/{}", "a".repeat(250));
    let fields = |path: &str| {
        build_head(
            &[
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", "h"),
                (":path", path),
            ],
            true,
        )
    };
    assert!(fields(&path).is_ok());
    assert_eq!(fields(&format!("{path}b")).err(), Some(Refusal::UriTooLong));
    assert!(build_with(&[("a", "b"); 5], true).is_ok());
    assert_eq!(
        build_with(&[("a", "b"); 6], true).err(),
        Some(Refusal::HeaderTooLarge)
    );
    let long = "v".repeat(256);
    assert_eq!(
        build_with(&[("a", &long)], true).err(),
        Some(Refusal::HeaderTooLarge)
    );
    let wide = "v".repeat(250);
    let got = build_with(&[("a", wide.as_str()); 4], true);
    assert_eq!(got.err(), Some(Refusal::HeaderTooLarge));
}

#[test]
fn an_extended_connect_is_the_get_it_stands_for() {
    let with_protocol = |method: &str, protocol: &str, more: &[(&str, &str)], end: bool| {
        let mut fields = BASE.to_vec();
        fields[0] = (":method", method);
        fields.push((":protocol", protocol));
        fields.extend_from_slice(more);
        build_head(&fields, end)
    };
    for more in [&[][..], &[("sec-websocket-version", "13")]] {
        let head = with_protocol("CONNECT", "websocket", more, false).expect("valid");
        assert!(head.websocket && !head.upgrade);
        assert_eq!(
            (head.method.as_ref(), head.framing),
            (&b"GET"[..], Framing::None)
        );
        assert_eq!(
            (head.path.as_ref(), head.authority.as_ref()),
            (&b"/a"[..], &b"example.org"[..])
        );
        assert_eq!(head.headers[0].name, "host");
        assert_eq!(head.doubts, Doubts(0));
    }
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let bad: [(&str, &str, Fields<'_>, bool); 9] = [
        ("GET", "websocket", &[], false),
        ("CONNECT", "", &[], false),
        ("CONNECT", "webtransport", &[], false),
        ("CONNECT", "connect-udp", &[], false),
        ("CONNECT", "websocket", &[], true),
        ("CONNECT", "websocket", &[("content-length", "0")], false),
        ("CONNECT", "websocket", &[("content-length", "4")], false),
        (
            "CONNECT",
            "websocket",
            &[("sec-websocket-version", "8")],
            false,
        ),
        ("CONNECT", "websocket", &[("upgrade", "websocket")], false),
    ];
    for (method, protocol, more, end) in bad {
        let got = with_protocol(method, protocol, more, end);
        assert!(
            matches!(got, Err(Refusal::BadRequest(_))),
            "{method} {protocol} {more:?}"
        );
    }
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":authority", "h"),
    ];
    assert!(
        build_head(&fields, false).is_err(),
        "without :scheme and :path"
    );
    let fields = [(":method", "CONNECT"), (":authority", "h:443")];
    assert!(build_head(&fields, false).is_err(), "plain CONNECT");
}
