//! Lines that are held back until somebody has said which of them are news.
//!
//! Whether a line says what its topic says already is decided by others, from digests, for all lines of a partition in
//! a chunk at once. Until then the lines are kept here.

use std::ops::Range;

/// What is compared of the lines of one partition, in columns of equal length.
#[derive(Default)]
pub struct Facts {
    /// 64 bits of the key's digest (xxh3-128).
    pub keys: Vec<u64>,
    /// 32 others of it.
    pub checks: Vec<u32>,
    /// xxh3-64 over key, a zero byte and value.
    pub values: Vec<u64>,
    /// `UpdatedUtc` in microseconds since 1970, or `UNTIMED`.
    pub updated: Vec<i64>,
}

impl Facts {
    /// One more: its key, then key, a zero byte and value in a row, then `UpdatedUtc`.
    #[inline]
    pub fn add(&mut self, key: &[u8], text: &[u8], updated: i64) {
        let digest = xxhash_rust::xxh3::xxh3_128(key);
        self.keys.push((digest >> 64) as u64);
        self.checks.push((digest >> 32) as u32);
        self.values.push(xxhash_rust::xxh3::xxh3_64(text));
        self.updated.push(updated);
    }

    /// Those of `later` too.
    pub fn append(&mut self, later: &mut Facts) {
        self.keys.append(&mut later.keys);
        self.checks.append(&mut later.checks);
        self.values.append(&mut later.values);
        self.updated.append(&mut later.updated);
    }
}

/// A line that waits, as places in `Held::text`.
pub struct Waiting {
    /// Of its key.
    pub key: Range<usize>,
    /// Of itself.
    pub line: Range<usize>,
    /// Bytes of the file before it.
    pub offset: u64,
}

/// The lines of one partition, and what is compared of them.
#[derive(Default)]
pub struct Held {
    /// In line order.
    pub facts: Facts,
    /// The same lines.
    pub lines: Vec<Waiting>,
}

/// All lines that wait, for a share of the partitions.
pub struct Comparison {
    share: Range<usize>,
    /// By partition.
    pub held: Vec<Held>,
    /// Keys and lines, each key before its line, with a zero byte between them.
    pub text: Vec<u8>,
    /// Lines that others have said to be no news, since the last block.
    pub unchanged: u64,
    /// Lines of other shares, since the last block.
    pub elsewhere: u64,
}

impl Comparison {
    /// Nothing waits yet.
    pub fn new(share: Range<usize>, partitions: usize) -> Self {
        let held = std::iter::repeat_with(Held::default).take(partitions).collect();
        Self { share, held, text: Vec::new(), unchanged: 0, elsewhere: 0 }
    }

    /// Keep a line of a partition; one of another share is only counted.
    pub fn hold(&mut self, partition: usize, key: &[u8], line: &[u8], offset: u64, updated: i64) {
        if !self.share.contains(&partition) {
            self.elsewhere += 1;
            return;
        }
        let key_at = self.text.len();
        self.text.extend_from_slice(key);
        self.text.push(0);
        let line_at = self.text.len();
        self.text.extend_from_slice(line);
        let Held { facts, lines } = &mut self.held[partition];
        facts.add(key, &self.text[key_at..], updated);
        lines.push(Waiting { key: key_at..line_at - 1, line: line_at..self.text.len(), offset });
    }
}
