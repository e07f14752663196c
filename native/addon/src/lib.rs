//! The addon: converts types and errors between TypeScript and the crates, and holds no logic.
#![forbid(unsafe_op_in_unsafe_fn)]
#![cfg_attr(test, allow(dead_code))] // the exports are registered only in the addon itself

mod allocator;
mod carrier;
mod collections;
mod error;
mod front;
mod geo;
mod memory;
mod offline;
mod rbl;
mod signatures;
mod trace;
mod waf;
mod wake;
mod wire;
mod wireguard;
