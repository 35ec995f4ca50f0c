//! What the policies cost on a create, by the API server's own account: the time in its plugin for policies against the
//! rest of the request. Both stretch alike on a busy machine. No time is asserted; the ratio is printed. Creates for
//! good, on a store that waits for its disk.

use kube::Client;
use serde_json::{Value, json};

use crate::cases::{OPERATOR, OWN, create};
use crate::objects::{claim, config_map, network_policy, pod, secret, service, with};
use crate::policies::{IN_FORCE, Policies};
use crate::request::{Verdict, Who, send_for_good};
use crate::support::api_server::ApiServer;
use crate::{fixtures, whole};

/// How many creates of a kind are measured.
const CREATES: u32 = 500;

/// What is created.
fn objects() -> Vec<(&'static str, Who, Value)> {
    let own =
        json!([{"to": [{"podSelector": {"matchLabels": {"a": "b"}}}], "ports": [{"port": 5432}]}]);
    vec![
        ("a small pod", OPERATOR, pod("small")),
        ("a pod of Postgres", OPERATOR, whole::postgres_pod()),
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

/// The sum of a metric's series that have all of these labels.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    metrics
        .lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('{'))
                && labels.iter().all(|label| line.contains(label))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Seconds in the plugin for policies, and in all of the request, up to now.
async fn seconds(client: &Client) -> [f64; 2] {
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    let metrics = client.request_text(request).await.unwrap();
    [
        sum(
            &metrics,
            "apiserver_admission_controller_admission_duration_seconds_sum",
            &["name=\"ValidatingAdmissionPolicy\"", "operation=\"CREATE\""],
        ),
        sum(
            &metrics,
            "apiserver_request_duration_seconds_sum",
            &["verb=\"POST\"", "scope=\"resource\""],
        ),
    ]
}

/// What a create of each kind costs in the plugin for policies, and in all else, in milliseconds.
async fn creates(client: &Client, round: &str) -> Vec<[f64; 2]> {
    let mut costs = Vec::new();
    for (what, who, object) in objects() {
        let mut before = [0.0; 2];
        // The first of a kind open caches.
        for number in 0..CREATES + 50 {
            if number == 50 {
                before = seconds(client).await;
            }
            let kind = object["metadata"]["name"].as_str().unwrap();
            let name =
                json!({"metadata": {"name": format!("{kind}-{}-{round}-{number}", what.len())}});
            let ask = create(OWN, with(object.clone(), name));
            assert_eq!(
                send_for_good(client, who, &ask).await,
                Verdict::Admitted,
                "{what}"
            );
        }
        let after = seconds(client).await;
        let each = |index: usize| (after[index] - before[index]) * 1e3 / f64::from(CREATES);
        costs.push([each(0), each(1) - each(0)]);
    }
    costs
}

#[tokio::test]
#[ignore = "prints a measurement and asserts nothing; run it alone on a quiet machine"]
async fn what_a_create_costs() {
    let server = ApiServer::start_on_disk().await;
    let client = server.client();
    fixtures::prepare(&server).await;
    let policies = Policies::read();
    policies.apply(&client).await;
    crate::are_in_force(&client).await;
    let whole = creates(&client, "whole").await;
    // What is left is the API server's own work for a policy, whatever it says.
    policies.blank(&client).await;
    tokio::time::sleep(IN_FORCE / 6).await;
    let blank = creates(&client, "blank").await;
    println!(
        "{CREATES} creates in a Region's namespace: in policies, in the same that only say `true`, and in all else"
    );
    for (((what, _, _), [policies, rest]), [least, _]) in
        objects().into_iter().zip(whole).zip(blank)
    {
        println!(
            "  {what}: {policies:.2} ms, {least:.2} ms and {rest:.2} ms, {:+.1} %, of which {:+.1} % is what they say",
            policies / rest * 100.0,
            (policies - least) / rest * 100.0
        );
    }
}
