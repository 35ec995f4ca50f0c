//! Kubernetes quantities as whole bytes. Text in, numbers out; no I/O.

use serde::{Deserialize, Deserializer};

/// What a quantity of a Region looks like as text: above zero, without a sign or an exponent, and no more than
/// [`bytes`] can hold, whatever the suffix.
pub const PATTERN: &str = "^([1-9][0-9]{0,17}m?|[1-9][0-9]{0,11}(k|Ki|M|Mi)|\
     ([1-9][0-9]{0,6}([.][0-9]{1,9})?|0?[.][0-9]{0,8}[1-9])(k|Ki|M|Mi|G|Gi|T|Ti)?|\
     [1-9][0-9]{0,3}([.][0-9]{1,9})?(P|Pi)|[1-3]([.][0-9]{1,9})?(E|Ei))$";

/// A quantity that was written as text or, as Kubernetes takes it too, as a whole number.
///
/// # Errors
/// It is neither.
pub fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a quantity: text, or a whole number")]
    enum Either {
        Text(String),
        Number(i64),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Text(text) => text,
        Either::Number(number) => number.to_string(),
    })
}

/// The same of a field that may be left out.
///
/// # Errors
/// It is there and is neither.
pub fn some_number_or_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Quantity(#[serde(deserialize_with = "number_or_text")] String);
    Ok(Option::<Quantity>::deserialize(deserializer)?.map(|quantity| quantity.0))
}

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
    fn whatever_the_schema_takes_is_a_number_of_bytes() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        let suffixes = [
            "", "m", "k", "Ki", "M", "Mi", "G", "Gi", "T", "Ti", "P", "Pi", "E", "Ei", "n", "u",
            "e3",
        ];
        let mut taken = 0;
        for digits in 1..=19 {
            for whole in ["9".repeat(digits), "1".repeat(digits), "0".repeat(digits)] {
                for fraction in ["", ".", ".5", ".999999999", ".0000000009"] {
                    for suffix in suffixes {
                        let text = format!("{whole}{fraction}{suffix}");
                        if pattern.is_match(&text) {
                            let bytes = bytes(&text);
                            assert!(bytes.is_some_and(|bytes| bytes > 0), "{text}: {bytes:?}");
                            taken += 1;
                        }
                    }
                }
            }
        }
        assert!(taken > 400, "only {taken} were taken");
        for text in ["500m", "2", "0.5", "512Mi", "16777216Ki", "1.5Gi", "3Ei"] {
            assert!(pattern.is_match(text), "{text}");
        }
        for text in [
            "+5Gi", "-1", "0", "0Gi", "20Ei", "much", "1e9", " 1Gi", "1Gi ", "",
        ] {
            assert!(!pattern.is_match(text), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_taken_as_text_is() {
        #[derive(Deserialize)]
        struct Bucket {
            #[serde(default, deserialize_with = "some_number_or_text")]
            quota: Option<String>,
        }
        for (json, expected) in [
            (r#"{"quota": 1073741824}"#, Some("1073741824")),
            (r#"{"quota": "1Gi"}"#, Some("1Gi")),
            (r#"{"quota": null}"#, None),
            ("{}", None),
        ] {
            let bucket: Bucket = serde_json::from_str(json).unwrap();
            assert_eq!(bucket.quota.as_deref(), expected, "{json}");
        }
        assert!(serde_json::from_str::<Bucket>(r#"{"quota": 1.5}"#).is_err());
    }

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
