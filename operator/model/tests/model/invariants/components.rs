//! What holds for the table of components: whatever is built is of one of them, and comes in an order in which nothing waits
//! for what it does not need.

use std::collections::BTreeSet;

use bailiwick_model::component::COMPONENTS;
use bailiwick_model::names::{LABEL_NAME, component};
use bailiwick_model::status::CONDITIONS;

use super::rendered;

#[test]
fn a_component_is_one_row_and_what_ready_asks_of_it_is_a_condition() {
    let names: BTreeSet<&str> = COMPONENTS.iter().map(|it| it.name).collect();
    assert_eq!(names.len(), COMPONENTS.len(), "{names:?}");
    let asked: Vec<&str> = COMPONENTS
        .iter()
        .filter_map(|it| it.availability)
        .map(|it| it.condition)
        .collect();
    assert!(
        asked.len() >= 2 && asked.iter().all(|it| CONDITIONS.contains(it)),
        "{asked:?}"
    );
}

#[test]
fn every_object_is_of_a_component() {
    let mut names: BTreeSet<&str> = COMPONENTS.iter().map(|it| it.name).collect();
    // Jobs of the archive, and the spec accepted last, which is of the Region as a whole.
    names.extend(["backup", "region"]);
    let mut objects = 0;
    for region in rendered() {
        for object in &region.objects {
            let name = object["metadata"]["labels"][LABEL_NAME].as_str().unwrap();
            assert!(names.contains(name), "{name}: {object}");
            objects += 1;
        }
    }
    assert!(objects >= 100, "{objects}");
}

/// While an object is refused, no StatefulSet after it is made: a canary that cannot be made must not keep a database from
/// being there. And the boundary stands before anything that it surrounds.
#[test]
fn policies_come_first_and_canaries_after_what_holds_data() {
    let mut regions = 0;
    for region in rendered() {
        let at = |test: &dyn Fn(&str, &str) -> bool| -> Vec<usize> {
            let objects = region.objects.iter().enumerate();
            objects
                .filter(|(_, object)| {
                    let name = &object["metadata"]["labels"][LABEL_NAME];
                    test(object["kind"].as_str().unwrap(), name.as_str().unwrap())
                })
                .map(|(at, _)| at)
                .collect()
        };
        let policies = at(&|kind, _| kind == "NetworkPolicy");
        assert_eq!(policies, (0..policies.len()).collect::<Vec<_>>());
        let sets = at(&|kind, _| kind == "StatefulSet");
        let canaries = at(&|_, name| name == component::CANARY);
        assert_eq!(sets.len(), 2);
        assert!(policies.len() >= 7 && sets.iter().max() < canaries.iter().min());
        regions += usize::from(!canaries.is_empty());
    }
    assert!(regions >= 2, "{regions}");
}
