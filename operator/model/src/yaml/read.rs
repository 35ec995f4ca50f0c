//! Reads files as kubectl and Argo CD do, which follow YAML 1.1 for what stands without quotes, and notes where a reader of
//! YAML 1.2, or a person, would take it for something else. Text in, objects out; no I/O.
//!
//! What is read how was tried with kubectl 1.36: `y`, `yes`, `on`, `n`, `no` and `off` in small letters, in capitals or
//! with a first capital are booleans; `017` is octal; `_` within digits is passed over; `12:30` and dates are text.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde_json::{Map, Number, Value};

/// From here on a whole number has more digits than a float tells apart.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// An object of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// The object that the API server would get.
    pub object: Value,
    /// What in it is not what it looks like, by path.
    pub misread: BTreeMap<String, Misread>,
}

/// Something without quotes that is not read as it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misread {
    /// A word that is read as a boolean.
    Boolean {
        /// The word.
        written: String,
        /// What it is read as.
        read: bool,
    },
    /// Digits that are read as another number than they look, or as one at all.
    Number {
        /// The digits.
        written: String,
        /// What they are read as.
        read: String,
    },
    /// A whole number that the API server has no room for.
    TooLarge {
        /// The number.
        written: String,
    },
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean { written, read } => write!(
                f,
                "kubectl reads {written} without quotes as the boolean {read}; write '{written}'"
            ),
            Self::Number { written, read } => write!(
                f,
                "kubectl reads {written} without quotes as the number {read}; write '{written}' for the text, or {read} for \
                 the number"
            ),
            Self::TooLarge { written } => write!(
                f,
                "{written} is a whole number of more than 64 bits, which the API server has no room for"
            ),
        }
    }
}

/// The objects of a file, those of a `List` one by one.
///
/// # Errors
/// The text is not YAML, has a field twice, or holds what JSON has no words for.
pub fn documents(text: &str) -> Result<Vec<Document>, serde_yaml::Error> {
    let text = text.trim_start_matches('\u{feff}');
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let misread = RefCell::default();
        let object = Node {
            text,
            path: String::new(),
            misread: &misread,
        }
        .deserialize(document)?;
        let misread = misread.into_inner();
        if !object.is_null() {
            flatten(Document { object, misread }, &mut documents);
        }
    }
    Ok(documents)
}

/// An object, or the items of a list of objects.
fn flatten(document: Document, documents: &mut Vec<Document>) {
    let is_list = document.object["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("List"));
    let Some(items) = document.object["items"].as_array().filter(|_| is_list) else {
        documents.push(document);
        return;
    };
    for (index, item) in items.iter().enumerate() {
        let prefix = format!("items[{index}].");
        let misread = document.misread.iter().filter_map(|(path, misread)| {
            Some((path.strip_prefix(&prefix)?.to_owned(), misread.clone()))
        });
        documents.push(Document {
            object: item.clone(),
            misread: misread.collect(),
        });
    }
}

/// What a word without quotes is read as; none of what is text.
fn resolved(word: &str) -> Option<Value> {
    match word {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Some(true.into()),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Some(false.into()),
        _ => {}
    }
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.' || first == '_')
        || (unsigned.starts_with('_') && unsigned == word)
    {
        return None;
    }
    let plain = unsigned.replace('_', "");
    let whole = whole(&plain, word.starts_with('-'));
    whole.or_else(|| {
        let is_decimal = plain
            .chars()
            .all(|letter| letter.is_ascii_digit() || ".eE+-".contains(letter));
        let float: f64 = plain.parse().ok().filter(|_| is_decimal)?;
        float
            .is_finite()
            .then(|| number(if word.starts_with('-') { -float } else { float }))
    })
}

/// A whole number by its prefix: binary, octal (`0o` or a mere zero), hexadecimal or decimal.
fn whole(plain: &str, negative: bool) -> Option<Value> {
    let lower = plain.to_ascii_lowercase();
    let (digits, radix) = [("0b", 2), ("0o", 8), ("0x", 16)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)))
        .unwrap_or_else(|| match lower.strip_prefix('0') {
            Some(octal) if !octal.is_empty() => (octal, 8),
            _ => (lower.as_str(), 10),
        });
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let found = i128::from_str_radix(digits, radix).ok()?;
    let found = if negative { -found } else { found };
    i64::try_from(found).ok().map(Value::from)
}

/// A float as the API server gets it: whole ones are whole numbers.
fn number(float: f64) -> Value {
    if float.fract() == 0.0 && float.abs() < TWO_TO_63 {
        // Exact, by the bounds.
        return format!("{float:.0}").parse::<i64>().map_or_else(
            |_| Number::from_f64(float).map_or(Value::Null, Value::Number),
            Value::from,
        );
    }
    Number::from_f64(float).map_or(Value::Null, Value::Number)
}

/// A value that is being read.
struct Node<'a> {
    text: &'a str,
    path: String,
    misread: &'a RefCell<BTreeMap<String, Misread>>,
}

impl Node<'_> {
    fn child(&self, path: String) -> Self {
        Self {
            text: self.text,
            path,
            misread: self.misread,
        }
    }

    fn field(&self, name: &str) -> Self {
        self.child(if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        })
    }

    fn note(&self, misread: Misread) {
        let mut all = self.misread.borrow_mut();
        all.entry(self.path.clone()).or_insert(misread);
    }

    fn too_large<E: Error>(&self, written: String) -> Result<Value, E> {
        let float = written.parse::<f64>().map_err(E::custom)?;
        self.note(Misread::TooLarge { written });
        Ok(number(float))
    }

    /// Whether a part of the text stands there without quotes and without a tag that makes it text.
    fn is_bare(&self, part: &str) -> bool {
        let offset = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr());
        let Some(before) = offset.and_then(|offset| self.text.get(..offset)) else {
            return false;
        };
        let tag = before.split_whitespace().next_back();
        !before.ends_with(['\'', '"']) && !tag.is_some_and(|tag| tag.starts_with('!'))
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of Kubernetes")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, read: bool) -> Result<Value, E> {
        Ok(read.into())
    }

    fn visit_i64<E: Error>(self, read: i64) -> Result<Value, E> {
        Ok(read.into())
    }

    fn visit_u64<E: Error>(self, read: u64) -> Result<Value, E> {
        match i64::try_from(read) {
            Ok(read) => Ok(read.into()),
            Err(_) => self.too_large(read.to_string()),
        }
    }

    fn visit_i128<E: Error>(self, read: i128) -> Result<Value, E> {
        self.too_large(read.to_string())
    }

    fn visit_u128<E: Error>(self, read: u128) -> Result<Value, E> {
        self.too_large(read.to_string())
    }

    fn visit_f64<E: Error>(self, read: f64) -> Result<Value, E> {
        if read.is_finite() {
            Ok(number(read))
        } else {
            Err(E::custom(format!(
                "{} is {read}, which kubectl has no number for: it refuses the file",
                self.path
            )))
        }
    }

    /// Text that stands in the file as it is; all other text was quoted or is of several lines.
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value, E> {
        let Some(read) = resolved(text).filter(|_| self.is_bare(text)) else {
            return Ok(text.into());
        };
        let written = text.to_owned();
        self.note(match read {
            Value::Bool(read) => Misread::Boolean { written, read },
            _ => Misread::Number {
                written,
                read: read.to_string(),
            },
        });
        Ok(read)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut read = Vec::new();
        loop {
            let item = self.child(format!("{}[{}]", self.path, read.len()));
            match items.next_element_seed(item)? {
                Some(item) => read.push(item),
                None => return Ok(Value::Array(read)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut read = Map::new();
        // Where a key's own path is, is known once it is read.
        let of_keys = RefCell::default();
        loop {
            let key = Node {
                text: self.text,
                path: String::new(),
                misread: &of_keys,
            };
            let Some(key) = fields.next_key_seed(key)? else {
                return Ok(Value::Object(read));
            };
            let name = match key {
                Value::String(name) => name,
                Value::Bool(_) | Value::Number(_) => key.to_string(),
                _ => {
                    return Err(A::Error::custom(format!(
                        "{} has a key that is no text",
                        self.path
                    )));
                }
            };
            let value = self.field(&name);
            if let Some((_, misread)) = of_keys.borrow_mut().pop_first() {
                value.note(misread);
            }
            let path = value.path.clone();
            let value = fields.next_value_seed(value)?;
            if read.insert(name, value).is_some() {
                return Err(A::Error::custom(format!("{path} is there twice")));
            }
        }
    }

    /// Tags that nobody knows are passed over.
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (_, value) = tagged.variant::<Tag>()?;
        value.newtype_variant_seed(self)
    }
}

/// A tag, whatever it is.
struct Tag;

impl<'de> serde::Deserialize<'de> for Tag {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|_| Self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(word: &str) -> (Value, Option<Misread>) {
        let text = format!("# Türkiye\nbefore: ü\na: {word} # and so on\n");
        let documents = documents(&text).unwrap_or_else(|error| panic!("{word}: {error}"));
        let [document] = documents.as_slice() else {
            panic!("{documents:?}");
        };
        (
            document.object["a"].clone(),
            document.misread.get("a").cloned(),
        )
    }

    /// What `kubectl annotate --local` of 1.36 printed of each.
    #[test]
    fn words_are_read_as_kubectl_reads_them() {
        let mut misread = 0;
        for (words, expected) in [
            ("y Y yes Yes YES on On ON true True TRUE", json!(true)),
            ("n N no No NO off Off OFF false False FALSE", json!(false)),
            ("null Null NULL ~", Value::Null),
            (
                "017 +017 0o17 0O17 0xF 0XF 0b1111 0B1111 1_5 15 15. 1.5e1 0_17",
                json!(15),
            ),
            ("-017 -0o17 -0xf -0b1111 -15", json!(-15)),
            ("08 0_8 8 8.0 +8", json!(8)),
            ("0 00 -0 0_0", json!(0)),
            ("1e3 1E3 1_000 +1e3", json!(1000)),
            ("1_000.5 1000.5", json!(1000.5)),
            ("08.5", json!(8.5)),
            ("1_ +_1", json!(1)),
            ("12e03", json!(12000)),
            ("99999999999999999999", json!(1e20)),
            ("-99999999999999999999", json!(-1e20)),
            (
                "9223372036854775808",
                json!(9_223_372_036_854_775_808.0_f64),
            ),
            ("9223372036854775807", json!(9_223_372_036_854_775_807_i64)),
        ] {
            for word in words.split(' ') {
                let (found, note) = read(word);
                assert_eq!(found, expected, "{word}");
                misread += usize::from(note.is_some());
                let quoted = [
                    format!("'{word}'"),
                    format!("\"{word}\""),
                    format!("!!str {word}"),
                ];
                for quoted in quoted {
                    assert_eq!(read(&quoted), (word.into(), None), "{quoted}");
                }
            }
        }
        for text in [
            "yEs",
            "nO",
            "oN",
            "oFF",
            "tRUE",
            "nULL",
            "12:30",
            "190:20:30",
            "2026-01-01",
            "0o8",
            "0b12",
            "0xG",
            "0x",
            "0b",
            "1e",
            "e1",
            "1.5.2",
            "_1",
            ".",
            "._",
            "1e400",
            "inf",
            "nan",
            "infinity",
            "10Gi",
            "250m",
            "64MB",
            "0x1p-2",
            "1.2.3.4",
            "0x-1",
            "0o-7",
            "203.0.113.0/24",
            "tr-ist-1",
            "==",
            "<=",
        ] {
            assert_eq!(read(text), (text.into(), None), "{text}");
        }
        println!("{misread} words are not what they look like");
        assert!(misread >= 30, "{misread}");
    }

    #[test]
    fn what_is_not_what_it_looks_like_is_noted_at_its_path() {
        let text = "a: {on: off, 'no': [x, NO, \"NO\"]}\nb: &n 017\nc: *n\nd: |-\n  off\ne: !odd off\nf: 12\n7: y\n";
        let documents = documents(text).unwrap();
        let [document] = documents.as_slice() else {
            panic!("{documents:?}");
        };
        assert_eq!(
            document.object,
            json!({"a": {"true": false, "no": ["x", false, "NO"]}, "b": 15, "c": 15, "d": "off", "e": "off", "f": 12,
                   "7": true})
        );
        let noted: Vec<String> = document
            .misread
            .iter()
            .map(|(path, misread)| format!("{path}: {misread}"))
            .collect();
        assert_eq!(noted.len(), 5, "{noted:#?}");
        assert_eq!(
            noted[0..3],
            [
                "7: kubectl reads y without quotes as the boolean true; write 'y'",
                "a.no[1]: kubectl reads NO without quotes as the boolean false; write 'NO'",
                "a.true: kubectl reads on without quotes as the boolean true; write 'on'",
            ]
        );
        assert!(noted[3].starts_with("b: kubectl reads 017 without quotes as the number 15; "));
    }

    #[test]
    fn what_kubectl_does_not_read_is_refused_with_its_path() {
        for (text, expected) in [
            ("a: {b: 1, b: 2}\n", "a.b is there twice"),
            ("a: {b: .inf}\n", "a.b is inf"),
            ("a: {~: 1}\n", "a has a key that is no text"),
            ("a: {on: 1, yes: 1}\n", "a.true is there twice"),
        ] {
            let error = documents(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_list_is_its_items() {
        let text = "kind: List\napiVersion: v1\nitems:\n- {kind: A, a: off}\n- {kind: B}\n---\n---\nkind: C\n";
        let documents = documents(text).unwrap();
        let kinds: Vec<&Value> = documents.iter().map(|it| &it.object["kind"]).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert!(documents[0].misread.contains_key("a"));
    }
}
