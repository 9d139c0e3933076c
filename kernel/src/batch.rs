//! Record batches of Kafka's message format 2, encoded as aiokafka's builder does it.

use crate::checksum::combined;

/// Bytes of a batch before its records: a header that is filled in when it is known who sends the batch.
pub const HEADER_BYTES: usize = 61;

const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAGIC: u8 = 2;

/// Records are put to the checksum when there are so many bytes of them: while they lie in the processor's cache, and not
/// all at once when the batch is sent.
const CHECKSUM_BYTES: usize = 16 * 1024;

/// Who sends a batch, and when it was made.
#[derive(Clone, Copy)]
pub struct Sender {
    /// Compression and whether it is part of a transaction, as the format has it.
    pub attributes: i16,
    /// Of all records, in milliseconds since 1970.
    pub timestamp: i64,
    /// The producer's.
    pub id: i64,
    /// The producer's.
    pub epoch: i16,
    /// Of the first record.
    pub sequence: i32,
}

/// Records of one partition: room for the header, then the records.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    records: u32,
    checksum: u32,
    /// So many bytes of the records are in the checksum.
    checked: usize,
}

impl Batch {
    /// Without records, with memory for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut batch = Self { bytes: Vec::with_capacity(bytes), ..Self::default() };
        batch.bytes.resize(HEADER_BYTES, 0);
        batch
    }

    /// All of it; the header is good once `seal` was called.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many records there are.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Whether one more record of so many bytes, not counting its own length, would bring it to the limit.
    pub fn is_full(&self, body: usize, limit: usize) -> bool {
        self.records > 0 && self.bytes.len() + varint_length(body as i64) + body >= limit
    }

    /// Put other bytes in the place of the records: the same ones, compressed.
    pub fn replace_records(&mut self, records: &[u8]) {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + records.len());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend_from_slice(records);
        self.bytes = bytes;
        (self.checksum, self.checked) = (0, 0);
        self.check();
    }

    /// Put the records that are not in the checksum yet to it.
    fn check(&mut self) {
        let records = &self.bytes[HEADER_BYTES..];
        self.checksum = crc32c::crc32c_append(self.checksum, &records[self.checked..]);
        self.checked = records.len();
    }

    /// Write the header, checksum included. Reads few of the records: a request's worth of them takes milliseconds.
    pub fn seal(&mut self, sender: &Sender) {
        self.check();
        let length = (self.bytes.len() - LENGTH_AT - 4) as i32;
        let last_offset = self.records.saturating_sub(1) as i32;
        let header = &mut self.bytes[..HEADER_BYTES];
        header[..LENGTH_AT].fill(0); // the base offset is the broker's to fill in
        let mut at = LENGTH_AT;
        let mut put = |bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&length.to_be_bytes());
        put(&(-1i32).to_be_bytes()); // the leader's epoch
        debug_assert_eq!(MAGIC_AT, LENGTH_AT + 8);
        put(&[MAGIC]);
        put(&[0; 4]); // the checksum
        put(&sender.attributes.to_be_bytes());
        put(&last_offset.to_be_bytes());
        put(&sender.timestamp.to_be_bytes());
        put(&sender.timestamp.to_be_bytes());
        put(&sender.id.to_be_bytes());
        put(&sender.epoch.to_be_bytes());
        put(&sender.sequence.to_be_bytes());
        put(&(self.records as i32).to_be_bytes());
        let checksum = crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..HEADER_BYTES]);
        let checksum = combined(checksum, self.checksum, self.checked);
        self.bytes[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Append a record: `headers` are written in pieces. Returns the digest of key, a zero byte and value.
    #[inline]
    pub fn append(&mut self, body: usize, key: &[u8], value: &[u8], headers: [&[u8]; 3]) -> u64 {
        let out = &mut self.bytes;
        put_varint(out, body as i64);
        out.extend_from_slice(&[0, 0]); // attributes, and no distance from the batch's timestamp
        put_varint(out, i64::from(self.records));
        put_varint(out, key.len() as i64);
        let key_at = out.len();
        out.extend_from_slice(key);
        put_varint(out, value.len() as i64);
        let value_at = out.len();
        out.extend_from_slice(value);
        let digest = digest(out, key_at, key, value_at);
        for piece in headers {
            out.extend_from_slice(piece);
        }
        self.records += 1;
        if out.len() - HEADER_BYTES - self.checked >= CHECKSUM_BYTES {
            self.check();
        }
        digest
    }

    /// Bytes of a record without its own length, given what its headers take.
    #[inline]
    pub fn body_of(&self, key: usize, value: usize, headers: usize) -> usize {
        2 + varint_length(i64::from(self.records))
            + varint_length(key as i64)
            + key
            + varint_length(value as i64)
            + value
            + headers
    }
}

/// xxh3-64 over key, a zero byte and value, which lies at the end of `out`; `key_at` is where the key lies.
///
/// Between the two is the length of the value, one byte or more. For a moment the key moves up to a zero byte in the
/// place of the last of them, so that what is hashed lies in a row without being copied.
#[inline]
fn digest(out: &mut [u8], key_at: usize, key: &[u8], value_at: usize) -> u64 {
    let moved = value_at - 1 - key.len();
    let last = out[value_at - 1];
    let mut kept = [0; 9];
    let gap = moved - key_at;
    kept[..gap].copy_from_slice(&out[value_at - 1 - gap..value_at - 1]);
    out.copy_within(key_at..key_at + key.len(), moved);
    out[value_at - 1] = 0;
    let digest = xxhash_rust::xxh3::xxh3_64(&out[moved..]);
    out[key_at..key_at + key.len()].copy_from_slice(key);
    out[value_at - 1 - gap..value_at - 1].copy_from_slice(&kept[..gap]);
    out[value_at - 1] = last;
    digest
}

/// Bytes that a number takes, encoded as Kafka does it: zigzag, seven bits a byte.
#[inline]
pub fn varint_length(number: i64) -> usize {
    let zigzag = (number << 1 ^ number >> 63) as u64;
    (70 - (zigzag | 1).leading_zeros() as usize) / 7
}

/// Append a number in that encoding.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, number: i64) {
    let mut zigzag = (number << 1 ^ number >> 63) as u64;
    while zigzag >= 0x80 {
        out.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_as_many_bytes_as_are_told() {
        for number in [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 1 << 20, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            assert_eq!(out.len(), varint_length(number), "{number}");
        }
    }

    #[test]
    fn the_checksum_is_that_of_all_that_follows_it() {
        let sender = Sender { attributes: 0x10, timestamp: 1_795_795_200_000, id: 7, epoch: 2, sequence: 9 };
        for lengths in [&[1][..], &[CHECKSUM_BYTES], &[40; 1000], &[5, 3 * CHECKSUM_BYTES, 100, 20_000]] {
            let mut batch = Batch::with_capacity(100);
            for (number, &length) in lengths.iter().enumerate() {
                let value = vec![number as u8; length];
                batch.append(batch.body_of(1, length, 1), b"k", &value, [b"", b"", b"\0"]);
            }
            for records in [None, Some(&[][..]), Some(&b"compressed"[..]), Some(&[7; 100_000])] {
                if let Some(records) = records {
                    batch.replace_records(records);
                }
                // As often as one likes: nothing of the last time is left in it.
                for sender in [sender, Sender { id: 8, ..sender }] {
                    batch.seal(&sender);
                    let checksum = crc32c::crc32c(&batch.bytes()[ATTRIBUTES_AT..]).to_be_bytes();
                    assert_eq!(batch.bytes()[CRC_AT..ATTRIBUTES_AT], checksum);
                }
            }
        }
    }

    #[test]
    fn digests_key_and_value_with_a_zero_between_and_leaves_the_record_as_it_was() {
        for value in [&b""[..], b"v", &[7; 63], &[7; 64], &[7; 9000], &[7; 2_000_000]] {
            for key in [&b"k"[..], &[b'x'; 36], &[b'y'; 300]] {
                let mut batch = Batch::with_capacity(100);
                let body = batch.body_of(key.len(), value.len(), 1);
                let digest = batch.append(body, key, value, [b"", b"", b"\0"]);
                let expected = [key, b"\0", value].concat();
                assert_eq!(digest, xxhash_rust::xxh3::xxh3_64(&expected));

                let mut plain = Vec::new();
                put_varint(&mut plain, body as i64);
                plain.extend([0, 0, 0]);
                put_varint(&mut plain, key.len() as i64);
                plain.extend(key);
                put_varint(&mut plain, value.len() as i64);
                plain.extend(value);
                plain.push(0);
                assert_eq!(&batch.bytes()[HEADER_BYTES..], plain);
                assert_eq!(plain.len(), body + varint_length(body as i64));
            }
        }
    }
}
