//! The server's side: one socket for all, which tells connections apart by their ids.

use super::client::drive;
use super::link::{Ground, Link, Side};
use super::settings::{CID_BYTES, PACKET_BYTES_MAX, Settings};
use super::tokens::{Tokens, random};
use crate::desk::{Room, plain};
use crate::handshakes::{Begin, Handshakes};
use crate::port::{Path, Port};
use crate::train::Load;
use quiche::{ConnectionId, Header, Type};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::UdpSocket;
use std::rc::Rc;
use tokio::task::spawn_local;

/// Batches between two looks at what they were for.
const BATCHES_PER_TURN: usize = 8;
/// RFC 9000 §14.1: smaller ones are no beginning.
const FIRST_PACKET_BYTES_MIN: usize = 1200;

/// A connection in the book.
struct Served {
    link: Rc<RefCell<Link>>,
    /// Packets came for it in this turn.
    is_touched: Cell<bool>,
}

type Book = HashMap<Box<[u8]>, Rc<Served>>;

struct Server {
    ground: Ground,
    book: Rc<RefCell<Book>>,
    handshakes: Handshakes,
    tokens: Tokens,
    touched: Vec<Rc<Served>>,
}

/// Serves a socket until the thread ends.
pub async fn serve(socket: UdpSocket, room: Rc<Room>, settings: Rc<Settings>) {
    let (Ok(port), Some(tokens)) = (
        Port::new(socket),
        Tokens::new(room.options().key.as_bytes()),
    ) else {
        return; // neither happens to a socket that is bound
    };
    let mut server = Server {
        ground: Ground {
            room,
            settings,
            port: Rc::new(port),
        },
        book: Rc::default(),
        handshakes: Handshakes::default(),
        tokens,
        touched: Vec::new(),
    };
    let port = Rc::clone(&server.ground.port);
    loop {
        port.readable().await;
        let is_done = server.receive();
        server.turn();
        if !is_done {
            tokio::task::yield_now().await;
        }
    }
}

impl Server {
    /// Whether everything that was there is received.
    fn receive(&mut self) -> bool {
        let Ground { room, port, .. } = self.ground.clone();
        let mut scratch = room.buffers.scratch.borrow_mut();
        for _ in 0..BATCHES_PER_TURN {
            let more = port.receive(&mut scratch, |packet, path| {
                self.route(packet, path);
            });
            if !more {
                return true;
            }
        }
        false
    }

    fn turn(&mut self) {
        for served in std::mem::take(&mut self.touched) {
            served.is_touched.set(false);
            let mut link = served.link.borrow_mut();
            link.turn();
            if link.is_waiting() {
                link.desk().bell.notify_one();
            }
        }
    }

    /// `None`: it was for nobody.
    fn route(&mut self, packet: &mut [u8], path: Path) -> Option<()> {
        if packet.first()? & 0x80 == 0 {
            let cid = packet.get(1..=CID_BYTES)?;
            let known = self.book.borrow().get(cid).cloned();
            return match known {
                Some(served) => self.hear(&served, packet, path),
                None => self.reset(packet, path),
            };
        }
        let header = Header::from_slice(packet, CID_BYTES).ok()?;
        let known = self.book.borrow().get(header.dcid.as_ref()).cloned();
        if let Some(served) = known {
            return self.hear(&served, packet, path);
        }
        if packet.len() < FIRST_PACKET_BYTES_MIN || header.ty == Type::VersionNegotiation {
            return None;
        }
        if !quiche::version_is_supported(header.version) {
            let mut out = [0; PACKET_BYTES_MAX];
            let length = quiche::negotiate_version(&header.scid, &header.dcid, &mut out).ok()?;
            return self.answer(out.get(..length)?, path);
        }
        (header.ty == Type::Initial).then_some(())?;
        let served = self.accept(&header, path)?;
        self.hear(&served, packet, path)
    }

    fn hear(&mut self, served: &Rc<Served>, packet: &mut [u8], path: Path) -> Option<()> {
        served.link.borrow_mut().receive(packet, path);
        if !served.is_touched.replace(true) {
            self.touched.push(Rc::clone(served));
        }
        Some(())
    }

    /// Whoever goes on with a connection that is not known any more is told so.
    fn reset(&mut self, packet: &[u8], path: Path) -> Option<()> {
        if !self.tokens.may_answer() {
            return None;
        }
        let cid = packet.get(1..=CID_BYTES)?;
        let reset = self.tokens.reset_packet(packet.len(), cid)?;
        self.answer(&reset, path)
    }

    fn answer(&self, bytes: &[u8], path: Path) -> Option<()> {
        let load = Load {
            bytes,
            segment: None,
        };
        self.ground.port.send(load, path).then_some(())
    }

    /// A client's first packet: begins a connection, or has it prove its address.
    fn accept(&mut self, header: &Header<'_>, path: Path) -> Option<Rc<Served>> {
        let room = Rc::clone(&self.ground.room);
        let token = header.token.as_deref().unwrap_or_default();
        let original = self.tokens.open(path.peer, token, &header.dcid);
        let options = room.options();
        if room.served.get() >= options.carriers_max {
            return None;
        }
        let peer = plain(path.peer).ip();
        let place = match self.handshakes.begin(peer, original.is_some(), options) {
            Begin::Open(place) => place,
            Begin::Retry => {
                self.retry(header, path);
                return None;
            }
            Begin::Refused => return None,
        };
        let own = match &original {
            Some(_) => header.dcid.to_vec(),
            None => random::<CID_BYTES>()?.to_vec(),
        };
        let first = original.as_deref().map(ConnectionId::from_ref);
        let quic = {
            let mut config = self.ground.settings.server.borrow_mut();
            config.set_stateless_reset_token(self.tokens.reset(&own));
            let own = ConnectionId::from_ref(&own);
            quiche::accept(&own, first.as_ref(), path.local, path.peer, &mut config).ok()?
        };
        let link = Link::new(quic, path, Side::Server(place), self.ground.clone());
        let served = Rc::new(Served {
            link: Rc::new(RefCell::new(link)),
            is_touched: Cell::new(false),
        });
        // Until the client knows the new one it writes the one it made up itself.
        self.enter([own, header.dcid.to_vec()], &served);
        Some(served)
    }

    fn enter(&self, ids: [Vec<u8>; 2], served: &Rc<Served>) {
        let ids = ids.map(Vec::into_boxed_slice);
        for id in &ids {
            self.book.borrow_mut().insert(id.clone(), Rc::clone(served));
        }
        let (served, ground) = (Rc::clone(served), self.ground.clone());
        let book = Rc::clone(&self.book);
        let served_here = Rc::clone(&ground.room);
        served_here.served.set(served_here.served.get() + 1);
        spawn_local(async move {
            drive(&served.link, &ground, false).await;
            for id in &ids {
                book.borrow_mut().remove(id);
            }
            served_here
                .served
                .set(served_here.served.get().saturating_sub(1));
        });
    }

    fn retry(&self, header: &Header<'_>, path: Path) -> Option<()> {
        let id: [u8; CID_BYTES] = random()?;
        let token = self.tokens.seal(path.peer, &header.dcid, &id)?;
        let mut out = [0; PACKET_BYTES_MAX];
        let (id, version) = (ConnectionId::from_ref(&id), header.version);
        let length =
            quiche::retry(&header.scid, &header.dcid, &id, &token, version, &mut out).ok()?;
        self.answer(out.get(..length)?, path)
    }
}
