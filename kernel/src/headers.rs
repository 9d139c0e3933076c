//! The headers of records, encoded once but for the one thing that differs: where the line starts.

use crate::batch::put_varint;

/// Where in the list of headers the offset belongs: at the end of the value of this one.
pub const POSITION: &str = "ce_id";

/// Headers of the records of one file.
pub struct Headers {
    /// Up to the length of the value that ends in the offset.
    before: Vec<u8>,
    prefix: Vec<u8>,
    after: Vec<u8>,
    /// Length, prefix and digits of the record at hand.
    id: Vec<u8>,
}

impl Headers {
    /// Names and values in order; the offset is appended to the value of `ce_id`. None at all is possible.
    pub fn new(headers: &[(String, Vec<u8>)]) -> Self {
        let mut made = Self { before: Vec::new(), prefix: Vec::new(), after: Vec::new(), id: Vec::new() };
        put_varint(&mut made.before, headers.len() as i64);
        let mut out = &mut made.before;
        for (name, value) in headers {
            put_varint(out, name.len() as i64);
            out.extend_from_slice(name.as_bytes());
            if name == POSITION {
                made.prefix.clone_from(value);
                out = &mut made.after;
            } else {
                put_varint(out, value.len() as i64);
                out.extend_from_slice(value);
            }
        }
        made
    }

    /// Encode those of the record whose line starts at this byte of the file; how many bytes they take.
    #[inline]
    pub fn set_offset(&mut self, mut offset: u64) -> usize {
        if !self.prefix.is_empty() {
            let mut digits = [0; 20];
            let mut first = digits.len();
            loop {
                first -= 1;
                digits[first] = b'0' + (offset % 10) as u8;
                offset /= 10;
                if offset == 0 {
                    break;
                }
            }
            let digits = &digits[first..];
            self.id.clear();
            put_varint(&mut self.id, (self.prefix.len() + digits.len()) as i64);
            self.id.extend_from_slice(&self.prefix);
            self.id.extend_from_slice(digits);
        }
        self.before.len() + self.id.len() + self.after.len()
    }

    /// What `set_offset` has encoded.
    #[inline]
    pub fn pieces(&self) -> [&[u8]; 3] {
        [&self.before, &self.id, &self.after]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_ends_the_id() {
        let mut headers = Headers::new(&[
            ("a".into(), b"1".to_vec()),
            (POSITION.into(), b"x/".to_vec()),
            ("b".into(), b"2".to_vec()),
        ]);
        for (offset, id) in [(0, &b"\x06x/0"[..]), (90, b"\x08x/90"), (u64::MAX, b"\x2cx/18446744073709551615")] {
            let length = headers.set_offset(offset);
            let encoded = headers.pieces().concat();
            let expected = [b"\x06\x02a\x021\x0ace_id", id, b"\x02b\x022"].concat();
            assert_eq!(encoded, expected);
            assert_eq!(length, expected.len());
        }
    }

    #[test]
    fn there_may_be_none() {
        let mut headers = Headers::new(&[]);
        assert_eq!(headers.set_offset(12), 1);
        assert_eq!(headers.pieces().concat(), [0]);
    }
}
