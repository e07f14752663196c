//! The Content-Disposition of one part of a multipart form.

/// What it says, and whether single quotes stood where only double ones may.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Disposition {
    pub name: Vec<u8>,
    pub filename: Vec<u8>,
    pub invalid_quoting: bool,
}

/// Reads `form-data; name="…"; filename="…"`; any other parameter is an error, because parsers
/// differ on which of several names wins.
pub fn parse(value: &[u8]) -> Result<Disposition, &'static str> {
    let Some(mut rest) = value.strip_prefix(b"form-data") else {
        return Err("not form-data");
    };
    let mut disposition = Disposition::default();
    rest = skip_blanks(rest);
    while let Some(after) = rest.strip_prefix(b";") {
        let (name, after) = parameter_name(skip_blanks(after))?;
        let (value, after) = parameter_value(skip_blanks(after), &mut disposition)?;
        disposition.invalid_quoting |= value.contains(&b'\'');
        let target = match name {
            b"name" => &mut disposition.name,
            b"filename" => &mut disposition.filename,
            _ => return Err("unknown parameter"),
        };
        if !target.is_empty() {
            return Err("duplicate parameter");
        }
        *target = value;
        rest = skip_blanks(after);
    }
    if !rest.is_empty() {
        return Err("semicolon expected");
    }
    if disposition.name.is_empty() {
        return Err("name missing");
    }
    Ok(disposition)
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
    text: &'a [u8],
    disposition: &mut Disposition,
) -> Result<(Vec<u8>, &'a [u8]), &'static str> {
    let (quote, mut rest) = match text {
        [quote @ (b'"' | b'\''), rest @ ..] => (*quote, rest),
        [] => return Err("parameter without value"),
        _ => {
            let end = text
                .iter()
                .position(|byte| !is_token(*byte))
                .unwrap_or(text.len());
            let (value, after) = text.split_at_checked(end).unwrap_or_default();
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
