//! Cut the bytes of one file into lines, over whatever chunks they arrive in.
//!
//! The rules are those of `streamer/core/lines.py`: only `\n` ends a line, a `\r` before it belongs to the line
//! ending, a byte order mark at the file's start is skipped but counts in offsets, and of a line over the limit only
//! as many bytes are kept.

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A line as it was cut, or what is kept of one that is too long.
pub struct Line<'a> {
    /// Without line ending. Of a line that is too long, the first bytes.
    pub bytes: &'a [u8],
    /// Bytes of all of the line, without line ending.
    pub length: u64,
    /// From 1.
    pub number: u64,
    /// Bytes of the file before it.
    pub offset: u64,
}

/// Takes a file's chunks in order.
pub struct Cutter {
    /// Where the next line starts, in bytes from the file's start.
    pub offset: u64,
    /// How many lines lie before that.
    pub lines: u64,
    limit: usize,
    unfinished: Vec<u8>,
    unfinished_length: u64,
    /// What there is of the file while it may yet begin with a byte order mark.
    mark: Option<Vec<u8>>,
}

impl Cutter {
    /// Begin at a line in mid-file, or at the start of the file.
    pub fn new(offset: u64, lines: u64, limit: usize) -> Self {
        let mark = (offset == 0).then(Vec::new);
        Self { offset, lines, limit, unfinished: Vec::new(), unfinished_length: 0, mark }
    }

    /// Hand over the lines that end within `chunk`, in file order.
    pub fn feed<E>(&mut self, chunk: &[u8], mut take: impl FnMut(Line) -> Result<(), E>) -> Result<(), E> {
        let Some(mut start) = self.mark.take() else {
            return self.cut(chunk, &mut take);
        };
        start.extend_from_slice(chunk);
        if start.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&start) {
            self.mark = Some(start);
            return Ok(());
        }
        let skipped = if start.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        self.offset = skipped as u64;
        self.cut(&start[skipped..], &mut take)
    }

    /// Hand over the last line, where the file does not end in a newline.
    pub fn finish<E>(&mut self, mut take: impl FnMut(Line) -> Result<(), E>) -> Result<(), E> {
        if let Some(start) = self.mark.take() {
            self.keep(&start);
        }
        if self.unfinished_length == 0 { Ok(()) } else { self.end_line(0, &mut take) }
    }

    fn cut<E>(&mut self, chunk: &[u8], take: &mut impl FnMut(Line) -> Result<(), E>) -> Result<(), E> {
        let mut begin = 0;
        for end in memchr::memchr_iter(b'\n', chunk) {
            let raw = &chunk[begin..end];
            begin = end + 1;
            if self.unfinished_length == 0 {
                self.hand_over(raw, raw.len() as u64, 1, take)?;
            } else {
                self.keep(raw);
                self.end_line(1, take)?;
            }
        }
        self.keep(&chunk[begin..]);
        Ok(())
    }

    fn keep(&mut self, piece: &[u8]) {
        // One byte over the limit is kept, because it may turn out to be the "\r" of the line ending. Of a longer
        // line the last byte must be known for the same reason.
        let room = (self.limit + 1).saturating_sub(self.unfinished.len());
        self.unfinished.extend_from_slice(&piece[..piece.len().min(room)]);
        self.unfinished_length += piece.len() as u64;
        if self.unfinished_length > self.unfinished.len() as u64 && !piece.is_empty() {
            self.unfinished[self.limit] = piece[piece.len() - 1];
        }
    }

    fn end_line<E>(&mut self, newline: u64, take: &mut impl FnMut(Line) -> Result<(), E>) -> Result<(), E> {
        let kept = std::mem::take(&mut self.unfinished);
        let length = std::mem::take(&mut self.unfinished_length);
        self.hand_over(&kept, length, newline, take)
    }

    /// `raw`: as much as was kept of a line of `length` bytes, its last byte included in the last place.
    #[inline(always)]
    fn hand_over<E>(
        &mut self,
        raw: &[u8],
        length: u64,
        newline: u64,
        take: &mut impl FnMut(Line) -> Result<(), E>,
    ) -> Result<(), E> {
        let returns = usize::from(raw.last() == Some(&b'\r'));
        self.lines += 1;
        let line = Line {
            bytes: &raw[..(raw.len() - returns).min(self.limit)],
            length: length - returns as u64,
            number: self.lines,
            offset: self.offset,
        };
        self.offset += length + newline;
        take(line)
    }
}
