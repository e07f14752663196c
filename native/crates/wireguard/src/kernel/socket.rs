//! Generic netlink, one question after the other. The kernel answers while it is asked, so nothing
//! here waits for long.

use super::attributes::{Attributes, Writer};
use super::messages::{
    COMMAND_GET, COMMAND_SET, DeviceState, OwnStep, PeerStep, device_named, set_messages,
};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::os::fd::{AsRawFd, OwnedFd};

/// The family of all families (`GENL_ID_CTRL`), its question for one, and the words of that.
const CONTROL: u16 = 0x10;
const CONTROL_GET_FAMILY: u8 = 3;
const CONTROL_FAMILY_ID: u16 = 1;
const CONTROL_FAMILY_NAME: u16 = 2;
/// What WireGuard calls its family.
const FAMILY: &[u8] = b"wireguard\0";
const VERSION: u8 = 1;

const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
const FLAG_REQUEST: u16 = 1;
const FLAG_ACKNOWLEDGE: u16 = 4;
const FLAG_DUMP: u16 = 0x300;

/// Of netlink and of generic netlink.
const HEAD_BYTES: usize = 16;
const GENERIC_HEAD_BYTES: usize = 4;
/// The kernel's messages of a dump are no longer than 32 KiB.
const ANSWER_BYTES: usize = 64 * 1024;
/// It answers at once; if it ever does not, that is a fault and no reason to stand still.
const PATIENCE_S: i64 = 10;

/// A socket to the kernel's WireGuard.
pub struct WireguardSocket {
    fd: OwnedFd,
    family: u16,
    sequence: u32,
    space: Vec<u8>,
}

impl WireguardSocket {
    /// Fails with ENOENT where the module is not loaded.
    pub fn open() -> Result<Self, Errno> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkGeneric,
        )?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(PATIENCE_S, 0))?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        let mut socket = Self {
            fd,
            family: CONTROL,
            sequence: 0,
            space: vec![0; ANSWER_BYTES],
        };
        socket.family = socket.family_id()?;
        Ok(socket)
    }

    fn family_id(&mut self) -> Result<u16, Errno> {
        let mut wanted = Writer::default();
        wanted.put(CONTROL_FAMILY_NAME, FAMILY);
        let mut found = None;
        self.ask(
            CONTROL_GET_FAMILY,
            FLAG_ACKNOWLEDGE,
            &wanted.bytes(),
            |bytes| {
                for (kind, bytes) in Attributes(bytes) {
                    if kind == CONTROL_FAMILY_ID {
                        found = bytes.try_into().ok().map(u16::from_ne_bytes);
                    }
                }
            },
        )?;
        found.ok_or(Errno::ENOENT)
    }

    /// Sets what is said, in as many messages as it takes; ends with the first that is refused.
    pub fn tell(&mut self, index: u32, own: &OwnStep, peers: &[PeerStep]) -> Result<(), Errno> {
        for message in set_messages(index, own, peers) {
            self.ask(COMMAND_SET, FLAG_ACKNOWLEDGE, &message.bytes(), |_| {})?;
        }
        Ok(())
    }

    /// What a device has. A peer that came or went meanwhile may be missing or twice in it.
    pub fn device(&mut self, index: u32) -> Result<DeviceState, Errno> {
        let mut state = DeviceState::default();
        let wanted = device_named(index).bytes();
        self.ask(COMMAND_GET, FLAG_DUMP, &wanted, |bytes| state.take(bytes))?;
        Ok(state)
    }

    fn ask(
        &mut self,
        command: u8,
        flags: u16,
        attributes: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = request(self.family, (command, flags), self.sequence, attributes);
        send(self.fd.as_raw_fd(), &message, MsgFlags::empty())?;
        loop {
            let length = recv(self.fd.as_raw_fd(), &mut self.space, MsgFlags::empty())?;
            let answers = self.space.get(..length).unwrap_or_default();
            for answer in Answers(answers) {
                if answer.sequence != self.sequence {
                    continue; // of a question that was given up
                }
                match answer.kind {
                    TYPE_ERROR | TYPE_DONE => return ended(answer.body),
                    _ => each(answer.body.get(GENERIC_HEAD_BYTES..).unwrap_or_default()),
                }
            }
        }
    }
}

/// An acknowledgement and the end of a dump begin with an errno, negative or zero.
fn ended(body: &[u8]) -> Result<(), Errno> {
    match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
        None | Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw(code.wrapping_abs())),
    }
}

fn request(family: u16, (command, flags): (u8, u16), sequence: u32, attributes: &[u8]) -> Vec<u8> {
    let length = HEAD_BYTES + GENERIC_HEAD_BYTES + attributes.len();
    [
        &u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes()[..],
        &family.to_ne_bytes(),
        &(flags | FLAG_REQUEST).to_ne_bytes(),
        &sequence.to_ne_bytes(),
        &0_u32.to_ne_bytes(), // whoever has this socket
        &[command, VERSION, 0, 0],
        attributes,
    ]
    .concat()
}

struct Answer<'a> {
    kind: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The messages of one read.
struct Answers<'a>(&'a [u8]);

impl<'a> Iterator for Answers<'a> {
    type Item = Answer<'a>;

    fn next(&mut self) -> Option<Answer<'a>> {
        let (head, _) = self.0.split_first_chunk::<HEAD_BYTES>()?;
        let [a, b, c, d, e, f, _, _, i, j, k, l, ..] = *head;
        let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok()?;
        let body = self.0.get(HEAD_BYTES..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Answer {
            kind: u16::from_ne_bytes([e, f]),
            sequence: u32::from_ne_bytes([i, j, k, l]),
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_both_heads() {
        let bytes = request(0x1f, (1, FLAG_ACKNOWLEDGE), 7, &[1, 2, 3, 4]);
        let wanted = [
            24, 0, 0, 0, 0x1f, 0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 2, 3, 4,
        ];
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn answers_are_taken_apart_and_nonsense_ends_them() {
        let one = request(3, (0, 0), 9, &[]);
        let both = [&one[..], &one].concat();
        let read: Vec<_> = Answers(&both)
            .map(|answer| (answer.kind, answer.sequence, answer.body.len()))
            .collect();
        assert_eq!(read, [(3, 9, 4), (3, 9, 4)]);
        assert_eq!(Answers(&both[..HEAD_BYTES + 3]).count(), 0);
        assert_eq!(Answers(&[0; HEAD_BYTES]).count(), 0);
    }

    #[test]
    fn an_end_says_how_it_ended() {
        assert_eq!(ended(&0_i32.to_ne_bytes()), Ok(()));
        assert_eq!(ended(&[]), Ok(()));
        assert_eq!(ended(&(-1_i32).to_ne_bytes()), Err(Errno::EPERM));
    }
}
