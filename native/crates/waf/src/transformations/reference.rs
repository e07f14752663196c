//! Each transformation against a slow and obvious one, written from its description in the
//! reference manual, over texts made of the pieces that matter to it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::borrow::Cow;

use edge_trials::Random;
use regex::bytes::{Captures, Regex};

use super::Transformation;

const ROUNDS: usize = 3_000;
const SPACE: &str = r"[ \t\n\x0b\x0c\r]";

type Reference = fn(&[u8]) -> Vec<u8>;

#[rustfmt::skip] // One line per transformation reads as a table.
const REFERENCES: [(&str, Reference); 27] = [
    ("none", |text| text.to_vec()),
    ("lowercase", |text| text.iter().map(u8::to_ascii_lowercase).collect()),
    ("uppercase", |text| text.iter().map(u8::to_ascii_uppercase).collect()),
    ("length", |text| text.len().to_string().into()),
    ("removenulls", |text| all(text, r"\x00", |_| vec![])),
    ("replacenulls", |text| all(text, r"\x00", |_| b" ".into())),
    ("removewhitespace", |text| all(text, &format!(r"{SPACE}|[\xa0\xc2]"), |_| vec![])),
    ("compresswhitespace", |text| all(text, &format!("{SPACE}+"), |_| b" ".into())),
    ("trimleft", |text| all(text, &format!(r"\A{SPACE}+"), |_| vec![])),
    ("trimright", |text| all(text, &format!(r"{SPACE}+\z"), |_| vec![])),
    ("trim", |text| all(text, &format!(r"\A{SPACE}+|{SPACE}+\z"), |_| vec![])),
    ("urldecode", |text| all(text, r"%([0-9a-fA-F]{2})|\+", |found| {
        found.get(1).map_or(b" ".into(), |digits| unhex(digits.as_bytes()))
    })),
    ("urldecodeuni", |text| all(text, r"%[uU]([0-9a-fA-F]{4})|%([0-9a-fA-F]{2})|\+", |found| {
        let two = found.get(2).map_or(b" ".into(), |digits| unhex(digits.as_bytes()));
        found.get(1).map_or(two, |digits| wide(digits.as_bytes()))
    })),
    ("urlencode", |text| all(text, r"[^a-zA-Z0-9*]", |found| match &found[0] {
        b" " => b"+".into(),
        other => format!("%{:02x}", other[0]).into(),
    })),
    ("hexencode", |text| text.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
    ("sqlhexdecode", |text| all(text, r"0[xX]((?:[0-9a-fA-F]{2})+)", |found| unhex(&found[1]))),
    ("replacecomments", |text| all(text, r"(?s)/\*.*?(?:\*/|\z)", |_| b" ".into())),
    ("removecommentschar", |text| all(text, r"<!--|-->|/\*|\*/|--|#", |_| vec![])),
    ("removecomments", remove_comments),
    ("parityzero7bit", |text| text.iter().map(|byte| byte % 128).collect()),
    ("parityeven7bit", |text| text.iter().map(|byte| with_parity(*byte, 0)).collect()),
    ("parityodd7bit", |text| text.iter().map(|byte| with_parity(*byte, 1)).collect()),
    ("cmdline", cmd_line),
    ("base64encode", base64_encode),
    ("jsdecode", |text| {
        let (hex, octal) = ("[0-9a-fA-F]", "[0-3][0-7]{0,2}|[4-7][0-7]?");
        let escapes = format!(r"(?s)\\u({hex}{{4}})|\\x({hex}{{2}})|\\({octal})|\\(.)");
        all(text, &escapes, |found| match (found.get(1), found.get(2), found.get(3)) {
            (Some(digits), _, _) => wide(digits.as_bytes()),
            (_, Some(digits), _) => unhex(digits.as_bytes()),
            (_, _, Some(digits)) => from_octal(digits.as_bytes()),
            _ => named(found[4][0]),
        })
    }),
    ("cssdecode", |text| {
        let escapes = format!(r"(?s)\\(?:([0-9a-fA-F]{{1,6}}){SPACE}?|(.)|\z)");
        all(text, &escapes, |found| match (found.get(1), found.get(2)) {
            (Some(digits), _) => css(digits.as_bytes()),
            (_, Some(plain)) if plain.as_bytes() == b"\n" => vec![],
            (_, Some(plain)) => plain.as_bytes().to_vec(),
            _ => vec![],
        })
    }),
    ("htmlentitydecode", |text| {
        let entities = r"&(?:#[xX]([0-9a-fA-F]{1,15})|#([0-9]{1,18})|(?i:(quot|amp|lt|gt|nbsp)))";
        // A longer word is another entity: the rest of it is looked at, and put back.
        all(text, &format!(r"{entities}([0-9a-zA-Z]*);?"), entity)
    }),
];

/// Every match of the pattern, replaced.
fn all(text: &[u8], pattern: &str, replace: fn(&Captures<'_>) -> Vec<u8>) -> Vec<u8> {
    let pattern = Regex::new(&format!("(?-u){pattern}")).unwrap();
    pattern.replace_all(text, replace).into_owned()
}

fn unhex(digits: &[u8]) -> Vec<u8> {
    let pairs = digits.chunks(2);
    let value = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(value).collect()
}

/// Four digits: the low byte, full-width forms as their ASCII.
fn wide(digits: &[u8]) -> Vec<u8> {
    match unhex(digits)[..] {
        [0xff, low @ 1..0x5f] => vec![low + 0x20],
        [_, low] => vec![low],
        _ => vec![],
    }
}

fn from_octal(digits: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(digits).unwrap();
    vec![u8::from_str_radix(text, 8).unwrap()]
}

fn named(letter: u8) -> Vec<u8> {
    let controls = [
        (b'a', 7),
        (b'b', 8),
        (b'f', 12),
        (b'n', 10),
        (b'r', 13),
        (b't', 9),
        (b'v', 11),
    ];
    let mut known = controls.iter().filter(|(name, _)| *name == letter);
    vec![known.next().map_or(letter, |(_, control)| *control)]
}

/// The last two digits; of four, and of more with zeros before them, the full-width forms fold.
fn css(digits: &[u8]) -> Vec<u8> {
    let padded = [b"0".as_slice(), digits].concat();
    let zeros = digits.len().saturating_sub(4);
    if digits.len() >= 4 && digits[..zeros].iter().all(|digit| *digit == b'0') {
        return wide(&digits[zeros..]);
    }
    unhex(&padded[padded.len() - 2..])
}

fn entity(found: &Captures<'_>) -> Vec<u8> {
    let number = |digits: &[u8], radix| {
        let text = std::str::from_utf8(digits).unwrap();
        (i64::from_str_radix(text, radix).unwrap() & 0xff) as u8
    };
    let semicolon = |value: u8| {
        // What follows a number's digits stays; a semicolon right behind them goes.
        let rest = &found[4];
        let mut out = vec![value];
        out.extend_from_slice(rest);
        out.extend(
            found[0]
                .ends_with(b";")
                .then_some(b';')
                .filter(|_| !rest.is_empty()),
        );
        out
    };
    let word = match found
        .get(3)
        .map(|name| name.as_bytes().to_ascii_lowercase())
    {
        Some(name) if found[4].is_empty() => match &name[..] {
            b"quot" => b'"',
            b"amp" => b'&',
            b"lt" => b'<',
            b"gt" => b'>',
            _ => 0xa0,
        },
        Some(_) => return found[0].to_vec(),
        None => 0,
    };
    match (found.get(1), found.get(2)) {
        (Some(digits), _) => semicolon(number(digits.as_bytes(), 16)),
        (_, Some(digits)) => semicolon(number(digits.as_bytes(), 10)),
        _ => vec![word],
    }
}

fn remove_comments(text: &[u8]) -> Vec<u8> {
    let comments = r"(?s)(?:/\*|<!--).*?(?:\*/|-->)|((?:/\*|<!--).*\z)|(?:--|#).*\z";
    all(text, comments, |found| {
        found.get(1).map_or(vec![], |_| b" ".into())
    })
}

fn with_parity(byte: u8, odd: usize) -> u8 {
    let ones = format!("{byte:b}").matches('1').count();
    if ones % 2 == odd {
        byte % 128
    } else {
        byte | 128
    }
}

fn cmd_line(text: &[u8]) -> Vec<u8> {
    let text = all(text, r#"["'\\^]"#, |_| vec![]);
    let text = all(&text, r"[ ,;\t\r\n]+", |_| b" ".into());
    all(&text, r" ([/(])", |found| found[1].to_vec()).to_ascii_lowercase()
}

fn base64_encode(text: &[u8]) -> Vec<u8> {
    let alphabet: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(*b"+/")
        .collect();
    let mut bits: String = text.iter().map(|byte| format!("{byte:08b}")).collect();
    while !bits.len().is_multiple_of(6) {
        bits.push('0');
    }
    let sextets = bits.as_bytes().chunks(6);
    let letter =
        |bits| alphabet[usize::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap()];
    let mut out: Vec<u8> = sextets.map(letter).collect();
    while !out.len().is_multiple_of(4) {
        out.push(b'=');
    }
    out
}

fn text(random: &mut Random) -> Vec<u8> {
    let pieces = "% u U uff1c 0 4 41 x 0x \\ \\x \\u003c \\12 \\n & # &# &#x &lt &amp; nbsp \
                  ; / * /* */ -- <!-- --> . .. ^ \" ' , ( a Z 9 + = \x00 \t \r \n \x0b \x0c";
    let pieces: Vec<&str> = pieces.split(' ').collect();
    let mut text = Vec::new();
    for _ in 0..random.below(12) {
        match random.below(8) {
            0 => text.push(random.byte()),
            1 => text.push(b' '),
            _ => text.extend_from_slice(pieces[random.below(pieces.len())].as_bytes()),
        }
    }
    text
}

#[test]
fn transformations_do_what_their_descriptions_say() {
    let mut random = Random::default();
    let texts: Vec<Vec<u8>> = (0..ROUNDS).map(|_| text(&mut random)).collect();
    for (name, reference) in REFERENCES {
        let transformation = Transformation::from_name(name).unwrap();
        for text in &texts {
            let actual = transformation.apply(Cow::Borrowed(text));
            let expected = reference(text);
            let shown = |text: &[u8]| text.escape_ascii().to_string();
            assert_eq!(
                shown(&actual),
                shown(&expected),
                "{name} of {}",
                shown(text)
            );
        }
    }
}

#[test]
fn utf8_to_unicode_spells_every_character() {
    let transformation = Transformation::from_name("utf8tounicode").unwrap();
    for code in (1..0x11_0000).step_by(61).filter_map(char::from_u32) {
        let text = format!("a{code}b");
        let expected = if code.is_ascii() {
            text.clone()
        } else {
            format!("a%u{:04x}b", u32::from(code))
        };
        let actual = transformation.apply(Cow::Borrowed(text.as_bytes()));
        assert_eq!(*actual, *expected.as_bytes(), "{code:?}");
    }
}
