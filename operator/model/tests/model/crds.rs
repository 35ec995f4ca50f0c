//! `crds/regions.yaml` is what the types generate, and nothing in it makes trouble for the API server or for tools.
//! Reads files of the repository.

use std::path::Path;

use serde_json::Value;

fn committed() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds/regions.yaml");
    std::fs::read_to_string(path).expect("crds/regions.yaml")
}

fn definition() -> Value {
    serde_json::to_value(bailiwick_api::region::crd().unwrap()).unwrap()
}

fn walk(value: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, value);
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                walk(value, &format!("{path}.{name}"), visit);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                walk(value, &format!("{path}[{index}]"), visit);
            }
        }
        _ => {}
    }
}

#[test]
fn the_file_is_what_the_types_generate() {
    let generated = bailiwick_api::region::crd_yaml().unwrap();
    assert!(
        committed() == generated,
        "crds/regions.yaml is not current; run `make crds`"
    );
}

#[test]
fn the_reference_is_what_the_types_generate() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/region.md");
    let committed = std::fs::read_to_string(path).expect("docs/reference/region.md");
    assert!(
        committed == bailiwick_model::reference::markdown().unwrap(),
        "docs/reference/region.md is not current; run `make crds`"
    );
}

#[test]
fn the_page_of_channels_is_what_the_table_generates() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/channels.md");
    let committed = std::fs::read_to_string(path).expect("docs/reference/channels.md");
    assert!(
        committed == bailiwick_model::reference::channels_markdown(),
        "docs/reference/channels.md is not current; run `make crds`"
    );
}

#[test]
fn the_page_of_settings_is_what_the_list_generates() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/postgres-parameters.md");
    let committed = std::fs::read_to_string(path).expect("docs/reference/postgres-parameters.md");
    assert!(
        committed == bailiwick_model::reference::settings_markdown(),
        "docs/reference/postgres-parameters.md is not current; run `make crds`"
    );
}

#[test]
fn items_of_lists_have_no_defaults() {
    let mut items = 0;
    walk(&definition(), "", &mut |path, value| {
        if path.rsplit('.').next() == Some("items") {
            items += 1;
            walk(value, path, &mut |inner, value| {
                let is_keyword = !inner.contains(".properties.default");
                assert!(
                    !(is_keyword && inner.ends_with(".default")),
                    "{inner} = {value}"
                );
            });
        }
    });
    assert!(items >= 20, "only {items} lists were looked at");
}

#[test]
fn integers_have_signed_formats() {
    let mut integers = 0;
    walk(&definition(), "", &mut |path, value| {
        if value["type"] == "integer" {
            integers += 1;
            let format = value["format"].as_str().unwrap_or("int32");
            assert!(
                format == "int32" || format == "int64",
                "{path} has format {format}"
            );
        }
    });
    assert!(integers >= 15, "only {integers} integers were looked at");
}

#[test]
fn lists_and_strings_of_the_spec_are_bounded() {
    let definition = definition();
    let spec =
        &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut checked = 0;
    walk(spec, "", &mut |path, value| {
        // Fields of meta/v1 LabelSelector are bounded by their lists.
        if path.contains("elector.") {
            return;
        }
        match value["type"].as_str() {
            Some("array") => {
                checked += 1;
                assert!(value["maxItems"].is_i64(), "{path} has no maxItems");
                assert!(
                    value["x-kubernetes-list-type"].is_string(),
                    "{path} has no list type"
                );
            }
            Some("string") => {
                checked += 1;
                assert!(
                    value["maxLength"].is_i64() || value["enum"].is_array(),
                    "{path} has no maxLength"
                );
            }
            _ => {}
        }
    });
    assert!(checked >= 40, "only {checked} fields were looked at");
}

/// Of a pattern the API server tells nothing but the pattern; a rule has a sentence. Line breaks alone are left to one: a rule on
/// values that may be numbers would cost more than the API server allows.
#[test]
fn no_field_but_the_values_of_settings_is_held_to_a_pattern() {
    let mut patterns = Vec::new();
    walk(&definition(), "", &mut |path, value| {
        if value["pattern"].is_string() {
            patterns.push(path.rsplit(".properties").next().unwrap().to_owned());
        }
    });
    assert_eq!(patterns, [".parameters.additionalProperties"]);
}

#[test]
fn columns_and_names_are_those_of_the_reference() {
    let definition = definition();
    let version = &definition["spec"]["versions"][0];
    let columns: Vec<&str> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        columns,
        [
            "LOCATION",
            "ASSURANCE",
            "READY",
            "RESIDENCY",
            "PRIMARY",
            "ARCHIVED",
            "BACKUP",
            "AGE",
            "PG",
            "REASON"
        ]
    );
    assert_eq!(definition["spec"]["scope"], "Cluster");
    assert_eq!(
        definition["spec"]["names"]["shortNames"],
        serde_json::json!(["rg"])
    );
    assert_eq!(
        definition["spec"]["names"]["categories"],
        serde_json::json!(["residency"])
    );
    assert!(version["subresources"]["status"].is_object());
}
