//! Netlink's attributes (RFC 3549 §2.3.2): a length, a kind, the bytes, and padding to four.

/// Length and kind.
const HEAD_BYTES: usize = 4;
/// Its bytes are attributes themselves (NLA_F_NESTED).
const NESTED: u16 = 1 << 15;
/// The other bit that is no part of a kind (NLA_F_NET_BYTEORDER).
const FLAGS: u16 = NESTED | 1 << 14;

/// Attributes one behind the other.
#[derive(Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// `bytes` have to fit into the sixteen bits of a length.
    pub fn put(&mut self, kind: u16, bytes: &[u8]) {
        let length = u16::try_from(HEAD_BYTES + bytes.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub fn nest(&mut self, kind: u16, inner: Writer) {
        self.put(kind | NESTED, &inner.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn append(&mut self, other: &Writer) {
        self.0.extend_from_slice(&other.0);
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads them: kind and bytes. Ends where the bytes make no sense.
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (head, _) = self.0.split_first_chunk::<HEAD_BYTES>()?;
        let [a, b, c, d] = *head;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let kind = u16::from_ne_bytes([c, d]) & !FLAGS;
        let bytes = self.0.get(HEAD_BYTES..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut inner = Writer::default();
        inner.put(1, b"abc");
        let mut writer = Writer::default();
        writer.put(7, &[]);
        writer.nest(8, inner);
        let bytes = writer.bytes();
        let wanted = [
            [4, 0, 7, 0].as_slice(),
            &[12, 0, 8, 0x80, 7, 0, 1, 0, b'a', b'b', b'c', 0],
        ];
        assert_eq!(bytes, wanted.concat());
        let read: Vec<_> = Attributes(&bytes).collect();
        assert_eq!(read, [(7, [].as_slice()), (8, &bytes[8..])]);
        assert_eq!(Attributes(&bytes[8..]).next(), Some((1, b"abc".as_slice())));
    }

    #[test]
    fn nonsense_ends_the_reading() {
        for bytes in [
            &[][..],
            &[4, 0, 1],
            &[3, 0, 1, 0],
            &[9, 0, 1, 0, 1, 2, 3, 4],
        ] {
            assert_eq!(Attributes(bytes).next(), None, "{bytes:?}");
        }
        // The padding of the last one may be missing.
        assert_eq!(Attributes(&[5, 0, 1, 0, 9]).count(), 1);
    }
}
