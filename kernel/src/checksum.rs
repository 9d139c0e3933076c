//! CRC-32C of two runs of bytes in a row, from those of each.
//!
//! A run of n bytes behind another one multiplies the checksum of the first by x^(8n), modulo the polynomial of the
//! checksum. The crate of the checksum squares matrices for that, 25 µs a time; by multiplying it takes two.

/// The polynomial, its highest power in the lowest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x^0 in that order of bits.
const ONE: u32 = 1 << 31;

/// The checksum of bytes that have the checksum `first`, followed by so many bytes that have the checksum `second`.
pub fn combined(first: u32, second: u32, bytes: usize) -> u32 {
    let mut shifted = first;
    let mut power = ONE >> 8; // x^8, of one byte; then of two, of four
    let mut rest = bytes;
    while rest > 0 {
        if rest & 1 == 1 {
            shifted = product(shifted, power);
        }
        power = product(power, power);
        rest >>= 1;
    }
    shifted ^ second
}

/// Of two polynomials, modulo the checksum's.
fn product(one: u32, other: u32) -> u32 {
    let mut product = 0;
    let mut shifted = other;
    let mut at = ONE;
    while at > 0 {
        if one & at != 0 {
            product ^= shifted;
        }
        shifted = if shifted & 1 == 1 { shifted >> 1 ^ POLYNOMIAL } else { shifted >> 1 };
        at >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_checksum_of_both_in_a_row() {
        let bytes: Vec<u8> = (0..600_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for first in [0, 1, 40, 4096] {
            for second in [0, 1, 2, 3, 255, 256, 65_535, 65_536, 524_227, 590_000] {
                let (front, back) = (&bytes[..first], &bytes[first..first + second]);
                let whole = crc32c::crc32c(&bytes[..first + second]);
                assert_eq!(combined(crc32c::crc32c(front), crc32c::crc32c(back), second), whole, "{first} {second}");
            }
        }
    }

    #[test]
    fn takes_lengths_of_more_than_32_bits() {
        for bytes in [usize::MAX, 1 << 40, (1 << 33) + 5] {
            assert_eq!(
                combined(0x1234_5678, 0x9abc_def0, bytes),
                crc32c::crc32c_combine(0x1234_5678, 0x9abc_def0, bytes)
            );
        }
    }
}
