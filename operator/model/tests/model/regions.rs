//! The good Regions are planned; of the bad ones, those that the API server takes are refused by `plan`, each for one
//! reason at the field that its file names. Reads files of the repository.

use std::collections::BTreeSet;

use bailiwick_api::region::Region;
use bailiwick_model::admission::Admission;
use bailiwick_model::facts::{Facts, StorageClassFact};
use bailiwick_model::names::NODE_REGION;
use bailiwick_model::plan::Platform;
use bailiwick_model::planner::plan;
use serde_json::Value;

use crate::cases::{self, RefusedBy};
use crate::fixture;

fn region(value: &Value) -> Region {
    let mut region: Region = serde_json::from_value(value.clone()).unwrap();
    region.metadata.uid = Some("6b0e7a0c-1d5c-4f6a-9a53-7d1d6a2f9c01".to_owned());
    region
}

fn platform() -> Platform {
    let mut platform = fixture::platform();
    platform.locations.push("tr-ank-1".to_owned());
    platform.location_addresses.insert(
        "tr-ank-1".to_owned(),
        ["198.51.100.128/25", "2001:db8::/64"]
            .map(|range| range.parse().unwrap())
            .into(),
    );
    platform
}

/// The fixture's cluster with the development cluster's storage classes, two bad ones and a pool over two locations.
fn facts(region: &Region) -> Facts {
    let mut facts = fixture::facts(region);
    for (name, locations, retains) in [
        ("tr-ist-1-local", &["tr-ist-1"][..], true),
        ("es-mad-1-local", &["es-mad-1"][..], true),
        ("tr-ist-1-delete", &["tr-ist-1"][..], false),
        ("anywhere", &[][..], true),
    ] {
        facts.storage_classes.insert(
            name.to_owned(),
            StorageClassFact {
                locations: locations
                    .iter()
                    .map(|&location| location.to_owned())
                    .collect(),
                retains,
                expands: false,
            },
        );
    }
    for labels in facts.nodes.values_mut() {
        labels.insert("pool".to_owned(), "shared".to_owned());
    }
    let locations: BTreeSet<&String> = facts
        .nodes
        .values()
        .filter_map(|labels| labels.get(NODE_REGION))
        .collect();
    assert!(locations.len() > 1, "the shared pool is in one location");
    facts
}

#[test]
fn good_regions_are_planned() {
    let valid = cases::valid();
    assert!(valid.len() >= 3, "only {} good Regions", valid.len());
    for (name, value) in valid {
        let region = region(&value);
        let mut platform = platform();
        platform
            .postgres_images
            .insert(18, "registry.test/bailiwick/postgres:18.0-1".to_owned());
        if let Err(violations) = plan(&region, &platform, &facts(&region)) {
            panic!("{name}: {violations:#?}");
        }
    }
}

#[test]
fn bad_regions_are_refused_by_whom_their_file_says() {
    let admission = Admission::new().unwrap();
    let mut counts = [0, 0];
    for bad in cases::invalid() {
        let refusals = admission.refusals(&bad.region, bad.update_of.as_ref());
        match bad.by {
            RefusedBy::Admission => {
                assert!(
                    !refusals.is_empty(),
                    "{}: the API server would take it",
                    bad.name
                );
                counts[0] += 1;
            }
            RefusedBy::Plan => {
                assert_eq!(refusals, [], "{}: the API server would refuse it", bad.name);
                let region = region(&bad.region);
                let violations = plan(&region, &platform(), &facts(&region))
                    .err()
                    .unwrap_or_else(|| panic!("{}: it was planned", bad.name));
                let fields: Vec<&str> = violations
                    .iter()
                    .map(|violation| violation.field.as_str())
                    .collect();
                assert_eq!(
                    fields,
                    [bad.field.as_str()],
                    "{}: {violations:#?}",
                    bad.name
                );
                counts[1] += 1;
            }
        }
    }
    println!(
        "bad Regions: {} refused by admission, {} by plan",
        counts[0], counts[1]
    );
    assert!(counts[0] >= 60 && counts[1] >= 8, "{counts:?}");
}
