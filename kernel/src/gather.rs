//! Lines of one file become records in batches, by partition.

use crate::batch::Batch;
use crate::headers::Headers;
use crate::json;
use crate::lines::{Cutter, Line};
use crate::partitioner::partition_of;

/// What batches are allowed to weigh, and lines.
pub struct Limits {
    /// Of a line, without line ending.
    pub line_bytes: usize,
    /// Of key and value of a record together.
    pub record_room: usize,
    /// Of a batch, but for a single record that is larger alone.
    pub batch_bytes: usize,
}

/// What one partition got in the open block.
#[derive(Default)]
pub struct Partition {
    /// How many records.
    pub records: u64,
    /// Sum modulo 2^64 of xxh3-64 over key, a zero byte and value of each.
    pub digest: u64,
    /// The records, in line order.
    pub batches: Vec<Batch>,
}

/// All records of the open block.
pub struct Records {
    limits: Limits,
    headers: Headers,
    partitions: Vec<Partition>,
    /// Lines with nothing in them but blanks.
    pub blank: u64,
}

/// Takes the bytes of one file from a cut on.
pub struct Gatherer {
    cutter: Cutter,
    records: Records,
}

impl Gatherer {
    /// Begin at a cut: so many bytes and lines lie before it.
    pub fn new(offset: u64, lines: u64, partitions: usize, headers: Headers, limits: Limits) -> Self {
        let cutter = Cutter::new(offset, lines, limits.line_bytes);
        let partitions = std::iter::repeat_with(Partition::default).take(partitions).collect();
        Self { cutter, records: Records { limits, headers, partitions, blank: 0 } }
    }

    /// Where the next line starts, in bytes from the file's start, and how many lines lie before it.
    pub fn position(&self) -> (u64, u64) {
        (self.cutter.offset, self.cutter.lines)
    }

    /// Gather the lines that end in the next bytes of the file. `judge` is asked about each line that isn't plainly
    /// good: the key of the record that it becomes after all, or `None` where it took care of it.
    pub fn feed<E>(
        &mut self,
        chunk: &[u8],
        mut judge: impl FnMut(&Line) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<(), E> {
        self.cutter.feed(chunk, |line| self.records.take(&line, &mut judge))
    }

    /// The file is whole: what follows its last newline is a line too.
    pub fn finish<E>(&mut self, mut judge: impl FnMut(&Line) -> Result<Option<Vec<u8>>, E>) -> Result<(), E> {
        self.cutter.finish(|line| self.records.take(&line, &mut judge))
    }

    /// What is gathered, by partition; a new block begins.
    pub fn take(&mut self) -> (Vec<Partition>, u64) {
        let none = std::iter::repeat_with(Partition::default).take(self.records.partitions.len()).collect();
        (std::mem::replace(&mut self.records.partitions, none), std::mem::take(&mut self.records.blank))
    }
}

impl Records {
    fn take<E>(&mut self, line: &Line, judge: &mut impl FnMut(&Line) -> Result<Option<Vec<u8>>, E>) -> Result<(), E> {
        if let Some(key) = self.plain_key(line) {
            self.append(key, line);
        } else if line.bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) && !self.is_long(line) {
            self.blank += 1;
        } else if let Some(key) = judge(line)? {
            self.append(&key, line);
        }
        Ok(())
    }

    fn is_long(&self, line: &Line) -> bool {
        line.length > self.limits.line_bytes as u64
    }

    fn plain_key<'a>(&self, line: &Line<'a>) -> Option<&'a [u8]> {
        if self.is_long(line) {
            return None;
        }
        let found = json::entity(line.bytes)?;
        let fits = found.id.len() + line.bytes.len() <= self.limits.record_room;
        let is_text = found.is_ascii || simdutf8::basic::from_utf8(line.bytes).is_ok();
        (fits && is_text).then_some(found.id)
    }

    fn append(&mut self, key: &[u8], line: &Line) {
        let count = self.partitions.len() as u32;
        let partition = &mut self.partitions[partition_of(key, count)];
        let headers = self.headers.set_offset(line.offset);
        let limit = self.limits.batch_bytes;
        let mut last = partition.batches.len().wrapping_sub(1);
        let body_in = |batch: &Batch| batch.body_of(key.len(), line.bytes.len(), headers);
        if partition.batches.last().is_none_or(|batch| batch.is_full(body_in(batch), limit)) {
            let capacity = limit.min(if partition.batches.is_empty() { FIRST_BYTES } else { limit });
            partition.batches.push(Batch::with_capacity(capacity));
            last = partition.batches.len() - 1;
        }
        let batch = &mut partition.batches[last];
        let digest = batch.append(body_in(batch), key, line.bytes, self.headers.pieces());
        partition.digest = partition.digest.wrapping_add(digest);
        partition.records += 1;
    }
}

/// What the first batch of a partition begins with: with many partitions most of them never get large.
const FIRST_BYTES: usize = 64 * 1024;
