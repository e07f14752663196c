//! How other programs of the same user dial through the stack of an agent: a Unix socket in its
//! folder. Who comes writes one line, `ADDRESS:PORT`, reads one byte, and has the stream if it is
//! zero. The end of the stream is told by a shutdown, a reset by closing: [`DoorStream`] sees the
//! difference.

use crate::Netstack;
use crate::forward::carry;
use crate::limits::CONNECTIONS_MAX;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Longest line that is read: an IPv6 address with its port has 48 bytes.
pub const REQUEST_BYTES_MAX: usize = 64;
/// Until the line must be there.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The answers; anything but `CONNECTED` ends the stream.
const CONNECTED: u8 = 0;
const REFUSED: u8 = 1;
const TIMED_OUT: u8 = 2;
const UNREACHABLE: u8 = 3;
const BUSY: u8 = 4;
const MALFORMED: u8 = 5;
const FAILED: u8 = 6;

/// Makes the socket, for this user alone, in place of one that was left behind.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    // Under its name only when it is shut to others.
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

/// Lets programs dial until the listener fails.
pub async fn serve(listener: UnixListener, netstack: Netstack) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((mut socket, _)) = listener.accept().await else {
            // No descriptor is free, or who came is gone: others may still be served.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        if !is_ours(&socket) {
            continue;
        }
        let Ok(place) = places.clone().try_acquire_owned() else {
            let _ = socket.try_write(&[BUSY]);
            continue;
        };
        let netstack = netstack.clone();
        tokio::spawn(async move {
            let _ = let_in(&mut socket, &netstack).await;
            drop(place);
        });
    }
}

/// The permissions of the file say it already; folders can be mounted into other containers.
fn is_ours(socket: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    socket
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn let_in(socket: &mut UnixStream, netstack: &Netstack) -> io::Result<()> {
    let request = timeout(REQUEST_TIMEOUT, read_request(socket)).await;
    let Some(target) = request.ok().flatten() else {
        return socket.write_all(&[MALFORMED]).await;
    };
    if netstack.is_own(target.ip()) {
        return dial_loopback(socket, target).await;
    }
    let dialed = tokio::select! {
        dialed = netstack.dial(target) => dialed,
        () = hung_up(socket) => return Ok(()),
    };
    match dialed {
        Ok(stream) => {
            socket.write_all(&[CONNECTED]).await?;
            carry(stream, socket).await
        }
        Err(error) => socket.write_all(&[answer_for(&error)]).await,
    }
}

/// To this node itself.
async fn dial_loopback(socket: &mut UnixStream, target: SocketAddr) -> io::Result<()> {
    let own: IpAddr = match target.ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    match TcpStream::connect((own, target.port())).await {
        Ok(mut stream) => {
            let _ = stream.set_nodelay(true);
            socket.write_all(&[CONNECTED]).await?;
            tokio::io::copy_bidirectional(socket, &mut stream)
                .await
                .map(|_| ())
        }
        Err(error) => socket.write_all(&[answer_for(&error)]).await,
    }
}

/// Who comes says nothing before the answer: more than the line is no request.
async fn read_request(socket: &mut UnixStream) -> Option<SocketAddr> {
    let mut line = [0_u8; REQUEST_BYTES_MAX];
    let mut length = 0;
    loop {
        let count = socket.read(line.get_mut(length..)?).await.ok()?;
        length += count;
        let read = line.get(..length)?;
        if let Some(end) = read.iter().position(|&byte| byte == b'\n') {
            let is_all = end + 1 == length;
            let text = std::str::from_utf8(read.get(..end)?).ok()?;
            return text.parse().ok().filter(|_| is_all);
        }
        if count == 0 {
            return None; // ended early, or the line is too long
        }
    }
}

/// Ends when who came is gone.
async fn hung_up(socket: &UnixStream) {
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut [0_u8; 1]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}

fn answer_for(error: &io::Error) -> u8 {
    match error.kind() {
        ErrorKind::ConnectionRefused => REFUSED,
        ErrorKind::TimedOut => TIMED_OUT,
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable => UNREACHABLE,
        ErrorKind::ResourceBusy | ErrorKind::AddrInUse => BUSY,
        _ => FAILED,
    }
}

fn error_for(answer: u8) -> io::Error {
    let kind = match answer {
        REFUSED => ErrorKind::ConnectionRefused,
        TIMED_OUT => ErrorKind::TimedOut,
        UNREACHABLE => ErrorKind::NetworkUnreachable,
        BUSY => ErrorKind::ResourceBusy,
        MALFORMED => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    };
    kind.into()
}

/// Dials through the agent that has its socket at `path`.
pub async fn dial(path: &Path, target: SocketAddr) -> io::Result<DoorStream> {
    let mut socket = UnixStream::connect(path).await?;
    socket.write_all(format!("{target}\n").as_bytes()).await?;
    match socket.read_u8().await? {
        CONNECTED => Ok(DoorStream {
            socket,
            has_ended: false,
        }),
        answer => Err(error_for(answer)),
    }
}

/// A stream through the door. A reset of the far side is an error, as on a TCP socket.
#[derive(Debug)]
pub struct DoorStream {
    socket: UnixStream,
    /// Our half ended: from then on the agent may close in order.
    has_ended: bool,
}

impl DoorStream {
    /// The agent closed; after an end in order it waits for us.
    fn was_cut_off(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::empty())];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let polled = poll(&mut fds, Some(&at_once)).is_ok();
        polled && fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP))
    }
}

impl AsyncRead for DoorStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let wanted = buffer.remaining() > 0;
        ready!(Pin::new(&mut this.socket).poll_read(context, buffer))?;
        if wanted && buffer.filled().len() == before && !this.has_ended && this.was_cut_off() {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DoorStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.has_ended = true;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}
