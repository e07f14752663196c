//! IP packets in, byte streams out: TCP in this program, for a node without any privilege.
//!
//! Whoever moves packets calls [`Netstack::deliver`] and [`Netstack::collect`]: nothing waits
//! between them and the connections. [`Netstack::dial`] connects, [`forward`] carries what others
//! begin to sockets of the system, [`door`] is how other programs of the same user dial.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)
)]

mod checksum;
pub mod door;
pub mod forward;
pub mod limits;
mod netstack;
mod packet;
mod ranges;
mod segment;
mod stack;
mod stream;
mod tcp;

pub use netstack::{Netstack, Offer, Options};
pub use stream::Stream;
