//! Trailer fields (RFC 9110 §6.5): counted, checked like the fields of a head, and never allowed
//! to say what only a head may say.

use crate::syntax::{is_clean_value, is_token};
use crate::{Refusal, trusted};
use bytes::Bytes;

/// Limits on the trailers of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrailerLimits {
    /// Field lines. Beyond it: [`Refusal::TrailersTooLarge`].
    pub count_max: usize,
    /// Names and values together. Beyond it: [`Refusal::TrailersTooLarge`].
    pub bytes_max: usize,
}

impl Default for TrailerLimits {
    /// The defaults of `limits.trailerCountMax` and `limits.trailerMax`.
    fn default() -> TrailerLimits {
        TrailerLimits {
            count_max: 16,
            bytes_max: 8 * 1024,
        }
    }
}

/// The trailers of a message: those of h2 and h3 as decoded, those of h1 through [`BodyReader`].
///
/// [`BodyReader`]: crate::BodyReader
pub fn trailers(
    fields: impl Iterator<Item = (Bytes, Bytes)>,
    limits: &TrailerLimits,
) -> Result<Vec<(Bytes, Bytes)>, Refusal> {
    let mut trailers = Trailers::default();
    for (name, value) in fields {
        trailers.add(name, value, limits)?;
    }
    Ok(trailers.fields)
}

/// Trailers of one message as they come.
#[derive(Debug, Default)]
pub(crate) struct Trailers {
    pub fields: Vec<(Bytes, Bytes)>,
    bytes: usize,
}

impl Trailers {
    /// Bytes that another field line may still take.
    pub fn bytes_left(&self, limits: &TrailerLimits) -> usize {
        limits.bytes_max.saturating_sub(self.bytes)
    }

    /// Takes one field with a lower-case name.
    pub fn add(
        &mut self,
        name: Bytes,
        value: Bytes,
        limits: &TrailerLimits,
    ) -> Result<(), Refusal> {
        let line = name.len() + value.len();
        if line > self.bytes_left(limits) || self.fields.len() >= limits.count_max {
            return Err(Refusal::TrailersTooLarge);
        }
        if !is_token(&name) || name.iter().any(u8::is_ascii_uppercase) {
            return Err(Refusal::BadRequest(
                "trailer name is not a lower-case token",
            ));
        }
        if !is_clean_value(&value) {
            return Err(Refusal::BadRequest(
                "control byte in or whitespace around a trailer value",
            ));
        }
        if is_forbidden(&name) {
            return Err(Refusal::BadRequest("field that no trailer may hold"));
        }
        self.bytes += line;
        self.fields.push((name, value));
        Ok(())
    }
}

/// RFC 9110 §6.5.1: framing, routing, request modifiers, authentication and the form of the
/// content must be known before the content. A name with `_` counts as the one with `-`: many
/// backends read both alike.
fn is_forbidden(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 46] = [
        // framing and the connection
        b"connection",
        b"content-length",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        // routing
        b"alt-used",
        b"forwarded",
        b"host",
        b"max-forwards",
        b"via",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-url",
        b"x-real-ip",
        b"x-rewrite-url",
        // request modifiers
        b"cache-control",
        b"early-data",
        b"expect",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"pragma",
        b"range",
        // authentication
        b"authorization",
        b"cookie",
        b"origin",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"set-cookie",
        b"www-authenticate",
        // response control
        b"age",
        b"expires",
        b"location",
        b"retry-after",
        b"vary",
        // the form of the content
        b"content-encoding",
        b"content-location",
        b"content-range",
        b"content-type",
    ];
    let same = |known: &[u8]| trusted::is_alike(name, known);
    NAMES.iter().any(|known| same(known)) || trusted::has_prefix(name, b"x-forwarded-")
}

#[cfg(test)]
#[path = "trailers_tests.rs"]
mod tests;
