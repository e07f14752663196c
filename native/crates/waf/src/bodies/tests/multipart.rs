//! Multipart forms: what rules see, what is flagged, what is refused.

use super::super::disposition::{self, Disposition};
use super::super::{Arguments, Body, ParseLimits, boundary, multipart};
use super::{held, shown};
use crate::variable::Slot;

const FORM: &[u8] = b"multipart/form-data; boundary=xx";

/// What the rules see of a form: its error, its entries, and the flags that are raised.
fn read_form(content_type: &[u8], body: &[u8]) -> (Option<String>, String, Vec<Slot>) {
    let (mut store, bytes, text) = held(body);
    let form = (
        content_type,
        Body {
            bytes: &bytes,
            text,
        },
    );
    let limits = ParseLimits::default();
    let outcome = multipart::parse(&mut store, form, &mut Arguments::default(), &limits);
    let seen = shown(
        &store,
        &[Slot::ArgsPost, Slot::Files, Slot::FilesTmpContent],
    );
    let flags = store
        .entries()
        .iter()
        .filter(|entry| !entry.slot.is_collection() && store.bytes(entry.value) == b"1");
    let flags = flags
        .map(|entry| entry.slot)
        .filter(|slot| *slot != Slot::FilesCombinedSize);
    (outcome.err(), seen, flags.collect())
}

fn part(disposition: &str, content: &str) -> String {
    format!("--xx\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n")
}

#[test]
fn forms_give_arguments_and_files() {
    let field = part("form-data; name=\"a\"", "1");
    let file = part("form-data; name=\"f\"; filename=\"x.txt\"", "line\r\nline");
    let escaped = part("form-data; name=\"a\\\"b\\\\\"", "");
    let bare = part("form-data;name=a", "\r\n");
    let empty = part("form-data; name=\"f\"; filename=\"\"", "");
    let cases = [
        (format!("{field}--xx--\r\n"), "a=1"),
        (format!("{field}--xx--"), "a=1"),
        (
            format!("{field}{file}--xx--\r\n"),
            "a=1|f=x.txt|f=line\r\nline",
        ),
        (format!("{escaped}--xx--\r\n"), "a\"b\\="),
        (format!("{bare}--xx--\r\n"), "a=\r\n"),
        (format!("{empty}--xx--\r\n"), "f="),
        (String::new(), ""),
        ("--xx--\r\n".to_owned(), ""),
    ];
    for (body, expected) in cases {
        let seen = read_form(FORM, body.as_bytes());
        assert_eq!(seen, (None, expected.to_owned(), vec![]), "{body}");
    }
}

#[test]
fn part_headers_are_shown_under_the_name_of_their_part() {
    let body =
        "--xx\r\nContent-Disposition: form-data; name=a\r\nContent-Type: text/x\r\n\r\n1\r\n--xx--";
    let (mut store, bytes, text) = held(body.as_bytes());
    let form = (
        FORM,
        Body {
            bytes: &bytes,
            text,
        },
    );
    multipart::parse(
        &mut store,
        form,
        &mut Arguments::default(),
        &ParseLimits::default(),
    )
    .unwrap();
    assert_eq!(
        shown(&store, &[Slot::MultipartPartHeaders]),
        "a=Content-Disposition: form-data; name=a|a=Content-Type: text/x"
    );
}

#[test]
fn odd_forms_raise_flags() {
    let field = part("form-data; name=\"a\"", "1");
    let lines = "--xx\nContent-Disposition: form-data; name=a\n\n1\n--xx--\n";
    let folded = "--xx\r\nContent-Disposition: form-data;\r\n name=a\r\n\r\n1\r\n--xx--\r\n";
    let cases: [(&[u8], String, Slot); 9] = [
        (
            FORM,
            format!("x\r\n{field}--xx--\r\n"),
            Slot::MultipartDataBefore,
        ),
        (
            FORM,
            format!("{field}--xx--\r\nx"),
            Slot::MultipartDataAfter,
        ),
        (FORM, lines.to_owned(), Slot::MultipartLfLine),
        (FORM, folded.to_owned(), Slot::MultipartHeaderFolding),
        (
            FORM,
            format!("{}--xx--\r\n", part("form-data; name='a'", "1")),
            Slot::MultipartInvalidQuoting,
        ),
        (
            b"multipart/form-data; boundary=\"xx\"",
            format!("{field}--xx--"),
            Slot::MultipartBoundaryQuoted,
        ),
        (
            b"multipart/form-data; boundary =xx",
            format!("{field}--xx--"),
            Slot::MultipartBoundaryWhitespace,
        ),
        (
            b"multipart/form-data boundary=xx",
            format!("{field}--xx--"),
            Slot::MultipartMissingSemicolon,
        ),
        (
            FORM,
            format!("{field}--xx\r\n--xx--\r\n"),
            Slot::MultipartInvalidPart,
        ),
    ];
    for (content_type, body, flag) in cases {
        let (error, _, flags) = read_form(content_type, body.as_bytes());
        assert_eq!(error, None, "{body}");
        assert!(flags.contains(&flag), "{body}: {flags:?}");
        assert!(
            flags.contains(&Slot::MultipartStrictError),
            "{body}: {flags:?}"
        );
    }
}

#[test]
fn a_boundary_inside_the_content_is_flagged_but_no_strictness_error() {
    for content in ["a--xx", "--yy", "-- \r\nsignature"] {
        let body = format!("{}--xx--", part("form-data; name=\"a\"", content));
        let (error, _, flags) = read_form(FORM, body.as_bytes());
        assert_eq!(
            (error, flags),
            (None, vec![Slot::MultipartUnmatchedBoundary]),
            "{content}"
        );
    }
}

#[test]
fn a_matched_boundary_makes_the_unmatched_flag_two() {
    let field = |content| part("form-data; name=\"a\"", content);
    let cases = [
        (format!("{}--xx--", field("1")), "0"),
        (format!("{}--xx--\r\n", field("1")), "2"),
        (format!("{}{}--xx--", field("1"), field("2")), "2"),
        (format!("{}--xx--", field("--y")), "1"),
        (format!("{}--xx--\r\n", field("--y")), "2"),
        (format!("{}--xx--", field("--")), "1"),
        (format!("{}--xx--", field("-y")), "0"),
    ];
    for (body, expected) in cases {
        let (mut store, bytes, text) = held(body.as_bytes());
        let body_text = Body {
            bytes: &bytes,
            text,
        };
        let limits = ParseLimits::default();
        let form = (FORM, body_text);
        multipart::parse(&mut store, form, &mut Arguments::default(), &limits).unwrap();
        let flag = store.first(Slot::MultipartUnmatchedBoundary).unwrap();
        assert_eq!(flag, expected.as_bytes(), "{body}");
    }
}

#[test]
fn file_names_may_be_extended_and_both_names_are_shown() {
    let cases = [
        (
            "filename=a; filename*=UTF-8''b%20%c3%a9",
            "f=a|f=b \u{c3}\u{a9}|f=1",
        ),
        ("filename*=iso-8859-1'en'%e9.txt", "f=\u{e9}.txt|f=1"),
        ("filename=\"it's.txt\"", "f=it's.txt|f=1"),
    ];
    for (parameters, expected) in cases {
        let disposition = format!("form-data; name=f; {parameters}");
        let body = format!("{}--xx--", part(&disposition, "1"));
        let seen = read_form(FORM, body.as_bytes());
        assert_eq!(seen, (None, expected.to_owned(), vec![]), "{parameters}");
    }
    for parameters in [
        "filename*=utf-7''a",
        "filename*=UTF-8'a",
        "filename*=UTF-8''",
        "filename*=UTF-8''%zz",
        "filename*=UTF-8''%00",
        "filename*=\"UTF-8''a\"",
    ] {
        let disposition = format!("form-data; name=f; {parameters}");
        let body = format!("{}--xx--", part(&disposition, "1"));
        assert!(read_form(FORM, body.as_bytes()).0.is_some(), "{parameters}");
    }
}

#[test]
fn fields_and_part_headers_are_bounded() {
    let limits = ParseLimits {
        no_files_bytes_max: 200,
        ..ParseLimits::default()
    };
    let field = |content: &str| format!("{}--xx--", part("form-data; name=a", content));
    let file = |content: &str| format!("{}--xx--", part("form-data; name=a; filename=b", content));
    let long = "x".repeat(200);
    for (body, fits) in [
        (field("1"), true),
        (field(&long), false),
        (file(&long), true),
    ] {
        let (mut store, bytes, text) = held(body.as_bytes());
        let body = Body {
            bytes: &bytes,
            text,
        };
        let outcome =
            multipart::parse(&mut store, (FORM, body), &mut Arguments::default(), &limits);
        assert_eq!(outcome.is_ok(), fits, "{outcome:?}");
    }
    let limits = ParseLimits {
        files_max: 1,
        ..ParseLimits::default()
    };
    let file = part("form-data; name=a; filename=b", "1");
    for (body, flag) in [
        (format!("{file}--xx--"), b"0"),
        (format!("{file}{file}--xx--"), b"1"),
    ] {
        let (mut store, bytes, text) = held(body.as_bytes());
        let form = (
            FORM,
            Body {
                bytes: &bytes,
                text,
            },
        );
        multipart::parse(&mut store, form, &mut Arguments::default(), &limits).unwrap();
        let exceeded = store.first(Slot::MultipartFileLimitExceeded);
        assert_eq!(exceeded, Some(&flag[..]));
        assert_eq!(store.first(Slot::MultipartStrictError), Some(&flag[..]));
    }
    let headers: String = (0..64).map(|n| format!("X{n}: 1\r\n")).collect();
    let body =
        format!("--xx\r\nContent-Disposition: form-data; name=a\r\n{headers}\r\n1\r\n--xx--");
    let (error, _, _) = read_form(FORM, body.as_bytes());
    assert_eq!(error.as_deref(), Some("Over 64 part headers"));
}

#[test]
fn forms_that_can_be_read_in_two_ways_are_errors() {
    let field = part("form-data; name=\"a\"", "1");
    let header = |line: &str| format!("--xx\r\n{line}\r\n\r\n1\r\n--xx--\r\n");
    let cases = [
        field.clone(),
        "no boundary".to_owned(),
        format!("{field}--xx-\r\n"),
        format!("{field}--xxx\r\n--xx--\r\n"),
        format!("{field}-- xx--\r\n"),
        format!("{field}--xx-- \r\n"),
        header("Content-Type: text/plain"),
        header("Content-Disposition: attachment; name=a"),
        header("Content-Disposition: form-data"),
        header("Content-Disposition: form-data; name=a; name=b"),
        "--xx\r\nContent-Disposition: form-data; name=a\r\n\r\n--xx--".to_owned(),
        "--xx--\r\n".to_owned(),
        header("Content-Disposition: form-data; name=a; filename=b; filename=c"),
        header("Content-Disposition: form-data; name=\"a"),
        header("Content-Disposition: form-data; name=\"a\"x"),
        header("Content-Disposition: form-data; name"),
        header("Content-Disposition: form-data; filename=x"),
        header("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b"),
        header("Content-Disposition: form-data; name=a\r\nno colon"),
        header("Content-Disposition: form-data; name=a\r\n: x"),
        header("Content-Disposition: form-data; name=a\0b"),
        header(" folded: first"),
        header(&format!("X: {}", "x".repeat(5000))),
    ];
    for body in cases {
        let (error, _, flags) = read_form(FORM, body.as_bytes());
        assert!(error.is_some(), "{body}");
        assert!(flags.contains(&Slot::MultipartStrictError), "{body}");
    }
}

#[test]
fn boundaries_are_read_strictly() {
    let long = [b"multipart/form-data; boundary=".as_slice(), &[b'x'; 1024]].concat();
    let valid: [(&[u8], &str); 8] = [
        (b"multipart/form-data; boundary=x; charset=y", "x"),
        (b"multipart/form-data; boundary=x;", "x"),
        (b"multipart/form-data; boundary=xx", "xx"),
        (
            b"Multipart/Form-Data;boundary=----a'()+_,-./:=?",
            "----a'()+_,-./:=?",
        ),
        (b"multipart/form-data; boundary=\"a b\"", "a b"),
        (b"multipart/form-data; boundary=boundary", "boundary"),
        (
            b"multipart/form-data; boundary=----WebKitFormBoundaryABC",
            "----WebKitFormBoundaryABC",
        ),
        (b"multipart/form-data boundary=xx", "xx"),
    ];
    for (content_type, expected) in valid {
        let seen = boundary::parse(content_type).map(|boundary| boundary.bytes);
        assert_eq!(
            seen.as_deref(),
            Ok(expected.as_bytes()),
            "{}",
            content_type.escape_ascii()
        );
    }
    let invalid: [&[u8]; 14] = [
        b"multipart/form-data; boundary=;",
        b"",
        b"text/plain",
        b"multipart/form-data",
        b"multipart/form-data; boundary",
        b"multipart/form-data; boundary=",
        b"multipart/form-data; boundary=\"\"",
        b"multipart/form-data; boundary=\"x",
        b"multipart/form-data; boundary=x\"",
        b"multipart/form-data; Boundary=x",
        b"multipart/form-data; boundary=x; boundary=y",
        b"multipart/form-data; charset=x; boundary=y",
        b"multipart/form-data; boundary=x ",
        b"multipart/form-data; boundaryx=y",
    ];
    for content_type in invalid.into_iter().chain([long.as_slice()]) {
        assert!(
            boundary::parse(content_type).is_err(),
            "{}",
            content_type.escape_ascii()
        );
    }
}

#[test]
fn dispositions_keep_escaped_quotes() {
    let mut parsed = Disposition::default();
    let value = b"form-data; name=\"a\\\"b\"; filename=\"c;d=\\e\"";
    disposition::parse(value, &mut parsed).unwrap();
    assert_eq!(
        (parsed.name.as_slice(), parsed.filename.as_slice()),
        (&b"a\"b"[..], &b"c;d=\\e"[..])
    );
}
