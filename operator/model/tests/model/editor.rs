//! Every field of a Region's spec is in one of the two tables of docs/explanation/editor-of-a-region.md, and what the first
//! one names as shown is there. Reads files of the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bailiwick_api::region;
use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The fields that hold values, lists with `[]` after their name.
fn leaves(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, schema) in properties {
            leaves(schema, &format!("{path}.{name}"), found);
        }
    } else if schema["items"].is_object() {
        leaves(&schema["items"], &format!("{path}[]"), found);
    } else {
        found.insert(path.to_owned());
    }
}

/// The rows of both tables: the field, and the other cells.
fn rows() -> Vec<(String, Vec<String>)> {
    let page = std::fs::read_to_string(repository().join("docs/explanation/editor-of-a-region.md"))
        .unwrap();
    page.lines()
        .filter_map(|line| line.strip_prefix("| `spec."))
        .map(|rest| {
            let (field, rest) = rest.split_once("` |").unwrap();
            let cells = rest.split('|').map(|cell| cell.trim().to_owned()).collect();
            (format!("spec.{field}"), cells)
        })
        .collect()
}

/// The text of the tests, and the names of the bad Regions.
fn evidence() -> (String, BTreeSet<String>) {
    fn read(folder: &Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|it| it == "rs") {
                text.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in ["model/tests", "controller/tests", "e2e/tests"] {
        read(&repository().join("operator").join(folder), &mut text);
    }
    let bad = std::fs::read_dir(repository().join("operator/model/tests/regions/invalid"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    (text, bad)
}

#[test]
fn every_field_of_the_spec_is_in_a_table() {
    let definition = serde_json::to_value(region::crd().unwrap()).unwrap();
    let schema =
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut fields = BTreeSet::new();
    leaves(schema, "spec", &mut fields);
    assert!(fields.len() >= 72, "only {} fields", fields.len());

    let rows = rows();
    let told: BTreeMap<&String, usize> = rows
        .iter()
        .map(|(field, cells)| (field, cells.len()))
        .collect();
    assert_eq!(told.len(), rows.len(), "a field is in the tables twice");
    let told: BTreeSet<&String> = told.into_keys().collect();
    let untold: Vec<&String> = fields
        .iter()
        .filter(|field| !told.contains(field))
        .collect();
    assert!(untold.is_empty(), "fields in neither table: {untold:?}");
    let gone: Vec<&&String> = told
        .iter()
        .filter(|field| !fields.contains(**field))
        .collect();
    assert!(gone.is_empty(), "fields that a Region has not: {gone:?}");

    // The first table says what was tried and by what it is shown, the second why there is nothing to try.
    let (text, bad) = evidence();
    let (mut tried, mut shown) = (0, 0);
    for (field, cells) in &rows {
        let cells: Vec<&String> = cells.iter().filter(|cell| !cell.is_empty()).collect();
        match cells[..] {
            [_, _, tests] => {
                tried += 1;
                for name in tests.split('`').skip(1).step_by(2) {
                    let is_there = bad.contains(name)
                        || text.contains(&format!("fn {name}("))
                        || text.contains(&format!("(\"{name}\", |cluster|"));
                    assert!(is_there, "{field}: there is no {name}");
                    shown += 1;
                }
            }
            [_] => {}
            _ => panic!("{field}: {cells:?}"),
        }
    }
    println!(
        "{} fields: {tried} that could widen, by {shown} tests",
        fields.len()
    );
    assert!(tried >= 33 && shown >= 2 * tried - 10, "{tried} {shown}");
}
