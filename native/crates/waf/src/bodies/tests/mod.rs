//! The parsers as tables: body in, what rules see out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod content_coding;
mod multipart;
mod work;

use bytes::Bytes;

use super::{Arguments, Body, ParseLimits, json, urlencoded, xml};
use crate::store::Store;
use crate::variable::Slot;

fn held(body: &[u8]) -> (Store, Bytes, crate::store::Text) {
    let mut store = Store::default();
    let bytes = Bytes::copy_from_slice(body);
    let text = store.hold_request_body(bytes.clone());
    (store, bytes, text)
}

/// `name=value` of every entry of these slots, separated by `|`; bytes as Latin-1.
fn shown(store: &Store, slots: &[Slot]) -> String {
    let latin1 = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>()
    };
    let entries = store
        .entries()
        .iter()
        .filter(|entry| slots.contains(&entry.slot));
    let pairs = entries.map(|entry| {
        format!(
            "{}={}",
            latin1(store.bytes(entry.name)),
            latin1(store.bytes(entry.value))
        )
    });
    pairs.collect::<Vec<_>>().join("|")
}

fn read_json(body: &[u8], limits: &ParseLimits) -> Result<String, String> {
    let (mut store, bytes, text) = held(body);
    let body = Body {
        bytes: &bytes,
        text,
    };
    json::parse(&mut store, body, &mut Arguments::default(), limits)?;
    Ok(shown(&store, &[Slot::ArgsBody]))
}

#[test]
fn json_documents_become_arguments() {
    let cases: [(&str, &str); 19] = [
        (r#"{"a":1}"#, "json.a=1"),
        (r#"{"a":{"b":"x"},"c":true}"#, "json.a.b=x|json.c=true"),
        (r#"["x","y"]"#, "json.array_0=x|json.array_1=y"),
        (
            r#"{"a":[{"b":1},{"b":2}]}"#,
            "json.a.array_0.b=1|json.a.array_1.b=2",
        ),
        (
            r#"{"a":[[1],[2,3]]}"#,
            "json.a.array_0.array_0=1|json.a.array_1.array_0=2|json.a.array_1.array_1=3",
        ),
        (r#""text""#, "json=text"),
        (" 12 ", "json=12"),
        ("-0.5e+10", "json=-0.5e+10"),
        (r#"{"a":null}"#, "json.a="),
        ("{}", ""),
        (r#"{"a":[],"b":{}}"#, ""),
        (r#"{"a":{},"b":1}"#, "json.b=1"),
        (r#"{"a":"\u0041\n\"\/"}"#, "json.a=A\n\"/"),
        (r#"{"a":"\ud83d\ude00"}"#, "json.a=\u{f0}\u{9f}\u{98}\u{80}"),
        (r#"{"a":1,"a":2}"#, "json.a=1|json.a=2"),
        (r#"{"\u003cb":"x","":2}"#, "json.<b=x|json.empty-key=2"),
        (r#""\ud83d""#, "json=?"),
        (r#""\ud83d\u0041""#, "json=?A"),
        (r#""\ude00""#, "json=\u{ed}\u{b8}\u{80}"),
    ];
    for (body, expected) in cases {
        let seen = read_json(body.as_bytes(), &ParseLimits::default());
        assert_eq!(seen.as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn json_that_is_not_strict_is_an_error() {
    let cases: [&[u8]; 31] = [
        b"{",
        b"[",
        b"[1,",
        b"[1,]",
        b"{\"a\":1,}",
        b"{a:1}",
        b"{'a':1}",
        b"{\"a\" 1}",
        b"{\"a\":}",
        b"{\"a\":1}}",
        b"{\"a\":1} x",
        b"[1 2]",
        b"01",
        b"1.",
        b".5",
        b"1e",
        b"+1",
        b"-",
        b"NaN",
        b"tru",
        b"nul",
        b"True",
        b"\"a",
        b"\"\\x\"",
        b"\"\\u12\"",
        b"\"a\nb\"",
        b"\"\xff\"",
        b"\xef\xbb\xbf{}",
        b" ",
        b"// c\n1",
        b"{\"a\\\":1}",
    ];
    for body in cases {
        let seen = read_json(body, &ParseLimits::default());
        assert!(seen.is_err(), "{} gave {seen:?}", body.escape_ascii());
    }
}

#[test]
fn json_nesting_is_bounded() {
    let limits = ParseLimits {
        json_depth_max: 3,
        ..ParseLimits::default()
    };
    assert_eq!(
        read_json(b"[[[1]]]", &limits).as_deref(),
        Ok("json.array_0.array_0.array_0=1")
    );
    assert_eq!(
        read_json(b"[[[[1]]]]", &limits),
        Err("nesting too deep at byte 4".to_owned())
    );
}

#[test]
fn forms_are_decoded_as_modsecurity_decodes_them() {
    let cases: [(&[u8], &str, bool); 13] = [
        (b"a=1&b=2", "a=1|b=2", false),
        (b"a+b=c+d", "a b=c d", false),
        (b"%61=%41%00", "a=A\0", false),
        (b"a", "a=", false),
        (b"=x", "=x", false),
        (b"a=b=c", "a=b=c", false),
        (b"a=1&&b=2", "a=1|=|b=2", false),
        (b"a=1&", "a=1", false),
        (b"", "", false),
        (b"a=%", "a=%", true),
        (b"a=%4", "a=%4", true),
        (b"a=%zz%41", "a=%zzA", true),
        (b"a=%u0041", "a=%u0041", true),
    ];
    for (body, expected, invalid) in cases {
        let (mut store, _, text) = held(body);
        let form = (text, Slot::ArgsPost);
        let mut arguments = Arguments::default();
        let seen = urlencoded::parse(&mut store, form, &mut arguments, &ParseLimits::default());
        assert_eq!(seen, invalid, "{}", body.escape_ascii());
        assert_eq!(
            shown(&store, &[Slot::ArgsPost]),
            expected,
            "{}",
            body.escape_ascii()
        );
    }
}

#[test]
fn arguments_are_bounded_and_separators_configured() {
    let limits = ParseLimits {
        arguments_max: 2,
        argument_separator: b';',
        ..ParseLimits::default()
    };
    let (mut store, _, text) = held(b"a=1;b=2&c=3;d=4");
    let mut arguments = Arguments::default();
    urlencoded::parse(&mut store, (text, Slot::ArgsPost), &mut arguments, &limits);
    assert_eq!(shown(&store, &[Slot::ArgsPost]), "a=1|b=2&c=3");
    assert!(arguments.over_limit);
    assert_eq!(arguments.combined_size(), Some(8));
}

fn read_xml(body: &[u8]) -> Result<String, String> {
    let (mut store, bytes, text) = held(body);
    let body = Body {
        bytes: &bytes,
        text,
    };
    let limits = ParseLimits {
        json_depth_max: 3,
        ..ParseLimits::default()
    };
    xml::parse(&mut store, body, &limits)?;
    Ok(shown(&store, &[Slot::Xml]))
}

#[test]
fn xml_gives_its_text_and_attribute_values() {
    let cases = [
        ("<a>x</a>", "/*=x"),
        ("<a/>", "/*="),
        (
            "<?xml version=\"1.0\" encoding='UTF-8'?>\n<a>x<b>y</b>z</a>\n",
            "/*=xyz",
        ),
        ("<a b=\"1\" c='2'>x</a>", "/*=x|//@*=1|//@*=2"),
        ("<a>&lt;&gt;&amp;&apos;&quot;&#65;&#x42;</a>", "/*=<>&'\"AB"),
        ("<a b='&lt;x'/>", "/*=|//@*=<x"),
        ("<a><![CDATA[<x>&y]]></a>", "/*=<x>&y"),
        ("<!-- c --><a><!-- d -->x<?pi y?></a><!-- e -->", "/*=x"),
        ("<s:a xmlns:s='urn:x' s:b='1'>x</s:a>", "/*=x|//@*=1"),
        ("<a  b = '1' ><b/></a >", "/*=|//@*=1"),
        ("<a><b><c>x</c></b></a>", "/*=x"),
        ("\u{feff}<a>x</a>", "/*=x"),
        ("<a>x\r\ny\rz&#13;</a>", "/*=x\ny\nz\r"),
        ("<a b='x\r\ny\tz&#10;'/>", "/*=|//@*=x y z\n"),
        (
            "<?xml version='1.1' encoding=\"us-ascii\" standalone='yes' ?><a/>",
            "/*=",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(read_xml(body.as_bytes()).as_deref(), Ok(expected), "{body}");
    }
}

#[test]
fn xml_comes_in_four_encodings() {
    let text = "<?xml version='1.0' encoding='utf-16'?><a b='1'>x\u{e9}\u{1f600}</a>";
    let units: Vec<u16> = text.encode_utf16().collect();
    let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    let marked = [b"\xff\xfe".as_slice(), &little].concat();
    let seen = "/*=x\u{c3}\u{a9}\u{f0}\u{9f}\u{98}\u{80}|//@*=1";
    for body in [little, big, marked] {
        assert_eq!(read_xml(&body).as_deref(), Ok(seen));
    }
    let latin1 = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>";
    assert_eq!(read_xml(latin1).as_deref(), Ok("/*=\u{c3}\u{a9}"));
    let windows = b"<?xml version='1.0' encoding='windows-1252'?><a>\x80</a>";
    assert_eq!(read_xml(windows).as_deref(), Ok("/*=\u{e2}\u{82}\u{ac}"));
}

#[test]
fn what_stands_before_an_error_is_seen() {
    let limits = ParseLimits::default();
    let (mut store, bytes, text) = held(b"{\"a\":1,\"b\":\"\xff\"}");
    let body = Body {
        bytes: &bytes,
        text,
    };
    let outcome = json::parse(&mut store, body, &mut Arguments::default(), &limits);
    assert_eq!(outcome, Err("invalid UTF-8 at byte 12".to_owned()));
    assert_eq!(shown(&store, &[Slot::ArgsBody]), "json.a=1");
    let (mut store, bytes, text) = held(b"<a b='1'>x<c d='2'<");
    let body = Body {
        bytes: &bytes,
        text,
    };
    assert!(xml::parse(&mut store, body, &limits).is_err());
    assert_eq!(shown(&store, &[Slot::Xml]), "/*=x|//@*=1");
}

#[test]
fn xml_that_is_not_well_formed_is_an_error() {
    let cases: [&[u8]; 40] = [
        b"",
        b"<?xml version='2.0'?><a/>",
        b"<?xml encoding='UTF-8'?><a/>",
        b"<?xml version='1.0' standalone='maybe'?><a/>",
        b"<?xml version='1.0' encoding='UTF-7'?><a/>",
        b"<?xml version='1.0' encoding='IBM037'?><a/>",
        b"<?xmlversion='1.0'?><a/>",
        b"<a\xc3\x97/>",
        b"<\0a\0>\0x",
        b"x",
        b"<a>",
        b"<a></b>",
        b"</a>",
        b"<a/><b/>",
        b"<a/>x",
        b"x<a/>",
        b"<a b/>",
        b"<a b=1/>",
        b"<a b='1/>",
        b"<a b='<'/>",
        b"<a b='1' b='2'/>",
        b"<a b='1'c='2'/>",
        b"<a>&x;</a>",
        b"<a>&amp</a>",
        b"<a>& </a>",
        b"<a>&#0;</a>",
        b"<a>&#x110000;</a>",
        b"<a>&#;</a>",
        b"<a>&#+65;</a>",
        b"<a>]]></a>",
        b"<a><![CDATA[x</a>",
        b"<a><!-- -- --></a>",
        b"<a><!-- x</a>",
        b"<!DOCTYPE a><a/>",
        b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
        b"<a><?xml version='1.0'?></a>",
        b"<?xml version='1.0' encoding='UTF-16'?><a/>",
        b"<a>\xff</a>",
        b"<a>\x01</a>",
        b"<a><b><c><d/></c></b></a>",
    ];
    for body in cases {
        let seen = read_xml(body);
        assert!(seen.is_err(), "{} gave {seen:?}", body.escape_ascii());
    }
}

/// A small generator (xorshift), so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// Cuts, doubles or overwrites a few stretches.
    fn spoil(&mut self, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(body.len() + 1);
            let end = at + self.below(body.len() - at + 1);
            match self.below(3) {
                0 => drop(body.drain(at..end)),
                1 => body.extend_from_within(at..end),
                _ => body[at..end].fill(b"\0\"\\{[<&-\r\n\xff%"[self.below(12)]),
            }
        }
        body
    }
}

#[test]
fn no_spoiled_body_makes_a_parser_panic() {
    let bodies: [&[u8]; 4] = [
        br#"{"a":[1,{"b":"\u0041\ud83d\ude00"},null,true],"c":{"d":-1.5e+3}}"#,
        b"<?xml version='1.0'?><a b='&lt;'><![CDATA[x]]><!-- y --><c/>&#65;</a>",
        b"--xx\r\nContent-Disposition: form-data; name=\"a\\\"\"; filename=b\r\n\r\n\
          1\r\n--xx--\r\n",
        b"a=1&b=%41+c&%u0041=%",
    ];
    let limits = ParseLimits::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..20_000 {
        let (mut store, bytes, text) = held(&random.spoil(bodies[round % 4]));
        let body = Body {
            bytes: &bytes,
            text,
        };
        let mut arguments = Arguments::default();
        let form = b"multipart/form-data; boundary=xx".as_slice();
        let _ = json::parse(&mut store, body, &mut arguments, &limits);
        let _ = xml::parse(&mut store, body, &limits);
        let _ = super::multipart::parse(&mut store, (form, body), &mut arguments, &limits);
        urlencoded::parse(&mut store, (text, Slot::ArgsPost), &mut arguments, &limits);
        let spoiled = random.spoil(form);
        let _ = super::multipart::parse(&mut store, (&spoiled, body), &mut arguments, &limits);
        for entry in store.entries() {
            let (name, value) = (store.bytes(entry.name), store.bytes(entry.value));
            assert_eq!(
                (name.len(), value.len()),
                (entry.name.len(), entry.value.len())
            );
        }
    }
}
