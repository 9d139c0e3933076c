//! The partition of a key, as Kafka's Java client finds it: `toPositive(murmur2(key)) % partitions`.

const SEED: u32 = 0x9747_B28C;
const MULTIPLIER: u32 = 0x5BD1_E995;

/// MurmurHash2 with the seed of Kafka's Java client.
pub fn murmur2(key: &[u8]) -> u32 {
    let mut hashed = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word = (word ^ word >> 24).wrapping_mul(MULTIPLIER);
        hashed = hashed.wrapping_mul(MULTIPLIER) ^ word;
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hashed = (hashed ^ u32::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hashed = (hashed ^ hashed >> 13).wrapping_mul(MULTIPLIER);
    hashed ^ hashed >> 15
}

/// The partition, from 0, that a key belongs to in a topic of so many.
pub fn partition_of(key: &[u8], partitions: u32) -> usize {
    ((murmur2(key) & 0x7FFF_FFFF) % partitions) as usize
}

#[cfg(test)]
mod tests {
    use super::murmur2;

    #[test]
    fn hashes_as_kafkas_own_tests_expect() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
    }
}
