//! Amounts as people write them, as numbers: Kubernetes quantities as bytes or thousandths of a CPU, durations as
//! seconds. Text in, numbers out; no I/O.

/// The bytes of a Kubernetes quantity such as `512Mi`, `1.5Gi` or `10G`. None when it is not one, is negative or
/// is more than fits; a fraction of a byte is rounded up, as Kubernetes does.
#[must_use]
pub fn bytes(quantity: &str) -> Option<i64> {
    let (number, unit) = split(quantity)?;
    let factor: i128 = match unit {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => return None,
    };
    scaled(number, factor)
}

/// The thousandths of a CPU of a Kubernetes quantity such as `250m` or `1.5`. None when it is not one.
#[must_use]
pub fn millicpu(quantity: &str) -> Option<i64> {
    let (number, unit) = split(quantity)?;
    match unit {
        "m" => scaled(number, 1),
        "" => scaled(number, 1_000),
        _ => None,
    }
}

/// The seconds of a duration such as `30s`, `5m`, `1h` or `1h30m`: units from large to small, each once. None when
/// it is not one.
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

/// A quantity's number and its unit.
fn split(quantity: &str) -> Option<(&str, &str)> {
    let end = quantity
        .find(|it: char| !it.is_ascii_digit() && it != '.')
        .unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(end);
    (!number.is_empty()).then_some((number, unit))
}

/// `number`, a decimal with at most nine places, times `factor`, rounded up.
fn scaled(number: &str, factor: i128) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > 18 || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let places = u32::try_from(fraction.len()).ok()?;
    let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10_i128.pow(places);
    let product = unscaled.checked_mul(factor)?;
    i64::try_from((product + divisor - 1) / divisor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_bytes() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("512Mi", Some(512 << 20)),
            ("1.5Gi", Some(3 << 29)),
            ("10G", Some(10_000_000_000)),
            ("0.0001k", Some(1)),
            ("1Ki", Some(1024)),
            ("", None),
            ("Gi", None),
            ("-1Gi", None),
            ("1 Gi", None),
            ("1.2.3Gi", None),
            ("1GB", None),
            ("999999999999999999Pi", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn quantities_are_cpus() {
        for (text, expected) in [
            ("250m", Some(250)),
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("1Gi", None),
            ("", None),
        ] {
            assert_eq!(millicpu(text), expected, "{text}");
        }
    }

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
