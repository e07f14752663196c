//! A WireGuard device of this program: packet paths of our own around gotatun's protocol core,
//! between a TUN interface and a UDP socket, with the addresses and routes that belong to it.
//!
//! One surface: [`Device::open`], [`Device::apply`] with a delta, [`Device::stats`]. A delta never
//! restarts the interface and never replaces the list of peers. The interface lives as long as the
//! device: the kernel takes it away with its addresses and routes when the program ends, however it
//! ends, so nothing of ours stays and nothing of others is touched.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

mod applying;
mod by_key;
mod checksum;
mod chosen;
mod default_route;
mod delta;
mod device;
mod ends;
mod envelope;
mod error;
mod ip;
mod joining;
mod kernel;
mod keys;
mod links;
mod network;
mod own;
mod paths;
mod peer;
mod plane;
mod prefixes;
mod relay;
mod routes;
mod segments;
mod socket;
mod stun;
mod table;
mod trie;
mod tun;

pub use chosen::Device;
pub use delta::{Delta, Options};

pub use error::{Code, Error};
pub use links::link_mtu_to;
