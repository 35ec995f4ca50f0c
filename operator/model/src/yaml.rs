//! Writes objects as YAML that every reader takes the same way. A value in, text out; no I/O.
//!
//! Readers of Kubernetes follow YAML 1.1, where `NO`, `off` and `12:30` are not texts; writers of YAML 1.2 leave them
//! without quotes, so that Norway's jurisdiction would become `false`. Here, what any of the two could take for
//! something else is quoted.

pub mod read;

use serde_json::Value as Json;
use serde_yaml::Value;

/// Words that YAML 1.1 or 1.2 takes for booleans or nothing, in small letters.
const WORDS: [&str; 11] = [
    "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf",
];

/// One document, its fields in their order, with a line break at the end.
#[must_use]
pub fn document(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, 0, Place::Line);
    text
}

/// Where a value stands.
#[derive(Clone, Copy)]
enum Place {
    /// At the start of its own line.
    Line,
    /// After `key:`.
    Entry,
    /// After `-`.
    Item,
}

/// Writes a value whose lines are indented by `indent`.
fn write(text: &mut String, value: &Value, indent: usize, place: Place) {
    match value {
        Value::Mapping(fields) if !fields.is_empty() => {
            if matches!(place, Place::Entry) {
                text.push('\n');
            }
            for (index, (key, value)) in fields.iter().enumerate() {
                match (place, index) {
                    (Place::Item, 0) => text.push(' '),
                    _ => pad(text, indent),
                }
                text.push_str(&scalar(key));
                text.push(':');
                let deeper = match value {
                    // A list stands under its key.
                    Value::Sequence(_) => indent,
                    _ => indent + 2,
                };
                write(text, value, deeper, Place::Entry);
            }
        }
        Value::Sequence(items) if !items.is_empty() => {
            if !matches!(place, Place::Line) {
                text.push('\n');
            }
            for item in items {
                pad(text, indent);
                text.push('-');
                write(text, item, indent + 2, Place::Item);
            }
        }
        Value::Tagged(tagged) => write(text, &tagged.value, indent, place),
        Value::String(lines) if is_block(lines) => block(text, lines, indent),
        other => {
            if !matches!(place, Place::Line) {
                text.push(' ');
            }
            text.push_str(&scalar(other));
            text.push('\n');
        }
    }
}

fn pad(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

/// Whether a text of several lines can be written as it is.
fn is_block(lines: &str) -> bool {
    lines.contains('\n')
        && !lines.starts_with([' ', '\n'])
        && lines
            .chars()
            .all(|letter| letter == '\n' || !letter.is_control())
}

fn block(text: &mut String, lines: &str, indent: usize) {
    let trailing = lines
        .chars()
        .rev()
        .take_while(|&letter| letter == '\n')
        .count();
    text.push_str(match trailing {
        0 => " |-\n",
        1 => " |\n",
        _ => " |+\n",
    });
    for line in lines.strip_suffix('\n').unwrap_or(lines).split('\n') {
        if !line.is_empty() {
            pad(text, indent);
            text.push_str(line);
        }
        text.push('\n');
    }
}

/// A value on one line.
fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) if is_plain(text) => text.clone(),
        Value::String(text) if !text.chars().any(char::is_control) => {
            format!("'{}'", text.replace('\'', "''"))
        }
        // Every JSON text is YAML.
        Value::String(text) => Json::from(text.as_str()).to_string(),
        Value::Sequence(_) => "[]".to_owned(),
        Value::Mapping(_) => "{}".to_owned(),
        Value::Tagged(tagged) => scalar(&tagged.value),
    }
}

/// Whether a text is read as itself without quotes, by any reader.
fn is_plain(text: &str) -> bool {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "_./:=,-() ".contains(letter);
    let Some(first) = text.chars().next() else {
        return false;
    };
    if !text.chars().all(safe) || text.contains(": ") || text.ends_with([':', ' ']) {
        return false;
    }
    if first.is_ascii_alphabetic() || first == '/' {
        return !WORDS.contains(&text.to_ascii_lowercase().as_str());
    }
    // Amounts such as 10Gi and 250m; numbers, times and addresses are quoted.
    first.is_ascii_digit()
        && text.ends_with(|last: char| last.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric())
        && !["0x", "0o", "0b"]
            .iter()
            .any(|prefix| text.to_ascii_lowercase().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in [
            "a: 1\nb: [x, {c: d, e: []}, [1, 2], null]\nf: {}\ng: ''\nh: true\n",
            "- a\n- b: c\n  d:\n  - e\n",
            "files:\n  one: |\n    first\n\n      second\n  two: |-\n    first\n    second\n  three: |+\n    end\n\n",
            "odd: \" leading\\nline\"\ntab: \"a\\tb\"\nquote: 'it''s'\nhash: 'a #b'\nkey: 'a: b'\n",
            "numbers: ['1', '1.5', '0x1F', '1e3', '12:30', '2026-01-01', '1_000', '.5', '-1', '+1', '~']\n",
            "'true': 'false'\n'8080': x\n",
            "amounts: [10Gi, 250m, 1h]\n",
        ] {
            let value = read(text);
            assert_eq!(
                read(&document(&value)),
                value,
                "{text}\n{}",
                document(&value)
            );
        }
    }

    #[test]
    fn words_that_yaml_1_1_reads_otherwise_are_quoted() {
        for word in [
            "NO", "no", "No", "off", "ON", "y", "yes", "true", "null", "~", "12:30", "017", "1_0",
            "0b1",
        ] {
            let written = document(&Value::String(word.to_owned()));
            assert_eq!(written, format!("'{word}'\n"));
        }
        for word in [
            "TR",
            "tr-ist-1",
            "10Gi",
            "restricted",
            "bailiwick.dev/v1alpha1",
        ] {
            assert_eq!(
                document(&Value::String(word.to_owned())),
                format!("{word}\n")
            );
        }
    }
}
