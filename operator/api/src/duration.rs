//! Durations as people write them, as seconds. Text in, numbers out; no I/O.

use jiff::SignedDuration;

/// The seconds of a duration such as `30s`, `5m`, `1h` or `1h30m`: units from large to small, each once. None when
/// it is not one or is more than fits.
#[must_use]
pub fn seconds(duration: &str) -> Option<i64> {
    // Signs, fractions, blanks, words and smaller units are no part of it, though jiff reads them too.
    let is_plain = duration
        .bytes()
        .all(|it| it.is_ascii_digit() || b"hms".contains(&it))
        && !duration.contains("ms");
    let read: Option<SignedDuration> = is_plain.then(|| duration.parse().ok()).flatten();
    read.map(|read| read.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("1h", Some(3600)),
            ("1h30m", Some(5400)),
            ("1h0m5s", Some(3605)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("m", None),
            ("5m5m", None),
            ("5s5m", None),
            ("-5m", None),
            ("+5m", None),
            (" 5m", None),
            ("5 m", None),
            ("5ms", None),
            ("5us", None),
            ("5min", None),
            ("5M", None),
            ("1h,30m", None),
            ("1h 30m", None),
            ("00:05:00", None),
            ("PT5M", None),
            ("5m ago", None),
            ("1d", None),
            ("90d", None),
            ("2562047788015215h", Some(9_223_372_036_854_774_000)),
            ("2562047788015216h", None),
            ("1.5h", None),
            ("99999999999999999h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    /// jiff's grammar is larger and may grow: everything that can be written with these signs is read as it always was.
    #[test]
    fn no_other_text_is_a_duration() {
        let grammar = regex::Regex::new("^(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?$").unwrap();
        let expected = |text: &str| {
            let found = grammar.captures(text).filter(|_| !text.is_empty())?;
            let value = |index| {
                found
                    .get(index)
                    .map_or(0, |it| it.as_str().parse::<i64>().unwrap())
            };
            Some(value(1) * 3600 + value(2) * 60 + value(3))
        };
        let signs = ["0", "7", "h", "m", "s", ".", "-", " ", "P", "d"];
        let mut texts = vec![String::new()];
        let (mut count, mut durations) = (0, 0);
        for _ in 0..=5 {
            for text in &texts {
                assert_eq!(seconds(text), expected(text), "{text:?}");
                durations += usize::from(seconds(text).is_some());
            }
            count += texts.len();
            texts = texts
                .iter()
                .flat_map(|text| signs.map(|sign| format!("{text}{sign}")))
                .collect();
        }
        assert_eq!(count, 111_111);
        assert!(durations > 100, "{durations}");
    }
}
