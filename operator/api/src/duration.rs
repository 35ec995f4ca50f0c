//! Durations as people write them, as seconds. Text in, numbers out; no I/O.

/// The seconds of a duration such as `30s`, `5m`, `1h` or `1h30m`: units from large to small, each once. None when
/// it is not one or is more than fits.
#[must_use]
pub fn seconds(duration: &str) -> Option<i64> {
    let mut rest = duration;
    let mut total: i64 = 0;
    for (unit, factor) in [("h", 3600), ("m", 60), ("s", 1)] {
        if let Some((number, behind)) = rest.split_once(unit) {
            if number.is_empty() || !number.bytes().all(|it| it.is_ascii_digit()) {
                return None;
            }
            let value: i64 = number.parse().ok()?;
            total = total.checked_add(value.checked_mul(factor)?)?;
            rest = behind;
        }
    }
    (rest.is_empty() && !duration.is_empty()).then_some(total)
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
            ("1.5h", None),
            ("99999999999999999h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
