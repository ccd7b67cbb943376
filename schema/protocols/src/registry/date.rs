//! Days of the Gregorian calendar, as audit reports are dated.

use std::fmt;

use obsqra_types::UnixSeconds;

const SECONDS_PER_DAY: u64 = 86_400;

/// A day from 1970-01-01 on; as an instant it is that day's midnight, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CalendarDate {
    year: u16,
    month: u8,
    day: u8,
}

impl CalendarDate {
    /// Reads `YYYY-MM-DD`; `None` for anything else, days that do not exist, and years before 1970.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| -> Option<u16> {
            bytes.get(range)?.iter().try_fold(0, |value: u16, byte| {
                byte.is_ascii_digit().then(|| value * 10 + u16::from(byte - b'0'))
            })
        };
        if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
            return None;
        }
        let year = digits(0..4)?;
        let month = u8::try_from(digits(5..7)?).ok()?;
        let day = u8::try_from(digits(8..10)?).ok()?;
        let exists = year >= 1970 && (1..=days_in_month(year, month)).contains(&day);
        exists.then_some(Self { year, month, day })
    }

    /// Midnight of the day, UTC.
    #[must_use]
    pub fn midnight(self) -> UnixSeconds {
        let leap_days = |years: u64| years / 4 - years / 100 + years / 400;
        let before = u64::from(self.year) - 1;
        let years = u64::from(self.year) - 1970;
        let whole_years = years * 365 + leap_days(before) - leap_days(1969);
        let months: u64 =
            (1..self.month).map(|month| u64::from(days_in_month(self.year, month))).sum();
        UnixSeconds((whole_years + months + u64::from(self.day) - 1) * SECONDS_PER_DAY)
    }
}

fn days_in_month(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    }
}

impl fmt::Display for CalendarDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_their_midnight() {
        let cases = [
            ("1970-01-01", 0),
            ("2000-02-29", 951_782_400),
            ("2000-03-01", 951_868_800),
            ("2023-05-04", 1_683_158_400),
            ("2025-02-14", 1_739_491_200),
            ("2100-03-01", 4_107_542_400),
        ];
        for (text, seconds) in cases {
            let date = CalendarDate::parse(text).unwrap();
            assert_eq!((date.midnight().0, date.to_string().as_str()), (seconds, text));
        }
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for bad in [
            "",
            "2023-2-1",
            "2023-02-29",
            "2100-02-29",
            "2023-13-01",
            "2023-00-01",
            "2023-01-00",
            "1969-12-31",
            "2023/01/01",
            "2023-01-0x",
            "2023-01-011",
        ] {
            assert_eq!(CalendarDate::parse(bad), None, "{bad:?}");
        }
    }
}
