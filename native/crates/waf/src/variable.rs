//! The SecLang variables: their names, and where in the store their texts lie.

/// A place in the store. Collections hold many named texts, the others one text without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[rustfmt::skip] // One line per area reads as a table.
pub enum Slot {
    ArgsGet, ArgsPost, ArgsBody, ArgsCombinedSize, UrlencodedError,
    RequestHeaders, RequestCookies, AuthType, ServerName,
    RequestMethod, RequestUri, RequestUriRaw, RequestFilename, RequestBasename, QueryString,
    RequestLine, RequestProtocol, FullRequest, FullRequestLength,
    RequestBody, RequestBodyLength, ReqbodyProcessor, ReqbodyError, ReqbodyErrorMsg,
    InboundDataError, OutboundDataError,
    RemoteAddr, RemotePort, ServerAddr, ServerPort, UniqueId,
    Files, FilesSizes, FilesCombinedSize, FilesTmpNames, FilesTmpContent,
    MultipartPartHeaders, MultipartName, MultipartFilename,
    MultipartStrictError, MultipartUnmatchedBoundary, MultipartBoundaryQuoted,
    MultipartBoundaryWhitespace, MultipartDataBefore, MultipartDataAfter, MultipartHeaderFolding,
    MultipartLfLine, MultipartCrlfLfLines, MultipartMissingSemicolon, MultipartInvalidQuoting,
    MultipartInvalidPart, MultipartInvalidHeaderFolding, MultipartFileLimitExceeded,
    Xml,
    ResponseStatus, ResponseProtocol, StatusLine, ResponseHeaders, ResponseBody,
    ResponseContentLength, ResponseContentType,
}

impl Slot {
    /// Its place in a set of slots.
    pub fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Whether entries of this slot have names.
    pub fn is_collection(self) -> bool {
        matches!(
            self,
            Self::ArgsGet
                | Self::ArgsPost
                | Self::ArgsBody
                | Self::RequestHeaders
                | Self::RequestCookies
                | Self::Files
                | Self::FilesSizes
                | Self::FilesTmpNames
                | Self::FilesTmpContent
                | Self::MultipartPartHeaders
                | Self::MultipartName
                | Self::MultipartFilename
                | Self::Xml
                | Self::ResponseHeaders
        )
    }
}

/// Slots in all: one more than the last.
pub const SLOTS: usize = Slot::ResponseContentType as usize + 1;

const _: () = assert!(SLOTS <= 64, "a set of slots is one word");

/// Which text of a named entry a variable shows: `ARGS` the values, `ARGS_NAMES` the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Value,
    Name,
}

/// Where a variable's texts lie; `ARGS` lies in three slots.
pub type View = (Slot, Side);

/// A variable, as its index in the table; hits carry this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable(u8);

impl Variable {
    /// The variable of this upper-case name.
    pub fn from_name(name: &str) -> Option<Self> {
        let index = TABLE.iter().position(|(known, _)| *known == name)?;
        u8::try_from(index).ok().map(Self)
    }

    /// Its upper-case SecLang name.
    pub fn name(self) -> &'static str {
        TABLE.get(usize::from(self.0)).map_or("", |(name, _)| name)
    }

    /// Its index in `names()`.
    pub fn index(self) -> u32 {
        u32::from(self.0)
    }

    /// Where its texts lie; empty for a variable known only while reasoning (TX…).
    pub fn views(self) -> &'static [View] {
        TABLE
            .get(usize::from(self.0))
            .map_or(&[], |(_, views)| views)
    }

    /// The slot of a variable that is no collection and shows what the request or response holds.
    pub fn scalar(self) -> Option<Slot> {
        match self.views() {
            [(slot, Value)] if !slot.is_collection() => Some(*slot),
            _ => None,
        }
    }

    /// Whether it shows the whole request, which is put together only on demand.
    pub fn is_full_request(self) -> bool {
        let mut views = self.views().iter();
        views.any(|(slot, _)| matches!(slot, Slot::FullRequest | Slot::FullRequestLength))
    }
}

/// Every name, in the order of the indices that hits carry.
pub fn names() -> Vec<&'static str> {
    TABLE.iter().map(|(name, _)| *name).collect()
}

/// Variables that the TypeScript side answers: only leaves marked `textOnly` may name them.
const REASONED: &[View] = &[];

use Side::{Name, Value};

#[rustfmt::skip] // One line per variable reads as a table.
static TABLE: &[(&str, &[View])] = &[
    ("ARGS", &[(Slot::ArgsGet, Value), (Slot::ArgsPost, Value), (Slot::ArgsBody, Value)]),
    ("ARGS_NAMES", &[(Slot::ArgsGet, Name), (Slot::ArgsPost, Name), (Slot::ArgsBody, Name)]),
    ("ARGS_GET", &[(Slot::ArgsGet, Value)]),
    ("ARGS_GET_NAMES", &[(Slot::ArgsGet, Name)]),
    ("ARGS_POST", &[(Slot::ArgsPost, Value)]),
    ("ARGS_POST_NAMES", &[(Slot::ArgsPost, Name)]),
    ("ARGS_COMBINED_SIZE", &[(Slot::ArgsCombinedSize, Value)]),
    ("URLENCODED_ERROR", &[(Slot::UrlencodedError, Value)]),
    ("REQUEST_HEADERS", &[(Slot::RequestHeaders, Value)]),
    ("REQUEST_HEADERS_NAMES", &[(Slot::RequestHeaders, Name)]),
    ("REQUEST_COOKIES", &[(Slot::RequestCookies, Value)]),
    ("REQUEST_COOKIES_NAMES", &[(Slot::RequestCookies, Name)]),
    ("AUTH_TYPE", &[(Slot::AuthType, Value)]),
    ("SERVER_NAME", &[(Slot::ServerName, Value)]),
    ("REQUEST_METHOD", &[(Slot::RequestMethod, Value)]),
    ("REQUEST_URI", &[(Slot::RequestUri, Value)]),
    ("REQUEST_URI_RAW", &[(Slot::RequestUriRaw, Value)]),
    ("REQUEST_FILENAME", &[(Slot::RequestFilename, Value)]),
    ("PATH_INFO", &[(Slot::RequestFilename, Value)]),
    ("REQUEST_BASENAME", &[(Slot::RequestBasename, Value)]),
    ("QUERY_STRING", &[(Slot::QueryString, Value)]),
    ("REQUEST_LINE", &[(Slot::RequestLine, Value)]),
    ("REQUEST_PROTOCOL", &[(Slot::RequestProtocol, Value)]),
    ("FULL_REQUEST", &[(Slot::FullRequest, Value)]),
    ("FULL_REQUEST_LENGTH", &[(Slot::FullRequestLength, Value)]),
    ("REQUEST_BODY", &[(Slot::RequestBody, Value)]),
    ("REQUEST_BODY_LENGTH", &[(Slot::RequestBodyLength, Value)]),
    ("REQBODY_PROCESSOR", &[(Slot::ReqbodyProcessor, Value)]),
    ("REQBODY_ERROR", &[(Slot::ReqbodyError, Value)]),
    ("REQBODY_ERROR_MSG", &[(Slot::ReqbodyErrorMsg, Value)]),
    ("REQBODY_PROCESSOR_ERROR", &[(Slot::ReqbodyError, Value)]),
    ("REQBODY_PROCESSOR_ERROR_MSG", &[(Slot::ReqbodyErrorMsg, Value)]),
    ("INBOUND_DATA_ERROR", &[(Slot::InboundDataError, Value)]),
    ("OUTBOUND_DATA_ERROR", &[(Slot::OutboundDataError, Value)]),
    ("REMOTE_ADDR", &[(Slot::RemoteAddr, Value)]),
    ("REMOTE_HOST", &[(Slot::RemoteAddr, Value)]),
    ("REMOTE_PORT", &[(Slot::RemotePort, Value)]),
    ("SERVER_ADDR", &[(Slot::ServerAddr, Value)]),
    ("SERVER_PORT", &[(Slot::ServerPort, Value)]),
    ("UNIQUE_ID", &[(Slot::UniqueId, Value)]),
    ("FILES", &[(Slot::Files, Value)]),
    ("FILES_NAMES", &[(Slot::Files, Name)]),
    ("FILES_SIZES", &[(Slot::FilesSizes, Value)]),
    ("FILES_COMBINED_SIZE", &[(Slot::FilesCombinedSize, Value)]),
    ("FILES_TMPNAMES", &[(Slot::FilesTmpNames, Value)]),
    ("FILES_TMP_CONTENT", &[(Slot::FilesTmpContent, Value)]),
    ("MULTIPART_PART_HEADERS", &[(Slot::MultipartPartHeaders, Value)]),
    ("MULTIPART_NAME", &[(Slot::MultipartName, Value)]),
    ("MULTIPART_FILENAME", &[(Slot::MultipartFilename, Value)]),
    ("MULTIPART_STRICT_ERROR", &[(Slot::MultipartStrictError, Value)]),
    ("MULTIPART_UNMATCHED_BOUNDARY", &[(Slot::MultipartUnmatchedBoundary, Value)]),
    ("MULTIPART_BOUNDARY_QUOTED", &[(Slot::MultipartBoundaryQuoted, Value)]),
    ("MULTIPART_BOUNDARY_WHITESPACE", &[(Slot::MultipartBoundaryWhitespace, Value)]),
    ("MULTIPART_DATA_BEFORE", &[(Slot::MultipartDataBefore, Value)]),
    ("MULTIPART_DATA_AFTER", &[(Slot::MultipartDataAfter, Value)]),
    ("MULTIPART_HEADER_FOLDING", &[(Slot::MultipartHeaderFolding, Value)]),
    ("MULTIPART_LF_LINE", &[(Slot::MultipartLfLine, Value)]),
    ("MULTIPART_CRLF_LF_LINES", &[(Slot::MultipartCrlfLfLines, Value)]),
    ("MULTIPART_MISSING_SEMICOLON", &[(Slot::MultipartMissingSemicolon, Value)]),
    ("MULTIPART_SEMICOLON_MISSING", &[(Slot::MultipartMissingSemicolon, Value)]),
    ("MULTIPART_INVALID_QUOTING", &[(Slot::MultipartInvalidQuoting, Value)]),
    ("MULTIPART_INVALID_PART", &[(Slot::MultipartInvalidPart, Value)]),
    ("MULTIPART_INVALID_HEADER_FOLDING", &[(Slot::MultipartInvalidHeaderFolding, Value)]),
    ("MULTIPART_FILE_LIMIT_EXCEEDED", &[(Slot::MultipartFileLimitExceeded, Value)]),
    ("XML", &[(Slot::Xml, Value)]),
    ("RESPONSE_STATUS", &[(Slot::ResponseStatus, Value)]),
    ("RESPONSE_PROTOCOL", &[(Slot::ResponseProtocol, Value)]),
    ("STATUS_LINE", &[(Slot::StatusLine, Value)]),
    ("RESPONSE_HEADERS", &[(Slot::ResponseHeaders, Value)]),
    ("RESPONSE_HEADERS_NAMES", &[(Slot::ResponseHeaders, Name)]),
    ("RESPONSE_BODY", &[(Slot::ResponseBody, Value)]),
    ("RESPONSE_CONTENT_LENGTH", &[(Slot::ResponseContentLength, Value)]),
    ("RESPONSE_CONTENT_TYPE", &[(Slot::ResponseContentType, Value)]),
    ("TX", REASONED),
    ("MATCHED_VAR", REASONED),
    ("MATCHED_VAR_NAME", REASONED),
    ("MATCHED_VARS", REASONED),
    ("MATCHED_VARS_NAMES", REASONED),
    ("RULE", REASONED),
    ("ENV", REASONED),
    ("GLOBAL", REASONED),
    ("IP", REASONED),
    ("SESSION", REASONED),
    ("SESSIONID", REASONED),
    ("USER", REASONED),
    ("USERID", REASONED),
    ("RESOURCE", REASONED),
    ("WEBAPPID", REASONED),
    ("HIGHEST_SEVERITY", REASONED),
    ("DURATION", REASONED),
    ("TIME", REASONED),
    ("TIME_DAY", REASONED),
    ("TIME_EPOCH", REASONED),
    ("TIME_HOUR", REASONED),
    ("TIME_MIN", REASONED),
    ("TIME_MON", REASONED),
    ("TIME_SEC", REASONED),
    ("TIME_WDAY", REASONED),
    ("TIME_YEAR", REASONED),
    ("GEO", REASONED),
    ("MSC_PCRE_ERROR", REASONED),
    ("MSC_PCRE_LIMITS_EXCEEDED", REASONED),
    ("USERAGENT_IP", REASONED),
    ("MODSEC_BUILD", REASONED),
    ("REMOTE_USER", REASONED),
    ("WEBSERVER_ERROR_LOG", REASONED),
    ("SCRIPT_FILENAME", REASONED),
    ("SCRIPT_BASENAME", REASONED),
    ("PERF_ALL", REASONED),
];

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_again_under_its_index() {
        for (index, name) in names().iter().enumerate() {
            let variable = Variable::from_name(name).unwrap();
            assert_eq!((variable.index() as usize, variable.name()), (index, *name));
        }
    }

    #[test]
    fn unknown_names_are_none() {
        assert_eq!(Variable::from_name("ARGZ"), None);
        assert_eq!(Variable::from_name("args"), None);
    }
}
