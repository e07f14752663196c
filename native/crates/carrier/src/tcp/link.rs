//! One connection that carries, of either side.

use super::frames::{Frames, put_frame};
use super::pipe::{CLOSED, Pipe};
use super::{Ground, decided};
use crate::Event;
use crate::desk::{Decision, Desk, Room};
use crate::lane::Lane;
use boring::ssl::SslStream;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::sleep_until;

/// Batches from the device, and reads from the connection, in one turn.
const BATCHES_PER_TURN: usize = 4;
const READS_PER_TURN: usize = 4;

pub struct Link {
    tcp: TcpStream,
    tls: SslStream<Pipe>,
    room: Rc<Room>,
    lane: Lane,
    frames: Frames,
    dropped: u64,
    /// When something came or left.
    active: Instant,
}

impl Link {
    /// From now on packets pass; or why not.
    pub fn open(
        (tcp, tls): (TcpStream, SslStream<Pipe>),
        (carrier, remote): (u32, SocketAddr),
        ground: &Ground,
    ) -> Result<Link, String> {
        let room = Rc::clone(&ground.room);
        let lane = Lane::open(room.options().device)
            .map_err(|error| format!("no port towards the device: {error}"))?;
        room.shared.happened(Event::Opened {
            carrier,
            endpoint: lane.endpoint(),
            remote,
        });
        Ok(Link {
            tcp,
            tls,
            lane,
            frames: Frames::new(room.options().packet_bytes_max),
            room,
            dropped: 0,
            active: Instant::now(),
        })
    }

    /// Carries until it is over; why it was, and how many packets were dropped.
    pub async fn carry(mut self, desk: &Desk) -> (String, u64) {
        let reason = match self.run(desk).await {
            Ok(()) => "ended here".to_owned(),
            Err(reason) => reason,
        };
        // As far as the socket takes it: nobody waits for this.
        let _ = self.tls.shutdown();
        let _ = self.tls.get_mut().send(&self.tcp);
        (reason, self.dropped)
    }

    async fn run(&mut self, desk: &Desk) -> Result<(), String> {
        let silence = Duration::from_millis(self.room.options().silence_ms);
        let clock = sleep_until((self.active + silence).into());
        tokio::pin!(clock);
        // What came together with the handshake.
        self.decrypt()?;
        loop {
            let is_blocked = self.tls.get_ref().unsent() > 0;
            tokio::select! {
                _ = self.tcp.readable() => self.receive()?,
                () = self.lane.readable() => self.take_from_device()?,
                _ = self.tcp.writable(), if is_blocked => self.send()?,
                decision = decided(desk) => if decision == Decision::End {
                    return Ok(());
                },
                () = clock.as_mut() => {
                    let end = self.active + silence;
                    if end <= Instant::now() {
                        return Err("silence".to_owned());
                    }
                    clock.as_mut().reset(end.into());
                }
            }
        }
    }

    /// Takes what came to the device.
    fn receive(&mut self) -> Result<(), String> {
        for _ in 0..READS_PER_TURN {
            match self.tls.get_mut().receive(&self.tcp).map_err(words)? {
                None => break,
                Some(0) => return Err(CLOSED.to_owned()),
                Some(_) => self.active = Instant::now(),
            }
            self.decrypt()?;
        }
        // TLS may have something to say of its own.
        self.send()
    }

    fn decrypt(&mut self) -> Result<(), String> {
        let Link {
            tls, frames, lane, ..
        } = self;
        let buffers = &self.room.buffers;
        let mut scratch = buffers.scratch.borrow_mut();
        let plain = scratch.room();
        let result = loop {
            match tls.read(plain) {
                Ok(0) => break Err(CLOSED.to_owned()),
                Ok(length) => {
                    let bytes = plain.get(..length).unwrap_or_default();
                    if frames.take(bytes, |one| lane.put(one, buffers)).is_err() {
                        break Err("a frame is too long".to_owned());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(words(error)),
            }
        };
        lane.flush(buffers);
        result
    }

    /// Takes what the device has: one run of records, however many packets that is.
    fn take_from_device(&mut self) -> Result<(), String> {
        let options = self.room.options();
        let buffers = &self.room.buffers;
        let mut plain = buffers.plain.borrow_mut();
        let unsent = self.tls.get_ref().unsent();
        for _ in 0..BATCHES_PER_TURN {
            let more = self.lane.receive(buffers, |packet| {
                let is_full = unsent + plain.len() + packet.len() > options.queue_bytes_max;
                if is_full || packet.len() > options.packet_bytes_max {
                    self.dropped += 1;
                } else {
                    put_frame(&mut plain, packet);
                }
            });
            if !more {
                break;
            }
        }
        let written = self.tls.write_all(&plain);
        plain.clear();
        drop(plain);
        written.map_err(words)?;
        self.send()
    }

    fn send(&mut self) -> Result<(), String> {
        let pipe = self.tls.get_mut();
        if pipe.send(&self.tcp).map_err(words)? > 0 {
            self.active = Instant::now();
        }
        pipe.release();
        Ok(())
    }
}

fn words(error: std::io::Error) -> String {
    error.to_string()
}
