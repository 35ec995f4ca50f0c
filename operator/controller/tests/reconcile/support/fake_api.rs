//! An API server in memory, as the service under a `kube::Client`: server-side apply with field managers, create,
//! get, replace, delete with preconditions, finalizers, grace of pods and garbage collection, list and watch by label,
//! reviews of rights. No process and no network; it knows of each kind only what the operator needs of it.

mod fields;
mod state;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

pub use fields::is_terminating;
use fields::{metadata_of, selected};
use futures::FutureExt;
use futures::channel::mpsc;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use wire::{Answering, Parsed, refusal, respond};

use super::journal::{Fault, Journal};

/// The kinds that it serves: plural, group and version, kind, whether the server counts generations.
const KINDS: &[(&str, &str, &str, bool)] = &[
    ("regions", "bailiwick.dev/v1alpha1", "Region", true),
    ("namespaces", "v1", "Namespace", false),
    ("nodes", "v1", "Node", false),
    ("secrets", "v1", "Secret", false),
    ("configmaps", "v1", "ConfigMap", false),
    ("services", "v1", "Service", false),
    ("pods", "v1", "Pod", true),
    (
        "persistentvolumeclaims",
        "v1",
        "PersistentVolumeClaim",
        false,
    ),
    ("statefulsets", "apps/v1", "StatefulSet", true),
    ("jobs", "batch/v1", "Job", true),
    ("cronjobs", "batch/v1", "CronJob", true),
    (
        "networkpolicies",
        "networking.k8s.io/v1",
        "NetworkPolicy",
        true,
    ),
    (
        "poddisruptionbudgets",
        "policy/v1",
        "PodDisruptionBudget",
        true,
    ),
    ("storageclasses", "storage.k8s.io/v1", "StorageClass", false),
    (
        "endpointslices",
        "discovery.k8s.io/v1",
        "EndpointSlice",
        true,
    ),
    ("persistentvolumes", "v1", "PersistentVolume", false),
    ("serviceaccounts", "v1", "ServiceAccount", false),
    ("daemonsets", "apps/v1", "DaemonSet", true),
    ("ingresses", "networking.k8s.io/v1", "Ingress", true),
    (
        "volumesnapshots",
        "snapshot.storage.k8s.io/v1",
        "VolumeSnapshot",
        true,
    ),
    (
        "rolebindings",
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        false,
    ),
    (
        "validatingadmissionpolicies",
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        true,
    ),
    (
        "validatingadmissionpolicybindings",
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        true,
    ),
    ("events", "events.k8s.io/v1", "Event", false),
    ("leases", "coordination.k8s.io/v1", "Lease", false),
];

/// Kinds that the operator has no right to list, since a list reads contents.
const NEVER_LISTED: &[&str] = &["secrets", "configmaps"];

fn kind_of(resource: &str) -> (&'static str, &'static str, bool) {
    KINDS
        .iter()
        .find(|(plural, ..)| *plural == resource)
        .map_or_else(
            || panic!("the API server in memory does not serve {resource}"),
            |(_, version, kind, counts)| (*version, *kind, *counts),
        )
}

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The plural of its kind.
    pub resource: String,
    /// Its namespace; empty for a cluster-scoped one.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// An object's place.
    pub fn new(resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// The path of a field from the root of its object.
type Path = Vec<String>;
/// A field manager: its name, how it writes (`Apply` or `Update`), and the subresource.
type Manager = (String, &'static str, String);

#[derive(Clone, Debug)]
struct Stored {
    value: Value,
    managers: BTreeMap<Manager, BTreeSet<Path>>,
    /// When each manager changed something last.
    times: BTreeMap<Manager, Timestamp>,
}

/// What is kept. A copy of it is a copy of the cluster.
#[derive(Clone, Debug, Default)]
struct Contents {
    objects: BTreeMap<Key, Stored>,
    version: u64,
    uids: u64,
    /// The data that each Secret had when it was first made.
    first_secrets: BTreeMap<Key, Value>,
    /// Namespaces in which the operator has no rights.
    not_delegated: BTreeSet<String>,
    /// What a user applies as soon as an object of this name is gone.
    next: BTreeMap<Key, Value>,
}

struct Stream {
    resource: String,
    namespace: String,
    selector: String,
    metadata_only: bool,
    bookmarks: bool,
    sender: mpsc::UnboundedSender<Vec<u8>>,
}

/// What happened to an object at a version: what it was and what it is.
#[derive(Clone)]
struct Happened {
    version: u64,
    key: Key,
    before: Option<Value>,
    after: Option<Value>,
}

impl Stream {
    /// Tells of it if it concerns whoever listens. What leaves the selection is deleted for them, as it was last.
    fn tell(&self, it: &Happened) {
        if self.resource != it.key.resource
            || (!self.namespace.is_empty() && self.namespace != it.key.namespace)
        {
            return;
        }
        let selected = |value: &&Value| selected(value, &self.selector);
        let before = it.before.as_ref().filter(selected);
        let (event, value) = match (before, it.after.as_ref().filter(selected)) {
            (Some(_), Some(after)) => ("MODIFIED", after),
            (None, Some(after)) => ("ADDED", after),
            (Some(before), None) => ("DELETED", before),
            (None, None) => return,
        };
        let mut object = if self.metadata_only {
            metadata_of(value)
        } else {
            value.clone()
        };
        // As the real one: what is told of last carries the version of its end.
        object["metadata"]["resourceVersion"] = json!(it.version.to_string());
        self.send(event, &object);
    }

    fn send(&self, event: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": event, "object": object}));
        let _ = self.sender.unbounded_send(line.into_bytes());
    }
}

/// Which lists go wrong, by the plural and the namespace.
type Lists = Box<dyn Fn(&str, &str) -> bool + Send>;

#[derive(Default)]
struct State {
    contents: Contents,
    streams: Vec<Stream>,
    /// The version at which nothing but the operator moves any more.
    still: Option<u64>,
    /// What somebody else does right after the next answer about an object.
    after: Option<(Key, Box<dyn FnOnce() + Send>)>,
    /// Watches from before this version are told that it is too old (410).
    oldest: u64,
    /// What happened since then, for watches that begin at a version.
    history: Vec<Happened>,
    /// The lists that go wrong.
    failing: Option<(Lists, Fault)>,
    /// What was listed, in order.
    lists: Vec<String>,
}

/// The API server. Clones share it; [`FakeApi::copy`] makes another.
#[derive(Clone)]
pub struct FakeApi {
    state: Arc<Mutex<State>>,
    journal: Journal,
}

/// A refusal.
struct Refusal(StatusCode, &'static str, String);

/// What is answered.
enum Answer {
    Object(Value),
    Created(Value),
    Stream(mpsc::UnboundedReceiver<Vec<u8>>),
}

type Answered = Result<Answer, Refusal>;

impl FakeApi {
    /// An API server that holds nothing.
    pub fn new(journal: Journal) -> Self {
        Self {
            state: Arc::default(),
            journal,
        }
    }

    /// Another API server that holds the same, with the same uids and versions.
    pub fn copy(&self, journal: Journal) -> Self {
        let contents = self.lock().contents.clone();
        Self {
            state: Arc::new(Mutex::new(State {
                oldest: contents.version,
                contents,
                ..State::default()
            })),
            journal,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { api.serve(request).await }.boxed()
        });
        Client::new(service, "default")
    }

    /// Closes all watches, as a server does that restarts or a client that ends.
    pub fn close_streams(&self) {
        self.lock().streams.clear();
    }

    /// Closes all watches, and forgets what happened until now: whoever opens one from before must list anew.
    pub fn expire_watches(&self) {
        let mut state = self.lock();
        state.streams.clear();
        state.contents.version += 1;
        state.oldest = state.contents.version;
        state.history.clear();
    }

    /// Tells the watches that want it how far they are.
    pub fn send_bookmarks(&self) {
        let state = self.lock();
        for stream in state.streams.iter().filter(|stream| stream.bookmarks) {
            let (version, kind, _) = kind_of(&stream.resource);
            let at = state.contents.version.to_string();
            let object = json!({"apiVersion": version, "kind": kind, "metadata": {"resourceVersion": at}, "spec": {}});
            stream.send("BOOKMARK", &object);
        }
    }

    /// Closes all watches, and forgets what happened until now: whoever knows this version goes on.
    pub fn compact(&self) {
        let mut state = self.lock();
        state.streams.clear();
        state.oldest = state.contents.version;
        state.history.clear();
    }

    /// Lets the lists go wrong whose plural and namespace match, until [`FakeApi::heal_lists`].
    pub fn fail_lists(&self, fault: Fault, matches: impl Fn(&str, &str) -> bool + Send + 'static) {
        self.lock().failing = Some((Box::new(matches), fault));
    }

    /// All lists succeed again.
    pub fn heal_lists(&self) {
        self.lock().failing = None;
    }

    /// The plurals that were listed since the last time.
    pub fn take_lists(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().lists)
    }

    /// How many watches are open.
    pub fn streams(&self) -> usize {
        self.lock().streams.len()
    }

    /// One object, without managed fields.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.lock()
            .contents
            .objects
            .get(key)
            .map(|stored| stored.value.clone())
    }

    /// Whether something holds of an object; not of one that is not there.
    pub fn is(&self, key: &Key, holds: impl FnOnce(&Value) -> bool) -> bool {
        let state = self.lock();
        let found = state.contents.objects.get(key);
        found.is_some_and(|stored| holds(&stored.value))
    }

    /// Lets the rest of the cluster move, unless it is known that nothing will. Returns whether anything did.
    pub fn moves(&self, turn: impl FnOnce() -> bool) -> bool {
        let version = self.lock().contents.version;
        if self.lock().still == Some(version) {
            return false;
        }
        let moved = turn();
        let mut state = self.lock();
        state.still = (!moved).then_some(state.contents.version);
        moved
    }

    /// All objects of a kind in a namespace, by name.
    pub fn all(&self, resource: &str, namespace: &str) -> Vec<Value> {
        self.lock()
            .contents
            .objects
            .iter()
            .filter(|(key, _)| key.resource == resource && key.namespace == namespace)
            .map(|(_, stored)| stored.value.clone())
            .collect()
    }

    /// Everything that is kept, without managed fields.
    pub fn everything(&self) -> BTreeMap<Key, Value> {
        self.lock()
            .contents
            .objects
            .iter()
            .map(|(key, stored)| (key.clone(), stored.value.clone()))
            .collect()
    }

    /// The data that each Secret had when it was first made.
    pub fn first_secrets(&self) -> BTreeMap<Key, Value> {
        self.lock().contents.first_secrets.clone()
    }

    /// Takes or gives the operator its rights in a namespace.
    pub fn delegate(&self, namespace: &str, allowed: bool) {
        let mut state = self.lock();
        if allowed {
            state.contents.not_delegated.remove(namespace);
        } else {
            state.contents.not_delegated.insert(namespace.to_owned());
        }
    }

    /// Writes as somebody else does who is not counted: `value` replaces what is there, whose fields that differ
    /// become `manager`'s. Returns whether anything differed.
    pub fn put(&self, key: &Key, manager: &str, subresource: &str, value: Value) -> bool {
        let mut state = self.lock();
        let before = state.contents.objects.get(key).map(|it| it.value.clone());
        state.write_whole(key, manager, subresource, value);
        before != state.contents.objects.get(key).map(|it| it.value.clone())
    }

    /// Changes an object as somebody else does who is not counted.
    pub fn edit(&self, key: &Key, manager: &str, change: impl FnOnce(&mut Value)) {
        let mut value = self
            .get(key)
            .unwrap_or_else(|| panic!("{key:?} does not exist"));
        change(&mut value);
        assert!(self.put(key, manager, "", value), "{key:?} did not change");
    }

    /// Lets an object have been made at another time.
    pub fn made_at(&self, key: &Key, time: Timestamp) {
        let mut state = self.lock();
        let stored = state.contents.objects.get_mut(key);
        let stored = stored.unwrap_or_else(|| panic!("{key:?} does not exist"));
        stored.value["metadata"]["creationTimestamp"] = json!(time);
        drop(state);
        self.edit(key, "kubelet", |value| {
            value["metadata"]["annotations"] = json!({"made": time});
        });
    }

    /// Deletes an object as somebody else does who is not counted; its children follow. What has a finalizer stays until
    /// that is taken off; a pod is gone at once.
    pub fn remove(&self, key: &Key) {
        assert!(self.lock().remove(key, false), "{key:?} does not exist");
    }

    /// Deletes an object in the foreground: its children first, whatever finalizers it has; then it goes, if nothing holds it.
    pub fn remove_in_foreground(&self, key: &Key) {
        let mut state = self.lock();
        let uid = text(&state.contents.objects[key].value, "/metadata/uid").to_owned();
        for child in state.children_of(&uid) {
            state.remove(&child, true);
        }
        state.remove(key, true);
    }

    /// Applies as an operator before this one did, who is not counted.
    pub fn operator_applied(&self, key: &Key, value: &Value) {
        let outcome = self.lock().apply(key, "bailiwick-operator", "", value);
        assert!(outcome.is_ok(), "{key:?} could not be applied");
    }

    /// Has a user apply something as soon as the object that is there under this name is gone.
    pub fn user_applies_next(&self, key: &Key, value: &Value) {
        self.lock().contents.next.insert(key.clone(), value.clone());
    }

    /// Does something right after the next request for an object, before its answer is heard.
    pub fn after_next(&self, key: &Key, work: impl FnOnce() + Send + 'static) {
        self.lock().after = Some((key.clone(), Box::new(work)));
    }

    /// Applies as a user does, with `kubectl apply --server-side`.
    pub fn user_applies(&self, key: &Key, value: &Value) {
        let outcome = self.lock().apply(key, "kubectl", "", value);
        assert!(outcome.is_ok(), "{key:?} could not be applied");
    }

    async fn serve(&self, request: Request<Body>) -> Result<Response<Answering>, io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(io::Error::other)?;
        let call = Parsed::of(&parts, &body);
        let fault = if call.verb == "list" {
            self.lock().list_fault(&call.key)
        } else if call.verb == "watch" {
            None
        } else {
            let name = if call.key.namespace.is_empty() {
                call.key.name.clone()
            } else {
                format!("{}/{}", call.key.namespace, call.key.name)
            };
            self.journal.next(call.verb, call.full_resource(), name)
        };
        let answered = match fault {
            Some(Fault::Fail) => Err(Refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "injected".to_owned(),
            )),
            Some(Fault::Refuse(code)) => Err(refusal(code)),
            Some(Fault::DieBefore) => return std::future::pending().await,
            Some(Fault::DieAfter) => {
                let _ = self.lock().answer(&call);
                return std::future::pending().await;
            }
            Some(Fault::LoseAnswer) => {
                // Whether it was done or refused, nobody hears of it.
                let _ = self.lock().answer(&call);
                return Err(io::Error::new(
                    io::ErrorKind::ConnectionReset,
                    "the answer was lost",
                ));
            }
            None => self.lock().answer(&call),
        };
        let after = {
            let mut state = self.lock();
            let due = state
                .after
                .as_ref()
                .is_some_and(|(key, _)| *key == call.key);
            due.then(|| state.after.take()).flatten()
        };
        if let Some((_, work)) = after {
            work();
        }
        Ok(respond(answered))
    }
}

/// The text at a pointer, or none as an empty one.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// What the operator may do: what it needs.
fn rules(body: &Value) -> Value {
    let rules: Vec<Value> = bailiwick_model::rights::needed()
        .into_iter()
        .map(|right| {
            json!({
                "verbs": [right.verb], "apiGroups": [right.group], "resources": [right.resource],
                "resourceNames": right.name.into_iter().collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut answer = body.clone();
    answer["status"] = json!({"incomplete": false, "nonResourceRules": [], "resourceRules": rules});
    answer
}

fn not_found(key: &Key) -> Refusal {
    Refusal(
        StatusCode::NOT_FOUND,
        "NotFound",
        format!("{} {} not found", key.resource, key.name),
    )
}

fn conflict(key: &Key) -> Refusal {
    Refusal(
        StatusCode::CONFLICT,
        "Conflict",
        format!("{} {} is another by now", key.resource, key.name),
    )
}
