//! The admission policies on a real API server, with the operator not running at all: every validation of every policy
//! refuses what it is for, and would be missed; nothing that the cluster, the operator or other namespaces do is
//! refused. Starts an API server, controllers and a scheduler on this machine; without the cache's binaries it fails
//! and says how to get them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod cases;
mod cost;
mod fixtures;
mod good;
mod objects;
mod policies;
mod request;
#[path = "../support/mod.rs"]
mod support;
mod whole;

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;

use cases::{Case, FOREIGN, cases};
use policies::Policies;
use request::{Ask, Verdict, send};
use support::api_server::ApiServer;

/// What a case came to, for the table at the end.
#[derive(Default)]
struct Tally {
    red: usize,
    green: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_hold_without_the_operator() {
    let mut server = ApiServer::start().await;
    let client = server.client();
    fixtures::prepare(&server).await;
    let policies = Policies::read();
    let cases = cases();
    every_validation_has_a_case(&policies, &cases);

    // Red: without the policies, all of it gets through.
    let mut faults = Vec::new();
    for case in &cases {
        faults.push(admitted(&client, case, "without any policy").await);
    }
    hold(faults);

    // Green: with them, nothing does.
    policies.apply(&client).await;
    let mut tally: BTreeMap<(&str, usize), Tally> = BTreeMap::new();
    let mut faults = Vec::new();
    for case in &cases {
        faults.push(refused(&client, &policies, case).await);
        tally
            .entry((case.policy, case.validation))
            .or_default()
            .green += 1;
    }
    hold(faults);

    // Red again, one validation at a time and all others in force: each is missed when it is gone.
    let mut faults = Vec::new();
    for round in 0..policies.most_validations() {
        policies.without(&client, round).await;
        for case in cases.iter().filter(|case| case.validation == round) {
            faults.push(admitted(&client, case, "without this validation").await);
            tally.entry((case.policy, case.validation)).or_default().red += 1;
        }
        policies.apply(&client).await;
        for case in cases.iter().filter(|case| case.validation == round) {
            faults.push(refused(&client, &policies, case).await);
        }
    }
    hold(faults);

    let foreign = foreign_namespaces_are_not_hindered(&client, &cases).await;
    let good = good::are_admitted(&client).await;
    let regions = whole::regions_are_admitted(&server).await;
    let whole = whole::the_cluster_is_not_hindered(&mut server).await;
    policies::have_no_warnings(&client, &policies).await;

    println!("policy, validation: attempts that get through without it, that are refused with it");
    for ((policy, validation), Tally { red, green }) in &tally {
        println!("  {policy} {validation}: {red} {green}");
        assert_eq!(red, green, "{policy} {validation}");
    }
    println!(
        "{} policies, {} validations, {} attempts; {foreign} of them in a foreign namespace are admitted; {good} good \
         requests; {regions} objects of Regions; {whole}",
        policies.len(),
        tally.len(),
        cases.len()
    );
}

/// Waits until the policies are in force, as far as one attempt at each of them can tell.
async fn are_in_force(client: &Client) {
    let mut faults = Vec::new();
    let policies = Policies::read();
    for case in cases().iter().filter(|case| case.validation == 0) {
        faults.push(refused(client, &policies, case).await);
    }
    hold(faults);
}

/// No rule is forgotten, and no case is of a rule that is gone.
fn every_validation_has_a_case(policies: &Policies, cases: &[Case]) {
    let written: BTreeSet<(String, usize)> = policies.validations().collect();
    let tried: BTreeSet<(String, usize)> = cases
        .iter()
        .map(|case| (case.policy.to_owned(), case.validation))
        .collect();
    let untried: Vec<_> = written.difference(&tried).collect();
    let unwritten: Vec<_> = tried.difference(&written).collect();
    assert!(
        untried.is_empty(),
        "validations without a case: {untried:?}"
    );
    assert!(
        unwritten.is_empty(),
        "cases without a validation: {unwritten:?}"
    );
}

/// Tries until the verdict is the expected one: the API server takes a moment to see that a policy changed.
async fn settled(
    client: &Client,
    case: &Case,
    ask: &Ask,
    expected: impl Fn(&Verdict) -> bool,
) -> Verdict {
    let start = std::time::Instant::now();
    loop {
        let verdict = send(client, case.who, ask).await;
        if expected(&verdict) || start.elapsed() > policies::IN_FORCE {
            return verdict;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// What is wrong when a case is not admitted.
async fn admitted(client: &Client, case: &Case, when: &str) -> Option<String> {
    let verdict = settled(client, case, &case.ask, |verdict| {
        matches!(verdict, Verdict::Admitted | Verdict::Failed(_))
    })
    .await;
    (verdict != Verdict::Admitted).then(|| format!("{case} {when}: {verdict:?}"))
}

/// What is wrong when a case is not refused by its policy, in its words.
async fn refused(client: &Client, policies: &Policies, case: &Case) -> Option<String> {
    let verdict = settled(client, case, &case.ask, |verdict| {
        matches!(verdict, Verdict::Refused { .. } | Verdict::Failed(_))
    })
    .await;
    let Verdict::Refused {
        policy,
        message,
        status,
    } = &verdict
    else {
        return Some(format!("{case} with all policies: {verdict:?}"));
    };
    let words = policies.words(case.policy, case.validation);
    let right = policy == case.policy
        && status == "403 Forbidden"
        && words.iter().all(|words| message.contains(words));
    (!right).then(|| format!("{case}: {verdict:?}, expected {words:?}"))
}

/// Ends the test when something is wrong.
fn hold(faults: Vec<Option<String>>) {
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// The same attempts in a namespace that belongs to no Region.
async fn foreign_namespaces_are_not_hindered(client: &Client, cases: &[Case]) -> usize {
    let mut tried = 0;
    let mut faults = Vec::new();
    for case in cases {
        let Some((head, rest)) = case.ask.path.split_once("/namespaces/") else {
            continue;
        };
        let Some((_, rest)) = rest.split_once('/') else {
            continue;
        };
        let ask = Ask {
            path: format!("{head}/namespaces/{FOREIGN}/{rest}"),
            ..case.ask.clone()
        };
        let verdict = send(client, case.who, &ask).await;
        faults.push(
            (verdict != Verdict::Admitted)
                .then(|| format!("{case} in a foreign namespace: {verdict:?}")),
        );
        tried += 1;
    }
    hold(faults);
    tried
}
