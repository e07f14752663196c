//! Body processors: strict parsers that turn a body into entries of the store. What a parser can
//! not read strictly is an error, which rules see as `REQBODY_ERROR`, never "no arguments".

pub mod boundary;
pub mod charset;
pub mod content_coding;
pub mod disposition;
pub mod json;
pub mod multipart;
pub mod urlencoded;
pub mod xml;

#[cfg(test)]
mod tests;

use crate::store::{Store, Text};
use crate::variable::Slot;
pub use content_coding::DecodeLimits;

/// Bounds on what is parsed, from the scan plan.
#[derive(Clone, Debug)]
pub struct ParseLimits {
    /// Arguments held, over query and body; further ones make the body an error.
    pub arguments_max: usize,
    /// Objects and arrays inside each other; the same bound holds for XML elements.
    pub json_depth_max: usize,
    /// Bytes of a body that are parsed.
    pub body_bytes_max: usize,
    /// `SecRequestBodyNoFilesLimit`: bytes of a body without the contents of its files.
    pub no_files_bytes_max: usize,
    /// `SecUploadFileLimit`: files of a form.
    pub files_max: usize,
    /// `SecArgumentSeparator`.
    pub argument_separator: u8,
    /// `SecRequestBodyAccess`: without it a body is not looked at.
    pub request_body_access: bool,
    /// `SecResponseBodyAccess`.
    pub response_body_access: bool,
    /// Bodies with a `Content-Encoding`.
    pub decode: DecodeLimits,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self {
            arguments_max: 1000,
            json_depth_max: 512,
            body_bytes_max: 13_107_200,
            no_files_bytes_max: usize::MAX,
            files_max: usize::MAX,
            argument_separator: b'&',
            request_body_access: true,
            response_body_access: false,
            decode: DecodeLimits::default(),
        }
    }
}

/// Who reads the request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyProcessor {
    Urlencoded,
    Multipart,
    Json,
    Xml,
}

impl BodyProcessor {
    /// By the name that rules use: `URLENCODED`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Urlencoded, Self::Multipart, Self::Json, Self::Xml]
            .into_iter()
            .find(|processor| processor.name().eq_ignore_ascii_case(name))
    }

    /// As ModSecurity chooses by itself: JSON and XML only come by `ctl:requestBodyProcessor`.
    pub fn from_content_type(content_type: &[u8]) -> Option<Self> {
        if starts_with_ignoring_case(content_type, b"multipart/form-data") {
            Some(Self::Multipart)
        } else if starts_with_ignoring_case(content_type, b"application/x-www-form-urlencoded") {
            Some(Self::Urlencoded)
        } else {
            None
        }
    }

    /// The value of `REQBODY_PROCESSOR`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Urlencoded => "URLENCODED",
            Self::Multipart => "MULTIPART",
            Self::Json => "JSON",
            Self::Xml => "XML",
        }
    }
}

/// What is wrong with a body beyond `SecRequestBodyNoFilesLimit`.
pub const OVER_NO_FILES_LIMIT: &str = "Request body excluding files is over its limit";

/// A body: its bytes, and the text under which the store holds them.
#[derive(Clone, Copy)]
pub struct Body<'a> {
    pub bytes: &'a [u8],
    pub text: Text,
}

/// Counts the arguments as they are added, and their sizes, for the limit and `ARGS_COMBINED_SIZE`.
#[derive(Debug, Default)]
pub struct Arguments {
    count: usize,
    combined_size: u64,
    /// An argument beyond the limit was left out.
    pub over_limit: bool,
}

impl Arguments {
    /// Whether no further argument is taken.
    pub fn is_full(&self, max: usize) -> bool {
        self.count >= max
    }

    /// Adds one argument, unless the limit is reached.
    pub fn add(&mut self, store: &mut Store, slot: Slot, pair: (Text, Text), max: usize) {
        if self.count >= max {
            self.over_limit = true;
            return;
        }
        self.count += 1;
        self.combined_size += (pair.0.len() + pair.1.len()) as u64;
        store.push(slot, pair.0, pair.1);
    }

    /// `ARGS_COMBINED_SIZE`; none as long as there are no arguments.
    pub fn combined_size(&self) -> Option<u64> {
        (self.count > 0).then_some(self.combined_size)
    }
}

/// ASCII case is the only case that header values have.
pub fn starts_with_ignoring_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
