//! Field sections from header blocks, bounded while they are decoded.

use super::huffman;
use super::table::Table;
use crate::Field;
use bytes::{Bytes, BytesMut};

/// What SETTINGS_HEADER_TABLE_SIZE is, since we never change its default.
const TABLE_BYTES_MAX: usize = 4096;
/// No index, length or table size of ours needs more.
const INTEGER_MAX: usize = 1 << 24;

/// The table state is lost, and with it the connection (RFC 9113 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressionError(pub &'static str);

/// Bounds on one field section.
#[derive(Debug, Clone, Copy)]
pub struct ListLimits {
    /// Names and values together.
    pub bytes_max: usize,
    /// Field lines, pseudo-fields included; every crumb of a cookie counts.
    pub count_max: usize,
}

/// A decoded field section.
#[derive(Debug, Default)]
pub struct Section {
    /// In wire order; not all of them when `too_large`.
    pub fields: Vec<Field>,
    /// Names and values of `fields`.
    pub bytes: usize,
    /// Over a limit: the rest was read for the table's sake only.
    pub too_large: bool,
}

impl Section {
    fn add(&mut self, field: Field, limits: &ListLimits) {
        self.bytes = self.bytes.saturating_add(field.0.len() + field.1.len());
        self.too_large |= self.bytes > limits.bytes_max || self.fields.len() >= limits.count_max;
        if !self.too_large {
            self.fields.push(field);
        }
    }
}

/// The decoding side of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder {
            table: Table::new(TABLE_BYTES_MAX),
        }
    }
}

impl Decoder {
    /// Decodes a whole header block. Beyond the limits nothing is kept any more, but the table
    /// goes on, so that a block of one-byte references cannot expand into memory.
    pub fn decode(
        &mut self,
        block: &[u8],
        limits: &ListLimits,
    ) -> Result<Section, CompressionError> {
        let mut input = Input(block);
        let mut strings = Strings::default();
        let mut section = Section::default();
        let mut begun = false;
        while let Some(first) = input.peek() {
            if first & 0xe0 == 0x20 {
                // §4.2: a size update stands at the beginning of a block.
                let size = input.integer(5)?;
                if begun || size > TABLE_BYTES_MAX {
                    return Err(CompressionError("table size update"));
                }
                self.table.resize(size);
                continue;
            }
            begun = true;
            if first & 0x80 != 0 {
                let field = self.entry(input.integer(7)?)?;
                section.add(field, limits);
                continue;
            }
            let indexed = first & 0x40 != 0;
            let index = input.integer(if indexed { 6 } else { 4 })?;
            let known = match index {
                0 => None,
                _ => Some(self.entry(index)?.0),
            };
            if indexed {
                let field = input.entry(known)?;
                self.table.insert(field.clone());
                section.add(field, limits);
            } else {
                let wanted = !section.too_large;
                let name = match known {
                    Some(name) => name,
                    None => input.string(&mut strings, wanted)?,
                };
                let value = input.string(&mut strings, wanted)?;
                section.add((name, value), limits);
            }
        }
        Ok(section)
    }

    fn entry(&self, index: usize) -> Result<Field, CompressionError> {
        self.table
            .get(index)
            .ok_or(CompressionError("no such table entry"))
    }
}

/// Literals of one block share few allocations.
#[derive(Default)]
struct Strings(BytesMut);

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn byte(&mut self) -> Result<u8, CompressionError> {
        let (first, rest) = self.0.split_first().ok_or(CompressionError("truncated"))?;
        self.0 = rest;
        Ok(*first)
    }

    /// §5.1, with a prefix of `bits`.
    fn integer(&mut self, bits: u32) -> Result<usize, CompressionError> {
        let mask = (1usize << bits) - 1;
        let mut value = usize::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if value > INTEGER_MAX {
                break;
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(CompressionError("integer too large"))
    }

    /// The octets of a string literal (§5.2), and whether they are Huffman coded.
    fn literal(&mut self) -> Result<(&'a [u8], bool), CompressionError> {
        let coded = self.peek().is_some_and(|first| first & 0x80 != 0);
        let length = self.integer(7)?;
        let (text, rest) =
            (self.0.split_at_checked(length)).ok_or(CompressionError("truncated"))?;
        self.0 = rest;
        Ok((text, coded))
    }

    fn append(&mut self, output: &mut BytesMut) -> Result<usize, CompressionError> {
        let before = output.len();
        let (text, coded) = self.literal()?;
        if !coded {
            output.extend_from_slice(text);
        } else if !huffman::decode(text, output) {
            return Err(CompressionError("Huffman code"));
        }
        Ok(output.len() - before)
    }

    /// A string that lives as long as its request.
    fn string(&mut self, strings: &mut Strings, wanted: bool) -> Result<Bytes, CompressionError> {
        if !wanted {
            self.literal()?;
            return Ok(Bytes::new());
        }
        if strings.0.capacity() == 0 {
            strings.0.reserve(self.0.len() * 2);
        }
        self.append(&mut strings.0)?;
        Ok(strings.0.split().freeze())
    }

    /// A field for the dynamic table: of its own, so that it keeps nothing else in memory.
    fn entry(&mut self, known: Option<Bytes>) -> Result<Field, CompressionError> {
        let mut text = BytesMut::new();
        let name = match known {
            Some(name) => name,
            None => {
                let length = self.append(&mut text)?;
                let value = self.append(&mut text)?;
                let mut both = Bytes::copy_from_slice(&text);
                let name = both.split_to(length);
                debug_assert_eq!(both.len(), value);
                return Ok((name, both));
            }
        };
        self.append(&mut text)?;
        Ok((name, Bytes::copy_from_slice(&text)))
    }
}
