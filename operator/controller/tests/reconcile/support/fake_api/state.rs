//! The objects and watches as they are: what each verb makes of them.

use std::collections::{BTreeMap, BTreeSet};

use futures::channel::mpsc;
use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::journal::Fault;
use super::fields::{
    at, has_finalizers, is_terminating, leaves, metadata_of, selected, served, set, unset,
};
use super::wire::{Parsed, refusal};
use super::{
    Answer, Answered, Happened, Key, Manager, NEVER_LISTED, Path, Refusal, State, Stored, Stream,
    conflict, kind_of, not_found, rules, text,
};

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

    pub fn answer(&mut self, call: &Parsed) -> Answered {
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

    pub fn list_fault(&mut self, key: &Key) -> Option<Fault> {
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
    pub fn write_whole(&mut self, key: &Key, manager: &str, subresource: &str, mut value: Value) {
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
    pub fn apply(
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
    pub fn remove(&mut self, key: &Key, graceful: bool) -> bool {
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
    pub fn children_of(&self, uid: &str) -> Vec<Key> {
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
