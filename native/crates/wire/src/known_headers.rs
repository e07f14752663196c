//! Header names that cross to TypeScript as an index.

use std::sync::OnceLock;

/// Lower-case names, by index in head records.
pub const KNOWN_HEADERS: &[&str] = &[
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "accept-language",
    "cookie",
    "referer",
    "content-type",
    "content-length",
    "connection",
    "cache-control",
    "pragma",
    "if-none-match",
    "if-modified-since",
    "if-match",
    "if-unmodified-since",
    "if-range",
    "range",
    "origin",
    "authorization",
    "proxy-authorization",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "sec-fetch-user",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "upgrade-insecure-requests",
    "priority",
    "te",
    "transfer-encoding",
    "expect",
    "upgrade",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
    "traceparent",
    "tracestate",
    "baggage",
    "content-encoding",
    "content-language",
    "content-disposition",
    "date",
    "dnt",
    "early-data",
    "from",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "soapaction",
    "trailer",
    "x-csrf-token",
    "x-api-key",
];

const LENGTH_MAX: usize = 32;

/// Index and name.
type Known = (u32, &'static [u8]);

/// The index of `name` when it is known and lower-case. Most names are settled by their length.
pub fn index_of(name: &[u8]) -> Option<u32> {
    static BY_LENGTH: OnceLock<[Vec<Known>; LENGTH_MAX]> = OnceLock::new();
    let by_length = BY_LENGTH.get_or_init(|| {
        std::array::from_fn(|length| {
            let all = (0u32..).zip(KNOWN_HEADERS.iter().map(|known| known.as_bytes()));
            all.filter(|(_, known)| known.len() == length).collect()
        })
    });
    let candidates = by_length.get(name.len())?;
    candidates
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(index, _)| *index)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_known_name_and_only_lower_case() {
        for (index, name) in KNOWN_HEADERS.iter().enumerate() {
            assert_eq!(
                index_of(name.as_bytes()),
                Some(u32::try_from(index).unwrap())
            );
            assert_eq!(index_of(name.to_ascii_uppercase().as_bytes()), None);
        }
        assert_eq!(index_of(b"x-unknown"), None);
    }
}
