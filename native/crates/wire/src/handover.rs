//! TCP listeners that two generations of the program share, so that neither loses a connection.
//!
//! Closing a listener resets what waits in its queue, and in an SO_REUSEPORT group every process
//! has queues of its own. So a successor does not bind: it asks the running program for copies of
//! its descriptors (SCM_RIGHTS). Both then accept from the same queues, and the older one may stop
//! at any time. The listener on which copies are asked for goes along with them, so that there is
//! no moment in which a third generation would find nobody.
//!
//! Abstract Unix names live in the network namespace, as ports do: whoever can share a port can
//! be asked. Copies are for programs of the same user only, the rule of SO_REUSEPORT.

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{Error, IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
use std::time::Duration;

/// A kernel passes no more than 253 descriptors at once (SCM_MAX_FD).
const COPIES_MAX: usize = 128;
/// Sent along with the descriptors, because they cannot travel alone.
const GREETING: &[u8] = b"quic-edge listeners 1";
const PATIENCE: Duration = Duration::from_secs(2);

/// The listeners of one address, and where copies of them are asked for.
#[derive(Debug)]
pub(crate) struct Offer {
    listeners: Vec<TcpListener>,
    door: UnixListener,
}

fn door_address(address: SocketAddr) -> Result<unix::SocketAddr> {
    unix::SocketAddr::from_abstract_name(format!("quic-edge/listeners/{address}"))
}

/// Asks the running program for the listeners of `address`; `None` when there is no such program.
pub(crate) fn take(address: SocketAddr) -> Result<Option<(Vec<TcpListener>, Offer)>> {
    let Ok(stream) = UnixStream::connect_addr(&door_address(address)?) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    if !offers_to_us(&stream)? {
        return Err(Error::other("another user's program offers its listeners"));
    }
    let mut received = receive(&stream)?;
    let door = received.pop().map(UnixListener::from);
    let listeners: Vec<TcpListener> = received.into_iter().map(TcpListener::from).collect();
    let fits = |listener: &TcpListener| listener.local_addr().is_ok_and(|at| at == address);
    match door {
        Some(door) if !listeners.is_empty() && listeners.iter().all(fits) => {
            let offer = Offer::new(&listeners, door)?;
            Ok(Some((listeners, offer)))
        }
        _ => Err(Error::other("the running program offers other listeners")),
    }
}

impl Offer {
    /// Offers `listeners` under their address. `None`: another program offers there already.
    pub fn open(address: SocketAddr, listeners: &[TcpListener]) -> Result<Option<Offer>> {
        match UnixListener::bind_addr(&door_address(address)?) {
            Ok(door) => Offer::new(listeners, door).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn new(listeners: &[TcpListener], door: UnixListener) -> Result<Offer> {
        door.set_nonblocking(true)?;
        let copies = listeners
            .iter()
            .take(COPIES_MAX)
            .map(TcpListener::try_clone);
        let listeners = copies.collect::<Result<_>>()?;
        Ok(Offer { listeners, door })
    }

    /// Answers successors for as long as it is polled; `taken` hears of each one that was given.
    pub async fn serve(self, taken: impl Fn()) {
        let Ok(again) = self.door.try_clone() else {
            return;
        };
        let Ok(door) = tokio::net::UnixListener::from_std(again) else {
            return;
        };
        loop {
            let Ok((stream, _)) = door.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let ours = is_ours(&stream).unwrap_or(false);
            let Ok(stream) = stream.into_std() else {
                continue;
            };
            if ours {
                // A successor that is gone again needs nothing.
                if self.send(&stream).is_ok() {
                    taken();
                }
            }
        }
    }

    fn send(&self, stream: &UnixStream) -> Result<()> {
        let mut copies: Vec<BorrowedFd<'_>> = self.listeners.iter().map(AsFd::as_fd).collect();
        copies.push(self.door.as_fd());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COPIES_MAX + 1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&copies)) {
            return Err(Error::other("too many listeners"));
        }
        let greeting = [IoSlice::new(GREETING)];
        sendmsg(stream, &greeting, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn receive(stream: &UnixStream) -> Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COPIES_MAX + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut greeting = [0; GREETING.len()];
    let received = retry_on_intr(|| {
        let mut parts = [IoSliceMut::new(&mut greeting)];
        recvmsg(stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    if received.bytes != GREETING.len() || greeting != GREETING {
        return Err(Error::other("the running program speaks another language"));
    }
    let messages = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(messages.flatten().collect())
}

/// Whether the other side runs as the same user as this program. Asked through tokio, because
/// rustix takes a process of another PID namespace (pid 0: every container) for an error.
fn is_ours(stream: &tokio::net::UnixStream) -> Result<bool> {
    Ok(stream.peer_cred()?.uid() == rustix::process::geteuid().as_raw())
}

/// The same of a stream that no runtime drives yet.
fn offers_to_us(stream: &UnixStream) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    stream.set_nonblocking(true)?;
    let entered = runtime.enter();
    let ours = tokio::net::UnixStream::from_std(stream.try_clone()?).and_then(|it| is_ours(&it));
    drop(entered);
    runtime.shutdown_background();
    // The copy shares its state with the original.
    stream.set_nonblocking(false)?;
    ours
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    fn served(offer: Offer) -> std::thread::JoinHandle<u64> {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let enough = Duration::from_millis(500);
            let taken = crate::stats::Counter::default();
            let serving = offer.serve(|| taken.add(1));
            runtime.block_on(async { tokio::time::timeout(enough, serving).await.ok() });
            taken.get()
        })
    }

    #[test]
    fn a_connection_that_waits_survives_the_end_of_the_first_program() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let offer = Offer::open(address, std::slice::from_ref(&listener))
            .unwrap()
            .unwrap();
        let first = served(offer);
        let mut waiting = TcpStream::connect(address).unwrap();
        let (taken, next) = take(address).unwrap().unwrap();
        drop(listener);
        assert_eq!(first.join().unwrap(), 1);
        let (mut accepted, _) = taken[0].accept().unwrap();
        std::io::Write::write_all(&mut accepted, b"x").unwrap();
        let mut byte = [0; 1];
        std::io::Read::read_exact(&mut waiting, &mut byte).unwrap();

        // A third generation finds the second one behind the same door.
        let second = served(next);
        assert_eq!(take(address).unwrap().unwrap().0.len(), 1);
        second.join().unwrap();
    }

    #[test]
    fn nobody_to_ask_is_no_error() {
        assert!(take("127.0.0.1:1".parse().unwrap()).unwrap().is_none());
    }
}
