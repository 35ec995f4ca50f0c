//! Server-side apply in order, and pruning. Manifests and what the watches saw in; as few writes as possible out:
//! an object is sent only when it differs from what our last apply returned. Decides nothing else.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use bailiwick_model::facts::{ReadFailure, RefusedObject};
use bailiwick_model::growth::{Growth, Unmarked};
use bailiwick_model::manifest::Manifest;
use bailiwick_model::names::{ANNOTATION_ARGO_SYNC, FIELD_MANAGER, RETAINED, RETENTION_MANAGER};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::metadata::PartialObjectMeta;
use kube::{Client, ResourceExt};

use crate::context::Context;
use crate::error::{Error, StepError};
use crate::refusals::{Refusals, refused_object};
use crate::version::{Record, Records, Version};
use crate::watch::Object;

/// Applies the manifests in order. One that the API server refuses is added to `refused` and stops none of the others, but
/// for those that build on it: they are put right as they were sent before, and not changed.
///
/// `look` says whether kinds that are not watched are to be read again. Returns how many writes were sent.
///
/// # Errors
/// [`Error::Apply`] with the object's name when the API server gave no answer of this one object, and
/// [`Error::NotLeader`] when the Lease was lost.
pub async fn apply(
    ctx: &Context,
    region: &str,
    records: &mut Records,
    manifests: &[Manifest],
    look: bool,
    refused: &mut Refusals,
) -> Result<usize, Error> {
    let mut writes = 0;
    for manifest in manifests {
        let object = object_of(manifest);
        let key = (manifest.resource.kind.clone(), object.clone());
        let sent = hash(manifest);
        let known = records.get(&key).filter(|record| record.sent == sent);
        let waits = !refused.objects.is_empty() && !refused.nothing_waits;
        if known.is_none() && waits && manifest.builds_on_others() {
            refused.objects.push(RefusedObject {
                verb: "change",
                kind: key.0,
                namespace: object.namespace,
                name: object.name,
                cause: "it builds on what is refused".to_owned(),
                code: None,
            });
            continue;
        }
        let due = match known {
            None => Ok(true),
            Some(known) => current(ctx, region, &manifest.resource, &object, look)
                .await
                .map(|found| found.is_some_and(|found| found.as_ref() != Some(&known.version))),
        };
        // The same was sent before, and is not what is there now.
        let undoes = known.is_some();
        let applied = match due {
            Ok(false) => continue,
            Ok(true) => send(ctx, region, manifest, &object, undoes).await,
            Err(error) => Err(error),
        };
        match applied {
            Ok((version, sends)) => {
                writes += sends;
                records.insert(key, Record { sent, version });
            }
            Err(error) => {
                let refusal = refused_object(error, &manifest.resource.kind, &object)?;
                refused.objects.push(refusal);
            }
        }
    }
    Ok(writes)
}

fn object_of(manifest: &Manifest) -> Object {
    Object {
        namespace: manifest.object.namespace().unwrap_or_default(),
        name: manifest.object.name_any(),
    }
}

/// Sends one manifest; returns the version that it has then, and how many writes that took. `undoes` says that the same was
/// sent before.
async fn send(
    ctx: &Context,
    region: &str,
    manifest: &Manifest,
    object: &Object,
    undoes: bool,
) -> Result<(Version, usize), Error> {
    ctx.lease.check()?;
    let mut writes = 1;
    let before = ctx
        .watched
        .versions(&manifest.resource.kind)
        .and_then(|versions| versions.version(region, object));
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &object.namespace, &manifest.resource);
    let failed = |source| Error::Apply {
        object: manifest.id(),
        source: Box::new(source),
    };
    let parameters = PatchParams {
        field_validation: Some(kube::api::ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_MANAGER).force()
    };
    let mut live = api
        .patch(&object.name, &parameters, &Patch::Apply(&manifest.object))
        .await
        .map_err(failed)?;
    if let Some(manager) = foreign_manager(&live) {
        tracing::warn!(
            object = manifest.id(),
            manager,
            "replacing an object that somebody else added fields to"
        );
        let mut whole = manifest.object.clone();
        whole.metadata.resource_version = live.metadata.resource_version.clone();
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        live = api
            .replace(&object.name, &parameters, &whole)
            .await
            .map_err(failed)?;
        writes += 1;
    }
    if undoes {
        tracing::warn!(
            object = manifest.id(),
            "an object had been changed or deleted by somebody else and was put right"
        );
        ctx.metrics.undone(region);
    }
    let version = Version::of(&live);
    let kind = &manifest.resource.kind;
    (ctx.watched).put_applied(region, kind, object, &live, before.as_ref());
    Ok((version, writes))
}

/// Those of the manifests, as `Kind/name`, whose kinds are watched and that are not there. Asks nobody.
#[must_use]
pub fn absent(ctx: &Context, region: &str, manifests: &[Manifest]) -> Vec<String> {
    manifests
        .iter()
        .filter(|manifest| {
            ctx.watched
                .versions(&manifest.resource.kind)
                .is_some_and(|versions| versions.version(region, &object_of(manifest)).is_none())
        })
        .map(Manifest::id)
        .collect()
}

/// The version that the cluster holds: `None` when there is no need to ask, `Some(None)` when the object is gone.
async fn current(
    ctx: &Context,
    region: &str,
    resource: &ApiResource,
    object: &Object,
    look: bool,
) -> Result<Option<Option<Version>>, Error> {
    if let Some(versions) = ctx.watched.versions(&resource.kind) {
        return Ok(Some(versions.version(region, object)));
    }
    if !look {
        return Ok(None);
    }
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &object.namespace, resource);
    match api.get_metadata_opt(&object.name).await {
        Ok(found) => Ok(Some(
            found.map(|found: PartialObjectMeta<DynamicObject>| Version::of(&found)),
        )),
        Err(source) => Err(Error::Observe {
            what: format!("{}/{}", resource.kind, object.name),
            source: Box::new(source),
        }),
    }
}

/// Deletes the Region's watched children of prunable kinds that are no longer desired, each with its uid as a
/// precondition. Volumes, Secrets, namespaces and Patroni's own ConfigMaps are of no prunable kind. One that the API server
/// does not let us delete is added to `refused`, and the others go; while anything is refused, policies alone do.
///
/// # Errors
/// [`Error::Delete`] with the object's name when the API server gave no answer of this one object, and
/// [`Error::NotLeader`] when the Lease was lost.
pub async fn prune(
    ctx: &Context,
    region: &str,
    records: &mut Records,
    manifests: &[Manifest],
    refused: &mut Refusals,
) -> Result<usize, Error> {
    let wanted: BTreeSet<(&str, Object)> = manifests
        .iter()
        .map(|manifest| (manifest.resource.kind.as_str(), object_of(manifest)))
        .collect();
    let mut deletes = 0;
    for (resource, found) in ctx.watched.prunable(region) {
        // What replaces it, or no longer needs it, may be refused. A policy that goes only shuts.
        let waits = resource.kind != "NetworkPolicy" && !refused.objects.is_empty();
        for (object, version) in found {
            if waits || wanted.contains(&(resource.kind.as_str(), object.clone())) {
                continue;
            }
            ctx.lease.check()?;
            if let Err(error) = delete(ctx, &resource, &object, &version.uid).await {
                refused
                    .objects
                    .push(refused_object(error, &resource.kind, &object)?);
                continue;
            }
            ctx.watched.forget(region, &resource.kind, &object);
            records.remove(&(resource.kind.clone(), object));
            deletes += 1;
        }
    }
    Ok(deletes)
}

/// Lets a claim ask for more, if it still has this uid. A refusal (a quota, say) is the step's own: everything else of
/// the Region goes on.
///
/// # Errors
/// The outer one is [`Error::Apply`] with the claim's name; the inner one a refusal by the API server.
pub async fn grow(
    client: &Client,
    namespace: &str,
    growth: &Growth,
) -> Result<Result<(), StepError>, Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let patch = serde_json::json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        // With its uid an apply never makes a claim, and never meets another's.
        "metadata": { "name": growth.claim, "uid": growth.uid },
        "spec": { "resources": { "requests": { "storage": growth.size } } },
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api
        .patch(&growth.claim, &parameters, &Patch::Apply(&patch))
        .await
    {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_invalid() => {
            Ok(Err(StepError {
                system: "volumes",
                what: format!("grow {} to {}", growth.claim, growth.size),
                failure: ReadFailure::Refused,
                source: Some(Box::new(kube::Error::Api(status))),
            }))
        }
        Err(source) => Err(Error::Apply {
            object: format!("PersistentVolumeClaim/{}", growth.claim),
            source: Box::new(source),
        }),
    }
}

/// Marks a claim as one that nobody prunes, if it still has this uid. As a manager of its own: what [`grow`] applied stays.
///
/// # Errors
/// [`Error::Apply`] with the claim's name. One that is gone by now is none.
pub async fn mark_claim(
    client: &Client,
    namespace: &str,
    Unmarked { claim, uid }: &Unmarked,
) -> Result<(), Error> {
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let patch = serde_json::json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": claim, "uid": uid, "annotations": { ANNOTATION_ARGO_SYNC: RETAINED } },
    });
    let parameters = PatchParams::apply(RETENTION_MANAGER).force();
    match api.patch(claim, &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(Error::Apply {
            object: format!("PersistentVolumeClaim/{claim}"),
            source: Box::new(source),
        }),
    }
}

/// Deletes one object if it still has this uid. One that is gone already is no error.
///
/// # Errors
/// [`Error::Delete`] with the object's name.
pub async fn delete(
    ctx: &Context,
    resource: &ApiResource,
    object: &Object,
    uid: &str,
) -> Result<(), Error> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(ctx.client.clone(), &object.namespace, resource);
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match api.delete(&object.name, &parameters).await {
        Ok(_) => Ok(()),
        // A conflict is the precondition's: another object has the name by now, and the one we meant is gone.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(Error::Delete {
            object: format!("{}/{}", resource.kind, object.name),
            source: Box::new(source),
        }),
    }
}

/// Another manager that owns part of what the object means. Server-side apply leaves its fields in place: an extra
/// container, port or policy rule would survive every apply of ours.
fn foreign_manager(live: &DynamicObject) -> Option<String> {
    live.metadata
        .managed_fields
        .iter()
        .flatten()
        .find_map(|entry| {
            let manager = entry.manager.as_deref().unwrap_or_default();
            let owns = entry.fields_v1.as_ref().is_some_and(|fields| {
                ["f:spec", "f:data", "f:binaryData"]
                    .iter()
                    .any(|key| fields.0.get(*key).is_some())
            });
            (manager != FIELD_MANAGER && entry.subresource.is_none() && owns)
                .then(|| manager.to_owned())
        })
}

fn hash(manifest: &Manifest) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Keys of JSON objects are sorted, so that equal manifests have equal texts.
    serde_json::to_string(&manifest.object)
        .unwrap_or_default()
        .hash(&mut hasher);
    hasher.finish()
}
