//! An API server in memory, as the service under a `kube::Client`: server-side apply with field managers, create,
//! get, replace, delete with preconditions, finalizers, grace of pods and garbage collection, list and watch by label,
//! reviews of rights. No process and no network; it knows of each kind only what the operator needs of it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use futures::channel::mpsc;
use futures::{FutureExt, StreamExt};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::{Map, Value, json};

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

fn refusal(code: u16) -> Refusal {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        _ => "InternalError",
    };
    Refusal(
        StatusCode::from_u16(code).unwrap(),
        reason,
        "injected".to_owned(),
    )
}

fn respond(answered: Answered) -> Response<Answering> {
    let (code, body) = match answered {
        Ok(Answer::Object(value)) => (
            StatusCode::OK,
            Answering::Once(Some(value.to_string().into_bytes())),
        ),
        Ok(Answer::Created(value)) => (
            StatusCode::CREATED,
            Answering::Once(Some(value.to_string().into_bytes())),
        ),
        Ok(Answer::Stream(receiver)) => (StatusCode::OK, Answering::Stream(receiver)),
        Err(Refusal(code, reason, message)) => {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "code": code.as_u16(),
            });
            (code, Answering::Once(Some(status.to_string().into_bytes())))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}

/// The body of an answer.
enum Answering {
    Once(Option<Vec<u8>>),
    Stream(mpsc::UnboundedReceiver<Vec<u8>>),
}

impl http_body::Body for Answering {
    type Data = <Body as http_body::Body>::Data;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Once(bytes) => Poll::Ready(bytes.take().map(|it| Ok(Frame::data(it.into())))),
            Self::Stream(receiver) => receiver
                .poll_next_unpin(cx)
                .map(|line| line.map(|it| Ok(Frame::data(it.into())))),
        }
    }
}

/// A request, understood.
struct Parsed {
    verb: &'static str,
    key: Key,
    subresource: String,
    selector: String,
    manager: String,
    metadata_only: bool,
    /// The version that a watch begins at.
    since: u64,
    bookmarks: bool,
    body: Value,
}

impl Parsed {
    fn of(parts: &http::request::Parts, body: &[u8]) -> Self {
        let mut path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        // `api/v1` or `apis/group/version`; `apis` alone asks for the groups.
        path.drain(
            ..match path[0] {
                "api" => 2,
                _ if path.len() == 1 => 0,
                _ => 3,
            },
        );
        let namespace = if path[0] == "namespaces" && path.len() > 2 {
            let namespace = path[1].to_owned();
            path.drain(..2);
            namespace
        } else {
            String::new()
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let query: BTreeMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let resource = path[0].to_owned();
        let named = path.get(1).copied().unwrap_or_default().to_owned();
        let verb = match (parts.method.clone(), named.is_empty()) {
            (Method::GET, true) if resource == "apis" => "groups",
            (Method::GET, false) => "get",
            (Method::GET, true) if query.get("watch").is_some_and(|it| it == "true") => "watch",
            (Method::GET, true) => "list",
            (Method::POST, _) if resource == "selfsubjectaccessreviews" => "review",
            (Method::POST, _) if resource == "selfsubjectrulesreviews" => "rules",
            (Method::POST, _) => "create",
            (Method::PUT, _) => "replace",
            (Method::DELETE, _) => "delete",
            (Method::PATCH, _) => {
                let content = &parts.headers["content-type"];
                if content == "application/merge-patch+json" {
                    "patch"
                } else {
                    assert_eq!(content, "application/apply-patch+yaml", "{}", parts.uri);
                    assert_eq!(query.get("force").map(String::as_str), Some("true"));
                    "apply"
                }
            }
            (method, _) => panic!("{method} {} is not served", parts.uri),
        };
        let accept = parts
            .headers
            .get("accept")
            .map_or("", |it| it.to_str().unwrap());
        let name = if named.is_empty() {
            text(&body, "/metadata/name").to_owned()
        } else {
            named
        };
        Self {
            verb,
            key: Key {
                resource,
                namespace,
                name,
            },
            subresource: path.get(2).copied().unwrap_or_default().to_owned(),
            selector: query.get("labelSelector").cloned().unwrap_or_default(),
            manager: query.get("fieldManager").cloned().unwrap_or_default(),
            metadata_only: accept.contains("PartialObjectMetadata"),
            since: query
                .get("resourceVersion")
                .and_then(|version| version.parse().ok())
                .unwrap_or_default(),
            bookmarks: query
                .get("allowWatchBookmarks")
                .is_some_and(|it| it == "true"),
            body,
        }
    }

    fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.key.resource.clone()
        } else {
            format!("{}/{}", self.key.resource, self.subresource)
        }
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
                at += 3;
            }
            b'+' => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

/// The text at a pointer, or none as an empty one.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn selected(value: &Value, selector: &str) -> bool {
    let labels = value.pointer("/metadata/labels");
    let label = |key: &str| labels.and_then(|it| it.get(key)).and_then(Value::as_str);
    selector
        .split(',')
        .filter(|it| !it.is_empty())
        .all(|requirement| match requirement.split_once('=') {
            Some((key, value)) => label(key) == Some(value),
            None => label(requirement).is_some(),
        })
}

/// What a client gets: with the managed fields, or the metadata alone.
fn served(stored: &Stored) -> Value {
    let mut value = stored.value.clone();
    let managed: Vec<Value> = stored
        .managers
        .iter()
        .filter(|(_, paths)| !paths.is_empty())
        .map(|(key, paths)| {
            let (manager, operation, subresource) = key;
            let mut fields = json!({});
            for path in paths {
                let mut at = &mut fields;
                for step in path {
                    at = at
                        .as_object_mut()
                        .unwrap()
                        .entry(format!("f:{step}"))
                        .or_insert_with(|| json!({}));
                }
            }
            let mut entry = json!({
                "manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields,
                "apiVersion": value["apiVersion"],
            });
            if let Some(time) = stored.times.get(key) {
                entry["time"] = json!(time);
            }
            if !subresource.is_empty() {
                entry["subresource"] = json!(subresource);
            }
            entry
        })
        .collect();
    value["metadata"]["managedFields"] = json!(managed);
    value
}

fn metadata_of(value: &Value) -> Value {
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": value["metadata"],
    })
}

/// The paths of all values that are not objects with fields; lists count as one value.
fn leaves(value: &Value) -> BTreeSet<Path> {
    fn walk(value: &Value, at: &mut Path, found: &mut BTreeSet<Path>) {
        match value {
            Value::Null => {}
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    at.push(name.clone());
                    walk(value, at, found);
                    at.pop();
                }
            }
            _ => {
                found.insert(at.clone());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(value, &mut Vec::new(), &mut found);
    found.retain(|path| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        !matches!(
            path.as_slice(),
            ["apiVersion" | "kind"]
                | [
                    "metadata",
                    "name"
                        | "namespace"
                        | "uid"
                        | "resourceVersion"
                        | "generation"
                        | "creationTimestamp"
                        | "deletionTimestamp"
                        | "managedFields",
                    ..
                ]
        )
    });
    found
}

fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| value.get(step))
}

fn set(value: &mut Value, path: &[String], new: Value) {
    let mut at = value;
    for step in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = at
            .as_object_mut()
            .unwrap()
            .entry(step.clone())
            .or_insert(Value::Null);
    }
    *at = new;
}

/// Removes a field, and objects that are empty then.
fn unset(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    if rest.is_empty() {
        fields.remove(first);
        return;
    }
    if let Some(inner) = fields.get_mut(first) {
        unset(inner, rest);
        if inner.as_object().is_some_and(Map::is_empty) {
            fields.remove(first);
        }
    }
}

impl State {
    /// What is served beside what every API server serves: snapshots, once there is one.
    fn groups(&self) -> Value {
        let mut keys = self.contents.objects.keys();
        let groups = if keys.any(|key| key.resource == "volumesnapshots") {
            json!([{"name": "snapshot.storage.k8s.io", "versions": []}])
        } else {
            json!([])
        };
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    fn answer(&mut self, call: &Parsed) -> Answered {
        let key = &call.key;
        match call.verb {
            "review" => Ok(Answer::Created(self.review(&call.body))),
            "rules" => Ok(Answer::Created(rules(&call.body))),
            "groups" => Ok(Answer::Object(self.groups())),
            "list" | "watch" if NEVER_LISTED.contains(&key.resource.as_str()) => Err(Refusal(
                StatusCode::FORBIDDEN,
                "Forbidden",
                format!("list {}", key.resource),
            )),
            "list" if self.contents.not_delegated.contains(&key.namespace) => Err(refusal(403)),
            "list" => Ok(Answer::Object(self.list(call))),
            "watch" => Ok(Answer::Stream(self.watch(call))),
            "get" => {
                let stored = self
                    .contents
                    .objects
                    .get(key)
                    .ok_or_else(|| not_found(key))?;
                let value = served(stored);
                Ok(Answer::Object(if call.metadata_only {
                    metadata_of(&value)
                } else {
                    value
                }))
            }
            "create" => {
                self.writable(key)?;
                if self.contents.objects.contains_key(key) {
                    return Err(Refusal(
                        StatusCode::CONFLICT,
                        "AlreadyExists",
                        format!("{} {} already exists", key.resource, key.name),
                    ));
                }
                self.write_whole(key, &call.manager, "", call.body.clone());
                Ok(Answer::Created(served(&self.contents.objects[key])))
            }
            "replace" => {
                let stored = self
                    .contents
                    .objects
                    .get(key)
                    .ok_or_else(|| not_found(key))?;
                let wanted = text(&call.body, "/metadata/resourceVersion");
                if !wanted.is_empty() && wanted != text(&stored.value, "/metadata/resourceVersion")
                {
                    return Err(conflict(key));
                }
                self.write_whole(key, &call.manager, &call.subresource, call.body.clone());
                Ok(Answer::Object(served(&self.contents.objects[key])))
            }
            "patch" => {
                // One that goes with its last finalizer is answered as it was.
                let patched = if call.subresource == "status" {
                    self.merge_status(key, &call.manager, &call.body)?
                } else {
                    self.merge_patch(key, &call.manager, &call.body)?
                };
                Ok(Answer::Object(
                    self.contents.objects.get(key).map_or(patched, served),
                ))
            }
            "apply" => {
                self.writable(key)?;
                self.apply(key, &call.manager, &call.subresource, &call.body)?;
                Ok(Answer::Object(served(&self.contents.objects[key])))
            }
            "delete" => {
                let stored = self
                    .contents
                    .objects
                    .get(key)
                    .ok_or_else(|| not_found(key))?;
                let wanted = text(&call.body, "/preconditions/uid");
                assert!(!wanted.is_empty(), "a delete without a uid: {key:?}");
                if wanted != text(&stored.value, "/metadata/uid") {
                    return Err(conflict(key));
                }
                let value = served(stored);
                self.writable(key)?;
                self.remove(key, true);
                Ok(Answer::Object(value))
            }
            verb => panic!("{verb} is not served"),
        }
    }

    fn writable(&self, key: &Key) -> Result<(), Refusal> {
        let namespace = Key::new("namespaces", "", &key.namespace);
        let exists = key.namespace.is_empty()
            || key.namespace == "default"
            || self.contents.objects.contains_key(&namespace);
        if !exists {
            return Err(not_found(&namespace));
        }
        if self.contents.not_delegated.contains(&key.namespace) {
            return Err(refusal(403));
        }
        Ok(())
    }

    fn review(&self, body: &Value) -> Value {
        let namespace = text(body, "/spec/resourceAttributes/namespace");
        let mut answer = body.clone();
        answer["status"] = json!({"allowed": !self.contents.not_delegated.contains(namespace)});
        answer
    }

    fn list(&self, call: &Parsed) -> Value {
        let (version, kind, _) = kind_of(&call.key.resource);
        let items: Vec<Value> = self
            .contents
            .objects
            .iter()
            .filter(|(key, _)| key.resource == call.key.resource)
            .filter(|(key, _)| call.key.namespace.is_empty() || key.namespace == call.key.namespace)
            .filter(|(_, stored)| selected(&stored.value, &call.selector))
            .map(|(_, stored)| {
                if call.metadata_only {
                    metadata_of(&stored.value)
                } else {
                    stored.value.clone()
                }
            })
            .collect();
        json!({
            "apiVersion": version, "kind": format!("{kind}List"), "items": items,
            "metadata": {"resourceVersion": self.contents.version.to_string()},
        })
    }

    fn watch(&mut self, call: &Parsed) -> mpsc::UnboundedReceiver<Vec<u8>> {
        let (sender, receiver) = mpsc::unbounded();
        if call.since < self.oldest {
            let gone = json!({"type": "ERROR", "object": {
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410,
            }});
            let _ = sender.unbounded_send(format!("{gone}\n").into_bytes());
            return receiver;
        }
        let stream = Stream {
            resource: call.key.resource.clone(),
            namespace: call.key.namespace.clone(),
            selector: call.selector.clone(),
            metadata_only: call.metadata_only,
            bookmarks: call.bookmarks,
            sender,
        };
        for happened in self.history.iter().filter(|it| it.version > call.since) {
            stream.tell(happened);
        }
        self.streams.push(stream);
        receiver
    }

    fn list_fault(&mut self, key: &Key) -> Option<Fault> {
        self.lists.push(key.resource.clone());
        let (matches, fault) = self.failing.as_ref()?;
        matches(&key.resource, &key.namespace).then_some(*fault)
    }

    /// Tells of what became of an object at the version that is reached.
    fn tell(&mut self, key: &Key, before: Option<Value>, after: Option<Value>) {
        self.streams.retain(|stream| !stream.sender.is_closed());
        let happened = Happened {
            version: self.contents.version,
            key: key.clone(),
            before,
            after,
        };
        for stream in &self.streams {
            stream.tell(&happened);
        }
        self.history.push(happened);
    }

    /// Writes a whole object for a manager that does not apply: what differs is its own then.
    fn write_whole(&mut self, key: &Key, manager: &str, subresource: &str, mut value: Value) {
        let old = self.contents.objects.get(key).cloned();
        if let Some(old) = &old {
            let kept = if subresource == "status" {
                ["metadata", "spec", "data"].as_slice()
            } else {
                ["status"].as_slice()
            };
            // What the other endpoint is for stays; the simulated cluster writes a new object with both.
            for field in kept {
                if let Some(found) = old.value.get(*field) {
                    value[*field] = found.clone();
                }
            }
        }
        let empty = json!({});
        let before = old.as_ref().map_or(&empty, |old| &old.value);
        let now = leaves(&value);
        let changed: BTreeSet<Path> = now
            .iter()
            .filter(|path| at(before, path) != at(&value, path))
            .cloned()
            .collect();
        let mut managers = old
            .as_ref()
            .map(|old| old.managers.clone())
            .unwrap_or_default();
        for paths in managers.values_mut() {
            paths.retain(|path| now.contains(path) && !changed.contains(path));
        }
        let us: Manager = (manager.to_owned(), "Update", subresource.to_owned());
        let writer = (!changed.is_empty()).then_some(&us);
        managers.entry(us.clone()).or_default().extend(changed);
        self.store(key, value, managers, writer);
    }

    /// A merge patch of metadata, with the resourceVersion that it is meant for.
    fn merge_patch(&mut self, key: &Key, manager: &str, patch: &Value) -> Result<Value, Refusal> {
        let stored = self
            .contents
            .objects
            .get(key)
            .ok_or_else(|| not_found(key))?;
        let mut value = stored.value.clone();
        let fields = patch.as_object().expect("a patch is an object");
        assert!(
            fields.keys().eq(["metadata"]),
            "the operator patches metadata alone, not {patch}"
        );
        for field in ["uid", "resourceVersion"] {
            let wanted = text(patch, &format!("/metadata/{field}"));
            assert!(!wanted.is_empty(), "a patch without {field}: {key:?}");
            if wanted != text(&value, &format!("/metadata/{field}")) {
                return Err(conflict(key));
            }
        }
        value["metadata"]["finalizers"] = patch["metadata"]["finalizers"].clone();
        self.write_metadata(key, manager, value.clone());
        Ok(value)
    }

    /// A merge patch of the status, of the very version that it is meant for.
    fn merge_status(&mut self, key: &Key, manager: &str, patch: &Value) -> Result<Value, Refusal> {
        fn merge(into: &mut Value, patch: &Value) {
            let Value::Object(fields) = patch else {
                *into = patch.clone();
                return;
            };
            if !into.is_object() {
                *into = json!({});
            }
            for (field, value) in fields {
                if value.is_null() {
                    into.as_object_mut().and_then(|into| into.remove(field));
                } else {
                    merge(&mut into[field], value);
                }
            }
        }
        let stored = self
            .contents
            .objects
            .get(key)
            .ok_or_else(|| not_found(key))?;
        let mut value = stored.value.clone();
        for field in ["uid", "resourceVersion"] {
            if text(patch, &format!("/metadata/{field}"))
                != text(&value, &format!("/metadata/{field}"))
            {
                return Err(conflict(key));
            }
        }
        merge(&mut value["status"], &patch["status"]);
        self.write_whole(key, manager, "status", value.clone());
        Ok(value)
    }

    fn write_metadata(&mut self, key: &Key, manager: &str, value: Value) {
        let mut managers = self.contents.objects[key].managers.clone();
        let path = vec!["metadata".to_owned(), "finalizers".to_owned()];
        for paths in managers.values_mut() {
            paths.remove(&path);
        }
        managers
            .entry((manager.to_owned(), "Update", String::new()))
            .or_default()
            .insert(path);
        self.store(key, value, managers, None);
    }

    /// Server-side apply with force: what this manager applied before and applies no longer goes, unless another
    /// manager has it too.
    fn apply(
        &mut self,
        key: &Key,
        manager: &str,
        subresource: &str,
        config: &Value,
    ) -> Result<(), Refusal> {
        let old = self.contents.objects.get(key).cloned();
        if old.is_none() && !subresource.is_empty() {
            return Err(not_found(key));
        }
        let uid = text(config, "/metadata/uid");
        if !uid.is_empty()
            && old
                .as_ref()
                .is_none_or(|old| text(&old.value, "/metadata/uid") != uid)
        {
            return Err(conflict(key));
        }
        let (mut value, mut managers) = old.clone().map_or_else(
            || (json!({}), BTreeMap::new()),
            |old| (old.value, old.managers),
        );
        let mut paths = leaves(config);
        paths.retain(|path| (path[0] == "status") == (subresource == "status"));
        let us: Manager = (manager.to_owned(), "Apply", subresource.to_owned());
        let former = managers.remove(&us).unwrap_or_default();
        for path in former.difference(&paths) {
            if !managers.values().any(|theirs| theirs.contains(path)) {
                unset(&mut value, path);
            }
        }
        for path in &paths {
            let new = at(config, path).cloned().unwrap_or_default();
            if at(&value, path) != Some(&new) {
                for theirs in managers.values_mut() {
                    theirs.remove(path);
                }
                set(&mut value, path, new);
            }
        }
        for theirs in managers.values_mut() {
            theirs.retain(|path| at(&value, path).is_some());
        }
        managers.insert(us.clone(), paths);
        self.valid_update(key, &value)?;
        let changed = old.is_none_or(|old| old.value != value);
        self.store(key, value, managers, changed.then_some(&us));
        Ok(())
    }

    /// What the API server holds updates to: claim templates never change, and a claim grows only where its class lets it.
    fn valid_update(&self, key: &Key, new: &Value) -> Result<(), Refusal> {
        let Some(old) = self.contents.objects.get(key).map(|old| &old.value) else {
            return Ok(());
        };
        let differs = |pointer: &str| old.pointer(pointer) != new.pointer(pointer);
        match key.resource.as_str() {
            "statefulsets" if differs("/spec/volumeClaimTemplates") => Err(refusal(422)),
            "persistentvolumeclaims" if differs("/spec/resources/requests/storage") => {
                let class = Key::new("storageclasses", "", text(new, "/spec/storageClassName"));
                let expands = self
                    .contents
                    .objects
                    .get(&class)
                    .is_some_and(|class| class.value["allowVolumeExpansion"] == json!(true));
                if expands { Ok(()) } else { Err(refusal(403)) }
            }
            _ => Ok(()),
        }
    }

    /// Keeps an object; `writer` is whoever changed fields that it may have owned before.
    fn store(
        &mut self,
        key: &Key,
        mut value: Value,
        managers: BTreeMap<Manager, BTreeSet<Path>>,
        writer: Option<&Manager>,
    ) {
        let (version, kind, counts) = kind_of(&key.resource);
        let known = self.contents.objects.get(key);
        let mut times = known.map(|old| old.times.clone()).unwrap_or_default();
        for (manager, paths) in &managers {
            let same = known.is_some_and(|old| old.managers.get(manager) == Some(paths));
            if !same || writer == Some(manager) {
                times.insert(manager.clone(), Timestamp::now());
            }
        }
        let old = known.map(|old| old.value.clone());
        value["apiVersion"] = json!(version);
        value["kind"] = json!(kind);
        let meta = value
            .as_object_mut()
            .unwrap()
            .entry("metadata")
            .or_insert_with(|| json!({}))
            .as_object_mut()
            .unwrap();
        meta.remove("managedFields");
        meta.insert("name".to_owned(), json!(key.name));
        if !key.namespace.is_empty() {
            meta.insert("namespace".to_owned(), json!(key.namespace));
        }
        if let Some(old) = &old {
            for field in [
                "uid",
                "creationTimestamp",
                "deletionTimestamp",
                "resourceVersion",
                "generation",
            ] {
                match old["metadata"].get(field) {
                    Some(found) => meta.insert(field.to_owned(), found.clone()),
                    None => meta.remove(field),
                };
            }
            if counts && old.get("spec") != value.get("spec") {
                let next = old["metadata"]["generation"].as_i64().unwrap() + 1;
                value["metadata"]["generation"] = json!(next);
            }
        } else {
            self.contents.uids += 1;
            let uid = format!("uid-{}", self.contents.uids);
            meta.insert("uid".to_owned(), json!(uid));
            meta.insert("creationTimestamp".to_owned(), json!(Timestamp::now()));
            if counts {
                meta.insert("generation".to_owned(), json!(1));
            }
        }
        if old.as_ref() != Some(&value) {
            self.contents.version += 1;
            value["metadata"]["resourceVersion"] = json!(self.contents.version.to_string());
            if key.resource == "secrets" {
                self.contents
                    .first_secrets
                    .entry(key.clone())
                    .or_insert_with(|| value["data"].clone());
            }
            self.tell(key, old, Some(value.clone()));
        }
        let ends = is_terminating(&value) && !has_finalizers(&value) && key.resource != "pods";
        self.contents.objects.insert(
            key.clone(),
            Stored {
                value,
                managers,
                times,
            },
        );
        if ends {
            self.end(key);
        }
    }

    /// What a request to delete does: what has a finalizer, and a pod that gets its grace, is marked and stays.
    fn remove(&mut self, key: &Key, graceful: bool) -> bool {
        let Some(stored) = self.contents.objects.get_mut(key) else {
            return false;
        };
        let terminating = is_terminating(&stored.value);
        let grace = graceful && key.resource == "pods" && !terminating;
        if !grace && !has_finalizers(&stored.value) {
            self.end(key);
            return true;
        }
        if !terminating {
            let seconds = stored.value["spec"]["terminationGracePeriodSeconds"].as_i64();
            let end = Timestamp::now() + jiff::SignedDuration::from_secs(seconds.unwrap_or(30));
            let before = stored.value.clone();
            self.contents.version += 1;
            stored.value["metadata"]["deletionTimestamp"] = json!(end);
            stored.value["metadata"]["resourceVersion"] = json!(self.contents.version.to_string());
            let value = stored.value.clone();
            self.tell(key, Some(before), Some(value));
        }
        true
    }

    /// What has this owner and no other.
    fn children_of(&self, uid: &str) -> Vec<Key> {
        self.contents
            .objects
            .iter()
            .filter(|(_, child)| {
                let owners = child.value.pointer("/metadata/ownerReferences");
                let owners = owners
                    .and_then(Value::as_array)
                    .map_or(&[][..], Vec::as_slice);
                !owners.is_empty() && owners.iter().all(|owner| text(owner, "/uid") == uid)
            })
            .map(|(child, _)| child.clone())
            .collect()
    }

    fn end(&mut self, key: &Key) {
        let Some(stored) = self.contents.objects.remove(key) else {
            return;
        };
        self.contents.version += 1;
        let uid = text(&stored.value, "/metadata/uid").to_owned();
        self.tell(key, Some(stored.value), None);
        for child in self.children_of(&uid) {
            self.remove(&child, true);
        }
        if let Some(next) = self.contents.next.remove(key) {
            let applied = self.apply(key, "kubectl", "", &next);
            assert!(applied.is_ok(), "{key:?} could not be applied");
        }
    }
}

/// Whether an object is being deleted.
pub fn is_terminating(value: &Value) -> bool {
    value.pointer("/metadata/deletionTimestamp").is_some()
}

fn has_finalizers(value: &Value) -> bool {
    value
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .is_some_and(|finalizers| !finalizers.is_empty())
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
