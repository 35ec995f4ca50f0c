//! What the operator makes of watches that break and of lists that fail: nothing that happened meanwhile is missed, what is
//! gone is forgotten, and a list that failed is never taken for an empty one. Against an API server and systems in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_model::names::{LABEL_MANAGED_BY, LABEL_REGION};
use bailiwick_operator::controller::run;
use serde_json::Value;

use crate::support::fake_api::Key;
use crate::support::harness::{Harness, tr};
use crate::support::journal::Fault;

/// How a list fails: an error of the server, a right that is missing, an answer that never comes.
const FAULTS: [Fault; 3] = [Fault::Fail, Fault::Refuse(403), Fault::LoseAnswer];
/// Longer than the watches wait before they try again once.
const TRIED_AGAIN: Duration = Duration::from_millis(1500);

fn service() -> Key {
    Key::new("services", "tr", "tr-pg")
}

/// All objects but those that tell of the Region.
fn objects(harness: &Harness) -> BTreeMap<Key, Value> {
    let mut all = harness.api.everything();
    all.retain(|key, _| key.resource != "regions" && key.resource != "events");
    all
}

#[tokio::test]
async fn a_watch_goes_on_where_it_stopped() {
    let mut harness = Harness::running().await;
    harness.api.take_lists();
    harness.api.close_streams();
    harness.api.remove(&service());
    let look = harness.look().await;
    assert_eq!(harness.api.take_lists(), Vec::<String>::new());
    assert_eq!(look.repairs(), ["apply services tr/tr-pg"]);
}

#[tokio::test]
async fn a_bookmark_spares_a_list() {
    let mut harness = Harness::running().await;
    for (bookmarks, spared) in [(true, true), (false, false)] {
        // Something happens of which most watches hear nothing.
        harness
            .api
            .edit(&Key::new("nodes", "", "es-1"), "kubelet", |node| {
                node["metadata"]["labels"]["test"] = bookmarks.to_string().into();
            });
        if bookmarks {
            harness.api.send_bookmarks();
        }
        harness.sync().await;
        harness.api.take_lists();
        harness.api.compact();
        harness.sync().await;
        let lists = harness.api.take_lists();
        assert_eq!(lists.is_empty(), spared, "{bookmarks}: {lists:?}");
    }
}

#[tokio::test]
async fn a_new_list_forgets_what_is_gone() {
    let mut harness = Harness::running().await;
    harness.api.take_lists();
    harness.api.close_streams();
    harness.api.remove(&service());
    harness.api.expire_watches();
    let look = harness.look().await;
    assert!(harness.api.take_lists().contains(&"services".to_owned()));
    assert_eq!(look.repairs(), ["apply services tr/tr-pg"]);
}

#[tokio::test]
async fn an_object_whose_label_was_taken_off_is_applied_again() {
    let mut harness = Harness::running().await;
    let policy = Key::new("networkpolicies", "tr", "postgres");
    for (key, write) in [
        (service(), "apply services tr/tr-pg"),
        (policy, "apply networkpolicies tr/postgres"),
    ] {
        harness.api.edit(&key, "kubectl", |object| {
            let labels = object["metadata"]["labels"].as_object_mut().unwrap();
            assert!(labels.remove(LABEL_MANAGED_BY).is_some(), "{labels:?}");
        });
        let look = harness.look().await;
        assert_eq!(look.repairs(), [write]);
        let labels = &harness.api.get(&key).unwrap()["metadata"]["labels"];
        assert!(labels[LABEL_MANAGED_BY].is_string(), "{labels}");
        harness.settle().await;
    }
}

#[tokio::test]
async fn an_object_whose_region_was_changed_is_applied_again() {
    let mut harness = Harness::running().await;
    let policy = Key::new("networkpolicies", "tr", "postgres");
    let mut edits = 0;
    for (key, write) in [
        (service(), "apply services tr/tr-pg"),
        (policy, "apply networkpolicies tr/postgres"),
    ] {
        for region in [None, Some("xx")] {
            harness.api.edit(&key, "kubectl", |object| {
                let labels = object["metadata"]["labels"].as_object_mut().unwrap();
                assert!(labels.remove(LABEL_REGION).is_some(), "{labels:?}");
                if let Some(region) = region {
                    labels.insert(LABEL_REGION.to_owned(), region.into());
                }
            });
            let look = harness.look().await;
            assert_eq!(look.repairs(), [write], "{region:?}");
            let labels = &harness.api.get(&key).unwrap()["metadata"]["labels"];
            assert_eq!(labels[LABEL_REGION], "tr", "{labels}");
            harness.settle().await;
            edits += 1;
        }
    }
    assert_eq!(edits, 4);
}

#[tokio::test]
async fn a_list_that_fails_is_not_taken_for_an_empty_one() {
    let running = Harness::running().await;
    let mut looks = 0;
    for fault in FAULTS {
        for restarted in [false, true] {
            let mut harness = running.copy();
            harness.settle().await;
            let before = objects(&harness);
            if restarted {
                // All first lists come, and what is read of the namespaces themselves does not.
                harness.crash();
                harness.sync().await;
                harness
                    .api
                    .fail_lists(fault, |_, namespace| !namespace.is_empty());
            } else {
                // Where and what for is known; what was made there cannot be read.
                harness.api.fail_lists(fault, |kind, _| {
                    ["services", "networkpolicies", "statefulsets"].contains(&kind)
                });
                harness.api.expire_watches();
            }
            harness.api.take_lists();
            harness.sync_for(TRIED_AGAIN).await;
            for _ in 0..3 {
                let region = Arc::new(harness.region());
                let look = harness.look_at(region).await;
                // One that remembers nothing may apply what is there as it is; it makes and removes nothing.
                let wrong: Vec<String> = look
                    .calls
                    .iter()
                    .filter(|it| it.is_write() && !it.is_report())
                    .filter(|it| !restarted || it.verb != "apply")
                    .map(ToString::to_string)
                    .collect();
                assert_eq!(wrong, Vec::<String>::new(), "{fault:?} {restarted}");
                looks += 1;
            }
            let lists = harness.api.take_lists();
            assert!(
                lists.len() > 2,
                "{fault:?} {restarted}: only {lists:?} failed"
            );
            assert_eq!(objects(&harness), before, "{fault:?} {restarted}");
            harness.api.heal_lists();
            harness.settle_through_errors().await;
            assert_eq!(objects(&harness), before, "{fault:?} {restarted}");
        }
    }
    assert_eq!(looks, 18);
}

#[tokio::test]
async fn without_a_first_list_of_any_kind_nothing_is_begun() {
    let kinds = [
        "statefulsets",
        "pods",
        "persistentvolumeclaims",
        "networkpolicies",
        "jobs",
        "services",
        "nodes",
        "regions",
    ];
    let mut begun = 0;
    for (number, kind) in kinds.into_iter().enumerate() {
        let harness = Harness::new();
        harness.apply(&tr());
        let before = objects(&harness);
        harness.journal.take();
        harness
            .api
            .fail_lists(FAULTS[number % FAULTS.len()], move |resource, _| {
                resource == kind
            });
        let (stop, stopped) = futures::channel::oneshot::channel::<()>();
        let running = tokio::spawn(run(harness.ctx.clone(), async {
            let _ = stopped.await;
        }));
        let mut failed = 0;
        for _ in 0..200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            failed += harness
                .api
                .take_lists()
                .iter()
                .filter(|it| *it == kind)
                .count();
            if failed > 1 {
                break;
            }
        }
        assert!(failed > 1, "{kind} was listed {failed} times");
        assert_eq!(
            harness.journal.len(),
            0,
            "{kind}: {:?}",
            harness.journal.calls()
        );
        assert_eq!(objects(&harness), before, "{kind}");
        assert!(!harness.ctx.not_ready().is_empty(), "{kind}");
        harness.api.heal_lists();
        for _ in 0..600 {
            if harness.journal.len() > 0 {
                begun += 1;
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let _ = stop.send(());
        running.await.unwrap();
    }
    assert_eq!(begun, kinds.len(), "what failed comes again");
}

#[tokio::test]
async fn a_region_that_is_deleted_does_not_end_by_a_list_that_fails() {
    for fault in FAULTS {
        let mut harness = Harness::running().await;
        let region = Key::new("regions", "", "tr");
        harness.api.remove(&region);
        harness
            .api
            .fail_lists(fault, |_, namespace| !namespace.is_empty());
        let fence = |harness: &Harness| {
            let keys = harness.api.everything().into_keys();
            keys.filter(|key| key.resource == "networkpolicies").count()
        };
        let before = fence(&harness);
        for _ in 0..15 {
            harness.turn();
            let _ = harness.look().await;
            assert_eq!(fence(&harness), before, "{fault:?}");
        }
        // Not by one that is refused either: the access review still allows what the fence needs.
        assert!(harness.api.is(&region, |_| true), "{fault:?}");
        harness.api.heal_lists();
        let mut looks = 0;
        harness.until_gone(|_| looks += 1).await;
        assert!(looks > 1 && fence(&harness) == 0, "{fault:?}");
    }
}
