//! Records read back from a topic: what is compared of them, straight from the bytes of their batch.
//!
//! A batch is taken whole or not at all. Whatever in it is not plainly good is left to the Python code that decodes
//! all batches where there is no kernel; so what is wrong with a batch is known in one place.

use crate::batch::HEADER_BYTES;
use crate::compare::Facts;
use crate::json;
use crate::moments::{self, UNTIMED};

const ATTRIBUTES_AT: usize = 21;
const APPEND_TIME: u16 = 8;
const FIRST_TIMESTAMP_AT: usize = 27;
const LAST_TIMESTAMP_AT: usize = 35;
const COUNT_AT: usize = 57;

const SOURCE: &[u8] = b"ce_source";

/// Whose records count, as `Source` in `streamer/kafka/decoding.py`.
pub struct Source {
    /// The value of `ce_source`.
    pub header: Vec<u8>,
    /// Records without that header are ours too.
    pub or_none: bool,
    /// What others have written under a key counts, as a tombstone.
    pub gives_way: bool,
}

/// What is compared of records, in columns of equal length.
#[derive(Default)]
pub struct Columns {
    /// Of keys and values.
    pub facts: Facts,
    /// Microseconds since 1970.
    pub timestamps: Vec<i64>,
    /// 1 where there is no value.
    pub tombstones: Vec<u8>,
    /// Records of others between these.
    pub foreign: u64,
    keys: Vec<u8>,
    key_ends: Vec<usize>,
}

impl Columns {
    /// The keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.key_ends.len()).map(|at| {
            let start = if at == 0 { 0 } else { self.key_ends[at - 1] };
            &self.keys[start..self.key_ends[at]]
        })
    }

    fn append(&mut self, mut later: Columns) {
        let keys = self.keys.len();
        self.keys.append(&mut later.keys);
        self.key_ends.extend(later.key_ends.iter().map(|end| keys + end));
        self.facts.append(&mut later.facts);
        self.timestamps.append(&mut later.timestamps);
        self.tombstones.append(&mut later.tombstones);
        self.foreign += later.foreign;
    }
}

/// What is known of a batch before its records.
struct Head {
    base_offset: i64,
    first_timestamp: i64,
    /// Of all records, where the broker has set it.
    append_time: Option<i64>,
    records: i32,
}

impl Head {
    fn of(batch: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = batch.first_chunk()?;
        let long_at = |at: usize| i64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes"));
        let attributes = u16::from_be_bytes([header[ATTRIBUTES_AT], header[ATTRIBUTES_AT + 1]]);
        Some(Self {
            base_offset: long_at(0),
            first_timestamp: long_at(FIRST_TIMESTAMP_AT),
            append_time: (attributes & APPEND_TIME != 0).then(|| long_at(LAST_TIMESTAMP_AT)),
            records: i32::from_be_bytes(header[COUNT_AT..].try_into().expect("four bytes")),
        })
    }
}

/// Takes batches of one partition, in order.
pub struct ReadBack {
    source: Source,
    columns: Columns,
    /// Key, a zero byte and value of the record at hand.
    text: Vec<u8>,
}

impl ReadBack {
    /// Nothing is read yet.
    pub fn new(source: Source) -> Self {
        Self { source, columns: Columns::default(), text: Vec::new() }
    }

    /// How many records that count wait to be taken.
    pub fn len(&self) -> usize {
        self.columns.key_ends.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What has been read since the last time.
    pub fn take(&mut self) -> Columns {
        std::mem::take(&mut self.columns)
    }

    /// Read the records of a batch from an offset on, or none of them where somebody else must look: false.
    ///
    /// `batch` begins with its header; `records` are what follows that, uncompressed. `updated` tells what stands
    /// under `UpdatedUtc` of a value that is not plain.
    pub fn add<E>(
        &mut self,
        batch: &[u8],
        records: &[u8],
        from_offset: i64,
        updated: impl FnMut(&[u8]) -> Result<i64, E>,
    ) -> Result<bool, E> {
        let read = self.read(batch, records, from_offset, updated)?;
        Ok(read.map(|columns| self.columns.append(columns)).is_some())
    }

    fn read<E>(
        &mut self,
        batch: &[u8],
        records: &[u8],
        from_offset: i64,
        mut updated: impl FnMut(&[u8]) -> Result<i64, E>,
    ) -> Result<Option<Columns>, E> {
        let mut columns = Columns::default();
        let Some(head) = Head::of(batch) else { return Ok(None) };
        let mut rest = Bytes(records);
        for _ in 0..head.records {
            let Some(record) = rest.record(&head, &self.source) else { return Ok(None) };
            if record.offset < from_offset {
                continue;
            }
            let is_ours = record.is_ours && record.key.is_some();
            columns.foreign += u64::from(!is_ours);
            let Some(key) = record.key.filter(|_| is_ours || self.source.gives_way) else { continue };
            let value = record.value.filter(|_| is_ours);
            self.text.clear();
            self.text.extend_from_slice(key);
            self.text.push(0);
            self.text.extend_from_slice(value.unwrap_or_default());
            let moment = match value {
                None => UNTIMED,
                Some(value) => match plain_moment(value) {
                    Some(moment) => moment,
                    None => updated(value)?,
                },
            };
            columns.facts.add(key, &self.text, moment);
            columns.timestamps.push(record.timestamp.wrapping_mul(1000));
            columns.tombstones.push(u8::from(value.is_none()));
            columns.keys.extend_from_slice(key);
            columns.key_ends.push(columns.keys.len());
        }
        Ok(rest.0.is_empty().then_some(columns))
    }
}

/// `UpdatedUtc` of an entity about which there is no doubt.
fn plain_moment(value: &[u8]) -> Option<i64> {
    let found = json::dated_entity(value)?;
    if !found.is_ascii && simdutf8::basic::from_utf8(value).is_err() {
        return None;
    }
    found.updated.map_or(Some(UNTIMED), moments::microseconds)
}

struct Record<'a> {
    offset: i64,
    timestamp: i64,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    is_ours: bool,
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn record(&mut self, head: &Head, source: &Source) -> Option<Record<'a>> {
        let mut body = Bytes(self.nullable()?.filter(|body| body.first() == Some(&0))?);
        body.0 = &body.0[1..]; // attributes: none are known
        let timestamp = head.first_timestamp.checked_add(body.number()?)?;
        let offset = head.base_offset.checked_add(body.number()?)?;
        let (key, value) = (body.nullable()?, body.nullable()?);
        let is_ours = body.is_ours(source)?;
        let timestamp = head.append_time.unwrap_or(timestamp);
        body.0.is_empty().then_some(Record { offset, timestamp, key, value, is_ours })
    }

    /// Whether a record with the headers that come next is of the source.
    fn is_ours(&mut self, source: &Source) -> Option<bool> {
        let (mut is_named, mut is_ours) = (false, false);
        for _ in 0..u64::try_from(self.number()?).ok()? {
            let (name, value) = (self.nullable()??, self.nullable()?);
            if !name.is_ascii() {
                simdutf8::basic::from_utf8(name).ok()?;
            }
            if name == SOURCE {
                is_named = true;
                is_ours |= value == Some(&source.header);
            }
        }
        Some(is_ours || source.or_none && !is_named)
    }

    /// Bytes after their length, or null where that is -1.
    #[inline(always)]
    fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        let length = self.number()?;
        if length == -1 {
            return Some(None);
        }
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(Some(bytes))
    }

    /// A number in the encoding of `batch::put_varint`, in at most nine bytes: longer ones are no offsets or times.
    #[inline(always)]
    fn number(&mut self) -> Option<i64> {
        let mut zigzag = 0;
        for (at, &byte) in self.0.iter().take(9).enumerate() {
            zigzag |= u64::from(byte & 0x7F) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::put_varint;

    #[test]
    fn reads_the_numbers_that_are_written() {
        for number in [0, 1, -1, 63, 64, -64, -65, 1 << 20, i64::from(i32::MAX), 1 << 61, -(1 << 62)] {
            let mut encoded = Vec::new();
            put_varint(&mut encoded, number);
            let mut bytes = Bytes(&encoded);
            assert_eq!(bytes.number(), Some(number));
            assert!(bytes.0.is_empty());
            encoded.pop();
            assert_eq!(Bytes(&encoded).number(), None);
        }
        assert_eq!(Bytes(&[0xFF; 10]).number(), None);
    }
}
