//! Look through a line that should be a JSON object, and find its `Id` on the way.
//!
//! Only what is plainly good is decided here. Whatever is not (errors of any kind, an `Id` written with escapes or
//! twice, deep nesting) is no verdict: the same Python code judges it that judges every line where there is no
//! kernel. So this must never accept more than that does; to accept less costs only time.

/// Deeper nesting is left to the other parser, whose own limit depends on Python's stack.
const MOST_NESTED: u32 = 64;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// An object with exactly one `Id`, a string that is not empty and has no escapes.
#[derive(Debug, PartialEq, Eq)]
pub struct Entity<'a> {
    /// The `Id` as it stands in the line.
    pub id: &'a [u8],
    /// Whether all of the line is ASCII. Otherwise it may be no UTF-8: that is not looked at here.
    pub is_ascii: bool,
    /// Its `UpdatedUtc`, where that was asked for and is a string.
    pub updated: Option<&'a [u8]>,
}

/// The entity in a line (without line ending), or `None` where somebody else must judge.
pub fn entity(line: &[u8]) -> Option<Entity<'_>> {
    scan::<false>(line)
}

/// The same with its `UpdatedUtc`, which is a string without escapes, null, or not there.
pub fn dated_entity(line: &[u8]) -> Option<Entity<'_>> {
    scan::<true>(line)
}

#[inline(always)]
fn scan<const DATED: bool>(line: &[u8]) -> Option<Entity<'_>> {
    let mut scan = Scan { bytes: line, at: 0, seen: 0 };
    let mut id = None;
    let (mut updated, mut is_dated) = (None, false);
    scan.skip_blank();
    scan.expect(b'{')?;
    loop {
        scan.skip_blank();
        scan.expect(b'"')?;
        let name = scan.string()?;
        if !name.is_plain {
            return None; // it may spell "Id"
        }
        scan.skip_blank();
        scan.expect(b':')?;
        scan.skip_blank();
        if name.content == b"Id" {
            scan.expect(b'"')?;
            let text = scan.string()?;
            if id.is_some() || !text.is_plain || text.content.is_empty() {
                return None;
            }
            id = Some(text.content);
        } else if DATED && name.content == b"UpdatedUtc" {
            if is_dated {
                return None;
            }
            is_dated = true;
            if scan.next() == b'n' {
                scan.literal(b"null")?;
            } else {
                scan.expect(b'"')?;
                let text = scan.string()?;
                if !text.is_plain {
                    return None;
                }
                updated = Some(text.content);
            }
        } else {
            scan.value(1)?;
        }
        if scan.ends(b'}')? {
            break;
        }
    }
    scan.skip_blank();
    if scan.at != line.len() {
        return None;
    }
    Some(Entity { id: id?, is_ascii: scan.seen & HIGH_BITS == 0, updated })
}

struct Text<'a> {
    content: &'a [u8],
    is_plain: bool,
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    /// All bytes of strings, one over the other: tells at the end whether there was one that isn't ASCII.
    seen: u64,
}

impl<'a> Scan<'a> {
    /// The byte that comes next; 0, which is legal nowhere, at the end.
    #[inline(always)]
    fn next(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next() == byte).then(|| self.at += 1)
    }

    #[inline(always)]
    fn skip_blank(&mut self) {
        while matches!(self.next(), b' ' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// After a member or an element: whether the object or array ends here; false after a comma.
    #[inline(always)]
    fn ends(&mut self, close: u8) -> Option<bool> {
        self.skip_blank();
        let byte = self.next();
        self.at += 1;
        if byte == b',' { Some(false) } else { (byte == close).then_some(true) }
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        match self.next() {
            b'"' => {
                self.at += 1;
                self.string().map(|_| ())
            }
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: u32) -> Option<()> {
        if depth == MOST_NESTED {
            return None;
        }
        self.at += 1;
        self.skip_blank();
        if self.next() == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.skip_blank();
            self.expect(b'"')?;
            self.string()?;
            self.skip_blank();
            self.expect(b':')?;
            self.skip_blank();
            self.value(depth + 1)?;
            if self.ends(b'}')? {
                return Some(());
            }
        }
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        if depth == MOST_NESTED {
            return None;
        }
        self.at += 1;
        self.skip_blank();
        if self.next() == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.skip_blank();
            self.value(depth + 1)?;
            if self.ends(b']')? {
                return Some(());
            }
        }
    }

    /// The string whose opening quote was just passed.
    #[inline(always)]
    fn string(&mut self) -> Option<Text<'a>> {
        let start = self.at;
        let mut is_plain = true;
        loop {
            self.skip_plain();
            match self.next() {
                b'"' => {
                    self.at += 1;
                    return Some(Text { content: &self.bytes[start..self.at - 1], is_plain });
                }
                b'\\' => {
                    is_plain = false;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    /// Up to the next quote, backslash or control character, or to the end.
    #[inline(always)]
    fn skip_plain(&mut self) {
        while let Some(bytes) = self.bytes.get(self.at..self.at + 8) {
            let word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            let special = special_bytes(word);
            if special != 0 {
                let plain = special.trailing_zeros() & !7;
                self.seen |= word & ((1 << plain) - 1);
                self.at += (plain / 8) as usize;
                return;
            }
            self.seen |= word;
            self.at += 8;
        }
        while !matches!(self.next(), 0..=0x1F | b'"' | b'\\') {
            self.seen |= u64::from(self.next());
            self.at += 1;
        }
    }

    #[cold]
    fn escape(&mut self) -> Option<()> {
        self.at += 1;
        match self.next() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Some(())
            }
            b'u' => match self.code_unit()? {
                0xD800..=0xDBFF => {
                    self.expect(b'\\')?;
                    matches!(self.code_unit()?, 0xDC00..=0xDFFF).then_some(())
                }
                0xDC00..=0xDFFF => None,
                _ => Some(()),
            },
            _ => None,
        }
    }

    /// What `u0041` stands for.
    fn code_unit(&mut self) -> Option<u32> {
        self.expect(b'u')?;
        let digits = self.bytes.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        if self.next() == b'-' {
            self.at += 1;
        }
        if self.next() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.next() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.next(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.next(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    #[inline(always)]
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.next().is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

/// The high bit of the first byte that is a quote, a backslash or a control character; above it anything may be set.
#[inline(always)]
fn special_bytes(word: u64) -> u64 {
    let below = |word: u64, limit: u64| word.wrapping_sub(LOW_BITS * limit) & !word;
    let equal = |byte: u8| below(word ^ (LOW_BITS * u64::from(byte)), 1);
    (below(word, 0x20) | equal(b'"') | equal(b'\\')) & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(line: &str) -> Option<&str> {
        entity(line.as_bytes()).map(|found| std::str::from_utf8(found.id).expect("text"))
    }

    #[test]
    fn finds_the_id_wherever_it_stands() {
        for line in [
            r#"{"Id":"a-1"}"#,
            r#" { "Name" : null , "Id" : "a-1" } "#,
            r#"{"Inner":{"Id":"b","List":[1,[],{}]},"Text":"\"Id\":\"c\"","Id":"a-1","N":-0.5e+7}"#,
        ] {
            assert_eq!(id_of(line), Some("a-1"), "{line}");
        }
    }

    #[test]
    fn leaves_to_others_what_is_not_plain() {
        for line in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"Id":null}"#,
            r#"{"Id":""}"#,
            r#"{"Id":1}"#,
            r#"{"id":"a"}"#,
            r#"{"Id":"a"},"#,
            r#"{"Id":"a",}"#,
            r#"{"Id":"a" "b":1}"#,
            r#"{"\u0049d":"a"}"#,
            r#"{"Id":"\u0061"}"#,
            r#"{"Id":"a","Id":"b"}"#,
            r#"{"Id":"a","N":01}"#,
            r#"{"Id":"a","N":1.}"#,
            r#"{"Id":"a","N":+1}"#,
            r#"{"Id":"a","N":tru}"#,
            r#"{"Id":"a","N":"\ud800"}"#,
            r#"{"Id":"a","N":"\udc00"}"#,
            r#"{"Id":"a","N":"\x"}"#,
            "{\"Id\":\"a\tb\"}",
        ] {
            assert_eq!(id_of(line), None, "{line}");
        }
        let deep = format!(r#"{{"Id":"a","N":{}{}}}"#, "[".repeat(70), "]".repeat(70));
        assert_eq!(id_of(&deep), None);
    }

    #[test]
    fn finds_when_it_was_updated_if_that_is_plain() {
        for (line, expected) in [
            (r#"{"Id":"a"}"#, Some(None)),
            (r#"{"Id":"a","UpdatedUtc":null}"#, Some(None)),
            (r#"{"UpdatedUtc":"2026","Id":"a"}"#, Some(Some("2026"))),
            (r#"{"Id":"a","N":{"UpdatedUtc":"2026"}}"#, Some(None)),
            (r#"{"Id":"a","UpdatedUtc":1}"#, None),
            (r#"{"Id":"a","UpdatedUtc":"\u0032"}"#, None),
            (r#"{"Id":"a","UpdatedUtc":null,"UpdatedUtc":null}"#, None),
        ] {
            let found = dated_entity(line.as_bytes()).map(|found| found.updated);
            assert_eq!(found, expected.map(|text| text.map(str::as_bytes)), "{line}");
        }
    }

    #[test]
    fn tells_whether_all_is_ascii() {
        for (line, is_ascii) in [
            (r#"{"Id":"a","Name":"Zoe, who has a long name"}"#, true),
            (r#"{"Id":"a","Name":"Zoë"}"#, false),
            (r#"{"Id":"a","Name":"a long name, ending in é"}"#, false),
            (r#"{"Id":"a","Na\u00e9me":"\ud83d\ude00"}"#, true),
        ] {
            match entity(line.as_bytes()) {
                Some(found) => assert_eq!(found.is_ascii, is_ascii, "{line}"),
                None => assert!(line.contains("Na"), "{line}"),
            }
        }
    }
}
