//! The bare client that the operator is measured against: the same objects in the same order with the same verbs,
//! four Regions at once, and nothing else. It watches, looks up and decides nothing.

use bailiwick_model::assumption;
use bailiwick_model::desired::desired;
use bailiwick_model::manifest::Manifest;
use bailiwick_model::names::FIELD_MANAGER;
use bailiwick_model::planner::plan;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};

use crate::cluster::{platform, region};

/// As many Regions as the operator works on at once.
const CONCURRENCY: usize = 4;

/// One object to write.
pub enum Write {
    /// By server-side apply.
    Apply(Box<Manifest>),
    /// With create, as the operator makes Secrets.
    Create(Box<Secret>),
}

/// What is to be written for Regions, in the operator's order: the boundary, then Secrets, then the rest. `secrets`
/// are those of the Region `like`.
pub fn work(regions: &[String], like: &str, secrets: &[Secret]) -> Vec<Vec<Write>> {
    regions
        .iter()
        .map(|name| {
            let region = assumption::applied(region(name));
            let plan = plan(&region, &platform(), &assumption::facts(&region)).expect("a plan");
            let (boundary, rest): (Vec<_>, Vec<_>) = desired(&plan)
                .into_iter()
                .partition(|manifest| manifest.resource.kind == "NetworkPolicy");
            let applied = |manifest| Write::Apply(Box::new(manifest));
            let mut writes: Vec<Write> = boundary.into_iter().map(applied).collect();
            writes.extend(
                secrets
                    .iter()
                    .map(|secret| Write::Create(Box::new(renamed(secret, like, name)))),
            );
            writes.extend(rest.into_iter().map(applied));
            writes
        })
        .collect()
}

/// The Secret of one Region as another's.
fn renamed(secret: &Secret, from: &str, to: &str) -> Secret {
    let rename = |text: &str| text.replacen(from, to, 1);
    Secret {
        metadata: ObjectMeta {
            name: Some(rename(&secret.name_any())),
            namespace: Some(to.to_owned()),
            labels: Some(
                secret
                    .labels()
                    .iter()
                    .map(|(key, value)| {
                        let value = if value == from { to } else { value };
                        (key.clone(), value.to_owned())
                    })
                    .collect(),
            ),
            ..ObjectMeta::default()
        },
        data: secret.data.clone(),
        type_: secret.type_.clone(),
        ..Secret::default()
    }
}

/// Writes everything.
pub async fn apply(client: Client, work: Vec<Vec<Write>>) {
    stream::iter(work)
        .for_each_concurrent(CONCURRENCY, |writes| {
            let client = client.clone();
            async move {
                for write in writes {
                    send(&client, write).await;
                }
            }
        })
        .await;
}

async fn send(client: &Client, write: Write) {
    match write {
        Write::Apply(manifest) => {
            let namespace = manifest.object.namespace().expect("a namespace");
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), &namespace, &manifest.resource);
            let parameters = PatchParams::apply(FIELD_MANAGER)
                .force()
                .validation_strict();
            api.patch(
                &manifest.object.name_any(),
                &parameters,
                &Patch::Apply(&manifest.object),
            )
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", manifest.id()));
        }
        Write::Create(secret) => {
            let namespace = secret.namespace().expect("a namespace");
            let parameters = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            Api::<Secret>::namespaced(client.clone(), &namespace)
                .create(&parameters, &secret)
                .await
                .unwrap_or_else(|error| panic!("Secret {}: {error}", secret.name_any()));
        }
    }
}
