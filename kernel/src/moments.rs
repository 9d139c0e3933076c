//! Moments as Mews writes them, `2026-03-01T12:00:00Z`, with or without a fraction of a second.

/// Instead of microseconds: there is no moment.
pub const UNTIMED: i64 = i64::MIN;

/// Digits of a fraction; what comes after microseconds is cut off.
const MOST_DIGITS: usize = 7;

/// Microseconds since 1970, or `None` where somebody else must look.
pub fn microseconds(text: &[u8]) -> Option<i64> {
    let (whole, rest) = text.split_at_checked(19)?;
    if [whole[4], whole[7], whole[10], whole[13], whole[16]] != *b"--T::" {
        return None;
    }
    let year = number(&whole[..4])?;
    let month = number(&whole[5..7])?;
    let day = number(&whole[8..10])?;
    let (hour, minute, second) = (number(&whole[11..13])?, number(&whole[14..16])?, number(&whole[17..])?);
    // Years that Python, numpy and this agree about without a thought.
    if !(1970..3000).contains(&year) || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second;
    Some(seconds * 1_000_000 + fraction(rest)?)
}

/// Microseconds of `.25Z` or `Z`.
fn fraction(rest: &[u8]) -> Option<i64> {
    let digits = match rest.strip_suffix(b"Z")? {
        b"" => return Some(0),
        point => point.strip_prefix(b".")?,
    };
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return None;
    }
    number(digits)?;
    let first = &digits[..digits.len().min(6)];
    Some(number(first)? * 10_i64.pow(6 - first.len() as u32))
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the start of 1970 to that of the month.
fn days_before(year: i64, month: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let last = year - 1;
    let leaps = (last / 4 - last / 100 + last / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400);
    (year - 1970) * 365 + leaps + BEFORE[month as usize - 1] + i64::from(month > 2 && is_leap(year))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_microseconds_since_1970() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799_000_000),
            ("2026-03-01T12:00:00.5Z", 1_772_366_400_500_000),
            ("2026-03-01T12:00:00.1234567Z", 1_772_366_400_123_456),
            ("2100-03-01T00:00:00.000001Z", 4_107_542_400_000_001),
        ] {
            assert_eq!(microseconds(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn leaves_to_others_what_is_written_otherwise() {
        for text in [
            "",
            "2026-03-01",
            "2026-03-01T12:00:00",
            "2026-03-01 12:00:00Z",
            "2026-03-01T12:00:00+01:00",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00.12345678Z",
            "2026-03-01T12:00:00.1 Z",
            "2026-13-01T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2100-02-29T12:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:00:60Z",
            "0001-01-01T00:00:00Z",
            "2026-03-0\u{e9}T12:00:00Z",
        ] {
            assert_eq!(microseconds(text.as_bytes()), None, "{text}");
        }
    }
}
