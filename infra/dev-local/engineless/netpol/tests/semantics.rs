//! The semantic test: every case of upstream's suite and of ours goes through the model alone, and its verdict must be
//! what the case states for every pair of places. No privilege needed; no I/O but the printed counts.

mod cases;

use std::process::ExitCode;

use cases::{Case, Failure, Place, ProbePort, places, verdict};

/// How many cases upstream's suite has: those of `test/e2e/network/netpol/network_policy.go` in Kubernetes v1.36.3.
const UPSTREAM_CASES: usize = 48;

fn main() -> ExitCode {
    let filter = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let chosen = |case: &&Case| {
        filter
            .as_ref()
            .is_none_or(|text| case.name.contains(text.as_str()))
    };
    let upstream = cases::upstream();
    let mut counts = Counts::default();
    for (origin, cases) in [("upstream", &upstream), ("ours", &cases::ours())] {
        for case in cases.iter().filter(chosen) {
            let failures = check(case, &mut counts).unwrap_or_else(|error| vec![error.to_string()]);
            let result = if failures.is_empty() {
                "ok    "
            } else {
                "FAILED"
            };
            println!("{result} {origin}: {}", case.name);
            for failure in &failures {
                println!("         {failure}");
            }
            counts.cases += 1;
            counts.failed += usize::from(!failures.is_empty());
        }
    }
    let Counts {
        cases,
        steps,
        verdicts,
        failed,
    } = counts;
    println!(
        "semantics: {cases} cases, {steps} steps, {verdicts} verdicts compared; {failed} cases failed"
    );
    if upstream.len() != UPSTREAM_CASES {
        println!(
            "semantics: {} cases of upstream, but its suite has {UPSTREAM_CASES}",
            upstream.len()
        );
        return ExitCode::FAILURE;
    }
    if failed == 0 && (verdicts > 0 || filter.is_some()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Default)]
struct Counts {
    cases: usize,
    steps: usize,
    verdicts: usize,
    failed: usize,
}

/// Compares a case; gives what differs, in words.
fn check(case: &Case, counts: &mut Counts) -> Result<Vec<String>, Failure> {
    let places = places();
    let mut failures = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        counts.steps += 1;
        let enforcements = step.scene()?.enforcements()?;
        for check in &step.checks {
            for from in &places {
                for to in places.iter().filter(|to| *to != from) {
                    let Some(expected) = check.expects(from, to) else {
                        continue;
                    };
                    counts.verdicts += 1;
                    if verdict(&enforcements, from, to, check.port) != expected {
                        failures.push(sentence(number, from, to, check.port, expected));
                    }
                }
            }
        }
    }
    Ok(failures)
}

fn sentence(step: usize, from: &Place, to: &Place, port: ProbePort, expected: bool) -> String {
    let (from, to) = (&from.name, &to.name);
    format!(
        "step {}: {from} to {to} on {port} should {}connect",
        step + 1,
        if expected { "" } else { "not " }
    )
}
