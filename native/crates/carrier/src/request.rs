//! CONNECT-UDP requests and their answers (RFC 9298 §3, RFC 9220): what is asked is this node's own
//! device, and nothing else is reached through it.

use quiche::h3::{Header, NameValue};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const PREFIX: &str = "/.well-known/masque/udp/";
/// Whom we are, where intermediaries say so (RFC 9209).
const PROXY: &str = "edge-mesh";

/// Why a request is answered by something else than a carrier.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No request at all: its stream ends (RFC 9114 §4.1.2).
    Malformed,
    /// A status, and why (RFC 9209 §2.3, or words).
    Status(u16, &'static str),
}

/// Where a request to this target goes.
pub fn path_of(target: SocketAddr) -> String {
    let host = match target.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        // RFC 9298 §2: colons are written in percent.
        IpAddr::V6(ip) => ip.to_string().replace(':', "%3A"),
    };
    format!("{PREFIX}{host}/{}/", target.port())
}

/// The request for a carrier.
pub fn request(authority: &str, target: SocketAddr) -> Vec<Header> {
    [
        (":method", "CONNECT"),
        (":protocol", "connect-udp"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", &path_of(target)),
        ("capsule-protocol", "?1"),
    ]
    .map(|(name, value)| Header::new(name.as_bytes(), value.as_bytes()))
    .to_vec()
}

/// The answer that lets packets pass.
pub fn welcome() -> Vec<Header> {
    vec![
        Header::new(b":status", b"200"),
        Header::new(b"capsule-protocol", b"?1"),
    ]
}

/// The one that does not.
pub fn refusal(status: u16, why: &str) -> Vec<Header> {
    let mut headers = vec![
        Header::new(b":status", status.to_string().as_bytes()),
        Header::new(b"content-length", b"0"),
    ];
    let said = format!("{PROXY}; {why}");
    headers.push(Header::new(b"proxy-status", said.as_bytes()));
    headers
}

/// The status of a response; `None` for one that is malformed.
pub fn status_of(headers: &[impl NameValue]) -> Option<u16> {
    let mut all = headers.iter().filter(|field| field.name() == b":status");
    let (first, second) = (all.next()?, all.next());
    let digits = std::str::from_utf8(first.value()).ok()?;
    let is_status = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_status && second.is_none()).then(|| digits.parse().ok())?
}

/// What the pseudo-fields of a request say.
#[derive(Default)]
struct Asked<'a> {
    method: Option<&'a [u8]>,
    protocol: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
}

/// Whether a request is for one of the targets.
pub fn judge(headers: &[impl NameValue], targets: &[SocketAddr]) -> Result<(), Refusal> {
    let asked = read(headers)?;
    let method = asked.method.ok_or(Refusal::Malformed)?;
    if method != b"CONNECT" {
        // RFC 9114 §4.3.1: everything else needs these.
        let is_whole = asked.scheme.is_some() && asked.path.is_some();
        let is_whole = is_whole && asked.protocol.is_none();
        return Err(if is_whole {
            Refusal::Status(404, "error=http_request_denied")
        } else {
            Refusal::Malformed
        });
    }
    let authority = asked.authority.unwrap_or_default();
    let Some(protocol) = asked.protocol else {
        // RFC 9114 §4.4: a tunnel over TCP.
        let is_plain = asked.scheme.is_none() && asked.path.is_none() && !authority.is_empty();
        return Err(if is_plain {
            Refusal::Status(501, "error=http_request_denied")
        } else {
            Refusal::Malformed
        });
    };
    let (Some(scheme), Some(path)) = (asked.scheme, asked.path) else {
        return Err(Refusal::Malformed); // RFC 8441 §4
    };
    if protocol != b"connect-udp" {
        return Err(Refusal::Status(501, "error=http_request_denied"));
    }
    if scheme != b"https" || authority.is_empty() || path.is_empty() {
        return Err(Refusal::Malformed); // RFC 9298 §3.4
    }
    let target = std::str::from_utf8(path).ok().and_then(target_in);
    match target.ok_or(Refusal::Status(400, "error=http_request_error"))? {
        Target::Address(address) if targets.contains(&address) => Ok(()),
        Target::Address(_) => Err(Refusal::Status(403, "error=destination_ip_prohibited")),
        Target::Name => Err(Refusal::Status(403, "error=destination_ip_prohibited")),
    }
}

fn read(headers: &[impl NameValue]) -> Result<Asked<'_>, Refusal> {
    let mut asked = Asked::default();
    let mut is_past = false;
    for field in headers {
        let (name, value) = (field.name(), field.value());
        if !name.starts_with(b":") {
            is_past = true;
            let is_lower = name.iter().all(|byte| !byte.is_ascii_uppercase());
            // RFC 9114 §4.2, RFC 9297 §3.2: these say something of another framing.
            const FOREIGN: [&[u8]; 7] = [
                b"connection",
                b"keep-alive",
                b"proxy-connection",
                b"transfer-encoding",
                b"upgrade",
                b"content-length",
                b"content-type",
            ];
            if name.is_empty() || !is_lower || FOREIGN.contains(&name) {
                return Err(Refusal::Malformed);
            }
            continue;
        }
        let place = match name {
            b":method" => &mut asked.method,
            b":protocol" => &mut asked.protocol,
            b":scheme" => &mut asked.scheme,
            b":authority" => &mut asked.authority,
            b":path" => &mut asked.path,
            _ => return Err(Refusal::Malformed),
        };
        if is_past || place.replace(value).is_some() {
            return Err(Refusal::Malformed); // RFC 9114 §4.3
        }
    }
    Ok(asked)
}

#[derive(Debug, PartialEq, Eq)]
enum Target {
    Address(SocketAddr),
    /// Of a machine that would have to be looked up first.
    Name,
}

/// `None`: the path does not follow the template.
fn target_in(path: &str) -> Option<Target> {
    let (host, rest) = path.strip_prefix(PREFIX)?.split_once('/')?;
    let port = rest.strip_suffix('/')?;
    let is_number = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = is_number.then(|| port.parse().ok())??;
    let host = unescaped(host)?;
    if port == 0 || host.is_empty() {
        return None;
    }
    if host.contains(':') {
        let ip: Ipv6Addr = host.parse().ok()?;
        return Some(Target::Address(SocketAddr::new(ip.into(), port)));
    }
    Some(host.parse().map_or(Target::Name, |ip: IpAddr| {
        Target::Address(SocketAddr::new(ip, port))
    }))
}

/// RFC 3986 §2.1; a host has nothing but plain ASCII.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let plain = if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?].map(char::from);
            let [high, low] = digits.map(|digit| digit.to_digit(16));
            u8::try_from(high? * 16 + low?).ok()?
        } else if byte == b':' {
            return None; // RFC 9298 §2
        } else {
            byte
        };
        if !plain.is_ascii_graphic() || plain == b'/' {
            return None;
        }
        out.push(char::from(plain));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(changes: &[(&str, Option<&str>)]) -> Result<(), Refusal> {
        let targets = ["192.0.2.1:51820", "[2001:db8::1]:51820"].map(|one| one.parse().unwrap());
        let mut headers = request("192.0.2.1:443", targets[0]);
        for (name, value) in changes {
            headers.retain(|field| field.name() != name.as_bytes());
            if let Some(value) = value {
                let field = Header::new(name.as_bytes(), value.as_bytes());
                let at = if name.starts_with(':') {
                    0
                } else {
                    headers.len()
                };
                headers.insert(at, field);
            }
        }
        judge(&headers, &targets)
    }

    fn path(path: &str) -> Result<(), Refusal> {
        asked(&[(":path", Some(path))])
    }

    #[test]
    fn only_this_nodes_own_device_is_reached() {
        const PROHIBITED: Result<(), Refusal> =
            Err(Refusal::Status(403, "error=destination_ip_prohibited"));
        assert_eq!(asked(&[]), Ok(()));
        assert_eq!(
            path("/.well-known/masque/udp/2001%3Adb8%3a%3A1/51820/"),
            Ok(())
        );
        assert_eq!(
            path("/.well-known/masque/udp/2001%3Adb8%3A0%3A%3A1/51820/"),
            Ok(())
        );
        assert_eq!(path("/.well-known/masque/udp/192.0.2.1/51821/"), PROHIBITED);
        assert_eq!(path("/.well-known/masque/udp/127.0.0.1/53/"), PROHIBITED);
        assert_eq!(
            path("/.well-known/masque/udp/example.org/51820/"),
            PROHIBITED
        );
    }

    #[test]
    fn a_path_that_does_not_follow_the_template_is_refused() {
        for wrong in [
            "/",
            "/.well-known/masque/udp/192.0.2.1/51820",
            "/.well-known/masque/udp/192.0.2.1/51820/x",
            "/.well-known/masque/udp/192.0.2.1/51820//",
            "/.well-known/masque/udp/192.0.2.1/0/",
            "/.well-known/masque/udp/192.0.2.1/65536/",
            "/.well-known/masque/udp/192.0.2.1/+5182/",
            "/.well-known/masque/udp//51820/",
            "/.well-known/masque/udp/2001:db8::1/51820/",
            "/.well-known/masque/udp/192.0.2.1%2/51820/",
            "/.well-known/masque/udp/%0a/51820/",
            "/.well-known/masque/udp/%2F/51820/",
            "/.well-known/masque/udp/%3A%3A%3A/51820/",
            "/.well-known/masque/tcp/192.0.2.1/51820/",
        ] {
            let refused = Err(Refusal::Status(400, "error=http_request_error"));
            assert_eq!(path(wrong), refused, "{wrong}");
        }
    }

    #[test]
    fn requests_of_other_kinds_have_their_own_answers() {
        let status = |code| Err(Refusal::Status(code, "error=http_request_denied"));
        let get = [(":method", Some("GET")), (":protocol", None)];
        assert_eq!(asked(&get), status(404));
        assert_eq!(asked(&[(":protocol", Some("websocket"))]), status(501));
        let tcp = [(":protocol", None), (":scheme", None), (":path", None)];
        assert_eq!(asked(&tcp), status(501));
    }

    #[test]
    fn malformed_requests_get_no_answer() {
        for wrong in [
            (":method", None),
            (":path", None),
            (":scheme", None),
            (":scheme", Some("http")),
            (":authority", None),
            (":authority", Some("")),
            (":method", Some("GET")),
            (":protocol", None),
            (":else", Some("x")),
            ("content-length", Some("0")),
            ("transfer-encoding", Some("chunked")),
            ("Upper", Some("x")),
            ("", Some("x")),
        ] {
            assert_eq!(asked(&[wrong]), Err(Refusal::Malformed), "{wrong:?}");
        }
        let targets = ["192.0.2.1:1".parse().unwrap()];
        let mut twice = request("a", targets[0]);
        twice.insert(0, Header::new(b":method", b"CONNECT"));
        assert_eq!(judge(&twice, &targets), Err(Refusal::Malformed));
        let mut late = request("a", targets[0]);
        let first = late.remove(0);
        late.push(first);
        assert_eq!(judge(&late, &targets), Err(Refusal::Malformed));
    }

    #[test]
    fn a_response_has_one_status() {
        assert_eq!(status_of(&welcome()), Some(200));
        assert_eq!(status_of(&refusal(403, "error=x")), Some(403));
        for wrong in [
            &["20"][..],
            &["2000"],
            &["2x0"],
            &["+20"],
            &[],
            &["200", "200"],
        ] {
            let headers: Vec<Header> = wrong
                .iter()
                .map(|value| Header::new(b":status", value.as_bytes()))
                .collect();
            assert_eq!(status_of(&headers), None, "{wrong:?}");
        }
    }
}
