//! Kubernetes quantities as whole bytes. Text in, numbers out; no I/O.

use serde::{Deserialize, Deserializer};

/// The suffixes of a number of bytes. A part of a byte (`m`) is none.
const OF_BYTES: &[&str] = &[
    "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
];

/// The suffixes of a number of CPUs, which come in thousandths and not in powers of two.
const OF_CPUS: &[&str] = &["m"];

/// How many letters a quantity may have: what the schema says too.
pub const LONGEST: usize = 20;

/// The most bytes that a Region may ask for: what an API server counts further than that, it counts wrong.
pub const MOST_BYTES: &str = "7Ei";

/// The least and the most CPUs of a container. Kubernetes counts no finer than thousandths.
pub const CPUS: (&str, &str) = ("1m", "1000");

/// What a number of bytes looks like, for people.
pub const BYTES_EXPECTED: &str = "expected bytes above zero and up to 7Ei, as `10Gi`, `500M`, `\"1e9\"` or `1073741824`: digits, \
     perhaps with a point, then nothing or one of k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei";

/// What a number of CPUs looks like, for people.
pub const CPUS_EXPECTED: &str = "expected CPUs from 1m to 1000, as `500m`, `2` or `\"0.5\"`: digits, perhaps with a point, then \
     nothing or m for thousandths";

/// What a quantity is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of memory or storage.
    Bytes,
    /// CPUs.
    Cpus,
}

impl Kind {
    const fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Bytes => OF_BYTES,
            Self::Cpus => OF_CPUS,
        }
    }

    /// Whether a text has the form of such a quantity above zero: digits with at most one point, then nothing, a suffix, or
    /// an exponent of up to two digits. Kubernetes takes signs as well, and `m` of a byte.
    #[must_use]
    pub fn is_form_of(self, text: &str) -> bool {
        let end = text
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let exponent = rest.strip_prefix(['e', 'E']).is_some_and(|digits| {
            matches!(digits.len(), 1 | 2) && digits.bytes().all(|it| it.is_ascii_digit())
        });
        text.len() <= LONGEST
            && number.matches('.').count() <= 1
            && number.contains(|digit: char| matches!(digit, '1'..='9'))
            && (rest.is_empty() || exponent || self.suffixes().contains(&rest))
    }

    /// The same as an expression over `self` in CEL. By `format` and letter by letter: older API servers reckon the cost of
    /// `string`, `matches` and `isQuantity` as if a value that may be a number were as long as a request, and in a list that
    /// is more than they allow (<https://github.com/kubernetes/kubernetes/pull/132837>).
    #[must_use]
    pub fn form_in_cel(self) -> String {
        let quoted = |letters: &mut dyn Iterator<Item = String>| {
            let quoted: Vec<String> = letters.map(|letter| format!("'{letter}'")).collect();
            format!("[{}]", quoted.join(", "))
        };
        let positions: Vec<String> = (0..LONGEST).map(|it| it.to_string()).collect();
        let positions = format!("[{}]", positions.join(", "));
        let digits = quoted(&mut ('0'..='9').map(String::from));
        let of_length = |length: usize| {
            let suffixes = self.suffixes().iter().filter(move |it| it.len() == length);
            quoted(&mut suffixes.filter_map(|it| it.get(..1)).map(str::to_owned))
        };
        let (text, size) = ("t", "t.size()");
        let mut letter = vec![
            format!("{text}.charAt(i) in {digits}"),
            format!(
                "({text}.charAt(i) == '.' && !{positions}.exists(j, j < i && {text}.charAt(j) == '.'))"
            ),
            format!("(i == {size} - 1 && {text}.charAt(i) in {})", of_length(1)),
            format!(
                "({text}.charAt(i) in ['e', 'E'] && i + 3 >= {size} && i + 1 < {size} && \
                 {positions}.all(j, j <= i || j >= {size} || {text}.charAt(j) in {digits}))"
            ),
        ];
        let binary = of_length(2);
        if binary != "[]" {
            letter.push(format!(
                "(i == {size} - 2 && {text}.charAt(i) in {binary} && {text}.endsWith('i'))"
            ));
            letter.push(format!(
                "(i == {size} - 1 && i > 0 && {text}.charAt(i) == 'i' && {text}.charAt(i - 1) in {binary})"
            ));
        }
        format!(
            "['%s'.format([self])].all(t, {size} <= {LONGEST} && {positions}.all(i, i >= {size} || {}) && \
             {positions}.exists(i, i < {size} && {text}.charAt(i) in {} && \
             !{positions}.exists(j, j < i && {text}.charAt(j) in ['e', 'E'])))",
            letter.join(" || "),
            quoted(&mut ('1'..='9').map(String::from)),
        )
    }
}

/// The bytes that a Region asks for; none when the text has not the form of bytes or they are too many.
#[must_use]
pub fn asked_bytes(text: &str) -> Option<u64> {
    let asked = bytes(text).filter(|_| Kind::Bytes.is_form_of(text))?;
    bytes(MOST_BYTES).filter(|most| asked <= *most)?;
    Some(asked)
}

/// The thousandths of a CPU that a Region asks for, rounded up as Kubernetes does; none when the text has not the form of
/// CPUs or they are too few or too many.
#[must_use]
pub fn asked_millicpus(text: &str) -> Option<u64> {
    if !Kind::Cpus.is_form_of(text) {
        return None;
    }
    // In millionths, so that what is too little is not rounded up to enough.
    let millionths = |text: &str| {
        if let Some(thousandths) = text.strip_suffix('m') {
            return bytes(&format!("{thousandths}k"));
        }
        match text.split_once(['e', 'E']) {
            Some((number, exponent)) => {
                bytes(&format!("{number}e{}", exponent.parse::<u32>().ok()? + 6))
            }
            None => bytes(&format!("{text}M")),
        }
    };
    let (asked, (least, most)) = (millionths(text)?, CPUS);
    let fits = asked >= millionths(least)? && asked <= millionths(most)?;
    fits.then(|| asked.div_ceil(1000))
}

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
    fn what_has_the_form_of_a_kind_is_a_number_of_it() {
        for (text, bytes, millicpus) in [
            ("10Gi", Some(10 << 30), None),
            ("1.5Gi", Some(3 << 29), None),
            (".5Ki", Some(512), None),
            ("1e3", Some(1000), Some(1_000_000)),
            ("1E3", Some(1000), Some(1_000_000)),
            ("0.1e1", Some(1), Some(1000)),
            ("0.15e1", Some(2), Some(1500)),
            ("1073741824", Some(1 << 30), None),
            ("7Ei", Some(7 << 60), None),
            ("2", Some(2), Some(2000)),
            ("0.5", Some(1), Some(500)),
            ("1000", Some(1000), Some(1_000_000)),
            ("1e0", Some(1), Some(1000)),
            ("1M", Some(1_000_000), None),
            // Thousandths are of CPUs alone.
            ("500m", None, Some(500)),
            ("1m", None, Some(1)),
            ("1.5m", None, Some(2)),
            ("100m", None, Some(100)),
            ("0.5m", None, None),
            ("0.0004", Some(1), None),
            ("1001", Some(1001), None),
            ("8Ei", None, None),
            ("20Ei", None, None),
            ("1e99", None, None),
        ] {
            assert_eq!(asked_bytes(text), bytes, "bytes {text}");
            assert_eq!(asked_millicpus(text), millicpus, "cpus {text}");
        }
        for text in [
            "",
            "0",
            "0.0",
            "0Gi",
            "+5Gi",
            "-1",
            "much",
            "Gi",
            ".",
            "1.2.3",
            "1gi",
            "1KI",
            "1ki",
            "1i",
            " 1Gi",
            "1Gi ",
            "1 Gi",
            "e5",
            "0e5",
            "1e",
            "1e-3",
            "1e+3",
            "1e123",
            "1e5k",
            "1u",
            "1n",
            "1e5.5",
            "1Ki5",
            "1٣",
            "111111111111111111111",
        ] {
            assert_eq!(asked_bytes(text), None, "{text:?}");
            assert_eq!(asked_millicpus(text), None, "{text:?}");
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
