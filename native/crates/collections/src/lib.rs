//! The persistent collections of SecLang (IP, GLOBAL, SESSION, USER, RESOURCE): one map for all WAF
//! workers. A call takes the time and answers at once; no lock is held when it returns, and one
//! call is one step that no other worker can divide.
#![forbid(unsafe_code)]

mod entry;
mod shard;
mod store;

pub use entry::{Applied, Change, Facts};
pub use store::{Limits, Saved, Stats, Store, Write};

#[cfg(test)]
mod tests;
