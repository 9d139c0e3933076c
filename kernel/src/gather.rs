//! Lines of one file become records in batches, by partition.

use std::ops::Range;

use crate::batch::Batch;
use crate::compare::{Comparison, Facts};
use crate::headers::Headers;
use crate::json;
use crate::lines::{Cutter, Line};
use crate::moments::{self, UNTIMED};
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
    blank: u64,
    /// What waits for being compared, where lines are.
    comparison: Option<Comparison>,
}

/// Everything gathered since the last block.
pub struct Taken {
    /// All of them, also those without records.
    pub partitions: Vec<Partition>,
    /// Lines with nothing in them but blanks.
    pub blank: u64,
    /// Lines that were no news.
    pub unchanged: u64,
    /// Lines of other shares of the partitions.
    pub elsewhere: u64,
}

/// Whom to ask.
pub trait Judges {
    /// What asking may come to.
    type Error;

    /// What a line that isn't plainly good needs to become a record after all, its key and, where lines are compared,
    /// its `UpdatedUtc`; `None` where it was taken care of.
    fn line(&mut self, line: &Line) -> Result<Option<(Vec<u8>, i64)>, Self::Error>;

    /// For each line of a partition whether it is news: a byte, 0 or 1.
    fn news(&mut self, partition: usize, facts: &Facts) -> Result<Vec<u8>, Self::Error>;
}

/// Takes the bytes of one file from a cut on.
pub struct Gatherer {
    cutter: Cutter,
    records: Records,
}

impl Gatherer {
    /// Begin at a cut: so many bytes and lines lie before it. With a share of the partitions, lines are compared.
    pub fn new(
        (offset, lines): (u64, u64),
        partitions: usize,
        headers: Headers,
        limits: Limits,
        share: Option<Range<usize>>,
    ) -> Self {
        let cutter = Cutter::new(offset, lines, limits.line_bytes);
        let comparison = share.map(|share| Comparison::new(share, partitions));
        let partitions = std::iter::repeat_with(Partition::default).take(partitions).collect();
        Self { cutter, records: Records { limits, headers, partitions, blank: 0, comparison } }
    }

    /// Where the next line starts, in bytes from the file's start, and how many lines lie before it.
    pub fn position(&self) -> (u64, u64) {
        (self.cutter.offset, self.cutter.lines)
    }

    /// Gather the lines that end in the next bytes of the file.
    pub fn feed<J: Judges>(&mut self, chunk: &[u8], judges: &mut J) -> Result<(), J::Error> {
        self.cutter.feed(chunk, |line| self.records.take(&line, judges))?;
        self.records.compare(judges)
    }

    /// The file is whole: what follows its last newline is a line too.
    pub fn finish<J: Judges>(&mut self, judges: &mut J) -> Result<(), J::Error> {
        self.cutter.finish(|line| self.records.take(&line, judges))?;
        self.records.compare(judges)
    }

    /// What is gathered; a new block begins.
    pub fn take(&mut self) -> Taken {
        let records = &mut self.records;
        let none = std::iter::repeat_with(Partition::default).take(records.partitions.len()).collect();
        let partitions = std::mem::replace(&mut records.partitions, none);
        let blank = std::mem::take(&mut records.blank);
        let (unchanged, elsewhere) = match &mut records.comparison {
            Some(comparison) => (std::mem::take(&mut comparison.unchanged), std::mem::take(&mut comparison.elsewhere)),
            None => (0, 0),
        };
        Taken { partitions, blank, unchanged, elsewhere }
    }
}

impl Records {
    fn take<J: Judges>(&mut self, line: &Line, judges: &mut J) -> Result<(), J::Error> {
        if let Some((key, updated)) = self.plain(line) {
            self.keep(key, updated, line);
        } else if line.bytes.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) && !self.is_long(line) {
            self.blank += 1;
        } else if let Some((key, updated)) = judges.line(line)? {
            self.keep(&key, updated, line);
        }
        Ok(())
    }

    fn is_long(&self, line: &Line) -> bool {
        line.length > self.limits.line_bytes as u64
    }

    /// Key and `UpdatedUtc` of a line about which there is no doubt.
    #[inline(always)]
    fn plain<'a>(&self, line: &Line<'a>) -> Option<(&'a [u8], i64)> {
        if self.is_long(line) {
            return None;
        }
        let found = if self.comparison.is_some() { json::dated_entity(line.bytes) } else { json::entity(line.bytes) }?;
        let fits = found.id.len() + line.bytes.len() <= self.limits.record_room;
        let is_text = found.is_ascii || simdutf8::basic::from_utf8(line.bytes).is_ok();
        if !fits || !is_text {
            return None;
        }
        let updated = match found.updated {
            Some(text) => moments::microseconds(text)?,
            None => UNTIMED,
        };
        Some((found.id, updated))
    }

    #[inline(always)]
    fn keep(&mut self, key: &[u8], updated: i64, line: &Line) {
        let partition = partition_of(key, self.partitions.len() as u32);
        match &mut self.comparison {
            Some(comparison) => comparison.hold(partition, key, line.bytes, line.offset, updated),
            None => self.append(partition, key, line.bytes, line.offset),
        }
    }

    /// Have what waits judged, and append the news. Partitions are independent; within each the order matters.
    fn compare<J: Judges>(&mut self, judges: &mut J) -> Result<(), J::Error> {
        let Some(comparison) = &mut self.comparison else { return Ok(()) };
        let mut text = std::mem::take(&mut comparison.text);
        for partition in 0..self.partitions.len() {
            let Some(comparison) = &mut self.comparison else { break };
            let held = std::mem::take(&mut comparison.held[partition]);
            if held.lines.is_empty() {
                continue;
            }
            let news = judges.news(partition, &held.facts)?;
            comparison.unchanged += news.iter().filter(|&&is_news| is_news == 0).count() as u64;
            for (line, is_news) in held.lines.iter().zip(&news) {
                if *is_news != 0 {
                    self.append(partition, &text[line.key.clone()], &text[line.line.clone()], line.offset);
                }
            }
        }
        // The memory is used again for the next chunk.
        text.clear();
        if let Some(comparison) = &mut self.comparison {
            comparison.text = text;
        }
        Ok(())
    }

    fn append(&mut self, partition: usize, key: &[u8], line: &[u8], offset: u64) {
        let partition = &mut self.partitions[partition];
        let headers = self.headers.set_offset(offset);
        let limit = self.limits.batch_bytes;
        let mut last = partition.batches.len().wrapping_sub(1);
        let body_in = |batch: &Batch| batch.body_of(key.len(), line.len(), headers);
        if partition.batches.last().is_none_or(|batch| batch.is_full(body_in(batch), limit)) {
            let capacity = limit.min(if partition.batches.is_empty() { FIRST_BYTES } else { limit });
            partition.batches.push(Batch::with_capacity(capacity));
            last = partition.batches.len() - 1;
        }
        let batch = &mut partition.batches[last];
        let digest = batch.append(body_in(batch), key, line, self.headers.pieces());
        partition.digest = partition.digest.wrapping_add(digest);
        partition.records += 1;
    }
}

/// What the first batch of a partition begins with: with many partitions most of them never get large.
const FIRST_BYTES: usize = 64 * 1024;
