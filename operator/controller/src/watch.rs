//! The children of all Regions as small facts, kept by watches with our label. Events of the API server in; facts
//! and the names of the Regions that must be looked at again out. Reads only.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bailiwick_model::names::LABEL_REGION;
use futures::{Stream, StreamExt};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::health::WatchHealth;

/// What is kept of a child: two values that are equal wake nobody.
pub trait Fact: Clone + PartialEq + Send + Sync + 'static {}
impl<T: Clone + PartialEq + Send + Sync + 'static> Fact for T {}

/// The facts of one kind, by group (a Region's name, or one group for cluster-wide kinds) and object.
#[derive(Debug)]
pub struct Facts<F> {
    groups: RwLock<HashMap<String, BTreeMap<Object, F>>>,
    listed: AtomicBool,
    changed: Notify,
    health: WatchHealth,
}

/// The namespace and name of a child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// Its namespace; empty for a cluster-scoped one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl<F> Default for Facts<F> {
    fn default() -> Self {
        Self {
            groups: RwLock::default(),
            listed: AtomicBool::new(false),
            changed: Notify::new(),
            health: WatchHealth::default(),
        }
    }
}

impl<F: Fact> Facts<F> {
    /// Whether the first list is complete: before that, what is missing is not known to be missing.
    pub fn listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    /// For how long the watch has been failing, at `now`.
    pub fn failing(&self, now: Instant) -> Option<Duration> {
        self.health.failing(now)
    }

    /// The facts of one group.
    pub fn of(&self, group: &str) -> BTreeMap<Object, F> {
        self.groups
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(group)
            .cloned()
            .unwrap_or_default()
    }

    /// What `of` makes of the facts of each group, by group.
    pub fn of_all<T>(&self, of: impl Fn(&str, &BTreeMap<Object, F>) -> T) -> BTreeMap<String, T> {
        self.groups
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(name, facts)| (name.clone(), of(name, facts)))
            .collect()
    }

    /// The fact of one child.
    pub fn get(&self, group: &str, object: &Object) -> Option<F> {
        self.groups
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(group)
            .and_then(|facts| facts.get(object))
            .cloned()
    }

    /// Keeps a fact; tells whether it is news.
    pub fn put(&self, group: &str, object: Object, fact: F) -> bool {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let facts = groups.entry(group.to_owned()).or_default();
        if facts.get(&object) == Some(&fact) {
            return false;
        }
        facts.insert(object, fact);
        true
    }

    /// Keeps a fact if `unchanged` says of the one that is kept now that it is still the expected one.
    pub fn put_unless_changed(
        &self,
        group: &str,
        object: &Object,
        fact: F,
        unchanged: impl FnOnce(Option<&F>) -> bool,
    ) {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let facts = groups.entry(group.to_owned()).or_default();
        if unchanged(facts.get(object)) {
            facts.insert(object.clone(), fact);
        }
    }

    /// Forgets a child; tells whether it was known.
    pub fn remove(&self, group: &str, object: &Object) -> bool {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let Some(facts) = groups.get_mut(group) else {
            return false;
        };
        let known = facts.remove(object).is_some();
        if facts.is_empty() {
            groups.remove(group);
        }
        known
    }

    /// Forgets a child in all groups but one; returns those where it was known.
    fn remove_but(&self, group: Option<&str>, object: &Object) -> Vec<String> {
        let known: Vec<String> = self
            .groups
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|(name, facts)| Some(name.as_str()) != group && facts.contains_key(object))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &known {
            self.remove(name, object);
        }
        known
    }

    /// Replaces everything after a new list; returns the groups in which something differs.
    fn replace(&self, new: HashMap<String, BTreeMap<Object, F>>) -> Vec<String> {
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed: Vec<String> = new
            .iter()
            .filter(|(name, facts)| groups.get(*name) != Some(*facts))
            .map(|(name, _)| name.clone())
            .collect();
        changed.extend(
            groups
                .keys()
                .filter(|name| !new.contains_key(*name))
                .cloned(),
        );
        *groups = new;
        self.listed.store(true, Ordering::Release);
        self.changed.notify_waiters();
        changed
    }
}

/// The Region that a child belongs to, by our label.
pub fn region_of<K: Resource>(object: &K) -> Option<String> {
    object.meta().labels.as_ref()?.get(LABEL_REGION).cloned()
}

/// Watches a kind: keeps `facts` current and yields the group of every child whose fact changed.
///
/// `group` says which group an object is of (none: it is not ours), `fact` what is kept of it.
pub fn watch<K, F>(
    api: Api<K>,
    config: watcher::Config,
    facts: Arc<Facts<F>>,
    group: impl Fn(&K) -> Option<String> + Send + 'static,
    fact: impl Fn(&K) -> F + Send + 'static,
) -> impl Stream<Item = String> + Send
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default + Eq + Hash + Clone,
    F: Fact,
{
    let mut listing: HashMap<String, BTreeMap<Object, F>> = HashMap::new();
    watcher(api, config)
        .default_backoff()
        .map(move |event| {
            let key = |object: &K| Object {
                namespace: object.namespace().unwrap_or_default(),
                name: object.name_any(),
            };
            match &event {
                Ok(_) => facts.health.heard(),
                Err(_) => facts.health.failed(Instant::now()),
            }
            match event {
                Ok(watcher::Event::Init) => {
                    listing.clear();
                    Vec::new()
                }
                Ok(watcher::Event::InitApply(object)) => {
                    if let Some(group) = group(&object) {
                        listing.entry(group).or_default().insert(key(&object), fact(&object));
                    }
                    Vec::new()
                }
                Ok(watcher::Event::InitDone) => facts.replace(std::mem::take(&mut listing)),
                Ok(watcher::Event::Apply(object)) => {
                    let group = group(&object);
                    // Somebody took the label off, or gave it another value: the child is missing where it was.
                    let mut changed = facts.remove_but(group.as_deref(), &key(&object));
                    changed.extend(group.filter(|group| facts.put(group, key(&object), fact(&object))));
                    changed
                }
                // Whatever its label said last.
                Ok(watcher::Event::Delete(object)) => facts.remove_but(None, &key(&object)),
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&K::DynamicType::default()), %error, "watch failed, trying again");
                    Vec::new()
                }
            }
        })
        .flat_map(futures::stream::iter)
}
