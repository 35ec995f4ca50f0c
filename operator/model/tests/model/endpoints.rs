//! What a Region may declare outside the cluster and whom it may let in: the platform and the Region's label say so, not
//! the Region's editor. Values in, values out.

use std::collections::BTreeMap;
use std::sync::Arc;

use bailiwick_api::region::{ChannelState, Region};
use bailiwick_api::violation::{Reason, Violation};
use bailiwick_model::canary::question::METADATA_ADDRESS;
use bailiwick_model::channel::Channel;
use bailiwick_model::desired::desired;
use bailiwick_model::endpoint::MOST_ADDRESSES;
use bailiwick_model::facts::{Facts, Neighbour, NeighbourPod, PodFact};
use bailiwick_model::plan::Platform;
use bailiwick_model::planner::plan;
use serde_json::{Value, json};

use crate::fixture::{self, facts, platform, tr_with};

/// `tr` with one declared endpoint.
fn declaring(cidrs: &[&str], location: &str) -> Region {
    let external = json!([{"name": "wide", "host": "s3.example.org", "cidrs": cidrs, "ports": [443], "location": location}]);
    tr_with(&json!({"spec": {
        "residency": {"allowedLocations": ["tr-ist-1", "tr-ank-1"]}, "network": {"external": external}
    }})
    .to_string())
}

fn without_a_table() -> Platform {
    Platform {
        location_addresses: BTreeMap::new(),
        ..platform()
    }
}

/// A cluster whose own addresses are all known, among those that the platform says are in the location.
fn inside_out() -> (Platform, Facts) {
    let everything = ["0.0.0.0/0", "::/0"].map(|range| range.parse().unwrap());
    let platform = Platform {
        location_addresses: [("tr-ist-1".to_owned(), everything.into())].into(),
        cluster_addresses: vec!["10.202.0.0/16".parse().unwrap()],
        ..platform()
    };
    let mut facts = facts(&declaring(&[], "tr-ist-1"));
    facts.pod_ranges = ["10.201.1.0/24".to_owned(), "2001:db8:7::/64".to_owned()].into();
    let neighbour = NeighbourPod {
        ip: "172.31.0.9".to_owned(),
        ..NeighbourPod::default()
    };
    let pods = fixture::live([("es-pg-0".to_owned(), neighbour)]);
    Arc::make_mut(&mut facts.neighbours).insert("es".to_owned(), Neighbour { pods });
    let own = PodFact {
        ip: Some("172.31.0.77".to_owned()),
        ..PodFact::default()
    };
    facts.pods.live.insert("tr-pg-0".to_owned(), own);
    (platform, facts)
}

fn refused(region: &Region, platform: &Platform, facts: &Facts) -> Vec<Violation> {
    plan(region, platform, facts).err().unwrap_or_default()
}

/// What was found: a wide range that the Region's editor says is at home, around what the canary tries outside.
#[test]
fn a_range_around_what_the_canary_tries_is_refused() {
    for platform in [platform(), without_a_table(), inside_out().0] {
        for range in [
            "198.0.0.0/8",
            "198.51.100.0/24",
            "198.51.100.10/32",
            "198.51.100.77/24",
        ] {
            let region = declaring(&[range], "tr-ist-1");
            let found = refused(&region, &platform, &facts(&region));
            let found = found
                .iter()
                .find(|it| it.field == "spec.network.external[0].cidrs[0]")
                .unwrap_or_else(|| panic!("{range}: {found:?}"));
            assert_eq!(found.reason, Reason::OutsideJurisdiction);
            for word in [range, "tr-ist-1", "--outside-address", "alone"] {
                assert!(found.message.contains(word), "{word}: {}", found.message);
            }
        }
    }
}

#[test]
fn the_platform_says_where_an_address_is() {
    let mut tried = 0;
    for (cidrs, location, accepted) in [
        (&["203.0.113.10/32"][..], "tr-ist-1", true),
        (&["203.0.113.0/24"], "tr-ist-1", true),
        (&["203.0.113.0/25", "203.0.113.128/25"], "tr-ist-1", true),
        (&["203.0.112.0/23"], "tr-ist-1", false),
        (&["203.0.114.1/32"], "tr-ist-1", false),
        // It is one of another location's, or of one that nothing is known of.
        (&["192.0.2.1/32"], "tr-ist-1", false),
        (&["203.0.113.10/32"], "tr-ank-1", false),
        (&["2001:db8::1/128"], "tr-ist-1", false),
        // Private, and not told.
        (&["10.9.0.1/32"], "tr-ist-1", false),
    ] {
        let region = declaring(cidrs, location);
        let found = refused(&region, &platform(), &facts(&region));
        assert_eq!(
            found.is_empty(),
            accepted,
            "{cidrs:?} {location}: {found:?}"
        );
        for violation in &found {
            assert_eq!(violation.field, "spec.network.external[0].cidrs[0]");
            assert_eq!(violation.reason, Reason::OutsideJurisdiction);
            for word in [cidrs[0], location, "--location-addresses"] {
                assert!(violation.message.contains(word), "{violation}");
            }
        }
        tried += 1;
    }
    // Neighbouring ranges are one, and a private range that is told is a place as any.
    let mut told = platform();
    told.location_addresses.insert(
        "tr-ist-1".to_owned(),
        ["10.9.0.0/24", "10.9.1.0/24"]
            .map(|it| it.parse().unwrap())
            .into(),
    );
    let region = declaring(&["10.9.0.0/23"], "tr-ist-1");
    assert_eq!(refused(&region, &told, &facts(&region)), []);
    assert_eq!(tried, 9);
}

#[test]
fn some_addresses_are_refused_wherever_they_are_said_to_be() {
    let (told, around) = inside_out();
    let untold = Platform {
        location_addresses: BTreeMap::new(),
        ..told.clone()
    };
    let mut tried = 0;
    for (range, what) in [
        ("169.254.169.254/32", "metadata"),
        ("169.254.0.0/20", "link-local"),
        ("fd00:ec2::254/128", "metadata"),
        ("fd20:ce::254/128", "metadata"),
        ("100.100.100.200/32", "metadata"),
        ("168.63.129.16/32", "metadata"),
        ("192.0.0.192/32", "metadata"),
        ("0.0.0.0/32", "the machine itself"),
        ("127.0.0.1/32", "the machine itself"),
        ("::1/128", "the machine itself"),
        ("169.254.1.1/32", "link-local"),
        ("fe80::1/128", "link-local"),
        ("224.0.0.1/32", "multicast"),
        ("ff02::1/128", "multicast"),
        ("255.255.255.255/32", "reserved"),
        ("::ffff:198.51.100.10/128", "written as IPv6"),
        ("64:ff9b::c633:640a/128", "written as IPv6"),
        ("64:ff9b:1::1/128", "written as IPv6"),
        ("2002:c633:640a::1/128", "written as IPv6"),
        ("10.200.0.11/32", "a node"),
        ("10.200.0.0/28", "a node"),
        ("10.200.0.1/32", "the API server"),
        ("10.201.1.7/32", "pods"),
        ("10.201.0.0/20", "pods"),
        ("2001:db8:7::1/128", "pods"),
        ("172.31.0.9/32", "pods"),
        ("172.31.0.77/32", "pods"),
        ("10.202.0.1/32", "--cluster-addresses"),
        ("10.202.0.0/20", "--cluster-addresses"),
        ("everything", "no range of addresses"),
        ("198.51.100.0/33", "no range of addresses"),
    ] {
        for platform in [&told, &untold] {
            let region = declaring(&[range], "tr-ist-1");
            let found = refused(&region, platform, &around);
            assert_eq!(found.len(), 1, "{range}: {found:?}");
            assert_eq!(found[0].field, "spec.network.external[0].cidrs[0]");
            assert!(found[0].message.contains(what), "{range}: {}", found[0]);
            tried += 1;
        }
    }
    assert_eq!(tried, 62);
    assert!(METADATA_ADDRESS.starts_with("169.254."));
    // Private ranges: a place only where the platform says so.
    let mut private = 0;
    for range in [
        "10.9.0.1/32",
        "172.16.0.1/32",
        "192.168.7.0/24",
        "100.64.0.1/32",
        "fd12::1/128",
    ] {
        let region = declaring(&[range], "tr-ist-1");
        let found = refused(&region, &untold, &around);
        assert_eq!(found.len(), 1, "{range}: {found:?}");
        assert!(
            found[0].message.contains("private addresses"),
            "{}",
            found[0]
        );
        assert_eq!(refused(&region, &told, &around), [], "{range}");
        private += 1;
    }
    assert_eq!(private, 5);
}

#[test]
fn a_range_with_address_bits_after_its_prefix_is_refused() {
    let (platform, facts) = inside_out();
    for (range, expected) in [
        ("203.0.113.7/24", "expected 203.0.113.0/24"),
        ("2001:db8::1/116", "expected 2001:db8::/116"),
    ] {
        let found = refused(&declaring(&[range], "tr-ist-1"), &platform, &facts);
        assert!(
            found
                .iter()
                .any(|it| it.field == "spec.network.external[0].cidrs[0]"
                    && it.message.contains(expected)),
            "{range}: {found:?}"
        );
    }
}

#[test]
fn a_region_names_few_addresses_in_all() {
    let (told, around) = inside_out();
    for (cidrs, accepted) in [
        (&["203.0.0.0/20"][..], true),
        (&["203.0.0.0/21", "203.0.8.0/21"], true),
        (&["2001:db8::/116"], true),
        (&["203.0.0.0/20", "203.0.113.1/32"], false),
        (&["203.0.0.0/21", "203.0.8.0/21", "2001:db8::/128"], false),
        (&["2001:db8::/64"], false),
        (&["2001:db8::/32", "2001:db9::/32"], false),
    ] {
        let region = declaring(cidrs, "tr-ist-1");
        let found: Vec<String> = refused(&region, &told, &around)
            .into_iter()
            .filter(|it| it.field == "spec.network.external")
            .map(|it| it.message)
            .collect();
        assert_eq!(found.is_empty(), accepted, "{cidrs:?}: {found:?}");
        assert!(
            found
                .iter()
                .all(|it| it.contains(&MOST_ADDRESSES.to_string()))
        );
    }
    // Over several places too.
    let many: Vec<Value> = (0..17)
        .map(|it| json!({"name": format!("p{it}"), "host": "s3.example.org", "cidrs": [format!("203.0.{it}.0/24")],
            "ports": [443], "location": "tr-ist-1"}))
        .collect();
    let region = tr_with(&json!({"spec": {"network": {"external": many}}}).to_string());
    let found = refused(&region, &told, &around);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].field, "spec.network.external");
}

/// Where nobody but the Region says where its endpoints are, nobody knows.
#[test]
fn without_a_table_declared_endpoints_are_unknown() {
    let region = declaring(&["203.0.113.10/32"], "tr-ist-1");
    let facts = facts(&region);
    let declared = Channel::of(9).unwrap();
    let bare = plan(&region, &without_a_table(), &facts).unwrap();
    assert!(!bare.addresses_are_told);
    let found = declared.judge(&bare, &facts);
    assert_eq!(found.state, ChannelState::Unknown);
    assert!(
        found.evidence.contains("--location-addresses")
            && found.evidence.contains("wide in tr-ist-1"),
        "{}",
        found.evidence
    );
    let told = plan(&region, &platform(), &facts).unwrap();
    let found = declared.judge(&told, &facts);
    assert!(
        !found.evidence.contains("--location-addresses"),
        "{}",
        found.evidence
    );
    // A Region that declares nothing needs no table.
    let region = fixture::tr();
    let bare = plan(&region, &without_a_table(), &facts).unwrap();
    let found = declared.judge(&bare, &facts);
    assert!(
        !found.evidence.contains("--location-addresses"),
        "{}",
        found.evidence
    );
}

/// Whether a selector finds a namespace with these labels, as Kubernetes reads it.
fn selects(selector: &Value, labels: &BTreeMap<&str, &str>) -> bool {
    let exact = selector["matchLabels"].as_object().into_iter().flatten();
    let terms = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    exact
        .map(|(key, value)| labels.get(key.as_str()) == value.as_str().as_ref())
        .chain(terms.map(|term| {
            let found = labels.get(term["key"].as_str().unwrap());
            let listed = |found: &&str| {
                term["values"]
                    .as_array()
                    .is_some_and(|values| values.iter().any(|it| it == *found))
            };
            match term["operator"].as_str().unwrap() {
                "In" => found.is_some_and(listed),
                "NotIn" => !found.is_some_and(listed),
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                other => panic!("{other}"),
            }
        }))
        .all(|it| it)
}

#[test]
fn a_client_without_the_regions_label_is_not_let_in() {
    let namespaces = [
        (
            "its client",
            BTreeMap::from([
                ("bailiwick.dev/region", "tr"),
                ("team", "patient"),
                ("kubernetes.io/metadata.name", "a"),
            ]),
        ),
        (
            "nobody's",
            BTreeMap::from([("team", "patient"), ("kubernetes.io/metadata.name", "b")]),
        ),
        (
            "another's client",
            BTreeMap::from([
                ("bailiwick.dev/region", "es"),
                ("team", "patient"),
                ("kubernetes.io/metadata.name", "c"),
            ]),
        ),
    ];
    let mut tried = 0;
    for (selector, lets_in) in [
        (
            json!({"matchLabels": {"team": "patient"}}),
            &["its client"][..],
        ),
        (
            json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]}),
            &["its client"],
        ),
        (
            json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["patient"]}, {"key": "x", "operator": "DoesNotExist"}]}),
            &["its client"],
        ),
        (
            json!({"matchLabels": {"bailiwick.dev/region": "tr"}}),
            &["its client"],
        ),
        // These contradict it: nobody is let in.
        (json!({"matchLabels": {"bailiwick.dev/region": "es"}}), &[]),
        (
            json!({"matchExpressions": [{"key": "bailiwick.dev/region", "operator": "In", "values": ["es"]}]}),
            &[],
        ),
        (
            json!({"matchLabels": {"team": "patient"}, "matchExpressions": [{"key": "bailiwick.dev/region", "operator": "DoesNotExist"}]}),
            &[],
        ),
    ] {
        let client = json!([{"name": "all", "namespaceSelector": selector, "to": ["Postgres", "ObjectStore"]}]);
        let plan = fixture::planned(&tr_with(
            &json!({"spec": {"network": {"clients": client}}}).to_string(),
        ));
        let peers: Vec<Value> = desired(&plan)
            .iter()
            .map(|manifest| serde_json::to_value(&manifest.object).unwrap())
            .filter(|object| object["kind"] == "NetworkPolicy")
            .flat_map(|object| {
                object["spec"]["ingress"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            })
            .flat_map(|rule| rule["from"].as_array().cloned().unwrap_or_default())
            .filter(|peer| {
                peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
                    != "bailiwick-system"
                    && peer["namespaceSelector"].is_object()
            })
            .collect();
        assert_eq!(peers.len(), 2, "{selector}: {peers:?}");
        for peer in &peers {
            let found: Vec<&str> = namespaces
                .iter()
                .filter(|(_, labels)| selects(&peer["namespaceSelector"], labels))
                .map(|(name, _)| *name)
                .collect();
            assert_eq!(found, lets_in, "{selector}");
            tried += 1;
        }
    }
    assert_eq!(tried, 14);
}
