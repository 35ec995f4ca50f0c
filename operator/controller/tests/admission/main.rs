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
    for case in &cases {
        assert_admitted(&client, case, "without any policy").await;
    }
    let before = cost::sample(&client).await;

    // Green: with them, nothing does.
    policies.apply(&client).await;
    let mut tally: BTreeMap<(&str, usize), Tally> = BTreeMap::new();
    for case in &cases {
        assert_refused(&client, &policies, case).await;
        tally
            .entry((case.policy, case.validation))
            .or_default()
            .green += 1;
    }

    // Red again, one validation at a time and all others in force: each is missed when it is gone.
    for round in 0..policies.most_validations() {
        policies.without(&client, round).await;
        for case in cases.iter().filter(|case| case.validation == round) {
            assert_admitted(&client, case, "without this validation").await;
            tally
                .entry((case.policy, case.validation))
                .or_default()
                .red += 1;
        }
        policies.apply(&client).await;
        for case in cases.iter().filter(|case| case.validation == round) {
            assert_refused(&client, &policies, case).await;
        }
    }

    let foreign = foreign_namespaces_are_not_hindered(&client, &cases).await;
    let good = good::are_admitted(&client).await;
    let regions = whole::regions_are_admitted(&server).await;
    cost::report(&client, before).await;
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

async fn assert_admitted(client: &Client, case: &Case, when: &str) {
    let verdict = settled(client, case, &case.ask, |verdict| {
        matches!(verdict, Verdict::Admitted | Verdict::Failed(_))
    })
    .await;
    assert_eq!(
        verdict,
        Verdict::Admitted,
        "{} {}: {} {when}, {:?}",
        case.policy,
        case.validation,
        case.name,
        case.ask
    );
}

async fn assert_refused(client: &Client, policies: &Policies, case: &Case) {
    let verdict = settled(client, case, &case.ask, |verdict| {
        matches!(verdict, Verdict::Refused { .. } | Verdict::Failed(_))
    })
    .await;
    let what = format!(
        "{} {}: {}: {verdict:?}",
        case.policy, case.validation, case.name
    );
    let Verdict::Refused {
        policy,
        message,
        status,
    } = verdict
    else {
        panic!("{what}")
    };
    assert_eq!(policy, case.policy, "{what}");
    assert_eq!(status, "403 Forbidden", "{what}");
    for words in policies.words(case.policy, case.validation) {
        assert!(message.contains(&words), "{what}, expected {words:?}");
    }
}

/// The same attempts in a namespace that belongs to no Region.
async fn foreign_namespaces_are_not_hindered(client: &Client, cases: &[Case]) -> usize {
    let mut tried = 0;
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
        assert_eq!(
            verdict,
            Verdict::Admitted,
            "{} in a foreign namespace",
            case.name
        );
        tried += 1;
    }
    tried
}
