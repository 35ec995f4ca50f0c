//! The packet test: every case goes through rules and nftables into two nodes' network namespaces, and real TCP, UDP
//! and SCTP packets between all places must do what the case and the model say. Needs root; touches only namespaces
//! that it makes and removes. Arguments: part of a case's name, to run fewer.

mod cases;
mod lab;
mod scenarios;

use std::collections::BTreeSet;
use std::env;
use std::process::ExitCode;
use std::time::Instant;

use bailiwick_dev_netpol::command;
use bailiwick_dev_netpol::nft::ruleset;
use bailiwick_dev_netpol::rules::Enforcement;
use cases::{
    Case, Failure, NODES, ProbePort, SCTP_80, SCTP_81, Step, TCP_80, TCP_81, UDP_80, UDP_81,
    verdict,
};
use lab::{Lab, Probe};
use scenarios::Scenario;

/// The argument that makes the test binary the program under test: built from these very sources, in one file.
const PROGRAM: &str = "bailiwick-dev-netpol";
const TABLE: &str = "bailiwick-dev-netpol";
/// The destination ports that are tried between every two places in every step.
const PORTS: [ProbePort; 6] = [TCP_80, TCP_81, UDP_80, UDP_81, SCTP_80, SCTP_81];
/// How long a connection that is expected to be shut is waited for, in milliseconds. An open one answers in a few.
const SHUT_AFTER: u64 = 300;
/// How long a connection that should be open is tried again before it counts as shut, in milliseconds each.
const PATIENCE: [u64; 3] = [500, 1500, 4000];

/// How many failed cases are enough to stop: connections that do not come about are waited for.
const FAILURES_LIMIT: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [lab::prober::ARGUMENT, address, role] => {
            return finished(lab::prober::run(address, *role == "forwards"));
        }
        [lab::api::ARGUMENT, port] => return finished(lab::api::run(port)),
        [PROGRAM, ..] => return command::run(env::args_os().skip(1)),
        _ => {}
    }
    let filter = arguments
        .into_iter()
        .find(|argument| !argument.starts_with('-'));
    finished(conformance(filter.as_deref()))
}

fn finished(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Default)]
struct Counts {
    cases: usize,
    steps: usize,
    probes: usize,
    open: usize,
    failed: usize,
}

/// Something to run, and where it comes from.
enum Test {
    Case(&'static str, Case),
    Scenario(Scenario),
}

impl Test {
    fn name(&self) -> &'static str {
        match self {
            Self::Case(_, case) => case.name,
            Self::Scenario((name, _)) => name,
        }
    }
}

fn conformance(filter: Option<&str>) -> Result<(), Failure> {
    let started = Instant::now();
    let upstream = cases::upstream()
        .into_iter()
        .map(|case| Test::Case("upstream", case));
    let ours = cases::ours()
        .into_iter()
        .map(|case| Test::Case("ours", case));
    let mut tests: Vec<Test> = upstream
        .chain(ours)
        .chain(scenarios::ALL.map(Test::Scenario))
        .collect();
    tests.retain(|test| filter.is_none_or(|text| test.name().contains(text)));
    if tests.is_empty() {
        println!("conformance: no case has that in its name");
        return Ok(());
    }
    let mut lab = Lab::new()?;
    let mut counts = Counts::default();
    for test in &tests {
        let (origin, failures) = match test {
            Test::Case(origin, case) => (*origin, check(&mut lab, case, &mut counts)?),
            Test::Scenario((_, run)) => ("ours", run(&mut lab)?),
        };
        report(origin, test.name(), &failures, &mut counts);
        if counts.failed == FAILURES_LIMIT {
            println!(
                "       stopped after {FAILURES_LIMIT} failures of {} cases",
                tests.len()
            );
            break;
        }
    }
    let Counts {
        cases,
        steps,
        probes,
        open,
        failed,
    } = counts;
    println!(
        "conformance of bailiwick-dev-netpol {}: {cases} cases, {steps} steps, {probes} connections tried \
         ({open} open, {} shut) in {} s; {failed} cases failed",
        env!("CARGO_PKG_VERSION"),
        probes - open,
        started.elapsed().as_secs()
    );
    if failed > 0 {
        return Err(format!("{failed} cases failed").into());
    }
    Ok(())
}

fn report(origin: &str, name: &str, failures: &[String], counts: &mut Counts) {
    counts.cases += 1;
    counts.failed += usize::from(!failures.is_empty());
    println!(
        "{} {origin}: {name}",
        if failures.is_empty() {
            "ok    "
        } else {
            "FAILED"
        }
    );
    for failure in failures.iter().take(20) {
        println!("         {failure}");
    }
    if failures.len() > 20 {
        println!("         and {} more", failures.len() - 20);
    }
}

/// Puts every step of a case in force and tries every connection; gives what differs, in words.
fn check(lab: &mut Lab, case: &Case, counts: &mut Counts) -> Result<Vec<String>, Failure> {
    let mut failures = Vec::new();
    for (number, step) in case.steps.iter().enumerate() {
        counts.steps += 1;
        let enforcements = step.scene()?.enforcements()?;
        enforce(&enforcements)?;
        let probes = every_probe(lab);
        let allowed = expected_open(&probes, |probe| expected(step, &enforcements, probe));
        let observed = observe(lab, &probes, &allowed)?;
        counts.probes += probes.len();
        counts.open += observed.len();
        let differing = differences(&probes, &allowed, &observed);
        failures.extend(
            differing
                .into_iter()
                .map(|difference| format!("step {}: {difference}", number + 1)),
        );
    }
    Ok(failures)
}

/// The probes that should connect.
fn expected_open(probes: &[Probe], should: impl Fn(&Probe) -> bool) -> BTreeSet<&Probe> {
    probes.iter().filter(|probe| should(probe)).collect()
}

/// Where observation and expectation part, in words.
fn differences(
    probes: &[Probe],
    expected: &BTreeSet<&Probe>,
    observed: &BTreeSet<Probe>,
) -> Vec<String> {
    let parting = probes
        .iter()
        .filter(|probe| expected.contains(probe) != observed.contains(probe));
    parting
        .map(|probe| {
            let Probe { from, to, port } = probe;
            let not = if observed.contains(probe) { "not " } else { "" };
            format!("{} to {} on {port} should {not}connect", from.name, to.name)
        })
        .collect()
}

/// What the case says, else what the model says.
fn expected(step: &Step, enforcements: &[Enforcement; 2], probe: &Probe) -> bool {
    let mut said = step.checks.iter().filter(|check| check.port == probe.port);
    said.find_map(|check| check.expects(&probe.from, &probe.to))
        .unwrap_or_else(|| verdict(enforcements, &probe.from, &probe.to, probe.port))
}

/// Puts what each node enforces into its namespace.
fn enforce(enforcements: &[Enforcement; 2]) -> Result<(), Failure> {
    for (node, enforcement) in NODES.iter().zip(enforcements) {
        lab::nft(node, &ruleset(TABLE, enforcement))?;
    }
    Ok(())
}

/// Every port of every other place, from every place.
fn every_probe(lab: &Lab) -> Vec<Probe> {
    let places = lab.places();
    let pairs = places
        .iter()
        .flat_map(|from| places.iter().map(move |to| (from, to)));
    pairs
        .filter(|(from, to)| from != to)
        .flat_map(|(from, to)| {
            PORTS.map(|port| Probe {
                from: from.clone(),
                to: to.clone(),
                port,
            })
        })
        .collect()
}

/// The connections that come about. One that should and does not is tried again, for the machine may be busy.
fn observe(
    lab: &mut Lab,
    probes: &[Probe],
    expected: &BTreeSet<&Probe>,
) -> Result<BTreeSet<Probe>, Failure> {
    let mut open: BTreeSet<Probe> = lab.open_among(probes, SHUT_AFTER)?.into_iter().collect();
    for time in PATIENCE {
        let missing: Vec<Probe> = expected
            .iter()
            .filter(|probe| !open.contains(**probe))
            .map(|probe| (*probe).clone())
            .collect();
        if missing.is_empty() {
            break;
        }
        open.extend(lab.open_among(&missing, time)?);
    }
    Ok(open)
}
