//! The Content-Disposition of one part of a multipart form.

use super::urlencoded;

/// What it says, and whether single quotes stood where only double ones may.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Disposition {
    pub name: Vec<u8>,
    pub filename: Vec<u8>,
    /// The name that `filename*` spells; backends differ on which of the two they take.
    pub filename_extended: Vec<u8>,
    pub invalid_quoting: bool,
}

/// Reads `form-data; name="…"; filename="…"; filename*=UTF-8''…`; any other parameter is an error,
/// because parsers differ on which of several names wins. What was read before an error stays in
/// `disposition`.
pub fn parse(value: &[u8], disposition: &mut Disposition) -> Result<(), &'static str> {
    let Some(mut rest) = value.strip_prefix(b"form-data") else {
        return Err("not form-data");
    };
    rest = skip_blanks(rest);
    // As in ModSecurity, nothing may follow the last semicolon, not even a blank.
    while let Some(after) = rest.strip_prefix(b";").filter(|after| !after.is_empty()) {
        let (name, after) = parameter_name(skip_blanks(after))?;
        let (value, after) =
            parameter_value((skip_blanks(after), name == b"filename*"), disposition)?;
        let (target, value) = match name {
            b"name" => (&mut disposition.name, value),
            b"filename" => (&mut disposition.filename, value),
            b"filename*" => (&mut disposition.filename_extended, extended(&value)?),
            _ => return Err("unknown parameter"),
        };
        if !target.is_empty() {
            return Err("duplicate parameter");
        }
        *target = value;
        rest = skip_blanks(after);
    }
    if !rest.is_empty() && rest != b";" {
        // The byte before: a quote there closed too early.
        let before = value.len().checked_sub(rest.len() + 1);
        let before = before.and_then(|at| value.get(at));
        disposition.invalid_quoting |= matches!(before, Some(b'"' | b'\''));
        return Err("semicolon expected");
    }
    if disposition.name.is_empty() {
        return Err("name missing");
    }
    Ok(())
}

/// RFC 8187 §3.2.1: `UTF-8'language'a%20b`. RFC 7578 §4.2 wants no `filename*` in forms, but
/// clients that send file names beyond ASCII do it.
fn extended(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut pieces = value.splitn(3, |byte| *byte == b'\'');
    let (charset, language) = (pieces.next(), pieces.next());
    let known = [b"utf-8".as_slice(), b"iso-8859-1"];
    let charset = charset.unwrap_or_default();
    if !known.iter().any(|name| name.eq_ignore_ascii_case(charset)) {
        return Err("filename* in an unknown charset");
    }
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    let name = pieces.next().ok_or("malformed filename*")?;
    let mut invalid = !language.is_some_and(|language| language.iter().all(plain));
    let decoded = urlencoded::decode(name, false, &mut invalid);
    if invalid || decoded.is_empty() || decoded.contains(&0) {
        return Err("malformed filename*");
    }
    Ok(decoded)
}

fn parameter_name(text: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let end = text
        .iter()
        .position(|byte| matches!(byte, b'=' | b' ' | b'\t'));
    let (name, after) = text
        .split_at_checked(end.unwrap_or(text.len()))
        .unwrap_or_default();
    match skip_blanks(after) {
        [b'=', value @ ..] => Ok((name, value)),
        _ => Err("parameter without value"),
    }
}

fn parameter_value<'a>(
    (text, extended): (&'a [u8], bool),
    disposition: &mut Disposition,
) -> Result<(Vec<u8>, &'a [u8]), &'static str> {
    let (quote, mut rest) = match text {
        [quote @ (b'"' | b'\''), rest @ ..] if !extended => (*quote, rest),
        [] => return Err("parameter without value"),
        _ => {
            let end = text
                .iter()
                .position(|byte| !is_token(*byte))
                .unwrap_or(text.len());
            let (value, after) = text.split_at_checked(end).unwrap_or_default();
            // Inside double quotes it is a plain character: "it's.txt".
            disposition.invalid_quoting |= !extended && value.contains(&b'\'');
            return Ok((value.to_vec(), after));
        }
    };
    // Some backends accept single quotes, so they are read, and flagged.
    disposition.invalid_quoting |= quote == b'\'';
    let mut value = Vec::new();
    loop {
        match rest {
            [] => return Err("quoted value without end"),
            [b'\\', escaped, after @ ..] if *escaped == quote || *escaped == b'\\' => {
                value.push(*escaped);
                rest = after;
            }
            [b'\\'] => return Err("improper escaping"),
            [byte, after @ ..] if *byte == quote => return Ok((value, after)),
            [byte, after @ ..] => {
                value.push(*byte);
                rest = after;
            }
        }
    }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
    text.get(start.unwrap_or(text.len())..).unwrap_or_default()
}

/// RFC 2045 §5.1.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}
