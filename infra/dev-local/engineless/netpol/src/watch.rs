//! Follows the API server: watch events of pods, namespaces and policies come in, the world as last seen and
//! how urgent each change is go out. Talks to the API server only (list and watch).

use std::collections::BTreeMap;
use std::mem;
use std::net::Ipv4Addr;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;
use kube::api::ObjectList;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};

use crate::arrivals::Arrival;
use crate::objects::{Labels, ObjectName, Pod, Policy, World};

/// Something the API server told about one of the three kinds.
#[derive(Debug)]
pub enum Observation {
    /// About pods.
    Pod(Box<watcher::Event<core::Pod>>),
    /// About namespaces.
    Namespace(watcher::Event<core::Namespace>),
    /// About policies.
    Policy(watcher::Event<networking::NetworkPolicy>),
}

/// How soon a change must be in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nothing that decides about packets has changed.
    None,
    /// Soon: more of the kind is likely to follow at once.
    Soon,
    /// At once: a pod of this node waits to be known, or its address is free again.
    Now,
}

/// Watches the three kinds in all namespaces for as long as the stream is polled.
///
/// Needs the rights to list and watch pods, namespaces and networkpolicies. Errors are part of the stream; it goes on
/// after them with a growing delay.
pub fn observations(
    client: &Client,
) -> impl Stream<Item = Result<Observation, watcher::Error>> + use<> {
    let pods = watcher(
        Api::<core::Pod>::all(client.clone()),
        watcher::Config::default(),
    );
    let namespaces = watcher(
        Api::<core::Namespace>::all(client.clone()),
        watcher::Config::default(),
    );
    let policies = watcher(
        Api::<networking::NetworkPolicy>::all(client.clone()),
        watcher::Config::default(),
    );
    let streams: [BoxStream<'static, Result<Observation, watcher::Error>>; 3] = [
        pods.default_backoff()
            .map(|event| event.map(|event| Observation::Pod(Box::new(event))))
            .boxed(),
        namespaces
            .default_backoff()
            .map(|event| event.map(Observation::Namespace))
            .boxed(),
        policies
            .default_backoff()
            .map(|event| event.map(Observation::Policy))
            .boxed(),
    ];
    stream::select_all(streams)
}

/// The world as last seen, kept up to date by observations.
#[derive(Debug)]
pub struct View {
    node: String,
    world: World,
    pods: Relist<ObjectName, Pod>,
    namespaces: Relist<String, Labels>,
    policies: Relist<ObjectName, Policy>,
    /// Addresses that the node's network plugin gave to pods, ahead of the API.
    arrivals: BTreeMap<ObjectName, Held>,
    /// The state up to which policies were read out of turn; older watch events tell nothing new.
    policies_read: u64,
}

/// An arrival, and the address that the API had for the pod when it came.
#[derive(Debug)]
struct Held {
    arrival: Arrival,
    before: Option<Ipv4Addr>,
}

/// A list in progress. What was known stays in force until the list is complete.
#[derive(Debug)]
struct Relist<K, V> {
    listed: BTreeMap<K, V>,
    complete: bool,
}

impl<K, V> Default for Relist<K, V> {
    fn default() -> Self {
        Self {
            listed: BTreeMap::new(),
            complete: false,
        }
    }
}

/// A watch event, reduced to what is kept of the object.
enum Step<K, V> {
    Put(K, V),
    Remove(K),
    Start,
    List(K, V),
    Done,
}

impl<K, V> Step<K, V> {
    fn of<T>(event: watcher::Event<T>, keep: impl Fn(&T) -> (K, V)) -> Self {
        match event {
            watcher::Event::Apply(object) => {
                let (key, value) = keep(&object);
                Self::Put(key, value)
            }
            watcher::Event::Delete(object) => Self::Remove(keep(&object).0),
            watcher::Event::Init => Self::Start,
            watcher::Event::InitApply(object) => {
                let (key, value) = keep(&object);
                Self::List(key, value)
            }
            watcher::Event::InitDone => Self::Done,
        }
    }
}

impl<K: Ord, V: PartialEq> Relist<K, V> {
    /// Takes a step into `known` and gives what was and what is, where they differ.
    fn take(
        &mut self,
        known: &mut BTreeMap<K, V>,
        step: Step<K, V>,
        mut changed: impl FnMut(Option<&V>, Option<&V>),
    ) {
        match step {
            Step::Put(key, value) => {
                if known.get(&key) != Some(&value) {
                    changed(known.get(&key), Some(&value));
                    known.insert(key, value);
                }
            }
            Step::Remove(key) => {
                if let Some(gone) = known.remove(&key) {
                    changed(Some(&gone), None);
                }
            }
            Step::Start => self.listed.clear(),
            Step::List(key, value) => {
                self.listed.insert(key, value);
            }
            Step::Done => {
                self.complete = true;
                let listed = mem::take(&mut self.listed);
                for (key, value) in &listed {
                    if known.get(key) != Some(value) {
                        changed(known.get(key), Some(value));
                    }
                }
                for (key, gone) in known.iter() {
                    if !listed.contains_key(key) {
                        changed(Some(gone), None);
                    }
                }
                *known = listed;
            }
        }
    }
}

impl View {
    /// An empty view of the world from a node, which is not complete yet.
    #[must_use]
    pub fn from_node(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            world: World::default(),
            pods: Relist::default(),
            namespaces: Relist::default(),
            policies: Relist::default(),
            arrivals: BTreeMap::new(),
            policies_read: 0,
        }
    }

    /// The world as last seen; nothing until each kind was listed once.
    #[must_use]
    pub fn world(&self) -> Option<&World> {
        (self.pods.complete && self.namespaces.complete && self.policies.complete)
            .then_some(&self.world)
    }

    /// Takes in the address that the node's network plugin has given to a pod, which the API will learn later.
    ///
    /// It counts as soon as the pod itself was seen, until the API has another address for the pod.
    pub fn take_arrival(&mut self, arrival: Arrival) -> Urgency {
        let name = arrival.pod.clone();
        let seen = self
            .world
            .pods
            .get_mut(&name)
            .filter(|pod| pod.uid == arrival.uid);
        let held = Held {
            before: seen.as_ref().and_then(|pod| pod.address),
            arrival,
        };
        let urgency = match seen {
            Some(pod) => {
                pod.address = Some(held.arrival.address);
                Urgency::Now
            }
            None => Urgency::None,
        };
        self.arrivals.insert(name, held);
        urgency
    }

    /// Takes in policies that were read out of turn, so that what follows cannot lag behind them.
    ///
    /// Takes a complete list at one version. Watch events from before that version are ignored from now on.
    pub fn take_policies(&mut self, list: &ObjectList<networking::NetworkPolicy>) {
        let policies: BTreeMap<_, _> = list
            .items
            .iter()
            .map(|policy| (name_of(policy), Policy::from(policy)))
            .collect();
        for (name, policy) in &policies {
            if self.world.policies.get(name) != Some(policy) {
                warn_of_faults(name, policy);
            }
        }
        self.world.policies = policies;
        let read = list.metadata.resource_version.as_deref().and_then(version);
        self.policies_read = read.unwrap_or(0);
    }

    fn is_old(&self, event: &watcher::Event<networking::NetworkPolicy>) -> bool {
        let (watcher::Event::Apply(policy) | watcher::Event::Delete(policy)) = event else {
            return false;
        };
        let at = policy.resource_version().as_deref().and_then(version);
        at.is_some_and(|at| at <= self.policies_read)
    }

    /// Takes an observation in and tells how soon it must be in force.
    pub fn take(&mut self, observation: Observation) -> Urgency {
        let mut urgency = Urgency::None;
        match observation {
            Observation::Pod(event) => {
                if let watcher::Event::Delete(pod) = &*event {
                    let name = name_of(pod);
                    let same = |held: &Held| pod.uid().is_some_and(|uid| uid == held.arrival.uid);
                    if self.arrivals.get(&name).is_some_and(same) {
                        self.arrivals.remove(&name);
                    }
                }
                let arrivals = &self.arrivals;
                let step = Step::of(*event, |pod: &core::Pod| {
                    let name = name_of(pod);
                    let mut kept = Pod::from(pod);
                    kept.address = address(arrivals.get(&name), &kept);
                    (name, kept)
                });
                let node = self.node.as_str();
                self.pods.take(&mut self.world.pods, step, |before, after| {
                    urgency = urgency.max(pod_urgency(node, before, after));
                });
            }
            Observation::Namespace(event) => {
                let step = Step::of(event, |namespace: &core::Namespace| {
                    (namespace.name_any(), namespace.labels().clone())
                });
                self.namespaces
                    .take(&mut self.world.namespaces, step, |_, _| {
                        urgency = Urgency::Soon;
                    });
            }
            Observation::Policy(event) => {
                if self.is_old(&event) {
                    return Urgency::None;
                }
                if matches!(event, watcher::Event::InitDone) {
                    // The list may be older than what was read out of turn; its watch then brings the rest.
                    self.policies_read = 0;
                }
                let step = Step::of(event, |policy: &networking::NetworkPolicy| {
                    (name_of(policy), Policy::from(policy))
                });
                if let Step::Put(name, policy) | Step::List(name, policy) = &step {
                    warn_of_faults(name, policy);
                }
                self.policies.take(&mut self.world.policies, step, |_, _| {
                    urgency = Urgency::Soon;
                });
            }
        }
        urgency
    }
}

/// The address of a pod: the API's, unless the node's network plugin has told a newer one.
fn address(held: Option<&Held>, pod: &Pod) -> Option<Ipv4Addr> {
    match held {
        Some(Held { arrival, before })
            if arrival.uid == pod.uid && (pod.address.is_none() || pod.address == *before) =>
        {
            Some(arrival.address)
        }
        _ => pod.address,
    }
}

fn warn_of_faults(name: &ObjectName, policy: &Policy) {
    for fault in &policy.faults {
        tracing::warn!(policy = %name, "NetworkPolicy {name} is enforced without what cannot be read: {fault}");
    }
}

fn name_of(object: &impl ResourceExt) -> ObjectName {
    ObjectName {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

/// A resourceVersion as a number that grows with time, which it is by contract since Kubernetes 1.35.
fn version(text: &str) -> Option<u64> {
    text.parse().ok()
}

fn pod_urgency(node: &str, before: Option<&Pod>, after: Option<&Pod>) -> Urgency {
    let address_here = |pod: Option<&Pod>| {
        pod.filter(|pod| pod.node.as_deref() == Some(node))
            .and_then(Pod::policy_address)
    };
    if address_here(before) == address_here(after) {
        Urgency::Soon
    } else {
        Urgency::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, node: &str, address: Option<&str>) -> core::Pod {
        let object = json!({
            "metadata": {"name": name, "namespace": "x"},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "podIP": address},
        });
        serde_json::from_value(object).unwrap()
    }

    fn seen(event: watcher::Event<core::Pod>) -> Observation {
        Observation::Pod(Box::new(event))
    }

    fn complete_view() -> View {
        let mut view = View::from_node("tr-1");
        for observation in [
            seen(watcher::Event::InitDone),
            Observation::Namespace(watcher::Event::InitDone),
        ] {
            view.take(observation);
            assert!(
                view.world().is_none(),
                "the world is shown before it is complete"
            );
        }
        view.take(Observation::Policy(watcher::Event::InitDone));
        assert!(view.world().is_some());
        view
    }

    #[test]
    fn an_address_on_this_node_is_urgent_and_a_repeated_status_is_nothing() {
        let mut view = complete_view();
        let steps = [
            (pod("a", "tr-1", None), Urgency::Soon),
            (pod("a", "tr-1", Some("10.0.0.1")), Urgency::Now),
            (pod("a", "tr-1", Some("10.0.0.1")), Urgency::None),
            (pod("b", "es-1", Some("10.0.1.1")), Urgency::Soon),
        ];
        for (object, urgency) in steps {
            assert_eq!(
                view.take(seen(watcher::Event::Apply(object.clone()))),
                urgency,
                "{object:?}"
            );
        }
        let gone = pod("a", "tr-1", Some("10.0.0.1"));
        assert_eq!(view.take(seen(watcher::Event::Delete(gone))), Urgency::Now);
    }

    #[test]
    fn an_arrival_counts_until_the_api_has_another_address() {
        let mut view = complete_view();
        let with_uid = |uid: &str, address: Option<&str>| {
            let mut object = pod("a", "tr-1", address);
            object.metadata.uid = Some(uid.to_owned());
            seen(watcher::Event::Apply(object))
        };
        let arrival = |uid: &str, last: u8| Arrival {
            pod: ObjectName {
                namespace: "x".to_owned(),
                name: "a".to_owned(),
            },
            uid: uid.to_owned(),
            address: Ipv4Addr::new(10, 0, 0, last),
        };
        let last = |view: &View| {
            let pods: Vec<Option<Ipv4Addr>> = view
                .world()
                .unwrap()
                .pods
                .values()
                .map(|pod| pod.address)
                .collect();
            pods.first()
                .copied()
                .flatten()
                .map(|address| address.octets()[3])
        };
        assert_eq!(
            view.take_arrival(arrival("1", 5)),
            Urgency::None,
            "the pod is not seen yet"
        );
        assert_eq!(view.take(with_uid("1", None)), Urgency::Now);
        assert_eq!(last(&view), Some(5));
        assert_eq!(
            view.take(with_uid("1", Some("10.0.0.5"))),
            Urgency::None,
            "the API tells nothing new"
        );
        assert_eq!(
            view.take_arrival(arrival("1", 6)),
            Urgency::Now,
            "a new sandbox"
        );
        assert_eq!(
            view.take(with_uid("1", Some("10.0.0.5"))),
            Urgency::None,
            "the API lags"
        );
        assert_eq!(last(&view), Some(6));
        assert_eq!(
            view.take(with_uid("1", Some("10.0.0.7"))),
            Urgency::Now,
            "the API knows better"
        );
        assert_eq!(last(&view), Some(7));
        assert_eq!(
            view.take(with_uid("2", None)),
            Urgency::Now,
            "another pod of the name"
        );
        assert_eq!(last(&view), None);
        assert_eq!(view.take_arrival(arrival("2", 8)), Urgency::Now);
        view.take(seen(watcher::Event::Delete(pod("a", "tr-1", None))));
        assert_eq!(last(&view), None);
    }

    #[test]
    fn policies_read_out_of_turn_are_not_undone_by_older_events() {
        let mut view = complete_view();
        let policy = |name: &str, version: &str| -> networking::NetworkPolicy {
            let metadata = json!({"name": name, "namespace": "x", "resourceVersion": version});
            serde_json::from_value(json!({"metadata": metadata, "spec": {"podSelector": {}}}))
                .unwrap()
        };
        let list = json!({"metadata": {"resourceVersion": "20"}, "items": [policy("new", "15")]});
        view.take_policies(&serde_json::from_value(list).unwrap());
        let names = |view: &View| -> Vec<String> {
            view.world()
                .unwrap()
                .policies
                .keys()
                .map(|name| name.name.clone())
                .collect()
        };
        for old in [
            watcher::Event::Apply(policy("old", "12")),
            watcher::Event::Delete(policy("new", "14")),
        ] {
            assert_eq!(view.take(Observation::Policy(old)), Urgency::None);
            assert_eq!(names(&view), ["new"]);
        }
        assert_eq!(
            view.take(Observation::Policy(watcher::Event::Apply(policy(
                "next", "21"
            )))),
            Urgency::Soon
        );
        assert_eq!(names(&view), ["new", "next"]);
        for step in [
            watcher::Event::Init,
            watcher::Event::InitApply(policy("old", "12")),
            watcher::Event::InitDone,
        ] {
            view.take(Observation::Policy(step));
        }
        assert_eq!(names(&view), ["old"], "a list stands for itself");
        view.take(Observation::Policy(watcher::Event::Apply(policy(
            "new", "15",
        ))));
        assert_eq!(
            names(&view),
            ["new", "old"],
            "after a list its own watch tells the rest"
        );
    }

    #[test]
    fn a_relist_keeps_what_is_known_until_it_is_complete_and_then_drops_what_is_gone() {
        let mut view = complete_view();
        view.take(seen(watcher::Event::Apply(pod(
            "a",
            "tr-1",
            Some("10.0.0.1"),
        ))));
        let names = |view: &View| {
            view.world()
                .unwrap()
                .pods
                .keys()
                .map(|name| name.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(view.take(seen(watcher::Event::Init)), Urgency::None);
        let listed = watcher::Event::InitApply(pod("b", "es-1", Some("10.0.1.1")));
        assert_eq!(view.take(seen(listed)), Urgency::None);
        assert_eq!(names(&view), ["a"]);
        assert_eq!(view.take(seen(watcher::Event::InitDone)), Urgency::Now);
        assert_eq!(names(&view), ["b"]);
    }
}
