//! What the policies cost on a create: the same object, by turns in a namespace that they match and in one that differs
//! by the label alone, first without the policies and then with them. No time is asserted, machines differ; the ratio is
//! printed. Creates for good, on a store that does not wait for its disk: a real one waits, and the share is smaller.

use std::time::{Duration, Instant};

use kube::Client;
use serde_json::{Value, json};

use crate::cases::{OPERATOR, OWN, create};
use crate::objects::{claim, config_map, network_policy, pod, secret, service, with};
use crate::policies::Policies;
use crate::request::{Verdict, Who, send_for_good};
use crate::support::api_server::ApiServer;
use crate::{fixtures, whole};

/// How many creates of a kind are measured in each namespace.
const CREATES: usize = 400;
/// A namespace like the Region's, but for the labels that policies go by.
const UNMATCHED: &str = "plain";

/// What is created.
fn objects() -> Vec<(&'static str, Who, Value)> {
    let own =
        json!([{"to": [{"podSelector": {"matchLabels": {"a": "b"}}}], "ports": [{"port": 5432}]}]);
    vec![
        ("a small pod", Who::Editor, pod("small")),
        ("a pod of Postgres", Who::Editor, whole::postgres_pod()),
        // Of addresses there are not enough.
        (
            "a headless Service",
            Who::Editor,
            with(service("measured"), json!({"spec": {"clusterIP": "None"}})),
        ),
        ("a claim", Who::Editor, claim("measured")),
        ("a Secret", Who::Editor, secret("measured")),
        ("a ConfigMap", Who::Editor, config_map("measured")),
        (
            "a NetworkPolicy",
            OPERATOR,
            network_policy("measured", &own, &json!([])),
        ),
    ]
}

/// The median times in the matched namespace and in the other.
async fn measure(client: &Client, who: Who, object: &Value, run: &str) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..2 * CREATES {
        // Pairs change their order, so that neither always follows the other.
        let which = (turn + turn / 2) % 2;
        let name = json!({"metadata": {"name": format!("{run}-{}-{turn}", object["metadata"]["name"].as_str().unwrap())}});
        let ask = create([OWN, UNMATCHED][which], with(object.clone(), name));
        let start = Instant::now();
        let verdict = send_for_good(client, who, &ask).await;
        times[which].push(start.elapsed());
        assert_eq!(verdict, Verdict::Admitted);
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

#[tokio::test]
#[ignore = "prints a measurement and asserts nothing; run it alone on a quiet machine"]
async fn what_a_create_costs() {
    let server = ApiServer::start().await;
    let client = server.client();
    fixtures::prepare(&server).await;
    let policies = Policies::read();
    let objects = objects();
    let mut without = Vec::new();
    for (what, who, object) in &objects {
        // The first of its kind opens caches.
        measure(&client, *who, object, "warm").await;
        let times = measure(&client, *who, object, "without").await;
        without.push((what, times));
    }
    policies.apply(&client).await;
    crate::are_in_force(&client).await;
    println!(
        "medians of {CREATES} creates, with the policies: in a Region's namespace, beside it; what they add"
    );
    for ((what, who, object), (_, before)) in objects.iter().zip(without) {
        measure(&client, *who, object, "warm-with").await;
        let after = measure(&client, *who, object, "with").await;
        let ratio = |times: [Duration; 2]| times[0].as_secs_f64() / times[1].as_secs_f64();
        println!(
            "  {what}: {:.2} ms, {:.2} ms; {:+.1} %",
            after[0].as_secs_f64() * 1e3,
            after[1].as_secs_f64() * 1e3,
            (ratio(after) / ratio(before) - 1.0) * 100.0
        );
    }
}
