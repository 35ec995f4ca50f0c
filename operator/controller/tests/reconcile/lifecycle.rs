//! Regions that go and operators that go: in which order a Region that is deleted is taken down, what is forgotten of one
//! that went while nobody watched, how the Lease changes hands, and what one Region's hanging systems cost the others. Against an API server and systems in
//! memory; no process, no network.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_model::names::{FINALIZER, Names};
use bailiwick_operator::controller::run;
use bailiwick_operator::lease::Lease;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::let_it_leak;
use crate::support::fake_api::{FakeApi, Key, text};
use crate::support::harness::{Harness, USER, tr};
use crate::support::journal::{Fault, Journal};

/// A Region of another cluster: each look at it is short.
fn elsewhere(name: &str) -> Value {
    let mut region = tr();
    region["metadata"]["name"] = json!(name);
    region["spec"]["residency"]["location"] = json!("de-fra-1");
    region
}

fn region(name: &str) -> Key {
    Key::new("regions", "", name)
}

/// Waits for something that must come within a minute.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_mins(1), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_region_that_went_while_the_watch_was_down_is_forgotten() {
    let harness = Harness::new();
    for name in ["stays", "goes"] {
        harness.api.user_applies(&region(name), &elsewhere(name));
    }
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let running = tokio::spawn(run(harness.ctx.clone(), async {
        let _ = stopped.await;
    }));
    let gauges = |name: &str| {
        let label = format!("region=\"{name}\"");
        let text = harness.ctx.metrics.text();
        text.lines().filter(|line| line.contains(&label)).count()
    };
    until("both Regions are looked at", || {
        gauges("stays") > 2 && gauges("goes") > 2
    })
    .await;
    let before = gauges("stays");
    harness.api.close_streams();
    harness.api.remove(&region("goes"));
    harness.api.expire_watches();
    until("the gauges of the Region that went are gone", || {
        gauges("goes") == 0
    })
    .await;
    assert_eq!(*harness.world.forgotten.lock().unwrap(), ["goes"]);
    assert_eq!(gauges("stays"), before);
    stop.send(()).unwrap();
    running.await.unwrap();
}

/// A namespace for the Lease.
fn api_for_leases() -> FakeApi {
    // The second provider in a process is refused; the first is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api = FakeApi::new(Journal::default());
    api.put(&Key::new("namespaces", "", "system"), USER, "", json!({}));
    api
}

fn holder(api: &FakeApi) -> Option<String> {
    let lease = api.get(&Key::new("leases", "system", "lease"))?;
    lease["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_lease_that_is_given_up_is_taken_at_once_and_one_of_another_is_left_alone() {
    let api = api_for_leases();
    let one = Arc::new(Lease::new());
    let holding = tokio::spawn({
        let (one, client) = (one.clone(), api.client());
        async move { one.run(client, "system", "lease", "one").await }
    });
    until("one holds the Lease", || one.held()).await;
    assert!(one.silent(Instant::now()).unwrap() < Duration::from_secs(10));
    // Nobody gives away what another holds.
    let other = Lease::new();
    other
        .release(api.client(), "system", "lease", "two")
        .await
        .unwrap();
    assert_eq!(holder(&api).as_deref(), Some("one"));
    holding.abort();
    one.release(api.client(), "system", "lease", "one")
        .await
        .unwrap();
    assert!(!one.held(), "it may still write");
    assert_eq!(holder(&api), None);
    let two = Arc::new(Lease::new());
    let holding = tokio::spawn({
        let (two, client) = (two.clone(), api.client());
        async move { two.run(client, "system", "lease", "two").await }
    });
    let started = Instant::now();
    until("two holds the Lease", || two.held()).await;
    assert!(started.elapsed() < Duration::from_secs(3), "it waited");
    assert_eq!(holder(&api).as_deref(), Some("two"));
    holding.abort();
}

#[tokio::test]
async fn an_operator_that_hears_nothing_of_the_api_server_for_two_minutes_is_not_ready() {
    let mut harness = Harness::new();
    harness.restart_with(Lease::new());
    let system = Key::new("namespaces", "", "system");
    harness.api.put(&system, USER, "", json!({}));
    let ctx = harness.ctx.clone();
    let holding = tokio::spawn(async move {
        let client = ctx.client.clone();
        ctx.lease.run(client, "system", "lease", "one").await;
    });
    until("it holds the Lease", || harness.ctx.lease.held()).await;
    holding.abort();
    let now = Instant::now();
    let at = |seconds| {
        let missing = harness.ctx.not_ready_at(now + Duration::from_secs(seconds));
        let mut missing = missing.into_iter();
        missing.find(|it| it.starts_with("answer of the API server"))
    };
    assert_eq!(at(110), None);
    let told = at(125).expect("it is not ready");
    assert!(told.contains("none for 12"), "{told}");
    let body = harness.ctx.synced(now + Duration::from_secs(7));
    assert!(
        ["7", "8", "9"]
            .map(|age| format!("answered {age} s ago\n"))
            .iter()
            .any(|it| body.ends_with(it)),
        "{body}"
    );
}

/// The NetworkPolicies of `tr` in all its namespaces.
fn policies(api: &FakeApi) -> Vec<Key> {
    let mut keys: Vec<Key> = api.everything().into_keys().collect();
    keys.retain(|key| key.resource == "networkpolicies");
    keys
}

fn pods(api: &FakeApi) -> Vec<String> {
    let name = |pod: &Value| text(pod, "/metadata/name").to_owned();
    api.all("pods", "tr").iter().map(name).collect()
}

/// Takes the Region down and checks after every turn and look that no pod stands without the whole fence.
async fn goes_behind_its_fence(harness: &mut Harness, each: impl Fn(&mut Harness)) -> Vec<String> {
    let fence = policies(&harness.api);
    assert!(fence.len() > 6, "{fence:?}");
    let (mut with_pods, mut without) = (0, 0);
    harness
        .until_gone(|harness| {
            let pods = pods(&harness.api);
            if pods.is_empty() {
                without += 1;
            } else {
                assert_eq!(policies(&harness.api), fence, "{pods:?} stand in the open");
                with_pods += 1;
            }
            each(harness);
        })
        .await;
    assert!(with_pods > 1 && without > 0, "{with_pods} and {without}");
    assert_eq!(policies(&harness.api), Vec::<Key>::new());
    assert_eq!(pods(&harness.api), Vec::<String>::new());
    harness
        .journal
        .take()
        .iter()
        .filter(|call| call.verb == "delete" || call.verb == "record" || call.verb == "patch")
        .map(ToString::to_string)
        .collect()
}

fn position(calls: &[String], call: &str) -> usize {
    let found = calls.iter().position(|it| it == call);
    found.unwrap_or_else(|| panic!("{call} is not in {calls:#?}"))
}

#[tokio::test]
async fn a_region_that_is_deleted_goes_in_order_and_its_fence_last() {
    for (paused, foreground) in [(false, false), (false, true), (true, false)] {
        let mut harness = Harness::running().await;
        if paused {
            let mut region = tr();
            region["spec"]["lifecycle"] = json!({"paused": true});
            harness.apply(&region);
            harness.settle().await;
        }
        harness.journal.take();
        if foreground {
            harness.api.remove_in_foreground(&region("tr"));
        } else {
            harness.api.remove(&region("tr"));
        }
        let calls = goes_behind_its_fence(&mut harness, |_| {}).await;
        if foreground {
            // The garbage collector takes the rest meanwhile.
            continue;
        }
        let order = [
            "record object store record RegionDeleted",
            "delete cronjobs tr/tr-canary",
            "delete statefulsets tr/tr-pg",
            "delete statefulsets tr/tr-s3",
            "delete networkpolicies tr/postgres",
            "delete networkpolicies tr/default-deny",
            "patch regions tr",
        ];
        let places: Vec<usize> = order.iter().map(|call| position(&calls, call)).collect();
        assert!(
            places.is_sorted(),
            "{order:?} came as {places:?}: {calls:#?}"
        );
    }
}

#[tokio::test]
async fn an_operator_that_ends_in_the_midst_of_a_deletion_is_followed_by_one_that_goes_on() {
    let mut harness = Harness::running().await;
    harness.api.remove(&region("tr"));
    goes_behind_its_fence(&mut harness, Harness::crash).await;
}

#[tokio::test]
async fn a_region_without_rights_is_let_go_and_its_fence_stays() {
    let mut harness = Harness::running().await;
    let fence = policies(&harness.api);
    for namespace in ["tr", "tr-obs", "tr-drill"] {
        harness.api.delegate(namespace, false);
    }
    harness.api.remove(&region("tr"));
    let look = harness.look().await;
    assert!(look.result.is_ok(), "{:?}", look.result.err());
    assert_eq!(harness.api.get(&region("tr")), None);
    assert_eq!(harness.api.all("statefulsets", "tr"), Vec::<Value>::new());
    assert_eq!(policies(&harness.api), fence);
    let notes: Vec<String> = harness
        .api
        .all("events", "default")
        .iter()
        .map(|event| text(event, "/note").to_owned())
        .collect();
    let command = "kubectl -n tr-obs delete networkpolicy -l bailiwick.dev/region=tr";
    assert!(notes.iter().any(|note| note.contains(command)), "{notes:?}");
    // What stayed is taken up again.
    for namespace in ["tr", "tr-obs", "tr-drill"] {
        harness.api.delegate(namespace, true);
    }
    harness.journal.take();
    harness.apply(&tr());
    harness.settle().await;
    assert_eq!(harness.condition("Ready").0, "True");
    assert_eq!(policies(&harness.api), fence);
    assert_first_record_tells_of_the_region_before(&mut harness).await;
}

/// The first record of a Region made anew says so, and no later one does, whoever writes it.
async fn assert_first_record_tells_of_the_region_before(harness: &mut Harness) {
    let records = |harness: &Harness| -> Vec<String> {
        let calls = harness.journal.take();
        let records = calls.iter().filter(|call| call.verb == "record");
        records
            .map(|call| call.name.clone())
            .filter(|name| !name.contains("RegionDeleted"))
            .collect()
    };
    let found = records(harness);
    assert!(found[0].starts_with("record RegionReadopted "), "{found:?}");
    let again = |records: &[String]| records.iter().any(|it| it.contains("RegionReadopted"));
    assert!(!again(&found[1..]), "{found:?}");
    harness.crash();
    harness.settle().await;
    let found = records(harness);
    assert!(!again(&found), "{found:?}");
}

#[tokio::test]
async fn rights_that_go_in_the_midst_of_a_deletion_let_it_go() {
    let mut harness = Harness::running().await;
    let fence = policies(&harness.api);
    // They go between the access review and the call that is refused.
    let api = harness.api.clone();
    harness.journal.fault_on(Fault::Refuse(403), move |call| {
        let refused = call.verb == "delete" && call.name == "tr/tr-pg";
        for namespace in ["tr", "tr-obs", "tr-drill"].iter().filter(|_| refused) {
            api.delegate(namespace, false);
        }
        refused
    });
    harness.api.remove(&region("tr"));
    harness.until_gone(|_| {}).await;
    assert_eq!(policies(&harness.api), fence);
    assert_eq!(harness.api.all("statefulsets", "tr"), Vec::<Value>::new());
}

/// A refusal says nothing of the next call: a Role that is being edited, an API server that is behind. While the access
/// review allows what the fence needs, the Region is not let go in the midst of it.
#[tokio::test]
async fn one_call_that_is_refused_does_not_let_a_region_go_while_the_rights_are_there() {
    for (verb, resource, reason) in [
        ("list", "pods", "ObserveFailed"),
        ("delete", "statefulsets", "DeleteFailed"),
    ] {
        let mut harness = Harness::running().await;
        let fence = policies(&harness.api);
        if verb == "list" {
            harness
                .api
                .fail_lists(Fault::Refuse(403), move |it, _| it == resource);
        } else {
            harness.journal.fault_on(Fault::Refuse(403), move |call| {
                call.verb == verb && call.resource == resource
            });
        }
        harness.api.remove(&region("tr"));
        let mut failures = 0;
        for _ in 0..6 {
            harness.turn();
            failures += usize::from(harness.look().await.result.is_err());
        }
        assert!(failures > 1, "{verb} {resource}: {failures}");
        assert!(
            harness.region().metadata.finalizers.is_some(),
            "{verb} {resource}"
        );
        assert_eq!(policies(&harness.api), fence);
        let (status, told, message) = harness.condition("DeletionBlocked");
        assert_eq!((status.as_str(), told.as_str()), ("True", reason));
        assert!(
            message.contains("403") && message.contains("it is tried again"),
            "{message}"
        );
        harness.journal.heal();
        harness.api.fail_lists(Fault::Fail, |_, _| false);
        goes_behind_its_fence(&mut harness, |_| {}).await;
    }
}

#[tokio::test]
async fn what_keeps_a_deletion_is_a_condition_with_a_command_and_the_fence_stands() {
    let mut harness = Harness::running().await;
    let fence = policies(&harness.api);
    let pod = Key::new("pods", "tr", "tr-pg-0");
    let hold = |harness: &Harness, finalizers: Value| {
        harness.api.edit(&pod, USER, |pod| {
            pod["metadata"]["finalizers"] = finalizers;
        });
    };
    hold(&harness, json!(["example.org/held"]));
    harness.api.remove(&region("tr"));
    for _ in 0..5 {
        harness.turn();
        harness.look().await.result.unwrap();
    }
    let (status, reason, _) = harness.condition("DeletionBlocked");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "StoppingPostgres")
    );
    assert_eq!(harness.condition("Ready").1, "Deleting");
    assert_eq!(harness.condition("ResidencyEnforced").0, "Unknown");
    harness.now_is(SignedDuration::from_mins(10));
    harness.look().await.result.unwrap();
    let (status, reason, message) = harness.condition("DeletionBlocked");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "PodNotEnding"));
    assert!(
        message.contains("kubectl -n tr describe pod tr-pg-0"),
        "{message}"
    );
    // A look that finds the same writes nothing.
    assert_eq!(harness.look().await.writes(), Vec::<String>::new());
    assert_eq!(policies(&harness.api), fence);
    hold(&harness, json!([]));
    // What the API server does not do is said as well.
    harness.journal.fault_on(Fault::Fail, |call| {
        call.verb == "delete" && call.resource == "networkpolicies"
    });
    let mut failed = None;
    for _ in 0..10 {
        harness.turn();
        failed = harness.look().await.result.err();
        if failed.is_some() {
            break;
        }
    }
    assert_eq!(failed.unwrap().metric_label(), "DeleteFailed");
    let (status, reason, message) = harness.condition("DeletionBlocked");
    assert_eq!((status.as_str(), reason.as_str()), ("True", "DeleteFailed"));
    assert!(message.contains("NetworkPolicy/"), "{message}");
    harness.journal.heal();
    harness.until_gone(|_| {}).await;
}

#[tokio::test]
async fn a_region_that_is_made_anew_as_soon_as_the_old_one_is_gone_takes_its_data_up() {
    let mut harness = Harness::running().await;
    let uid = harness.region().metadata.uid;
    harness.journal.take();
    harness.api.user_applies_next(&region("tr"), &tr());
    harness.api.remove(&region("tr"));
    harness.settle().await;
    assert_ne!(harness.region().metadata.uid, uid);
    assert_eq!(harness.condition("Ready").0, "True");
    let finalizers = harness.region().metadata.finalizers;
    assert_eq!(finalizers, Some(vec![FINALIZER.to_owned()]));
    assert_first_record_tells_of_the_region_before(&mut harness).await;
}

#[tokio::test]
async fn nothing_is_applied_before_the_finalizer_is_there() {
    let mut harness = Harness::new();
    harness.apply(&tr());
    harness.settle().await;
    let calls: Vec<String> = harness
        .journal
        .take()
        .iter()
        .filter(|call| call.is_write())
        .map(ToString::to_string)
        .collect();
    assert_eq!(calls[0], "patch regions tr");
    assert_eq!(
        calls
            .iter()
            .filter(|call| *call == "patch regions tr")
            .count(),
        1
    );
    // Somebody takes it off: it is put back.
    harness.api.edit(&region("tr"), USER, |region| {
        region["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("finalizers");
    });
    harness.settle().await;
    assert!(harness.region().metadata.finalizers.is_some());
    assert_eq!(harness.condition("Ready").0, "True");
}

#[tokio::test]
async fn policies_that_an_operator_before_had_given_an_owner_lose_it() {
    let mut harness = Harness::running().await;
    let uid = harness.region().metadata.uid;
    let fence = policies(&harness.api);
    for key in &fence {
        let mut policy = harness.api.get(key).unwrap();
        let kept = policy["metadata"]["labels"].clone();
        policy["metadata"] = json!({"labels": kept, "ownerReferences": [{
            "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Region", "name": "tr", "uid": uid,
            "controller": true, "blockOwnerDeletion": true,
        }]});
        harness.api.operator_applied(key, &policy);
    }
    let owned = |harness: &Harness| {
        let owned = |key: &&Key| {
            harness.api.is(key, |policy| {
                policy.pointer("/metadata/ownerReferences").is_some()
            })
        };
        fence.iter().filter(owned).count()
    };
    assert_eq!(owned(&harness), fence.len());
    harness.crash();
    harness.settle().await;
    assert_eq!(owned(&harness), 0);
}

#[tokio::test]
async fn regions_whose_systems_hang_do_not_keep_another_from_being_shut_off() {
    const HANGING: [&str; 4] = ["h1", "h2", "h3", "h4"];
    let mut harness = Harness::running().await;
    harness.crash();
    let api = harness.api.clone();
    for name in HANGING {
        let mut value = tr();
        value["metadata"]["name"] = json!(name);
        api.user_applies(&region(name), &value);
        for namespace in Names::new(name).namespaces() {
            let labels = json!({
                "bailiwick.dev/region": name, "bailiwick.dev/location": "tr-ist-1",
                "bailiwick.dev/jurisdiction": "TR", "pod-security.kubernetes.io/enforce": "restricted",
            });
            let key = Key::new("namespaces", "", &namespace);
            api.put(&key, USER, "", json!({"metadata": {"labels": labels}}));
        }
        let mut hanging = harness.world.hanging.lock().unwrap();
        hanging.insert(name.to_owned(), 0);
    }
    let (stop, stopped) = futures::channel::oneshot::channel::<()>();
    let running = tokio::spawn(run(harness.ctx.clone(), async {
        let _ = stopped.await;
    }));
    let cluster = tokio::spawn({
        let api = api.clone();
        async move {
            loop {
                crate::support::cluster::turn_all(&api, &["tr", "h1", "h2", "h3", "h4"]);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    until("four Regions hang", || {
        let hanging = harness.world.hanging.lock().unwrap();
        hanging.values().all(|asked| *asked > 0)
    })
    .await;
    let open = |policy: &Value| {
        let egress = policy["spec"]["egress"].as_array();
        egress.is_some_and(|egress| !egress.is_empty())
    };
    let external = Key::new("networkpolicies", "tr", "external");
    assert!(api.is(&external, open));
    let started = Instant::now();
    until("the leak is shut off", || {
        let_it_leak(&api);
        !api.is(&external, open)
    })
    .await;
    let took = started.elapsed();
    println!("shut off after {} ms", took.as_millis());
    // A look at one that hangs takes 20 s: nobody waited for one.
    assert!(took < Duration::from_secs(10), "{took:?}");
    cluster.abort();
    let _ = stop.send(());
    running.abort();
}
