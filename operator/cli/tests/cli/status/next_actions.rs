//! What is to be done next, as the operator itself describes the Region.

use bailiwick_api::region::Region;
use bailiwick_api::violation::{Reason, Violation};
use bailiwick_cli::advice::ADVICE;
use bailiwick_cli::condition::CONDITIONS;
use bailiwick_cli::report::{Mark, Verdict, report};
use bailiwick_model::facts::{Facts, StatefulSetFact};
use bailiwick_model::names::Names;
use bailiwick_model::outcome::{Applied, Outcome};
use bailiwick_model::policy;
use bailiwick_model::status::{self as operator, Recording};

use super::{next, verdict};
use crate::fixture::{self, good, now, set, status};
use crate::observed;

#[test]

fn what_sleeps_needs_nothing_but_waking() {
    let mut region = good();
    set(
        &mut region,
        "Hibernated",
        "True",
        "Hibernated",
        "All pods are stopped; volumes stay.",
    );
    for type_ in ["Ready", "PostgresAvailable", "ObjectStoreAvailable"] {
        set(
            &mut region,
            type_,
            "False",
            "Hibernated",
            "It is stopped on purpose.",
        );
    }
    let report = report(&region, now());
    assert_eq!(report.verdict, Verdict::Hibernated);
    assert!(
        report.sections.iter().all(|part| part.state <= Mark::Busy),
        "{report:?}"
    );
    let next: Vec<&str> = report
        .sections
        .iter()
        .flat_map(|part| &part.next)
        .map(|next| next.condition.as_str())
        .collect();
    assert_eq!(next, ["Hibernated"]);
}

/// A Region of this spec as the operator describes it when its plan is of `tended`, and refused for `violations`.
fn described(mut region: Region, tended: &Region, violations: &[Violation]) -> Region {
    let plan = observed::planned(tended);
    let names = Names::of(tended);
    let asleep = StatefulSetFact {
        observed: true,
        ..StatefulSetFact::default()
    };
    let mut facts = Facts {
        now: now(),
        admission: policy::names().map(str::to_owned).collect(),
        network_policies: names
            .namespaces()
            .map(|namespace| format!("{namespace}/default-deny"))
            .into(),
        stateful_sets: [names.postgres(), names.object_store()]
            .map(|set| (set, asleep.clone()))
            .into(),
        ..observed::facts(tended)
    };
    for labels in facts.namespaces.values_mut() {
        let label = "pod-security.kubernetes.io/enforce";
        labels.insert(label.to_owned(), "restricted".to_owned());
    }
    let applied = Applied {
        refused: violations,
        ..observed::applied(&plan, &facts)
    };
    let mut status = operator::status(&region, &Outcome::Applied(applied), now());
    let generation = region.metadata.generation;
    operator::evidence_recorded(&mut status, generation, Recording::Waiting, now());
    region.status = Some(status);
    region
}

#[test]
fn of_a_refused_spec_the_one_in_force_is_told_and_nothing_else_is_to_be_done() {
    let before = observed::tr();
    let tended = described(before.clone(), &before, &[]);
    let mut after = before.clone();
    after.metadata.generation = Some(2);
    after.spec.postgres.instances = 11;
    let violation = Violation::new(
        "spec.postgres.instances",
        Reason::Invalid,
        "is 11, expected 1 to 9",
    );
    let refused = described(after, &before, &[violation]);
    let (verdict, because) = verdict(&refused);
    assert_eq!(verdict, Verdict::Refused);
    assert!(
        because.starts_with("Invalid: Generation 2 is refused; generation 1 is in force."),
        "{because}"
    );
    let mut expected = next(&tended);
    assert!(expected.len() > 3, "{expected:?}");
    expected.insert(
        0,
        (
            "Accepted".to_owned(),
            "mend the named fields and apply the Region again (see docs/runbooks/accepted.md)"
                .to_owned(),
        ),
    );
    assert_eq!(next(&refused), expected);
    let sections = |region: &Region| report(region, now()).sections[1..].to_vec();
    assert_eq!(sections(&refused), sections(&tended));

    // The same of one that is as it should be.
    let mut region = good();
    region.metadata.generation = Some(4);
    status(&mut region).observed_generation = Some(4);
    let message = "Generation 4 is refused; generation 3 is in force.";
    set(&mut region, "Accepted", "False", "Invalid", message);
    fixture::condition(&mut region, "Accepted").observed_generation = Some(4);
    let conditions: Vec<String> = next(&region).into_iter().map(|(it, _)| it).collect();
    assert_eq!(conditions, ["Accepted"]);
    assert_eq!(report(&region, now()).residency, Mark::Ok);
}

#[test]
fn of_a_refused_region_that_nobody_tends_only_what_refuses_it_is_to_be_mended() {
    let before = observed::tr();
    for (reason, expected) in [
        (Reason::Invalid, "mend the named fields"),
        (Reason::KeyMissing, "put the copy of the named Secret back"),
        (Reason::NotDelegated, "apply the whole file"),
    ] {
        let mut region = described(before.clone(), &before, &[]);
        region.metadata.generation = Some(2);
        let violations = [Violation::new("spec.a", reason, "is wrong")];
        let refused = operator::status(&region, &Outcome::Refused(&violations), now());
        region.status = Some(refused);
        // Nobody looks at it: a week later the same is to be done.
        for hours in [0, 24 * 7] {
            let later = now() + jiff::SignedDuration::from_hours(hours);
            let found: Vec<_> = report(&region, later)
                .sections
                .into_iter()
                .flat_map(|part| part.next)
                .collect();
            let [only] = found.as_slice() else {
                panic!("{found:?}");
            };
            assert_eq!(only.condition, "Accepted");
            assert!(only.action.starts_with(expected), "{only:?}");
        }
    }
}

#[test]
fn a_hibernated_region_as_the_operator_describes_it_is_only_to_be_woken() {
    let asleep = observed::tr_with("spec: {lifecycle: {hibernated: true}}");
    let region = described(asleep.clone(), &asleep, &[]);
    let audit = bailiwick_cli::audit::audit(&region, now());
    let findings: Vec<_> = audit
        .channels
        .iter()
        .filter(|row| row.finding.is_some())
        .collect();
    let found = next(&region);
    let conditions: Vec<&str> = found.iter().map(|(it, _)| it.as_str()).collect();
    assert_eq!(conditions, ["Hibernated"], "{found:?} {findings:#?}");
    assert_eq!(verdict(&region).0, Verdict::Hibernated);
}

#[test]
fn what_the_server_cannot_take_is_to_be_taken_out_and_not_waited_for() {
    let mut region = good();
    set(
        &mut region,
        "PendingRestart",
        "True",
        "SettingRefused",
        "work_mem: setting could not be applied: stands in the server's files.",
    );
    let found = next(&region);
    let [(condition, action)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(condition, "PendingRestart");
    assert!(
        action.starts_with("take the named setting out") && !action.contains("wait"),
        "{action}"
    );
    assert!(
        action.ends_with("(see docs/runbooks/pending-restart.md#settingrefused)"),
        "{action}"
    );
    // The worst of a section comes first, in its line and beneath it.
    set(
        &mut region,
        "PostgresAvailable",
        "False",
        "NoPrimary",
        "No member is a running primary.",
    );
    let report = report(&region, now());
    let postgres = &report.sections[3];
    assert!(
        postgres.summary.starts_with("PostgresAvailable False"),
        "{}",
        postgres.summary
    );
    assert_eq!(postgres.next[0].condition, "PostgresAvailable");
    assert_eq!(postgres.next[1].condition, "PendingRestart");
}

#[test]
fn advice_is_for_reasons_that_the_operator_gives_and_its_pages_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let source: String = [
        "operator/api/src/violation.rs",
        "operator/model/src/component.rs",
        "operator/model/src/condition",
        "operator/model/src/condition.rs",
        "operator/model/src/status",
        "operator/model/src/status.rs",
    ]
    .map(|place| text_of(&root.join(place)))
    .concat();
    for advice in ADVICE {
        let (type_, reason) = (advice.type_, advice.reason);
        assert!(
            CONDITIONS.iter().any(|expected| expected.type_ == type_),
            "nothing is expected of {type_}"
        );
        assert!(
            source.contains(&format!("\"{reason}\"")),
            "the operator gives no {reason}"
        );
        let (file, heading) = advice
            .runbook
            .split_once('#')
            .unwrap_or((advice.runbook, ""));
        let page = std::fs::read_to_string(root.join(file)).expect(file);
        let anchors: Vec<String> = page
            .lines()
            .filter(|line| line.starts_with("##"))
            .map(|line| {
                line.trim_start_matches(['#', ' '])
                    .to_lowercase()
                    .replace(' ', "-")
                    .replace([',', '`', '(', ')'], "")
            })
            .collect();
        assert!(
            heading.is_empty() || anchors.iter().any(|anchor| anchor == heading),
            "{file} has no {heading}: {anchors:?}"
        );
    }
    assert!(ADVICE.len() >= 35, "{}", ADVICE.len());
}

#[test]
fn each_condition_that_is_wrong_has_a_next_action_in_its_section() {
    for expected in CONDITIONS {
        let mut region = good();
        let wrong = if fixture::condition(&mut region, expected.type_).status == "True" {
            "False"
        } else {
            "True"
        };
        set(
            &mut region,
            expected.type_,
            wrong,
            "Broken",
            "It is broken.",
        );
        let report = report(&region, now());
        let part = report
            .sections
            .iter()
            .find(|part| part.section == expected.section)
            .unwrap();
        assert!(part.state != Mark::Ok, "{}", expected.type_);
        assert!(
            part.next.iter().any(|next| next.condition == expected.type_
                && next.action.contains(expected.runbook)
                && !next.action.contains("{}")),
            "{}: {:?}",
            expected.type_,
            part.next
        );
        let others = report
            .sections
            .iter()
            .filter(|part| part.section != expected.section);
        assert!(
            others.into_iter().all(|part| part.next.is_empty()),
            "{}",
            expected.type_
        );
    }
}

#[test]
fn runbooks_exist_and_name_their_condition() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for expected in CONDITIONS {
        let text = std::fs::read_to_string(root.join(expected.runbook)).expect(expected.runbook);
        assert!(
            text.contains(expected.type_),
            "{} does not speak of {}",
            expected.runbook,
            expected.type_
        );
    }
}

/// A file, or all files of a folder.
fn text_of(place: &std::path::Path) -> String {
    if place.is_file() {
        return std::fs::read_to_string(place).unwrap();
    }
    let files = std::fs::read_dir(place).unwrap();
    files.map(|file| text_of(&file.unwrap().path())).collect()
}

#[test]
fn every_condition_of_the_operator_is_expected() {
    let mut expected: Vec<&str> = CONDITIONS.iter().map(|it| it.type_).collect();
    // Of a Region that goes, the verdict tells why it does not go further.
    expected.push(operator::DELETION_BLOCKED);
    expected.sort_unstable();
    // The operator takes any other away from a status.
    assert_eq!(expected, operator::CONDITIONS);
}
