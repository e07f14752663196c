//! Header compression (RFC 7541).

mod decode;
mod encode;
mod huffman;
mod table;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, ListLimits};
pub use encode::Encoder;
