//! Errors on their way to JavaScript.

use std::fmt::Display;

/// A JavaScript `Error` with the text of `error`.
pub fn to_js(error: impl Display) -> napi::Error {
    napi::Error::from_reason(error.to_string())
}
