//! Kubernetes quantities as whole bytes. Text in, numbers out; no I/O.

/// The whole bytes of a quantity of memory or storage, as `512Mi`, `10Gi`, `1.5G` or `1e9`; a part of a byte is
/// rounded up, as Kubernetes does. None when it is no quantity, is negative or is more than fits.
/// Suffixes: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
#[must_use]
pub fn bytes(quantity: &str) -> Option<u64> {
    let end = quantity
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    // The digits without their point, and how many powers of ten they are too large by.
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let mut shift = -i32::try_from(fraction.len()).ok()?;
    let mut factor: u128 = 1;
    match suffix {
        "" => {}
        "n" => shift -= 9,
        "u" => shift -= 6,
        "m" => shift -= 3,
        "k" => shift += 3,
        "M" => shift += 6,
        "G" => shift += 9,
        "T" => shift += 12,
        "P" => shift += 15,
        "E" => shift += 18,
        "Ki" => factor = 1 << 10,
        "Mi" => factor = 1 << 20,
        "Gi" => factor = 1 << 30,
        "Ti" => factor = 1 << 40,
        "Pi" => factor = 1 << 50,
        "Ei" => factor = 1 << 60,
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            shift = shift.checked_add(exponent.parse().ok()?)?;
        }
    }
    let scaled = digits.checked_mul(factor)?;
    let power = 10_u128.checked_pow(shift.unsigned_abs())?;
    let bytes = if shift >= 0 {
        scaled.checked_mul(power)?
    } else {
        scaled.div_ceil(power)
    };
    u64::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_bytes() {
        for (quantity, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("512Mi", Some(536_870_912)),
            ("10Gi", Some(10_737_418_240)),
            ("1.5Gi", Some(1_610_612_736)),
            ("1.5G", Some(1_500_000_000)),
            (".5Ki", Some(512)),
            ("5.", Some(5)),
            ("1e9", Some(1_000_000_000)),
            ("1E3", Some(1000)),
            ("15e-1", Some(2)),
            ("1500m", Some(2)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("7Ei", Some(8_070_450_532_247_928_832)),
            ("17Ei", None),
            ("", None),
            (".", None),
            ("-1", None),
            ("1.2.3", None),
            ("1 Gi", None),
            ("Gi", None),
            ("1gi", None),
            ("1e", None),
            ("1e999", None),
            ("99999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(bytes(quantity), expected, "{quantity:?}");
        }
    }
}
