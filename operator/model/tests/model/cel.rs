//! Every rule of the Region, one by one: a bad Region that it alone refuses, on create and on update, and a good one
//! that it looks at and lets pass. No rule is without either. Reads files of the repository.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::quantity;
use bailiwick_api::region::Region;
use bailiwick_model::admission::Admission;
use bailiwick_model::endpoint;
use serde_json::Value;

use crate::cases::{self, Bad, RefusedBy};

/// A rule: the path of the field that it names, without indexes, and its message.
type Id = (String, String);

#[derive(Debug)]
struct Rule {
    /// Where its `self` is, without indexes.
    at: String,
    /// Whether it compares with the old Region.
    transition: bool,
}

fn rules(admission: &Admission) -> BTreeMap<Id, Rule> {
    fn walk(schema: &Value, path: &str, rules: &mut BTreeMap<Id, Rule>) {
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
            let message = text("message");
            assert!(
                !message.is_empty(),
                "{path}: {} has no message",
                text("rule")
            );
            let before = rules.insert(
                (format!("{path}{}", text("fieldPath")), message),
                Rule {
                    at: path.to_owned(),
                    transition: text("rule").contains("oldSelf"),
                },
            );
            assert!(
                before.is_none(),
                "{path}: two rules with the message {:?}",
                text("message")
            );
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            walk(schema, &path, rules);
        }
        if schema["items"].is_object() {
            walk(&schema["items"], path, rules);
        }
    }
    let mut all = BTreeMap::new();
    walk(admission.schema(), "", &mut all);
    all
}

fn without_indexes(path: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for letter in path.chars() {
        match letter {
            '[' => inside = true,
            ']' => inside = false,
            _ if !inside => plain.push(letter),
            _ => {}
        }
    }
    plain
}

fn ids(admission: &Admission, new: &Value, old: Option<&Value>) -> Vec<Id> {
    let rules = rules(admission);
    admission
        .refusals(new, old)
        .into_iter()
        .map(|refusal| {
            let id = (without_indexes(&refusal.field), refusal.message);
            // A rule on a map names the key first.
            let key =
                id.1.split_once(' ')
                    .map(|(_, said)| (id.0.clone(), said.to_owned()));
            match key {
                Some(rule) if rules.contains_key(&rule) => rule,
                _ => id,
            }
        })
        .collect()
}

#[test]
fn a_rule_on_the_names_of_settings_tells_the_name() {
    let admission = Admission::new().unwrap();
    let mut region = cases::valid()["small"].clone();
    for (name, expected) in [
        ("ssl", "ssl sets what the operator owns"),
        ("work_mems", "work_mems names no setting of PostgreSQL"),
    ] {
        region["spec"]["postgres"]["parameters"] =
            serde_json::json!({"work_mem": "64MB", name: "1"});
        let refusals = admission.refusals(&region, None);
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert_eq!(refusals[0].field, "spec.postgres.parameters");
        assert!(refusals[0].message.starts_with(expected), "{refusals:?}");
    }
}

fn refused_by_admission() -> Vec<Bad> {
    cases::invalid()
        .into_iter()
        .filter(|bad| bad.by == RefusedBy::Admission)
        .collect()
}

#[test]
fn each_bad_region_has_one_refusal_at_its_field() {
    let admission = Admission::new().unwrap();
    let mut checked = 0;
    for bad in refused_by_admission() {
        let refusals = admission.refusals(&bad.region, bad.update_of.as_ref());
        let fields: Vec<&str> = refusals
            .iter()
            .map(|refusal| refusal.field.as_str())
            .collect();
        assert_eq!(fields, [bad.field.as_str()], "{}: {refusals:#?}", bad.name);
        checked += 1;
    }
    assert!(checked >= 60, "only {checked} bad Regions were looked at");
}

#[test]
fn each_rule_refuses_a_bad_region_on_create_and_on_update() {
    let admission = Admission::new().unwrap();
    let rules = rules(&admission);
    let (mut on_create, mut on_update) = (BTreeSet::new(), BTreeSet::new());
    for bad in refused_by_admission() {
        if let Some(old) = &bad.update_of {
            on_update.extend(ids(&admission, &bad.region, Some(old)));
        } else {
            on_create.extend(ids(&admission, &bad.region, None));
            // As an update, a bad value is as bad. What else changed is not its affair.
            let mut old = cases::valid()["small"].clone();
            old["metadata"]["name"] = bad.region["metadata"]["name"].clone();
            on_update.extend(ids(&admission, &bad.region, Some(&old)));
        }
    }
    assert!(rules.len() >= 55, "only {} rules were found", rules.len());
    let uncovered: Vec<&Id> = rules
        .iter()
        .filter(|(id, rule)| {
            !on_update.contains(*id) || !(rule.transition || on_create.contains(*id))
        })
        .map(|(id, _)| id)
        .collect();
    assert!(uncovered.is_empty(), "no bad Region for {uncovered:#?}");
}

#[test]
fn each_rule_looks_at_a_good_region_and_lets_it_pass() {
    fn present(value: &Value, path: &[&str]) -> bool {
        match (value, path) {
            (Value::Array(items), _) => items.iter().any(|item| present(item, path)),
            (_, []) => true,
            (Value::Object(fields), [first, rest @ ..]) => {
                fields.get(*first).is_some_and(|value| present(value, rest))
            }
            _ => false,
        }
    }
    let admission = Admission::new().unwrap();
    let valid = cases::valid();
    assert!(valid.len() >= 3, "only {} good Regions", valid.len());
    for (name, region) in &valid {
        assert_eq!(admission.refusals(region, None), [], "create {name}");
        assert_eq!(
            admission.refusals(region, Some(region)),
            [],
            "update {name}"
        );
    }
    let rules = rules(&admission);
    assert!(rules.len() >= 55, "only {} rules were found", rules.len());
    for (id, rule) in &rules {
        let path: Vec<&str> = rule.at.split('.').filter(|part| !part.is_empty()).collect();
        assert!(
            valid.values().any(|region| present(region, &path)),
            "no good Region has the field of {id:?}"
        );
    }
}

/// Good changes: a path, its new value, and the good Region that is changed.
const GOOD_UPDATES: [(&str, &str, &str); 20] = [
    ("full", "/spec/residency/minimumAssurance", "Physical"),
    ("full", "/spec/postgres/version", "18"),
    ("full", "/spec/postgres/instances", "5"),
    ("full", "/spec/postgres/storage/data/size", "20Gi"),
    ("full", "/spec/postgres/storage/data/size", "10240Mi"),
    ("full", "/spec/objectStore/volume/size", "1Ti"),
    (
        "full",
        "/spec/residency/allowedLocations",
        "[tr-ank-1, tr-ist-1]",
    ),
    ("full", "/spec/postgres/roles", "[]"),
    ("full", "/spec/network/clients", "[]"),
    ("full", "/spec/objectStore/buckets/0/quota", "6Gi"),
    ("full", "/spec/objectStore/buckets/0/quota", "'1e10'"),
    ("full", "/spec/objectStore/buckets/0/quota", "'.5Ti'"),
    ("full", "/spec/objectStore/buckets/0/quota", "6442450944"),
    ("full", "/spec/postgres/resources/cpu", "'0.5'"),
    ("full", "/spec/postgres/resources/cpu", "1000"),
    ("full", "/spec/postgres/resources/memory", "'2e9'"),
    (
        "full",
        "/spec/residency/exceptions/0/expires",
        "'2028-02-29T23:59:59.5+14:00'",
    ),
    (
        "full",
        "/spec/residency/exceptions/0/expires",
        "'2099-12-31T23:59:59Z'",
    ),
    ("higher", "/spec/residency/minimumAssurance", "Physical"),
    ("small", "/spec/postgres/instances", "3"),
];

#[test]
fn good_changes_pass() {
    let admission = Admission::new().unwrap();
    for (name, path, value) in GOOD_UPDATES {
        let old = cases::valid()[name].clone();
        let mut new = old.clone();
        let field = new
            .pointer_mut(path)
            .unwrap_or_else(|| panic!("{name} has no {path}"));
        let value: Value = serde_yaml::from_str(value).unwrap();
        assert_ne!(*field, value, "{name}: {path} does not change");
        *field = value;
        assert_eq!(admission.refusals(&new, Some(&old)), [], "{name}: {path}");
    }
}

/// The API server and the operator take the same quantities, and what is refused is told in a sentence.
#[test]
fn quantities_have_one_grammar() {
    let numbers = [
        "1",
        "0",
        "12",
        "1.5",
        ".5",
        "5.",
        "0.5",
        "1.2.3",
        "",
        "007",
        "999999999",
        "0.0",
        "+1",
        "-1",
    ];
    let suffixes = [
        "", "m", "k", "Ki", "M", "Mi", "G", "Gi", "T", "Ti", "P", "Pi", "E", "Ei", "n", "u", "e3",
        "E03", "e", "e-3", "e+3", "e100", "e3k", "i", "gi", "K", " ", "Gib",
    ];
    let admission = Admission::new().unwrap();
    let mut region = cases::valid()["full"].clone();
    let mut taken = [0; 3];
    for text in numbers
        .iter()
        .flat_map(|number| suffixes.map(|suffix| format!("{number}{suffix}")))
    {
        let fields = [
            (
                "spec.objectStore.buckets[0].quota",
                quantity::Kind::Bytes.is_form_of(&text),
                quantity::BYTES_EXPECTED,
            ),
            (
                "spec.objectStore.volume.size",
                quantity::asked_bytes(&text).is_some(),
                quantity::BYTES_EXPECTED,
            ),
            (
                "spec.objectStore.resources.cpu",
                quantity::asked_millicpus(&text).is_some(),
                quantity::CPUS_EXPECTED,
            ),
        ];
        for (field, ..) in &fields {
            let pointer = format!("/{}", field.replace('.', "/").replace("[0]", "/0"));
            *region.pointer_mut(&pointer).unwrap() = text.as_str().into();
        }
        let refusals = admission.refusals(&region, None);
        for (index, (field, is_taken, expected)) in fields.into_iter().enumerate() {
            let found: Vec<&str> = refusals
                .iter()
                .filter(|refusal| refusal.field == field)
                .map(|refusal| refusal.message.as_str())
                .collect();
            let wanted: &[&str] = if is_taken { &[] } else { &[expected] };
            assert_eq!(found, wanted, "{field}: {text:?}");
            taken[index] += usize::from(is_taken);
        }
    }
    println!(
        "of {} quantities taken: {taken:?}",
        numbers.len() * suffixes.len()
    );
    assert!(
        taken[0] > 100 && taken[1] > 90 && taken[2] > 15,
        "{taken:?}"
    );
}

/// Ranges of addresses, and what looks like them, as `plan` knows them.
#[test]
fn ranges_have_one_grammar() {
    let admission = Admission::new().unwrap();
    let mut region = cases::valid()["full"].clone();
    let addresses = [
        "203.0.113.7",
        "203.0.113.07",
        "203.00.113.7",
        "0203.0.113.7",
        "203.0.113.007",
        "203.0.113.0x7",
        "203.0.113",
        "203.0.113.256",
        "2001:db8::7",
        "2001:DB8::7",
        "2001:0db8::0007",
        "00ff::1",
        "2001:db8::07",
        "2001:00db8::7",
        "2001:db8::192.0.2.7",
        "2001:db8::192.0.2.07",
        "fe80::1%eth0",
        " 203.0.113.7",
        "+203.0.113.7",
        "",
    ];
    let lengths = [
        "/32", "/128", "/032", "/+32", "/ 32", "/33", "/129", "/-1", "/", "", "/3 2", "/32/32",
        "/0128",
    ];
    let mut taken = [0; 2];
    for text in addresses
        .iter()
        .flat_map(|address| lengths.map(|length| format!("{address}{length}")))
    {
        region["spec"]["network"]["external"][0]["cidrs"] = serde_json::json!([text]);
        let refusals = admission.refusals(&region, None);
        let is_range = endpoint::range(&text)
            .is_some_and(|range| range.prefix_len() >= if text.contains(':') { 116 } else { 20 });
        assert_eq!(refusals.is_empty(), is_range, "{text}: {refusals:?}");
        taken[usize::from(is_range)] += 1;
    }
    println!("of {} ranges taken: {}", taken[0] + taken[1], taken[1]);
    assert!(taken[1] >= 6 && taken[0] >= 200, "{taken:?}");
}

/// Every day from 2026 to 2028, and as many that are none, as the decoder knows them.
#[test]
fn moments_have_one_grammar() {
    let admission = Admission::new().unwrap();
    let mut region = cases::valid()["full"].clone();
    let mut days = [0; 2];
    for (year, month, day) in (2026..=2028)
        .flat_map(|year| (0..=13).map(move |month| (year, month)))
        .flat_map(|(year, month)| [0, 1, 28, 29, 30, 31, 32].map(|day| (year, month, day)))
        .chain((2096..=2100).map(|year| (year, 2, 29)))
    {
        let text = format!("{year}-{month:02}-{day:02}T12:00:00+14:00");
        region["spec"]["residency"]["exceptions"][0]["expires"] = text.as_str().into();
        let refusals = admission.refusals(&region, None);
        let there_is = year < 2100 && text.parse::<jiff::Timestamp>().is_ok();
        assert_eq!(refusals.is_empty(), there_is, "{text}: {refusals:?}");
        assert!(
            refusals
                .iter()
                .all(|it| it.message.starts_with("expected a moment")),
            "{refusals:?}"
        );
        days[usize::from(there_is)] += 1;
    }
    assert!(days.iter().all(|count| *count > 80), "{days:?}");
}

#[test]
fn items_are_compared_by_name_and_not_by_place() {
    let admission = Admission::new().unwrap();
    let old = cases::valid()["full"].clone();
    let mut new = old.clone();
    let buckets = new
        .pointer_mut("/spec/objectStore/buckets")
        .unwrap()
        .as_array_mut()
        .unwrap();
    buckets.reverse();
    buckets.insert(0, serde_json::json!({"name": "locked", "objectLock": true}));
    assert_eq!(admission.refusals(&new, Some(&old)), []);
}

/// The generated methods of the type judge as the definition does, whatever defaults it leaves to the operator. They
/// compile the rules anew each time, so a sample is asked.
#[test]
fn the_types_own_methods_agree() {
    for (name, region) in cases::valid() {
        let region: Region = serde_json::from_value(region).unwrap();
        assert!(
            region.validate_cel().is_ok(),
            "{name}: {:?}",
            region.validate_cel()
        );
        assert!(region.validate_cel_update(&region).is_ok(), "{name}");
    }
    let mut refused = 0;
    for bad in refused_by_admission().into_iter().step_by(6) {
        // What the schema's own bounds refuse is not for rules to judge.
        let Ok(region) = serde_json::from_value::<Region>(bad.region) else {
            continue;
        };
        let result = match bad.update_of {
            Some(old) => region.validate_cel_update(&serde_json::from_value(old).unwrap()),
            None => region.validate_cel(),
        };
        refused += usize::from(result.is_err());
    }
    assert!(refused >= 8, "only {refused} bad Regions were refused");
}

/// What the definition has of a schema that `check` knows, each by its own code or, as defaults, without a need of one. Where
/// a field is of another, the API server would refuse what `check` takes.
const KNOWN: &[&str] = &[
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minItems",
    "minLength",
    "minimum",
    "nullable",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-validations",
];

#[test]
fn check_knows_every_keyword_of_the_definition() {
    fn walk<'a>(schema: &'a Value, keywords: &mut BTreeMap<&'a str, usize>) {
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            *keywords.entry(keyword).or_default() += 1;
            match keyword.as_str() {
                "properties" => {
                    for schema in value.as_object().into_iter().flat_map(|all| all.values()) {
                        walk(schema, keywords);
                    }
                }
                "items" | "additionalProperties" => walk(value, keywords),
                _ => {}
            }
        }
    }
    let admission = Admission::new().unwrap();
    let mut keywords = BTreeMap::new();
    walk(admission.schema(), &mut keywords);
    let found: Vec<&str> = keywords.keys().copied().collect();
    assert_eq!(found, KNOWN);
    assert!(keywords["type"] >= 200, "{keywords:?}");
}
