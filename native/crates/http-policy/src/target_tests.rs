use super::*;

const NONE: Doubts = Doubts(0);

fn canonical(raw: &[u8]) -> (Bytes, Doubts) {
    canonical_path(&Bytes::copy_from_slice(raw))
}

#[test]
fn paths_become_canonical() {
    let dots = Doubts::DOT_SEGMENTS;
    let slash = Doubts::ENCODED_SLASH;
    let cases: [(&str, &str, Doubts); 35] = [
        ("/", "/", NONE),
        ("", "/", NONE),
        ("/a/b", "/a/b", NONE),
        ("/a//b", "/a//b", NONE),
        ("//host/x", "//host/x", NONE),
        ("/a;b=c/d", "/a;b=c/d", NONE),
        ("/a.b/.c", "/a.b/.c", NONE),
        ("/.well-known/x", "/.well-known/x", NONE),
        ("/...", "/...", NONE),
        ("/%41%7e%2d", "/A~-", NONE),
        ("/%3a%c3%a4", "/%3A%C3%A4", NONE),
        ("/a b", "/a%20b", NONE),
        ("/a|b\"<>", "/a%7Cb%22%3C%3E", NONE),
        ("/ä", "/%C3%A4", NONE),
        ("/a/./b", "/a/b", dots),
        ("/a/../b", "/b", dots),
        ("/a/..", "/", dots),
        ("/a/b/..", "/a/", dots),
        ("/a/.", "/a/", dots),
        ("/..", "/", dots),
        ("/../../etc", "/etc", dots),
        ("/a//../b", "/a/b", dots),
        ("/a/%2e%2E/b", "/b", dots),
        ("/a/.%2e", "/", dots),
        ("/a/..;/b", "/a/..;/b", dots),
        ("/a/.;x=1/b", "/a/.;x=1/b", dots),
        ("/a%2fb", "/a%2Fb", slash),
        ("/a%5Cb", "/a%5Cb", slash),
        ("/a\\b", "/a%5Cb", Doubts::BACKSLASH),
        ("/a%00", "/a%00", Doubts::NUL),
        ("/a%", "/a%25", Doubts::BAD_ESCAPE),
        ("/a%zz", "/a%25zz", Doubts::BAD_ESCAPE),
        ("/a%4", "/a%254", Doubts::BAD_ESCAPE),
        ("/%%34%31", "/%2541", Doubts::BAD_ESCAPE),
        ("/%252e%252e/", "/%252e%252e/", NONE),
    ];
    for (raw, path, doubts) in cases {
        let (got, got_doubts) = canonical(raw.as_bytes());
        assert_eq!(got, path.as_bytes(), "{raw}");
        assert_eq!(got_doubts, doubts, "{raw}");
    }
}

#[test]
fn a_canonical_path_is_its_own_canonical_form() {
    let pieces: [&[u8]; 20] = [
        b"/", b".", b"..", b"%", b"%2e", b"%2E", b"%2f", b"%5c", b"\\", b"a", b"%41", b"%", b"25",
        b";", b"\xff", b"%c3", b"%00", b"//", b"4", b"1",
    ];
    // xorshift: the same 200,000 paths on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..200_000 {
        let mut raw = b"/".to_vec();
        for _ in 0..(state % 12) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            raw.extend_from_slice(pieces[(state % 20) as usize]);
        }
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let once = canonical(&raw).0;
        let (twice, doubts) = canonical(&once);
        assert_eq!(once, twice, "{}", raw.escape_ascii());
        assert!(!doubts.has(Doubts::BAD_ESCAPE) && !doubts.has(Doubts::BACKSLASH));
        assert_eq!(once.first(), Some(&b'/'));
        let climbs = once.split(|b| *b == b'/').any(|s| s == b"." || s == b"..");
        assert!(!climbs, "{}", once.escape_ascii());
    }
}

#[test]
fn authorities_are_host_and_port_only() {
    let good = [
        ("example.org", "example.org"),
        ("EXAMPLE.org:443", "example.org:443"),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("a_b.example", "a_b.example"),
        ("[2001:DB8::1]:8443", "[2001:db8::1]:8443"),
        ("[::1]", "[::1]"),
        ("host:65535", "host:65535"),
        ("localhost.", "localhost."),
    ];
    for (raw, expected) in good {
        let got = canonical_authority(&Bytes::from(raw));
        assert_eq!(got.as_deref(), Some(expected.as_bytes()), "{raw}");
    }
    let bad = [
        "",
        ":80",
        "a:",
        "a:b",
        "a:65536",
        "a:123456",
        "a:80:80",
        "user@host",
        "a,b",
        "a/b",
        "a?b",
        "a b",
        "[::1",
        "::1",
        "[::1]x",
        "[zz]",
        "[]",
        "a#b",
        "a%41",
        "ä",
        "a\\b",
        "[::1%25eth0]",
    ];
    for raw in bad {
        assert_eq!(canonical_authority(&Bytes::from(raw)), None, "{raw}");
    }
}

#[test]
fn targets_are_taken_apart() {
    let parse_text = |target: &'static str| parse(b"GET", &Bytes::from(target), true);
    type Text = Option<&'static str>;
    let cases: [(&str, &str, Text, Text, Doubts); 11] = [
        ("/a?b=c", "/a", Some("b=c"), None, NONE),
        ("/a?", "/a", Some(""), None, NONE),
        ("/a?b?c", "/a", Some("b?c"), None, NONE),
        ("/a#f?x", "/a", None, None, Doubts::FRAGMENT),
        ("/a?b#f", "/a", Some("b"), None, Doubts::FRAGMENT),
        (
            "/?q=../..%2f%00%zz\\",
            "/",
            Some("q=../..%2f%00%zz\\"),
            None,
            NONE,
        ),
        ("/?ä", "/", Some("ä"), None, Doubts::CONTROL_OR_NON_ASCII),
        ("http://h/a?b", "/a", Some("b"), Some("h"), NONE),
        ("HTTPS://h:1", "/", None, Some("h:1"), NONE),
        ("http://h?b", "/", Some("b"), Some("h"), NONE),
        ("http://u@h/", "/", None, Some("u@h"), NONE),
    ];
    for (raw, path, query, authority, doubts) in cases {
        let target = parse_text(raw).expect(raw);
        assert_eq!(target.path, path.as_bytes(), "{raw}");
        assert_eq!(target.query.as_deref(), query.map(str::as_bytes), "{raw}");
        assert_eq!(
            target.authority.as_deref(),
            authority.map(str::as_bytes),
            "{raw}"
        );
        assert_eq!(target.doubts, doubts, "{raw}");
    }
    for bad in [
        "",
        "a",
        "*",
        "gopher://h/",
        "http:///a",
        "http://",
        "h:80",
        "/a\tb",
        "/\x7f",
    ] {
        assert!(parse_text(bad).is_err(), "{bad:?}");
    }
    for (raw, path) in [
        ("*", "*"),
        ("http://h", "*"),
        ("http://h/", "/"),
        ("http://h?a", "/"),
    ] {
        let target = parse(b"OPTIONS", &Bytes::from(raw), true).expect(raw);
        assert_eq!(target.path, path, "{raw}");
    }
    assert!(parse(b"CONNECT", &Bytes::from("h:80"), true).is_err());
    assert!(parse(b"GET", &Bytes::from("http://h/"), false).is_err());
}
