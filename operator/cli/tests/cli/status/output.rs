//! The tree of objects, a line for each Region, JSON and YAML.

use bailiwick_cli::children::Child;
use bailiwick_cli::commands::{self, Format};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{page, style};
use crate::fixture::{broken, good, now, stale};

fn child(kind: &str, name: &str, owner: Option<(&str, &str)>) -> Child {
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("tr".to_owned()),
        labels: (name == "tr-pg-0").then(|| [("role".to_owned(), "primary".to_owned())].into()),
        owner_references: owner.map(|(kind, name)| {
            vec![OwnerReference {
                kind: kind.to_owned(),
                name: name.to_owned(),
                controller: Some(true),
                ..OwnerReference::default()
            }]
        }),
        ..ObjectMeta::default()
    };
    Child::of(kind, &metadata, good().status.as_ref()).unwrap()
}

#[test]
fn objects_are_a_tree() {
    let children = vec![
        child("Pod", "tr-pg-1", Some(("StatefulSet", "tr-pg"))),
        child("Pod", "tr-pg-0", Some(("StatefulSet", "tr-pg"))),
        child("Job", "tr-canary-1", Some(("CronJob", "tr-canary"))),
        child("Pod", "tr-canary-1-x", Some(("Job", "tr-canary-1"))),
        child("CronJob", "tr-canary", None),
        child("StatefulSet", "tr-pg", Some(("Region", "tr"))),
        child("Pod", "stray", Some(("Job", "gone"))),
    ];
    let page = page(
        &good(),
        children,
        vec!["pods in namespace tr-drill: Forbidden".to_owned()],
    );
    let tree = page.split_once("\n\nRegion tr\n").unwrap().1;
    assert_eq!(
        tree,
        "  Namespace tr
    CronJob tr-canary
      Job tr-canary-1
        Pod tr-canary-1-x
    Pod stray
    StatefulSet tr-pg
      Pod tr-pg-0  primary, running, on tr-1 in tr-ist-1
      Pod tr-pg-1  streaming, on tr-2 in tr-ist-1
  not shown: pods in namespace tr-drill: Forbidden
"
    );
}

#[test]
fn a_line_for_each() {
    let (mut out, mut hints) = (Vec::new(), Vec::new());
    commands::status::write_all(
        &[good(), stale()],
        now(),
        style(Format::Table),
        &mut out,
        &mut hints,
    )
    .unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\
REGION  LOCATION  ASSURANCE  VERDICT  READY    RESIDENCY  CHECKED  BECAUSE
tr      tr-ist-1  Simulated  Good     Ok       Ok         2m       clients can use it, and every demanded channel is closed or answered for
tr      tr-ist-1  Simulated  Unknown  Unknown  Unknown    40m      nobody has looked since 2026-11-21T11:20:00Z, 40m ago, and every 5m is expected
"
    );
    assert!(String::from_utf8(hints).unwrap().starts_with("Next: "));
}

#[test]
fn json_and_yaml_say_the_same() {
    let written = |format| {
        let mut out = Vec::new();
        commands::status::write_one(
            &broken(),
            (vec![child("StatefulSet", "tr-pg", None)], Vec::new()),
            now(),
            style(format),
            &mut out,
        )
        .unwrap();
        String::from_utf8(out).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
    let yaml: serde_json::Value = serde_yaml::from_str(&written(Format::Yaml)).unwrap();
    assert_eq!(json, yaml);
    let region = &json["regions"][0];
    assert_eq!(region["verdict"], "NotEnforced");
    assert_eq!(region["children"][0]["name"], "tr-pg");
    assert_eq!(
        region["sections"][1]["next"][0]["condition"],
        "ResidencyEnforced"
    );
}
