//! Messages to the service manager (sd_notify(3)): Node has no Unix datagram sockets.

use std::io::Result;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends `message` to `socket`, the value of NOTIFY_SOCKET: a path, or `@` and an abstract name.
pub fn notify(socket: &str, message: &str) -> Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the program.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn both_kinds_of_names_are_reached() {
        let name = format!("quic-edge-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        notify(&format!("@{name}"), "READY=1").unwrap();
        assert_eq!(received(&manager), "READY=1");

        let path = std::env::temp_dir().join(&name);
        let manager = UnixDatagram::bind(&path).unwrap();
        notify(path.to_str().unwrap(), "STOPPING=1").unwrap();
        assert_eq!(received(&manager), "STOPPING=1");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn nobody_there_is_an_error() {
        assert!(notify("@quic-edge-test-nobody", "READY=1").is_err());
    }
}
