//! The boundary parameter of `multipart/form-data`, as strictly as ModSecurity reads it: the first
//! parameter, written once, in lower case; others may follow one that is not quoted.

use super::starts_with_ignoring_case;

const MEDIA_TYPE: &[u8] = b"multipart/form-data";
const PARAMETER: &[u8] = b"boundary";
/// Longest Content-Type that is read.
const CONTENT_TYPE_BYTES_MAX: usize = 1024;

/// The boundary, and what was odd about how it was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Boundary {
    pub bytes: Vec<u8>,
    pub quoted: bool,
    pub whitespace: bool,
    pub missing_semicolon: bool,
}

/// Reads the boundary out of a Content-Type value.
pub fn parse(content_type: &[u8]) -> Result<Boundary, &'static str> {
    if content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return Err("Invalid boundary in C-T (length)");
    }
    if !starts_with_ignoring_case(content_type, MEDIA_TYPE) {
        return Err("Invalid MIME type");
    }
    let parameters = content_type.get(MEDIA_TYPE.len()..).unwrap_or_default();
    let mentions = mentions(parameters);
    if mentions > 1 {
        return Err("Multiple boundary parameters in C-T");
    }
    let Some(at) = memchr::memmem::find(parameters, PARAMETER) else {
        return Err(match mentions {
            0 => "Boundary not found in C-T",
            _ => "Invalid boundary in C-T (case sensitivity)",
        });
    };
    let (before, after) = parameters.split_at_checked(at).unwrap_or_default();
    let mut boundary = Boundary::default();
    match before
        .iter()
        .filter(|byte| !is_space(**byte))
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => boundary.missing_semicolon = true,
        [b';'] => {}
        _ => return Err("Invalid boundary in C-T (malformed)"),
    }
    let after = after.get(PARAMETER.len()..).unwrap_or_default();
    let Some(equals) = memchr::memchr(b'=', after) else {
        return Err("Invalid boundary in C-T (malformed)");
    };
    let (gap, value) = after.split_at_checked(equals).unwrap_or_default();
    if !gap.iter().copied().all(is_space) {
        return Err("Invalid boundary in C-T (parameter name)");
    }
    let value = value.get(1..).unwrap_or_default();
    boundary.whitespace = !gap.is_empty() || value.first().copied().is_some_and(is_space);
    boundary.bytes = unquote(value, &mut boundary.quoted)?.to_vec();
    if !characters_valid(&boundary.bytes) {
        return Err("Invalid boundary in C-T (characters)");
    }
    Ok(boundary)
}

/// How often "boundary" stands there, in any case, with an `=` somewhere behind.
fn mentions(text: &[u8]) -> usize {
    let text = text.to_ascii_lowercase();
    memchr::memmem::find_iter(&text, PARAMETER)
        .filter(|at| {
            text.get(at + PARAMETER.len()..)
                .is_some_and(|rest| rest.contains(&b'='))
        })
        .count()
}

fn unquote<'a>(value: &'a [u8], quoted: &mut bool) -> Result<&'a [u8], &'static str> {
    let inside = match value {
        [b'"', inside @ .., b'"'] => {
            *quoted = true;
            inside
        }
        [b'"', ..] | [.., b'"'] => return Err("Invalid boundary in C-T (quote)"),
        bare => bare.split(|byte| *byte == b';').next().unwrap_or_default(),
    };
    if inside.is_empty() {
        Err("Invalid boundary in C-T (empty)")
    } else {
        Ok(inside)
    }
}

/// RFC 2046 §5.1.1: a space is allowed, but not as the last character.
fn characters_valid(boundary: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    boundary.iter().all(allowed) && boundary.last() != Some(&b' ')
}

/// C's `isspace`.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
