//! The canaries say that the boundary holds, and say otherwise within one run when it does not. I/O: a NetworkPolicy
//! that opens the boundary, made with the stolen token of the operator and removed again, and Jobs of the canaries' own
//! schedules.

use std::time::{Duration, Instant};

use bailiwick_api::region::Region;
use bailiwick_model::canary::question::{
    Answer, Attempt, Class, Question, Target, Tried, VARIABLE,
};
use bailiwick_model::flow::Guise;
use bailiwick_model::names::{LABEL_FLOW, port};
use futures::future::{join, join_all, try_join, try_join_all};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Resource;
use kube::api::{Api, DeleteParams, PostParams, PropagationPolicy};
use serde_json::{Value, json};

use crate::cases::components::access;
use crate::client::{IMAGE, LABEL, Running, Script, Stand};
use crate::cluster::{Cluster, Place, condition};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{Look, seen_if, until};
use crate::writer;

/// The policy that opens a Region's boundary to one of its canaries.
const OPENING: &str = "e2e-opening";
/// How soon a leak that was found must be answered.
const SHUT: Duration = Duration::from_secs(30);
/// Longer than a canary takes, its pod included.
const RUN: Duration = Duration::from_mins(2);
/// How long a client holds a connection that nobody ends: longer than a leak takes to be found.
const HELD: Duration = Duration::from_mins(4);

/// Every forbidden class is tried in both Regions, and held.
pub async fn holds(cluster: &Cluster) -> Outcome<String> {
    let regions = cluster.places.iter().map(|place| held_in(cluster, place));
    // To their ends, whatever one of them comes to: each takes away what it made.
    let (told, reached) = join(join_all(regions), stranger(cluster)).await;
    let told = told.into_iter().collect::<Outcome<Vec<_>>>()?;
    Ok(format!(
        "{} A stranger reached {} of the same targets.",
        told[0], reached?
    ))
}

/// Every forbidden class is tried in a Region, and held; what is told of it.
async fn held_in(cluster: &Cluster, place: &Place) -> Outcome<String> {
    let message = network(cluster, place, "True", "Held").await?;
    for class in Class::ALL
        .into_iter()
        .filter(|it| !it.allowed(Guise::Plain))
    {
        ensure(message.contains(class.as_str()), || {
            format!(
                "{}: {} is not told of: {message}",
                place.region,
                class.as_str()
            )
        })?;
    }
    // What shows the schedule to be alive: a run of it, not of the operator's own Job.
    all_now(cluster, place).await?;
    network(cluster, place, "True", "Held").await
}

/// The same program, as a pod that no boundary holds, gets to what the canaries do not get to: else their silence would
/// show nothing. Other Regions are left out, which shut their own doors as well.
async fn stranger(cluster: &Cluster) -> Outcome<usize> {
    let place = cluster.place("tr")?;
    let stand = Stand::stranger(&place.location);
    let schedules = Api::<CronJob>::namespaced(cluster.client.clone(), &place.names.namespace());
    let schedule = serde_json::to_value(
        schedules
            .get(&place.names.canary(Guise::Plain))
            .await
            .during("read the canary's schedule")?,
    )?;
    let template = &schedule["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let asked = template["containers"][0]["env"][0]["value"].as_str();
    let Question { id, targets } = serde_json::from_str(asked.unwrap_or_default())?;
    // Not the node that it runs on itself, and nothing that is shut at its other end.
    let targets: Vec<Target> = targets
        .into_iter()
        .filter(|target| match target.class {
            Class::OtherRegionPod | Class::OtherRegionService | Class::OwnObjectStore => false,
            Class::OtherNode => target.name != "tr-1",
            _ => true,
        })
        .collect();
    let mut spec = template.clone();
    // No policy ever holds it, and what its fence would be told is in the Region's namespace.
    spec["volumes"] = json!([]);
    // The cluster's DNS tells a pod names once it has heard of it, which a canary's fence leaves time for.
    spec["initContainers"] = json!([{
        "name": "heard-of", "image": IMAGE, "command": ["sleep", "3"],
        "resources": spec["containers"][0]["resources"],
        "securityContext": spec["containers"][0]["securityContext"],
    }]);
    spec["containers"][0]["env"][0] = json!({
        "name": VARIABLE, "value": serde_json::to_string(&Question { id, targets: targets.clone() })?,
    });
    let name = "stranger-canary";
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), &stand.namespace);
    pods.create(
        &PostParams::default(),
        &serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { LABEL: "true" } },
            "spec": spec,
        }))?,
    )
    .await
    .during("make the stranger's canary")?;
    let answer = until("the stranger's answer", RUN, || async {
        let pod = serde_json::to_value(pods.get(name).await?)?;
        let left = pod.pointer("/status/containerStatuses/0/state/terminated/message");
        Ok(match left.and_then(|text| text.as_str()) {
            Some(text) => Look::Seen(text.to_owned()),
            None => Look::NotYet(pod["status"]["phase"].to_string()),
        })
    })
    .await;
    let _ = pods
        .delete(name, &DeleteParams::default().grace_period(0))
        .await;
    let Answer { outcomes, .. } = serde_json::from_str(&answer?)?;
    for (target, outcome) in targets.iter().zip(&outcomes) {
        let wanted = match target.attempt {
            Attempt::Connect(_) => Tried::Reached,
            Attempt::Resolve(_) | Attempt::ResolveInside(_) => Tried::Resolved,
        };
        ensure(*outcome == wanted, || {
            format!("a stranger tried {target:?}: {outcome:?}; what canaries say of it is vacuous")
        })?;
    }
    ensure(outcomes.len() >= 6, || format!("only {outcomes:?}"))?;
    Ok(outcomes.len())
}

/// The canary that passes for a member of Postgres is let out: the condition falls within one run and the Region is shut
/// off; both go back within one run once the cause is gone.
pub async fn finds_a_leak(cluster: &Cluster) -> Outcome<String> {
    let place = cluster.place("tr")?;
    network(cluster, place, "True", "Held").await?;
    let records = recorded(cluster, place).await?;
    let ((), held) = try_join(clients_get_in(cluster, place, true), hold(cluster, place)).await?;
    let policies =
        Api::<NetworkPolicy>::namespaced(cluster.as_operator.clone(), &place.names.namespace());
    remove_opening(cluster, place).await?;
    policies
        .create(
            &PostParams::default(),
            &serde_json::from_value(json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                "metadata": { "name": OPENING, "namespace": place.names.namespace() },
                "spec": {
                    "podSelector": { "matchLabels": { LABEL_FLOW: Guise::Postgres.flow().label() } },
                    "policyTypes": ["Egress"],
                    "egress": [{ "to": [{ "ipBlock": { "cidr": "198.51.100.0/24" } }] }],
                },
            }))?,
        )
        .await
        .during("open the boundary")?;
    let found = async {
        run_now(cluster, place, Guise::Postgres).await?;
        let answered = Instant::now();
        let message = network(cluster, place, "False", "LeakFound").await?;
        quarantined(cluster, place, "True", "LeakFound").await?;
        let took = answered.elapsed();
        ensure(took <= SHUT, || {
            format!(
                "shut off {:.1} s after the canary's end",
                took.as_secs_f64()
            )
        })?;
        try_join(clients_get_in(cluster, place, false), ended(held)).await?;
        // What leaks on keeps it shut.
        run_now(cluster, place, Guise::Postgres).await?;
        quarantined(cluster, place, "True", "LeakFound").await?;
        clients_get_in(cluster, place, false).await?;
        let told = recorded(cluster, place).await?;
        ensure(told > records, || {
            format!("the evidence log ends at {told}, as before the leak")
        })?;
        Ok::<_, Failure>((message, took))
    }
    .await;
    // Whatever was found, it is shut again.
    remove_opening(cluster, place).await?;
    let (message, took) = found?;
    ensure(
        message.contains("198.51.100.10") && message.contains("flow postgres"),
        || format!("the leak is not named: {message}"),
    )?;
    run_now(cluster, place, Guise::Postgres).await?;
    quarantined(cluster, place, "False", "Open").await?;
    clients_get_in(cluster, place, true).await?;
    network(cluster, place, "True", "Held").await?;
    Ok(format!(
        "{message} Shut off {:.1} s after the canary's end, a connection that stood before was ended by the server, and open again.",
        took.as_secs_f64()
    ))
}

/// A client's connection to Postgres that stands before the leak is found.
async fn hold(cluster: &Cluster, place: &Place) -> Outcome<Running> {
    writer::prepare(cluster, place).await?;
    let [_, login, _] = writer::logins(&place.names);
    let script = Script {
        name: "held",
        told: json!({ "login": login, "seconds": HELD.as_secs() }),
        secrets: vec![login],
    };
    let running = Running::start(cluster, &Stand::allowed(place), &script).await?;
    until("a connection to be held", RUN, || async {
        let log = running.log().await.unwrap_or_default();
        Ok(seen_if(log.contains("held"), || log))
    })
    .await?;
    Ok(running)
}

/// The server ended the connection, which the network plugin lets live on: it was there before the policy.
async fn ended(held: Running) -> Outcome {
    let printed = held.end(HELD + RUN).await?;
    let said: Value = serde_json::from_str(printed.lines().last().unwrap_or_default())?;
    // ERRCODE_ADMIN_SHUTDOWN, or what the server says with it.
    let by_the_server = [
        "57P01",
        "terminating connection due to administrator command",
    ];
    let ended = said["ended"].as_str().unwrap_or_default();
    ensure(by_the_server.iter().any(|it| ended.contains(it)), || {
        format!("a connection that was held through the quarantine ended with {said}")
    })
}

/// Whether the Region's client gets to Postgres and to the object store by its Services.
async fn clients_get_in(cluster: &Cluster, place: &Place, expected: bool) -> Outcome {
    let targets = [
        (place.names.postgres_rw(), port::POSTGRES),
        (place.names.object_store(), port::S3),
    ]
    .map(|(service, port)| access::Target {
        host: format!("{service}.{}.svc", place.names.namespace()),
        port,
        served: expected,
    });
    // A policy is in force a moment after it is written.
    until("what the client gets to", RUN, || async {
        let answers = access::reach(cluster, &Stand::allowed(place), &targets).await?;
        // A reset comes from there: packets do as well.
        let wanted = if expected { "open" } else { "no answer" };
        let all = answers.iter().all(|answer| answer == wanted);
        Ok(if all {
            Look::Seen(())
        } else {
            Look::NotYet(format!("expected {wanted}, found {answers:?}"))
        })
    })
    .await
}

/// Waits for the condition `Quarantined`.
async fn quarantined(cluster: &Cluster, place: &Place, status: &str, reason: &str) -> Outcome {
    cluster
        .region_until(&place.region, "Quarantined", RUN, |region| {
            let found = condition(region, "Quarantined");
            if found == Some((status.to_owned(), reason.to_owned())) {
                Look::Seen(())
            } else {
                Look::NotYet(format!("{found:?}"))
            }
        })
        .await
}

/// The end of the Region's evidence log.
async fn recorded(cluster: &Cluster, place: &Place) -> Outcome<i64> {
    let region = Api::<Region>::all(cluster.client.clone())
        .get(&place.region)
        .await?;
    Ok(region
        .status
        .and_then(|status| status.residency)
        .and_then(|residency| residency.evidence)
        .map_or(0, |evidence| evidence.sequence))
}

/// Takes the opening away, if an earlier run left it.
pub async fn remove_opening(cluster: &Cluster, place: &Place) -> Outcome {
    let policies =
        Api::<NetworkPolicy>::namespaced(cluster.as_operator.clone(), &place.names.namespace());
    match policies.delete(OPENING, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error).during("shut the boundary"),
    }
}

/// Waits for the condition and returns its message.
async fn network(cluster: &Cluster, place: &Place, status: &str, reason: &str) -> Outcome<String> {
    cluster
        .region_until(&place.region, "NetworkEnforced", RUN, |region| {
            let found = condition(region, "NetworkEnforced");
            let message = region
                .status
                .iter()
                .flat_map(|status| &status.conditions)
                .find(|condition| condition.type_ == "NetworkEnforced")
                .map_or_else(String::new, |condition| condition.message.clone());
            if found == Some((status.to_owned(), reason.to_owned())) {
                Look::Seen(message)
            } else {
                Look::NotYet(format!("{found:?}: {message}"))
            }
        })
        .await
}

/// Runs every canary of a Region, all at once.
pub async fn all_now(cluster: &Cluster, place: &Place) -> Outcome {
    let runs = Guise::ALL.map(|guise| run_now(cluster, place, guise));
    try_join_all(runs).await.map(drop)
}

/// Runs a canary as its schedule would, waits for its end and takes the Job away; its pod stays for the operator to
/// read until the next run.
pub async fn run_now(cluster: &Cluster, place: &Place, guise: Guise) -> Outcome {
    let namespace = place.names.namespace();
    let schedules = Api::<CronJob>::namespaced(cluster.client.clone(), &namespace);
    let schedule = schedules
        .get(&place.names.canary(guise))
        .await
        .during("read the canary's schedule")?;
    let owner = schedule.controller_owner_ref(&());
    let template = schedule
        .spec
        .map(|spec| spec.job_template)
        .unwrap_or_default();
    let jobs = Api::<Job>::namespaced(cluster.break_glass.clone(), &namespace);
    let name = format!("{}-e2e", place.names.canary(guise));
    let gone = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..DeleteParams::background()
    };
    if jobs.delete(&name, &gone).await.is_ok() {
        until("the end of an earlier run", RUN, || async {
            Ok(match jobs.get_opt(&name).await? {
                None => Look::Seen(()),
                Some(_) => Look::NotYet("it is there".to_owned()),
            })
        })
        .await?;
    }
    let job: Job = serde_json::from_value(json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name, "labels": template.metadata.and_then(|it| it.labels),
            // As `kubectl create job --from` does it: the schedule takes it away in its turn.
            "ownerReferences": [owner],
        },
        "spec": template.spec,
    }))?;
    jobs.create(&PostParams::default(), &job)
        .await
        .during("run the canary")?;
    until("the canary's end", RUN, || async {
        let status = jobs.get(&name).await?.status.unwrap_or_default();
        Ok(if status.succeeded == Some(1) {
            Look::Seen(())
        } else {
            Look::NotYet(format!("{} failed", status.failed.unwrap_or_default()))
        })
    })
    .await
}
