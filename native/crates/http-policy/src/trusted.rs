//! Field names that the edge or a backend trusts, and spellings that a backend may take for them.

/// Fields that mean something end to end: a client must not have them removed as hop-by-hop, or
/// the backend would see another request than the WAF did.
const PROTECTED: [&[u8]; 18] = [
    b"host",
    b"cookie",
    b"authorization",
    b"expect",
    b"forwarded",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"origin",
    b"range",
    b"referer",
    b"transfer-encoding",
    b"user-agent",
    b"via",
    b"x-real-ip",
    b"x-request-id",
];

/// The families of such fields.
const PROTECTED_PREFIXES: [&[u8]; 4] = [b"content-", b"sec-", b"x-forwarded-", b"x-original-"];

/// Fields that decide on framing, host or client: `X_Forwarded_For` must not pass for one of them
/// (CGI, WSGI and Rack see both names as `HTTP_X_FORWARDED_FOR`).
const IMITATED: [&[u8]; 7] = [
    b"content-length",
    b"transfer-encoding",
    b"content-type",
    b"content-encoding",
    b"x-real-ip",
    b"x-request-id",
    b"x-method-override",
];

/// Whether `Connection` may not name this field.
pub(crate) fn is_protected(name: &[u8]) -> bool {
    PROTECTED.iter().any(|known| is_alike(name, known))
        || PROTECTED_PREFIXES
            .iter()
            .any(|prefix| has_prefix(name, prefix))
}

/// Whether a name with `_` looks like one that is trusted.
pub(crate) fn is_imitation(name: &[u8]) -> bool {
    IMITATED.iter().any(|known| is_alike(name, known)) || has_prefix(name, b"x-forwarded-")
}

/// Equal when case and the difference between `-` and `_` do not count.
pub(crate) fn is_alike(name: &[u8], known: &[u8]) -> bool {
    name.len() == known.len() && has_prefix(name, known)
}

/// Whether `name` begins with `prefix` when case and the difference between `-` and `_` do not
/// count.
pub(crate) fn has_prefix(name: &[u8], prefix: &[u8]) -> bool {
    let fold = |byte: &u8| match byte {
        b'_' => b'-',
        other => other.to_ascii_lowercase(),
    };
    name.get(..prefix.len())
        .is_some_and(|start| start.iter().map(fold).eq(prefix.iter().copied()))
}
