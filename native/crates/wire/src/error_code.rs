//! The names of operating errors; proxy/errors.ts has the same table with side, status and retry.

macro_rules! error_codes {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// An operating error. The number is its index in `errorNames()`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)] // proxy/errors.ts explains each
        pub enum ErrorCode { $($variant),+ }

        impl ErrorCode {
            /// Every code, in order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),+];

            /// The name in the error table.
            pub fn name(self) -> &'static str {
                match self { $(ErrorCode::$variant => $name),+ }
            }
        }
    };
}

error_codes! {
    BadRequest = "BAD_REQUEST",
    HeaderTooLarge = "HEADER_TOO_LARGE",
    HeaderTimeout = "HEADER_TIMEOUT",
    UriTooLong = "URI_TOO_LONG",
    VersionNotSupported = "VERSION_NOT_SUPPORTED",
    RequestBodyTooLarge = "REQUEST_BODY_TOO_LARGE",
    RequestBodyIncomplete = "REQUEST_BODY_INCOMPLETE",
    RequestBodyTimeout = "REQUEST_BODY_TIMEOUT",
    BodyBudgetExhausted = "BODY_BUDGET_EXHAUSTED",
    ExpectationFailed = "EXPECTATION_FAILED",
    TooManyConnections = "TOO_MANY_CONNECTIONS",
    WafUnavailable = "WAF_UNAVAILABLE",
    WafQueueFull = "WAF_QUEUE_FULL",
    WafPoison = "WAF_POISON",
    UpstreamConnectFailed = "UPSTREAM_CONNECT_FAILED",
    UpstreamConnectTimeout = "UPSTREAM_CONNECT_TIMEOUT",
    UpstreamFirstByteTimeout = "UPSTREAM_FIRST_BYTE_TIMEOUT",
    UpstreamIdleTimeout = "UPSTREAM_IDLE_TIMEOUT",
    UpstreamInvalidResponse = "UPSTREAM_INVALID_RESPONSE",
    UpstreamClosed = "UPSTREAM_CLOSED",
    ClientAborted = "CLIENT_ABORTED",
    Internal = "INTERNAL",
    NoSuchEndpoint = "NO_SUCH_ENDPOINT",
    UpgradeNotSupported = "UPGRADE_NOT_SUPPORTED",
    ContentRefused = "CONTENT_REFUSED",
    NoRoute = "NO_ROUTE",
    MisdirectedRequest = "MISDIRECTED_REQUEST",
    WafBudgetExceeded = "WAF_BUDGET_EXCEEDED",
    TrailersTooLarge = "TRAILERS_TOO_LARGE",
    RequestTooSlow = "REQUEST_TOO_SLOW",
    AddressConnectionsExceeded = "ADDRESS_CONNECTIONS_EXCEEDED",
    HandshakeTimeout = "HANDSHAKE_TIMEOUT",
    ProtocolViolation = "PROTOCOL_VIOLATION",
    StreamResetsExceeded = "STREAM_RESETS_EXCEEDED",
    ControlFramesExceeded = "CONTROL_FRAMES_EXCEEDED",
    ConnectionBytesExceeded = "CONNECTION_BYTES_EXCEEDED",
    TooEarly = "TOO_EARLY",
    NoHealthyEndpoint = "NO_HEALTHY_ENDPOINT",
    UpstreamTlsFailed = "UPSTREAM_TLS_FAILED",
    WafServiceUnavailable = "WAF_SERVICE_UNAVAILABLE",
    WafServiceTimeout = "WAF_SERVICE_TIMEOUT",
    WafRulesUnknown = "WAF_RULES_UNKNOWN",
}

impl From<edge_http_policy::Refusal> for ErrorCode {
    fn from(refusal: edge_http_policy::Refusal) -> ErrorCode {
        use edge_http_policy::Refusal;
        match refusal {
            Refusal::BadRequest(_) => ErrorCode::BadRequest,
            Refusal::HeaderTooLarge => ErrorCode::HeaderTooLarge,
            Refusal::TrailersTooLarge => ErrorCode::TrailersTooLarge,
            Refusal::UriTooLong => ErrorCode::UriTooLong,
            Refusal::VersionNotSupported => ErrorCode::VersionNotSupported,
            Refusal::ExpectationFailed => ErrorCode::ExpectationFailed,
        }
    }
}
