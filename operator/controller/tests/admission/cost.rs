//! What the policies cost on a create: the same object, by turns in a namespace that they match and in one that differs
//! by the label alone, first without the policies and then with them. No time is asserted, machines differ; the ratio is
//! printed. Creates for good, on a store that waits for its disk.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cases::{OPERATOR, OWN, create};
use crate::objects::{claim, config_map, network_policy, pod, secret, service, with};
use crate::policies::Policies;
use crate::request::{Verdict, Who, send_for_good};
use crate::support::api_server::ApiServer;
use crate::{fixtures, whole};

/// How many creates of a kind are measured in each namespace, in turns of so many.
const CREATES: u32 = 300;
const TURN: u32 = 25;
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

/// What creates cost in the matched namespace and in the other: processor time of the API server, the mean, which a
/// busy machine does not stretch; and time until the answer, the lower quartile.
struct Cost {
    processor: [Duration; 2],
    answer: [Duration; 2],
}

async fn measure(server: &ApiServer, who: Who, object: &Value, run: &str) -> Cost {
    let client = server.client();
    let mut processor = [Duration::ZERO; 2];
    let mut answers = [Vec::new(), Vec::new()];
    for turn in 0..2 * CREATES / TURN {
        // Pairs change their order, so that neither always follows the other.
        let which = ((turn + turn / 2) % 2) as usize;
        let before = server.cpu_time();
        for number in 0..TURN {
            let kind = object["metadata"]["name"].as_str().unwrap();
            let name = json!({"metadata": {"name": format!("{run}-{kind}-{turn}-{number}")}});
            let ask = create([OWN, UNMATCHED][which], with(object.clone(), name));
            let start = Instant::now();
            let verdict = send_for_good(&client, who, &ask).await;
            answers[which].push(start.elapsed());
            assert_eq!(verdict, Verdict::Admitted);
        }
        processor[which] += server.cpu_time().saturating_sub(before);
    }
    Cost {
        processor: processor.map(|total| total / CREATES),
        answer: answers.map(|mut times| {
            times.sort();
            times[times.len() / 4]
        }),
    }
}

fn milliseconds(times: [Duration; 2]) -> String {
    let [matched, other] = times.map(|time| time.as_secs_f64() * 1e3);
    format!("{matched:.2} and {other:.2} ms")
}

fn added(before: [Duration; 2], after: [Duration; 2]) -> String {
    let ratio = |times: [Duration; 2]| times[0].as_secs_f64() / times[1].as_secs_f64();
    format!("{:+.1} %", (ratio(after) / ratio(before) - 1.0) * 100.0)
}

#[tokio::test]
#[ignore = "prints a measurement and asserts nothing; run it alone on a quiet machine"]
async fn what_a_create_costs() {
    let server = ApiServer::start_on_disk().await;
    let client = server.client();
    fixtures::prepare(&server).await;
    let policies = Policies::read();
    let objects = objects();
    let mut without = Vec::new();
    for (_, who, object) in &objects {
        // The first of its kind opens caches.
        measure(&server, *who, object, "warm").await;
        without.push(measure(&server, *who, object, "without").await);
    }
    policies.apply(&client).await;
    crate::are_in_force(&client).await;
    println!(
        "{CREATES} creates in a Region's namespace and beside it, without and with the policies; what they add"
    );
    for ((what, who, object), before) in objects.iter().zip(without) {
        measure(&server, *who, object, "warm-with").await;
        let after = measure(&server, *who, object, "with").await;
        println!(
            "  {what}: processor {}, {}: {}; answer {}, {}: {}",
            milliseconds(before.processor),
            milliseconds(after.processor),
            added(before.processor, after.processor),
            milliseconds(before.answer),
            milliseconds(after.answer),
            added(before.answer, after.answer)
        );
    }
}
