//! The Internet checksum (RFC 1071).

/// The one's complement sum of some pieces, each of an even length except the last.
#[derive(Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds bytes. The sum does not depend on the byte order, only its place does.
    pub fn add(self, bytes: &[u8]) -> Sum {
        let mut sum = self.0;
        let mut words = bytes.chunks_exact(4);
        for word in &mut words {
            if let Ok(word) = <[u8; 4]>::try_from(word) {
                sum += u64::from(u32::from_ne_bytes(word));
            }
        }
        let mut last = [0_u8; 4];
        for (to, from) in last.iter_mut().zip(words.remainder()) {
            *to = *from;
        }
        Sum(sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// What goes into the packet, in its order there.
    pub fn finish(self) -> [u8; 2] {
        let mut sum = self.0;
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let folded = u16::try_from(sum).unwrap_or_default();
        (!folded).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_and_an_odd_end() {
        let even = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().add(&even).finish(), [0x22, 0x0d]);
        // An odd byte counts as the high one of a word: 0xddf2 + 0x0100.
        assert_eq!(Sum::default().add(&even).add(&[1]).finish(), [0x21, 0x0d]);
        let pieces = Sum::default().add(&even[..2]).add(&even[2..]);
        assert_eq!(pieces.finish(), [0x22, 0x0d]);
    }
}
