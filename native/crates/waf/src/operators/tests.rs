//! What each operator matches and captures, as tables.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use super::*;

/// A table of one operator: argument, text, whether it matches.
fn assert_table(name: &str, table: &[(&str, &str, bool)]) {
    for (argument, text, expected) in table {
        let operator = compile(name, argument, &[]).unwrap();
        let text = latin1(text);
        assert_eq!(
            operator.matches(&text, None),
            *expected,
            "@{name} {argument:?} on {text:?}"
        );
        assert_eq!(operator.matches(&text, Some(&mut Vec::new())), *expected);
        if *expected {
            assert!(
                operator.gate().admits(&Presence::of(&text), text.len()),
                "gate of @{name}"
            );
        }
    }
}

/// The groups as texts, an unset one as `-`.
fn captures(name: &str, argument: &str, text: &str) -> Vec<Vec<u8>> {
    let mut captures = vec![Some(b"stale".to_vec())];
    compile(name, argument, &[])
        .unwrap()
        .matches(&latin1(text), Some(&mut captures));
    let groups = captures.into_iter();
    groups.map(|group| group.unwrap_or(b"-".to_vec())).collect()
}

fn entries(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn comparisons_follow_modsecurity() {
    assert_table(
        "streq",
        &[
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("", "", true),
        ],
    );
    let contains = [
        ("bc", "abcd", true),
        ("BC", "abcd", false),
        ("", "", true),
        ("a", "", false),
    ];
    assert_table("contains", &contains);
    assert_table("strmatch", &contains);
    assert_table(
        "beginswith",
        &[("/a", "/ab", true), ("/ab", "/a", false), ("", "x", true)],
    );
    assert_table(
        "endswith",
        &[
            (".php", "x.php", true),
            (".php", "php", false),
            ("", "", true),
        ],
    );
    assert_table(
        "containsword",
        &[
            ("abc", "abc", true),
            ("abc", "x abc y", true),
            ("abc", "xabc", false),
            ("abc", "abcx", false),
            ("abc", "abcx abc", true),
            ("abc", "1abc2", true),
            ("abc", "", false),
            ("", "x", true),
        ],
    );
    assert_table(
        "within",
        &[
            ("GET,POST", "POST", true),
            ("GET,POST", "PUT", false),
            ("GET,POST", "post", false),
            ("GET", "", true),
            ("", "x", false),
        ],
    );
    assert_table("unconditionalmatch", &[("", "", true), ("", "x", true)]);
    assert_table("nomatch", &[("", "", false), ("", "x", false)]);
}

#[test]
fn numbers_are_read_as_c_reads_them() {
    assert_table(
        "eq",
        &[
            ("0", "", true),
            ("0", "abc", true),
            ("5", " 5x", true),
            ("5", "+5", true),
            ("-5", "-5", true),
            ("5", "6", false),
            ("0", "99999999999", true), // beyond 32 bits
        ],
    );
    assert_table(
        "ge",
        &[("5", "5", true), ("5", "4", false), ("0", "abc", true)],
    );
    assert_table(
        "gt",
        &[
            ("5", "6", true),
            ("5", "5", false),
            ("4294967296", "1", false),
        ],
    );
    assert_table(
        "le",
        &[("5", "5", true), ("5", "6", false), ("5", "-1", true)],
    );
    assert_table(
        "lt",
        &[
            ("5", "4", true),
            ("5", "5", false),
            ("5", "99999999999999999999999", false),
        ],
    );
}

#[test]
fn validations_match_what_is_invalid() {
    assert_table(
        "validatebyterange",
        &[
            ("32-126", "abc", false),
            ("32-126", "a\tc", true),
            ("9, 32-126", "a\tc", false),
            ("1-255", "a\0", true),
            ("0-255", "\0\u{ff}", false),
            ("65", "A", false),
            ("65", "", false),
        ],
    );
    for argument in ["", "a", "256", "1-256", "9-1", "-5", "1,,2"] {
        assert!(
            compile("validatebyterange", argument, &[]).is_err(),
            "{argument:?}"
        );
    }
    assert_table(
        "validateurlencoding",
        &[
            ("", "a%20b", false),
            ("", "a%2", true),
            ("", "%", true),
            ("", "%zz", true),
            ("", "%25%", true),
            ("", "plain", false),
            ("", "", false),
        ],
    );
    assert_table(
        "validateutf8encoding",
        &[
            ("", "caf\u{c3}\u{a9}", false),
            ("", "\u{c0}\u{af}", true),       // overlong
            ("", "\u{ed}\u{a0}\u{80}", true), // surrogate
            ("", "\u{c3}", true),             // cut off
            ("", "\u{f5}\u{80}\u{80}\u{80}", true),
            ("", "plain\0", false),
        ],
    );
}

#[test]
fn pm_finds_phrases_without_case() {
    assert_table(
        "pm",
        &[
            ("nikto nessus", "Mozilla NESSUS/1", true),
            ("nikto nessus", "Mozilla", false),
            ("a\tb\nc", "c", true),
            ("x|41 42|y", "xaby", true),
            ("\"quoted|3a|\"", "quoted:", true),
            (r"a\:b", "a:b", true),
            (r"\n", r"\n", true), // no escape of this syntax: taken as written
            ("\u{e9}", "caf\u{e9}", true),
        ],
    );
    assert_eq!(captures("pm", "b abc", "xABCx"), [b"b"]);
    assert_eq!(captures("pm", "b", "x"), Vec::<Vec<u8>>::new());
    assert!(compile("pm", " ", &[]).is_err());
    assert!(compile("pmfromfile", "empty.data", &entries(&[""])).is_err());
    let file = compile("pmfromfile", "x.data", &entries(&["two words", ""])).unwrap();
    assert!(file.matches(b"has Two Words inside", None));
    assert!(!file.matches(b"words", None));
}

#[test]
fn ip_match_knows_both_families_and_prefixes() {
    assert_table(
        "ipmatch",
        &[
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.0/24, 10.0.0.0/8", "10.9.8.7", true),
            ("192.0.2.128/25", "192.0.2.127", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:1::5", true),
            ("2001:db8::/32", "2001:db9::5", false),
            ("::1", "::1", true),
            ("::/0", "not an address", false),
            ("127.0.0.1", "", false),
        ],
    );
    for argument in [
        "",
        "192.0.2",
        "192.0.2.0/33",
        "::/129",
        "192.0.2.0/x",
        "host",
    ] {
        assert!(compile("ipmatch", argument, &[]).is_err(), "{argument:?}");
    }
    let file = entries(&["# office", "", " 192.0.2.0/24 "]);
    assert!(
        compile("ipmatchfromfile", "ips", &file)
            .unwrap()
            .matches(b"192.0.2.9", None)
    );
}

/// The look-behind of CRS 3.3, alternatives of different lengths.
const CRS_3_920120: &str = concat!(
    r"(?<!&(?:[aAoOuUyY]uml)|&(?:[aAeEiIoOuU]circ)|&(?:[eEiIoOuUyY]acute)|",
    r"&(?:[aAeEiIoOuU]grave)|&(?:[cC]cedil)|&(?:[aAnNoO]tilde)|&(?:amp)|&(?:apos));|['=]",
);

#[test]
fn rx_is_pcre_in_byte_mode() {
    assert_table(
        "rx",
        &[
            ("", "", true),
            ("", "x", true),
            ("a.c", "a\nc", true),
            ("^b$", "a\nb\nc", true),
            ("^$", "a\n\nb", true),
            ("^$", "a\n", false), // no line begins after the last newline
            ("$", "a\n", true),
            ("^$", "", true),
            ("(?i)SELECT", "select", true),
            ("\u{e9}", "caf\u{e9}", true),
            ("caf\u{e9}", "caf\u{c3}\u{a9}", false),
            (r"\x{ff}", "\u{ff}", true),
            (r"^\w+$", "caf\u{e9}", false),
            (CRS_3_920120, "a&ouml;b", false),
            (CRS_3_920120, "a&oum;b", true),
            (CRS_3_920120, "a=b", true),
            (r"(?<!&)foo", "&foo foo", true),
            (r"(?<!&)foo", "&foo", false),
            (r"(?<!\xff)foo", "\u{ff}foo", false),
            (r"(?<!\xff)foo", "\u{fe}foo", true),
            (r"(a)b\1", "aba", true),
            (r"(a)b\1", "abb", false),
            (r"a++a", "aaa", false),
            (r"(?>a+)b", "aab", true),
            (r"(?=.*\d)x.y$", "x1y", true),
        ],
    );
    for pattern in ["(", "[a", "a\\", "(?P<", "a**b(", r"\x{1f600}"] {
        assert!(compile("rx", pattern, &[]).is_err(), "{pattern}");
    }
}

#[test]
fn rx_captures_at_most_ten_groups_and_tells_unset_from_empty() {
    assert_eq!(captures("rx", "(a)|(b)", "b"), [&b"b"[..], b"-", b"b"]);
    assert_eq!(
        captures("rx", "(?<!x)(a)|(b)", "b"),
        [&b"b"[..], b"-", b"b"]
    );
    assert_eq!(captures("rx", "(a?)b", "b"), [&b"b"[..], b""]);
    assert_eq!(
        captures("rx", "(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)", "abcdefghijk").len(),
        10
    );
    assert_eq!(captures("rx", "a", "b"), Vec::<Vec<u8>>::new());
}

#[test]
fn rx_global_captures_find_after_find() {
    let numbered = [&b"v1"[..], b"v", b"1", b"v2", b"v", b"2"];
    assert_eq!(captures("rxglobal", r"(v)(\d)", "v1 v2"), numbered);
    assert_eq!(captures("rxglobal", r"(?<!x)(v)(\d)", "v1 v2"), numbered);
    assert_eq!(captures("rxglobal", ".", "abcdefghijkl").len(), 10);
    assert_eq!(
        captures("rxglobal", "(a)|(b)", "ab"),
        [b"a", b"a", b"b", b"-", b"b"]
    );
    assert_eq!(captures("rxglobal", "z", "ab").len(), 0);
}

#[test]
fn a_text_that_exhausts_the_backtracking_engine_counts_as_a_match() {
    let operator = compile("rx", r"^(?:(?=a)a|(?=a)a)+$", &[]).unwrap();
    assert!(operator.matches(&[&[b'a'; 60][..], b"b"].concat(), None));
    assert!(!operator.matches(b"ab", None));
}

#[test]
fn libinjection_answers_with_its_evidence() {
    assert_eq!(captures("detectsqli", "", "1' OR '1'='1"), [b"s&sos"]);
    assert_eq!(captures("detectsqli", "", "hello"), Vec::<Vec<u8>>::new());
    let attack = "<script>alert(1)</script>";
    assert_eq!(captures("detectxss", "", attack), [attack.as_bytes()]);
    assert_table(
        "detectxss",
        &[
            ("", "x' onerror=alert(1)", true),
            ("", "1 < 2", false),
            ("", "a=b", false),
        ],
    );
    assert_table(
        "detectsqli",
        &[("", "O'Brien", false), ("", "-1 union select 1,2--", true)],
    );
}

#[test]
fn verify_cc_wants_a_match_that_passes_luhn() {
    let pattern = r"\d{4}-?\d{4}-?\d{4}-?\d{4}";
    assert_table(
        "verifycc",
        &[
            (pattern, "card 4111-1111-1111-1111 x", true),
            (pattern, "card 4111111111111112", false),
            (pattern, "94111111111111111", true), // the number begins inside a failed match
            (pattern, "", false),
            ("x", "x", false),
        ],
    );
    assert_eq!(
        captures("verifycc", pattern, "4111111111111111"),
        [b"4111111111111111"]
    );
    assert!(compile("verifycc", "(", &[]).is_err());
}

#[test]
fn the_other_numbers_are_verified_by_their_digits() {
    assert_table(
        "verifycpf",
        &[
            (r"[\d.-]+", "529.982.247-25", true),
            (r"[\d.-]+", "52998224724", false),
            (r"[\d.-]+", "111.111.111-11", false),
            (r"[\d.-]+", "5299822472", false),
        ],
    );
    assert_table(
        "verifyssn",
        &[
            (r"[\d-]+", "078-05-1120", true),
            (r"[\d-]+", "666-12-3456", false),
            (r"[\d-]+", "740-12-3456", false),
            (r"[\d-]+", "000-12-3456", false),
            (r"[\d-]+", "123-00-4567", false),
            (r"[\d-]+", "521-34-0000", false),
            (r"[\d-]+", "123-45-6789", false),
            (r"[\d-]+", "111-11-1111", false),
            (r"[\d-]+", "0078-05-11200", false),
        ],
    );
    assert_table(
        "verifysvnr",
        &[
            (r"[\d ]+", "1237 010180", true),
            (r"[\d ]+", "1238 010180", false),
            (r"[\d ]+", "0000 000000", false),
            (r"[\d ]+", "1237 01018", false),
        ],
    );
}

#[test]
fn what_is_not_supported_says_how_to_mend_it() {
    for name in ["fuzzyhash", "inspectfile", "rsub", "validatedtd"] {
        let reason = compile(name, "", &[]).err().unwrap();
        assert!(reason.contains("not supported: "), "{reason}");
        assert!(!names().contains(&name));
    }
    assert!(
        compile("regex", "", &[])
            .err()
            .unwrap()
            .contains("spelling")
    );
    assert!(compile("RX", "", &[]).is_err(), "names come in lower case");
}
