//! One GET over HTTP/3, as a client: whether what listens there speaks it. A command of a few
//! seconds' life asks, so this waits on a socket of its own and knows no other thread.

use super::cid::{CID_BYTES, random};
use quiche::h3::{self, Event, Header, NameValue};
use quiche::{Connection, ConnectionId, RecvInfo};
use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Bytes of an answer that the server may send unasked: its body is not read to the end.
const BYTES_MAX: u64 = 256 * 1024;
const DATAGRAM_BYTES_MAX: usize = 1500;
/// Shortest wait: a timeout of zero would wait for ever.
const WAIT_MIN: Duration = Duration::from_millis(1);

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where.
    pub address: SocketAddr,
    /// SNI; '' for none.
    pub server_name: String,
    /// `:authority`.
    pub authority: String,
    /// `:path`.
    pub path: String,
    /// How long an answer may take in all.
    pub timeout: Duration,
}

/// The status of the answer. Nobody checks who the certificate is for: a proxy may serve a
/// self-signed one, and nothing secret is sent.
pub fn ask(question: &Question) -> Result<u16> {
    let mut client = Client::new(question)?;
    let mut h3 = None;
    loop {
        client.turn()?;
        if client.quic.is_closed() {
            return Err(closed(&client.quic));
        }
        if !client.quic.is_established() {
            continue;
        }
        if h3.is_none() {
            h3 = Some(begin(&mut client.quic, question).map_err(Error::other)?);
        }
        let Some(h3) = h3.as_mut() else { continue };
        if let Some(status) = answer(&mut client.quic, h3)? {
            let _ = client.quic.close(true, NO_ERROR, b"");
            let _ = client.send();
            return Ok(status);
        }
    }
}

/// H3_NO_ERROR (RFC 9114 §8.1).
const NO_ERROR: u64 = 0x100;

struct Client {
    socket: UdpSocket,
    local: SocketAddr,
    quic: Connection,
    deadline: Instant,
}

impl Client {
    fn new(question: &Question) -> Result<Client> {
        let any = match question.address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(question.address)?;
        let local = socket.local_addr()?;
        let id: [u8; CID_BYTES] = random().ok_or(ErrorKind::Other)?;
        let id = ConnectionId::from_ref(&id);
        let mut config = settings().map_err(Error::other)?;
        let name = Some(question.server_name.as_str()).filter(|name| !name.is_empty());
        let quic = quiche::connect(name, &id, local, question.address, &mut config);
        Ok(Client {
            socket,
            local,
            quic: quic.map_err(Error::other)?,
            deadline: Instant::now() + question.timeout,
        })
    }

    /// Sends what is due, then waits for one datagram or timer.
    fn turn(&mut self) -> Result<()> {
        self.send()?;
        let now = Instant::now();
        let Some(left) = self.deadline.checked_duration_since(now) else {
            return Err(Error::new(ErrorKind::TimedOut, "no answer in time"));
        };
        let timer = self.quic.timeout();
        let wait = timer.map_or(left, |timer| timer.min(left)).max(WAIT_MIN);
        self.socket.set_read_timeout(Some(wait))?;
        let mut packet = [0; DATAGRAM_BYTES_MAX];
        let peer = self.socket.peer_addr()?;
        match self.socket.recv(&mut packet) {
            Ok(length) => {
                let to = self.local;
                let datagram = packet.get_mut(..length).unwrap_or_default();
                // What cannot be read is dropped, as from anybody.
                let _ = self.quic.recv(datagram, RecvInfo { from: peer, to });
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.quic.on_timeout();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn send(&mut self) -> Result<()> {
        let mut packet = [0; DATAGRAM_BYTES_MAX];
        while let Ok((length, _)) = self.quic.send(&mut packet) {
            self.socket.send(packet.get(..length).unwrap_or_default())?;
        }
        Ok(())
    }
}

fn settings() -> quiche::Result<quiche::Config> {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
    config.verify_peer(false);
    config.set_application_protos(h3::APPLICATION_PROTOCOL)?;
    config.set_max_recv_udp_payload_size(DATAGRAM_BYTES_MAX);
    config.set_initial_max_data(BYTES_MAX);
    config.set_initial_max_stream_data_bidi_local(BYTES_MAX);
    config.set_initial_max_stream_data_uni(BYTES_MAX);
    config.set_initial_max_streams_uni(3);
    Ok(config)
}

fn begin(quic: &mut Connection, question: &Question) -> h3::Result<h3::Connection> {
    let mut h3 = h3::Connection::with_transport(quic, &h3::Config::new()?)?;
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", &question.authority),
        (":path", &question.path),
        ("user-agent", "edge-health"),
        ("accept", "*/*"),
    ];
    let fields = fields.map(|(name, value)| Header::new(name.as_bytes(), value.as_bytes()));
    h3.send_request(quic, &fields, true)?;
    Ok(h3)
}

fn answer(quic: &mut Connection, h3: &mut h3::Connection) -> Result<Option<u16>> {
    loop {
        match h3.poll(quic) {
            Ok((_, Event::Headers { list, .. })) => {
                let status = list.iter().find(|field| field.name() == b":status");
                let text = status.and_then(|field| std::str::from_utf8(field.value()).ok());
                let status = text.and_then(|text| text.parse().ok());
                return status.map(Some).ok_or_else(|| Error::other("no status"));
            }
            Ok((_, Event::Reset(code))) => {
                return Err(Error::other(format!("the stream was reset: {code:#x}")));
            }
            Ok(_) => {}
            Err(h3::Error::Done) => return Ok(None),
            Err(error) => return Err(Error::other(error)),
        }
    }
}

fn closed(quic: &Connection) -> Error {
    let said = quic.peer_error().or_else(|| quic.local_error());
    let text = said.map(|error| {
        let reason = String::from_utf8_lossy(&error.reason);
        format!("closed: {:#x} {reason}", error.error_code)
    });
    Error::other(text.unwrap_or_else(|| "no answer in time".to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::test_edge::edge;
    use super::*;

    fn question(address: SocketAddr, path: &str) -> Question {
        Question {
            address,
            server_name: "one.test".to_owned(),
            authority: "one.test".to_owned(),
            path: path.to_owned(),
            timeout: Duration::from_secs(10),
        }
    }

    #[test]
    fn an_edge_answers_with_its_status() {
        let edge = edge();
        assert_eq!(ask(&question(edge.address, "/hello")).unwrap(), 200);
        assert_eq!(ask(&question(edge.address, "/big")).unwrap(), 200);
    }

    #[test]
    fn nothing_is_waited_for_beyond_the_time() {
        let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut asked = question(deaf.local_addr().unwrap(), "/");
        asked.timeout = Duration::from_millis(300);
        let began = Instant::now();
        assert_eq!(ask(&asked).unwrap_err().to_string(), "no answer in time");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
