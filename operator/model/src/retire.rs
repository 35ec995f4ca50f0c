//! How a Region ends when it is deleted: what is still there in, the next things to do and what they wait for out. The
//! fence goes last: NetworkPolicies stay until no pod of the Region is left. Pure; the cluster is not read.

use jiff::{SignedDuration, Timestamp};

use crate::names::{Names, component};

/// How long the evidence log is waited for: a store that does not answer must not keep the Region.
pub const RECORD_PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// How long after the end of its grace a pod may still be there before that is told of.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// How long what has no grace of its own may take to go, and a pod to be told to end.
const SLOW: SignedDuration = SignedDuration::from_mins(2);

/// Something of the Region that must go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remnant {
    /// `CronJob`, `Job`, `StatefulSet`, `NetworkPolicy` or `Pod`.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, for the precondition.
    pub uid: String,
}

/// A pod of the Region that is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemnantPod {
    /// The pod.
    pub object: Remnant,
    /// What runs in it: `app.kubernetes.io/name`.
    pub component: String,
    /// The node that it is on.
    pub node: Option<String>,
    /// When its grace ends (`metadata.deletionTimestamp`); none while it is not being deleted.
    pub ends: Option<Timestamp>,
}

/// What is still there of a Region that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// When it was looked at.
    pub now: Timestamp,
    /// Whether the operator has its rights in the Region's namespaces.
    pub delegated: bool,
    /// Whether the deletion is still to be recorded: there is a log, and it is not in it.
    pub unrecorded: bool,
    /// How long the present phase has lasted, as far as this process knows.
    pub waited: SignedDuration,
    /// The Region's CronJobs, Jobs, StatefulSets and NetworkPolicies.
    pub objects: Vec<Remnant>,
    /// The Region's pods in all its namespaces.
    pub pods: Vec<RemnantPod>,
}

/// How far the deletion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The deletion is written into the evidence log, while the store runs.
    Recording,
    /// Postgres, Jobs and canaries go.
    StoppingPostgres,
    /// The object store goes.
    StoppingObjectStore,
    /// No pod is left: the fence may go.
    RemovingPolicies,
    /// Nothing is left.
    Gone,
    /// The operator has no rights any more: the garbage collector takes the workloads, and the policies stay.
    NotDelegated,
}

impl Phase {
    /// The reason in the condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "Recording",
            Self::StoppingPostgres => "StoppingPostgres",
            Self::StoppingObjectStore => "StoppingObjectStore",
            Self::RemovingPolicies => "RemovingPolicies",
            Self::Gone => "Gone",
            Self::NotDelegated => "NotDelegated",
        }
    }

    /// What is done in it, for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Recording => "The deletion is being written into the evidence log.",
            Self::StoppingPostgres => {
                "Postgres, Jobs and canaries are being stopped; the network policies stand until no pod is left."
            }
            Self::StoppingObjectStore => {
                "The object store is being stopped; the network policies stand until no pod is left."
            }
            Self::RemovingPolicies => "No pod is left; the network policies are being removed.",
            Self::Gone => "Nothing of the Region runs any more.",
            Self::NotDelegated => "The operator has no rights in the Region's namespaces any more.",
        }
    }
}

/// One thing to do for a Region that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetireStep {
    /// Write the deletion into the evidence log.
    Record,
    /// Delete an object, if it still has its uid.
    Delete(Remnant),
    /// Take the finalizer off: the Region is gone then.
    Release,
}

/// What keeps a deletion longer than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// A closed word.
    pub reason: &'static str,
    /// What it is, and the command that helps.
    pub message: String,
}

/// What to do next for a Region that is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// How far it is.
    pub phase: Phase,
    /// What to do now, in order.
    pub steps: Vec<RetireStep>,
    /// What it waits for longer than it should.
    pub blocker: Option<Blocker>,
}

/// What to do next. Every phase is found from what is there, so that it does not matter where an operator before this
/// one stopped.
#[must_use]
pub fn retirement(names: &Names, remains: &Remains) -> Retirement {
    let release = |phase| Retirement {
        phase,
        steps: vec![RetireStep::Release],
        blocker: None,
    };
    if !remains.delegated {
        return release(Phase::NotDelegated);
    }
    let is_store_set =
        |object: &Remnant| object.kind == "StatefulSet" && object.name == names.object_store();
    let policies: Vec<&Remnant> = in_order(remains, |object| object.kind == "NetworkPolicy");
    let store: Vec<&Remnant> = in_order(remains, is_store_set);
    let others: Vec<&Remnant> = in_order(remains, |object| {
        object.kind != "NetworkPolicy" && !is_store_set(object)
    });
    let (store_pods, other_pods): (Vec<&RemnantPod>, Vec<&RemnantPod>) = remains
        .pods
        .iter()
        .partition(|pod| pod.component == component::OBJECT_STORE);

    // Without a store there is nothing to write into.
    if remains.unrecorded && !store.is_empty() && remains.waited < RECORD_PATIENCE {
        return Retirement {
            phase: Phase::Recording,
            steps: vec![RetireStep::Record],
            blocker: None,
        };
    }
    for (phase, objects, pods) in [
        (Phase::StoppingPostgres, others, other_pods),
        (Phase::StoppingObjectStore, store, store_pods),
        (Phase::RemovingPolicies, policies, Vec::new()),
    ] {
        if !objects.is_empty() || !pods.is_empty() {
            return Retirement {
                phase,
                steps: deletions(&objects, &pods),
                blocker: blocker(remains, &objects, &pods),
            };
        }
    }
    release(Phase::Gone)
}

/// What makes pods first, each kind after what makes it; the default denials after what opens them.
fn in_order(remains: &Remains, wanted: impl Fn(&Remnant) -> bool) -> Vec<&Remnant> {
    let rank = |object: &Remnant| match (object.kind, object.name.as_str()) {
        ("CronJob", _) => 0,
        ("Job", _) => 1,
        ("NetworkPolicy", "default-deny") => 3,
        _ => 2,
    };
    let mut objects: Vec<&Remnant> = remains.objects.iter().filter(|it| wanted(it)).collect();
    objects.sort_by_key(|object| rank(object));
    objects
}

/// Objects; once they are gone, pods that nobody has told to end.
fn deletions(objects: &[&Remnant], pods: &[&RemnantPod]) -> Vec<RetireStep> {
    let pods = pods
        .iter()
        .filter(|pod| objects.is_empty() && pod.ends.is_none())
        .map(|pod| &pod.object);
    objects
        .iter()
        .copied()
        .chain(pods)
        .map(|object| RetireStep::Delete(object.clone()))
        .collect()
}

fn blocker(remains: &Remains, objects: &[&Remnant], pods: &[&RemnantPod]) -> Option<Blocker> {
    const MORE: &str = "See docs/runbooks/deletion-blocked.md.";
    let overdue = |pod: &&&RemnantPod| {
        pod.ends.map_or(remains.waited > SLOW, |ends| {
            remains.now.duration_since(ends) > MARGIN
        })
    };
    if let Some(pod) = pods.iter().find(overdue) {
        let Remnant {
            namespace, name, ..
        } = &pod.object;
        let node = pod.node.as_deref().unwrap_or("none");
        return Some(Blocker {
            reason: "PodNotEnding",
            message: format!(
                "Pod {namespace}/{name} on node {node} has not ended within its grace: kubectl -n {namespace} describe pod {name}. Only once \
                 that node is known to be off: kubectl -n {namespace} delete pod {name} --grace-period=0 --force. {MORE}"
            ),
        });
    }
    let object = objects.first().filter(|_| remains.waited > SLOW)?;
    let Remnant {
        kind,
        namespace,
        name,
        ..
    } = object;
    let plural = kind.to_lowercase();
    Some(Blocker {
        reason: "ObjectNotGone",
        message: format!(
            "{kind} {namespace}/{name} was deleted and is still there: kubectl -n {namespace} get {plural} {name} -o \
             jsonpath='{{.metadata.finalizers}}' shows what holds it. {MORE}"
        ),
    })
}

/// The command that removes the NetworkPolicies of a Region that is gone.
#[must_use]
pub fn removal_of_policies(names: &Names) -> String {
    names
        .namespaces()
        .map(|namespace| {
            format!(
                "kubectl -n {namespace} delete networkpolicy -l {}={}",
                crate::names::LABEL_REGION,
                names.region()
            )
        })
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new("tr")
    }

    fn object(kind: &'static str, name: &str) -> Remnant {
        Remnant {
            kind,
            namespace: "tr".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
        }
    }

    fn pod(name: &str, component: &str) -> RemnantPod {
        RemnantPod {
            object: object("Pod", name),
            component: component.to_owned(),
            node: Some("tr-1".to_owned()),
            ends: None,
        }
    }

    fn whole() -> Remains {
        Remains {
            now: "2026-11-21T08:00:00Z".parse().expect("a time"),
            delegated: true,
            unrecorded: true,
            waited: SignedDuration::ZERO,
            objects: vec![
                object("NetworkPolicy", "default-deny"),
                object("NetworkPolicy", "postgres"),
                object("StatefulSet", "tr-s3"),
                object("StatefulSet", "tr-pg"),
                object("Job", "tr-pg-stanza-i1"),
                object("CronJob", "tr-canary"),
            ],
            pods: vec![
                pod("tr-pg-0", "postgres"),
                pod("tr-canary-x", "canary"),
                pod("tr-s3-0", "object-store"),
            ],
        }
    }

    fn next(remains: &Remains) -> (Phase, Vec<String>) {
        let Retirement { phase, steps, .. } = retirement(&names(), remains);
        let steps = steps
            .iter()
            .map(|step| match step {
                RetireStep::Record => "record".to_owned(),
                RetireStep::Delete(object) => format!("{} {}", object.kind, object.name),
                RetireStep::Release => "release".to_owned(),
            })
            .collect();
        (phase, steps)
    }

    /// Does what is to be done until the Region is released, a pod going only when its object has gone.
    #[test]
    fn the_fence_is_the_last_thing_to_go() {
        let mut remains = whole();
        let mut done = Vec::new();
        loop {
            let (phase, steps) = next(&remains);
            if phase == Phase::RemovingPolicies {
                assert_eq!(remains.pods, []);
            }
            done.push((phase, steps.clone()));
            if steps == ["release"] {
                break;
            }
            remains.unrecorded = false;
            if remains
                .objects
                .iter()
                .any(|it| steps.contains(&format!("{} {}", it.kind, it.name)))
            {
                remains
                    .objects
                    .retain(|it| !steps.contains(&format!("{} {}", it.kind, it.name)));
            } else {
                remains
                    .pods
                    .retain(|it| !steps.contains(&format!("Pod {}", it.object.name)));
            }
        }
        let of = |steps: &[&str]| steps.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            done,
            [
                (Phase::Recording, of(&["record"])),
                (
                    Phase::StoppingPostgres,
                    of(&[
                        "CronJob tr-canary",
                        "Job tr-pg-stanza-i1",
                        "StatefulSet tr-pg"
                    ])
                ),
                (
                    Phase::StoppingPostgres,
                    of(&["Pod tr-pg-0", "Pod tr-canary-x"])
                ),
                (Phase::StoppingObjectStore, of(&["StatefulSet tr-s3"])),
                (Phase::StoppingObjectStore, of(&["Pod tr-s3-0"])),
                (
                    Phase::RemovingPolicies,
                    of(&["NetworkPolicy postgres", "NetworkPolicy default-deny"])
                ),
                (Phase::Gone, of(&["release"])),
            ]
        );
    }

    #[test]
    fn a_store_that_does_not_answer_keeps_nobody() {
        let mut remains = whole();
        remains.waited = RECORD_PATIENCE;
        assert_eq!(next(&remains).0, Phase::StoppingPostgres);
        remains.waited = SignedDuration::ZERO;
        remains.objects.retain(|it| it.name != "tr-s3");
        assert_eq!(next(&remains).0, Phase::StoppingPostgres);
    }

    #[test]
    fn without_rights_it_is_let_go_at_once() {
        let mut remains = whole();
        remains.delegated = false;
        assert_eq!(
            next(&remains),
            (Phase::NotDelegated, vec!["release".to_owned()])
        );
    }

    #[test]
    fn what_does_not_end_is_named_with_a_command() {
        let mut remains = whole();
        remains.unrecorded = false;
        remains.objects.retain(|it| it.kind == "NetworkPolicy");
        remains.pods[1].ends = Some(remains.now - SignedDuration::from_secs(59));
        let blocker = |remains: &Remains| retirement(&names(), remains).blocker;
        assert_eq!(blocker(&remains), None);
        remains.pods[1].ends = Some(remains.now - SignedDuration::from_secs(61));
        let found = blocker(&remains).expect("it is overdue");
        assert_eq!(found.reason, "PodNotEnding");
        assert!(
            found.message.contains("Pod tr/tr-canary-x on node tr-1")
                && found
                    .message
                    .contains("kubectl -n tr describe pod tr-canary-x"),
            "{found:?}"
        );
        remains.pods.clear();
        remains.waited = SignedDuration::from_mins(3);
        let found = blocker(&remains).expect("it is overdue");
        assert!(
            found.message.contains("NetworkPolicy tr/postgres")
                && found
                    .message
                    .contains("kubectl -n tr get networkpolicy postgres"),
            "{found:?}"
        );
        // A pod that nobody could be told to end is named as well.
        remains.pods = vec![pod("tr-pg-0", "postgres")];
        assert_eq!(
            blocker(&remains).expect("it is overdue").reason,
            "PodNotEnding"
        );
    }
}
