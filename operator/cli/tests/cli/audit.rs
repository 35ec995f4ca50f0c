//! `residency audit` of Regions that are good, broken, stale or excepted: rows, reasons and exit codes. No cluster.

use bailiwick_api::region::{Assurance, ChannelState, Region};
use bailiwick_cli::audit::{Audit, Row, RowResult, audit, namespace_deletion};
use bailiwick_cli::commands::{self, Format, Found, Style};
use bailiwick_cli::error::CliError;
use bailiwick_cli::text::Palette;
use bailiwick_model::channel::CHANNELS;

use crate::fixture::{
    broken, channel, condition, excepted, good, now, residency, set, stale, status,
};

fn row(audit: &Audit, id: u8) -> &Row {
    audit
        .channels
        .iter()
        .find(|row| row.id == id.to_string())
        .unwrap()
}

fn written(regions: &[Region], format: Format) -> (String, String, u8) {
    let (mut out, mut hints) = (Vec::new(), Vec::new());
    let style = Style {
        format,
        palette: Palette::Plain,
    };
    let found = commands::audit::write(regions, now(), style, &mut out, &mut hints).unwrap();
    (
        String::from_utf8(out).unwrap(),
        String::from_utf8(hints).unwrap(),
        found.code(),
    )
}

#[test]
fn a_good_region_is_closed() {
    let (table, hints, code) = written(&[good()], Format::Table);
    assert_eq!(code, 0);
    let mut lines = table.lines();
    assert_eq!(
        lines.next().unwrap(),
        "REGION  ID  CHANNEL                               DEMANDED  STATE          RESULT       EXPIRES  DETAIL"
    );
    assert_eq!(
        lines.next().unwrap(),
        "tr      1   pod egress                            yes       Enforced       Ok           -        observation 1"
    );
    assert_eq!(lines.count() + 1, CHANNELS.len());
    assert!(table.contains(
        "\ntr      15  node disks                            no        Unknown        NotDemanded  -"
    ));
    assert_eq!(
        hints,
        "Region tr: closed; 42 channels ok, 0 excepted, 4 not demanded at Simulated.\n"
    );
}

#[test]
fn columns_can_be_cut_at_two_blanks() {
    for format in [Format::Table, Format::Wide] {
        let (table, _, _) = written(
            &[broken(), excepted("2026-12-01T00:00:00Z"), stale()],
            format,
        );
        let columns: Vec<usize> = table
            .lines()
            .map(|line| {
                line.split("  ")
                    .filter(|cell| !cell.trim().is_empty())
                    .count()
            })
            .collect();
        assert_eq!(columns.len(), 3 * CHANNELS.len() + 1);
        assert!(columns.iter().all(|count| *count == columns[0]), "{table}");
    }
}

#[test]
fn an_open_channel_is_told_and_ends_with_1() {
    let (table, hints, code) = written(&[good(), broken()], Format::Table);
    assert_eq!(code, 1);
    assert!(
        table.contains("yes       Unknown        Open         -        cluster DNS forwards"),
        "{table}"
    );
    assert_eq!(
        hints.lines().skip(1).collect::<Vec<_>>(),
        [
            "Region tr: not closed: found open: channel 8.",
            "Next: `kubectl bailiwick residency explain 8`, then docs/runbooks/residency-enforced.md."
        ]
    );
}

#[test]
fn a_channel_that_is_open_counts_at_every_assurance() {
    let mut region = good();
    channel(&mut region, 15).finding =
        Some("a node swaps to a disk that is not encrypted".to_owned());
    let audit = audit(&region, now());
    assert_eq!(row(&audit, 15).result, RowResult::Open);
    assert!(!row(&audit, 15).demanded);
    assert!(!audit.closed);
}

#[test]
fn nothing_of_a_stale_status_is_green() {
    let (table, hints, code) = written(&[stale()], Format::Wide);
    assert_eq!(code, 1);
    assert!(!table.contains("  Ok  "), "{table}");
    assert!(hints.starts_with(
        "Region tr: not closed: nobody has looked since 2026-11-21T11:20:00Z, 40m ago, and every 5m is expected.\n"
    ), "{hints}");
    let audit = audit(&stale(), now());
    assert!(
        audit
            .channels
            .iter()
            .all(|row| row.state == ChannelState::Unknown)
    );
    assert_eq!(row(&audit, 1).reported, Some(ChannelState::Enforced));
    // What nobody demands is not demanded when it is stale, either: four of Physical, two of Logical.
    assert_eq!(audit.count(RowResult::NotDemanded), 6);
    assert_eq!(audit.count(RowResult::Ok), 0);
}

#[test]
fn fifteen_minutes_are_the_bound() {
    let at = |checked: &str| {
        let mut region = good();
        residency(&mut region).checked_at = Some(checked.parse().unwrap());
        audit(&region, now()).closed
    };
    assert!(at("2026-11-21T11:45:00Z"));
    assert!(!at("2026-11-21T11:44:59Z"));
    // A clock that runs ahead may not keep a status fresh for ever.
    assert!(at("2026-11-21T12:15:00Z"));
    assert!(!at("2026-11-21T12:15:01Z"));
}

#[test]
fn a_status_of_an_older_spec_or_none_proves_nothing() {
    let mut older = good();
    older.metadata.generation = Some(4);
    let mut never = good();
    never.status = None;
    let mut unchecked = good();
    residency(&mut unchecked).checked_at = None;
    for (region, reason) in [
        (
            older,
            "the status speaks of generation 3 of the spec, which is at 4",
        ),
        (
            never,
            "nobody has looked at its residency yet (no status.residency.checkedAt)",
        ),
        (
            unchecked,
            "nobody has looked at its residency yet (no status.residency.checkedAt)",
        ),
    ] {
        let audit = audit(&region, now());
        assert_eq!(audit.reasons[0], reason);
        assert!(!audit.closed);
        assert_eq!(audit.count(RowResult::Ok), 0);
    }
}

#[test]
fn an_exception_counts_until_it_ends() {
    let audit_of = |expires: &str| audit(&excepted(expires), now());
    let in_force = audit_of("2026-12-01T00:00:00Z");
    assert!(in_force.closed, "{:?}", in_force.reasons);
    assert_eq!(row(&in_force, 8).result, RowResult::Excepted);

    // The operator has not noticed yet; the reader has.
    let ended = audit_of("2026-11-21T12:00:00Z");
    assert_eq!(ended.reasons, ["with an expired exception: channel 8"]);
    assert_eq!(row(&ended, 8).state, ChannelState::Unknown);

    let mut groundless = excepted("2026-12-01T00:00:00Z");
    groundless.spec.residency.exceptions.clear();
    assert_eq!(
        audit(&groundless, now()).reasons,
        ["demanded and unknown: channel 8"]
    );

    let (table, _, code) = written(&[excepted("2026-12-01T00:00:00Z")], Format::Wide);
    assert_eq!(code, 0);
    assert!(table.contains("2026-12-01T00:00:00Z"));
    assert!(table.contains("dpo@example.org"));
}

#[test]
fn a_channel_that_is_missing_or_unheard_of_is_unknown() {
    let mut missing = good();
    residency(&mut missing).channels.retain(|row| row.id != "3");
    assert_eq!(
        audit(&missing, now()).reasons,
        ["demanded and unknown: channel 3"]
    );
    let mut newer = good();
    let mut row_47 = channel(&mut newer, 1).clone();
    row_47.id = "47".to_owned();
    row_47.state = ChannelState::Unknown;
    residency(&mut newer).channels.push(row_47);
    let audit = audit(&newer, now());
    assert_eq!(audit.reasons, ["demanded and unknown: channel 47"]);
    assert_eq!(audit.channels.len(), CHANNELS.len() + 1);
}

#[test]
fn the_spec_demands_as_well_as_what_was_observed() {
    let mut region = good();
    region.spec.residency.minimum_assurance = Assurance::Physical;
    let audit = audit(&region, now());
    assert_eq!(
        audit.reasons,
        [
            "the assurance is Simulated, spec.residency.minimumAssurance asks for Physical",
            "demanded and unknown: channel 15, 40, 41, 44"
        ]
    );
}

#[test]
fn it_is_never_greener_than_the_operator() {
    let mut unknown = good();
    set(
        &mut unknown,
        "ResidencyEnforced",
        "Unknown",
        "NotVerified",
        "Nothing is known.",
    );
    assert_eq!(
        audit(&unknown, now()).reasons,
        ["condition ResidencyEnforced is Unknown, NotVerified: Nothing is known"]
    );
    let mut missing = good();
    status(&mut missing)
        .conditions
        .retain(|condition| condition.type_ != "ResidencyEnforced");
    assert!(!audit(&missing, now()).closed);
    let mut older = good();
    condition(&mut older, "ResidencyEnforced").observed_generation = Some(2);
    assert!(!audit(&older, now()).closed);
}

#[test]
fn every_control_that_breaks_shows() {
    let demanded: Vec<u8> = CHANNELS
        .iter()
        .filter(|channel| channel.demanded == Assurance::Simulated)
        .map(|channel| channel.id)
        .collect();
    assert!(demanded.len() > 30);
    for id in demanded {
        let mut region = good();
        channel(&mut region, id).state = ChannelState::Unknown;
        // Even if the condition lags behind its rows.
        assert_eq!(
            audit(&region, now()).reasons,
            [format!("demanded and unknown: channel {id}")]
        );
    }
}

#[test]
fn nothing_to_audit_is_not_closed() {
    let style = Style {
        format: Format::Json,
        palette: Palette::Plain,
    };
    let result = commands::audit::write(&[], now(), style, &mut Vec::new(), &mut Vec::new());
    assert!(
        matches!(result, Err(CliError::NothingToAudit)),
        "{result:?}"
    );
    assert_eq!((Found::Nothing.code(), Found::Something.code()), (0, 1));
}

#[test]
fn a_cluster_that_may_delete_policies_before_pods_is_told_of() {
    for (major, minor, warned) in [
        ("1", "33", Some("Kubernetes 1.33 may take the policies")),
        ("1", "33+", Some("Kubernetes 1.33 may take the policies")),
        ("1", "34", None),
        ("1", "36+", None),
        ("2", "0", None),
        ("", "", Some("could not be read")),
        ("1", "x", Some("could not be read")),
    ] {
        let said = namespace_deletion(major, minor);
        assert_eq!(
            said.is_some(),
            warned.is_some(),
            "{major}.{minor}: {said:?}"
        );
        assert!(
            said.unwrap_or_default()
                .contains(warned.unwrap_or_default())
        );
    }
}

#[test]
fn json_and_yaml_say_the_same() {
    let (json, hints, code) = written(&[good(), broken()], Format::Json);
    let (yaml, _, _) = written(&[good(), broken()], Format::Yaml);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(json, yaml);
    assert_eq!((code, hints.as_str()), (1, ""));
    assert_eq!(json["closed"], false);
    assert_eq!(json["regions"][0]["closed"], true);
    assert_eq!(json["regions"][1]["channels"][7]["id"], "8");
    assert_eq!(json["regions"][1]["channels"][7]["result"], "Open");
    assert_eq!(json["regions"][0]["freshness"]["state"], "Fresh");
}

#[test]
fn no_text_of_the_cluster_commands_the_terminal() {
    let mut region = broken();
    channel(&mut region, 8).finding = Some("a\u{1b}[2J  b\nc\u{202e}d".to_owned());
    let (table, hints, _) = written(&[region], Format::Wide);
    assert!(!(table + &hints).contains(['\u{1b}', '\u{202e}']));
}
