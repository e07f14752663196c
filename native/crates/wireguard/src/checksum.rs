//! The Internet checksum (RFC 1071) of headers and payloads that pass.

use crate::ip::Family;

/// The sum of 16-bit words in network order, not yet folded; an odd byte at the end is a high one.
pub fn sum(bytes: &[u8], start: u64) -> u64 {
    // RFC 1071 §2: the order of bytes does not matter before the end, so words of four bytes are
    // taken as the machine has them, which compilers do many at a time.
    let mut words = bytes.chunks_exact(4);
    let mut sum = 0;
    for word in words.by_ref() {
        sum += u64::from(u32::from_ne_bytes(word.try_into().unwrap_or_default()));
    }
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(words.remainder()) {
        *to = *from;
    }
    sum += u64::from(u32::from_ne_bytes(last));
    start + u64::from(u16::from_be_bytes(fold(sum).to_ne_bytes()))
}

/// A sum as 16 bits, with its carries (RFC 1071 §4.1); not yet inverted.
pub fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum over the pseudo header (RFC 9293 §3.1, RFC 8200 §8.1) of a payload of `length` bytes.
pub fn pseudo(family: Family, packet: &[u8], protocol: u8, length: usize) -> u64 {
    let addresses = match family {
        Family::V4 => packet.get(12..20),
        Family::V6 => packet.get(8..40),
    };
    let start = u64::from(protocol) + length as u64;
    sum(addresses.unwrap_or_default(), start)
}

/// A checksum after one of the words below it changed (RFC 1624 equation 3).
pub fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_up() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes, 0)), 0xddf2);
    }

    #[test]
    fn an_odd_byte_is_a_high_one() {
        assert_eq!(fold(sum(&[0x12, 0x34, 0x56], 0)), 0x1234 + 0x5600);
        assert_eq!(fold(sum(&[0x12, 0x34, 0x56, 0x78, 0x9a], 0)), 0x02ad);
    }

    #[test]
    fn an_update_is_what_a_new_sum_gives() {
        for new in [0_u16, 1, 0x0538, 0xffff] {
            let with = |word: u16| {
                let [high, low] = word.to_be_bytes();
                !fold(sum(&[0x45, 0x00, high, low, 0xfe, 0xff], 0))
            };
            assert_eq!(updated(with(0x05b4), 0x05b4, new), with(new));
        }
    }
}
