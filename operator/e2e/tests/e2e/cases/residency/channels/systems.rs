//! Postgres and the store opened from within: their applications get the rights of their administrators, the store calls
//! itself another place's, a certificate is exchanged. I/O: kubectl as whoever broke the glass, client pods, Secrets.

pub mod certificate;
pub mod marker;
pub mod postgres;
pub mod wishes;

use std::time::Duration;

use bailiwick_minio_admin::seal;
use bailiwick_model::flow::Flow;
use bailiwick_model::names::{LABEL_FLOW, OPERATOR_NAMESPACE};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::bench::{Bench, PREFIX, Tried, Written, exec};
use crate::cases::components::access::BUCKET;
use crate::cases::residency::controls;
use crate::client::{self, LABEL, MANAGER, Running, STRANGER, Script, Stand};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::wait::{seen_if, until};
use crate::writer::logins;

/// How long a script may take.
const LIMIT: Duration = Duration::from_secs(40);
/// How long a pod may take to be another.
const RESTART: Duration = Duration::from_mins(2);
/// The setting of the store's servers that names their region.
const REGION: &str = "MINIO_SITE_REGION";
/// The policy that lets a user of the store do anything.
const ADMINISTRATOR: &str = "consoleAdmin";
/// The name that is given to what is made in the store.
const NAME: &str = "E2ECHANNEL";
/// A role that only servers' programs should need.
const SERVER_ROLE: &str = "pg_execute_server_program";

/// What a user of the store asks for.
#[derive(Clone, Copy)]
pub struct Wish {
    /// What it would have then.
    out: &'static str,
    make: fn(&Login) -> Outcome<Vec<Request>>,
}

/// A request to the store.
struct Request {
    method: &'static str,
    path: String,
    query: String,
    body: Vec<u8>,
    signed: bool,
}

/// A user of the store, and the store.
struct Login {
    access_key: String,
    secret_key: String,
    endpoint: String,
    region: String,
    /// The address of a store elsewhere, once there is one.
    elsewhere: String,
}

impl Login {
    fn of(secret: &Secret) -> Self {
        let text = |key: &str| {
            secret
                .data
                .as_ref()
                .and_then(|data| data.get(key))
                .map(|value| String::from_utf8_lossy(&value.0).into_owned())
                .unwrap_or_default()
        };
        Self {
            access_key: text("access-key"),
            secret_key: text("secret-key"),
            endpoint: text("endpoint"),
            region: text("region"),
            elsewhere: String::new(),
        }
    }

    /// A request of the admin API whose body is sealed with the user's own key, as that API wants it.
    fn sealed(
        &self,
        method: &'static str,
        operation: &str,
        query: &str,
        plain: &str,
    ) -> Outcome<Request> {
        let body = seal::seal(self.secret_key.as_bytes(), plain.as_bytes())?;
        Ok(Request {
            method,
            path: format!("/minio/admin/v3/{operation}"),
            query: query.to_owned(),
            body,
            signed: true,
        })
    }

    fn host(&self) -> &str {
        self.endpoint.trim_start_matches("https://")
    }
}

fn bucket(method: &'static str, query: &str, body: &str) -> Request {
    Request {
        method,
        path: format!("/{BUCKET}"),
        query: query.to_owned(),
        body: body.as_bytes().to_vec(),
        signed: true,
    }
}

fn stand(bench: &Bench<'_>) -> Stand {
    Stand::allowed(bench.place)
}

/// Hands the logins over; of the store's administrator as one for the same endpoint.
pub async fn prepare(bench: &Bench<'_>) -> Outcome {
    let names = &bench.place.names;
    for login in logins(names) {
        client::hand_over(bench.cluster, bench.place, &login).await?;
    }
    let user = names.object_store_user(BUCKET);
    client::hand_over(bench.cluster, bench.place, &user).await?;
    let mut login = bench.cluster.secret(&names.namespace(), &user).await?;
    let root = bench
        .cluster
        .secret(&names.namespace(), &names.object_store_root())
        .await?;
    let data = login.data.get_or_insert_default();
    data.extend(root.data.unwrap_or_default());
    keep(bench, ROOT, data).await
}

/// The Secret of the store's administrator in the client's namespace.
const ROOT: &str = "e2e-channel-root";

fn secrets(bench: &Bench<'_>, namespace: &str) -> Api<Secret> {
    Api::namespaced(bench.cluster.client.clone(), namespace)
}

async fn keep(
    bench: &Bench<'_>,
    name: &str,
    data: &std::collections::BTreeMap<String, ByteString>,
) -> Outcome {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "labels": { LABEL: "true" } }, "data": data,
    });
    secrets(bench, &stand(bench).namespace)
        .patch(
            name,
            &PatchParams::apply(MANAGER).force(),
            &Patch::Apply(&secret),
        )
        .await
        .during(format_args!("keep {name}"))?;
    Ok(())
}

/// Sends requests; the status of each, and the store's code for a refusal.
async fn send(
    bench: &Bench<'_>,
    secret: &str,
    region: Option<&str>,
    requests: &[Request],
) -> Outcome<Vec<(u16, String)>> {
    let told: Vec<Value> = requests
        .iter()
        .map(|request| {
            json!({
                "method": request.method, "path": request.path, "query": request.query,
                "body": ByteString(request.body.clone()), "signed": request.signed,
            })
        })
        .collect();
    let script = Script {
        name: "requests",
        told: json!({ "secret": secret, "region": region, "requests": told }),
        secrets: vec![secret.to_owned()],
    };
    let answers = client::run(bench.cluster, &stand(bench), &script, LIMIT).await?;
    Ok(serde_json::from_value(answers)?)
}

/// The address of the store elsewhere.
async fn elsewhere(bench: &Bench<'_>) -> Outcome<Option<String>> {
    let running = ListParams::default().fields("status.phase=Running");
    Ok(bench
        .cluster
        .pods_where(STRANGER, &running)
        .await?
        .into_iter()
        .find(|pod| pod.name_any().starts_with("foreign-store-"))
        .and_then(|pod| pod.status?.pod_ip))
}

/// What opens the Region's store to it.
fn opening(bench: &Bench<'_>) -> Written {
    Written {
        kind: (
            "networking.k8s.io",
            "v1",
            "NetworkPolicy",
            "networkpolicies",
        ),
        namespace: Some(bench.namespace()),
        name: format!("{PREFIX}-store"),
        body: json!({ "spec": {
            "podSelector": { "matchLabels": { LABEL_FLOW: Flow::ObjectStore.label() } },
            "policyTypes": ["Egress"],
            "egress": [{ "to": [{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": STRANGER } } }] }],
        } }),
    }
}

/// The way in for the application, beside the one that a quarantine shuts: a store that copies elsewhere is a leak, and what
/// is tried here after it would else be tried on a Region that lets nobody in.
fn way_in(bench: &Bench<'_>) -> Written {
    let flows = [Flow::Postgres.label(), Flow::ObjectStore.label()];
    Written {
        kind: (
            "networking.k8s.io",
            "v1",
            "NetworkPolicy",
            "networkpolicies",
        ),
        namespace: Some(bench.namespace()),
        name: format!("{PREFIX}-clients"),
        body: json!({ "spec": {
            "podSelector": { "matchExpressions": [{ "key": LABEL_FLOW, "operator": "In", "values": flows }] },
            "policyTypes": ["Ingress"],
            "ingress": [{ "from": [{ "namespaceSelector": {
                "matchLabels": { "kubernetes.io/metadata.name": stand(bench).namespace } } }] }],
        } }),
    }
}

/// The name of the primary's pod.
async fn primary(bench: &Bench<'_>) -> Outcome<String> {
    let region = serde_json::to_value(bench.cluster.regions().get(&bench.place.region).await?)?;
    region["status"]["postgres"]["primary"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("the Region has no primary"))
}

/// Runs statements as the superuser, which takes a broken glass.
async fn as_superuser(bench: &Bench<'_>, database: &str, statements: &[&str]) -> Outcome {
    let member = primary(bench).await?;
    let mut command = vec![
        "psql",
        "-h",
        "/run/postgresql",
        "-U",
        "postgres",
        "-d",
        database,
        "-XAtq",
        "-v",
        "ON_ERROR_STOP=1",
    ];
    for statement in statements {
        command.extend(["-c", statement]);
    }
    exec(&member, &bench.namespace(), "postgres", true, &command)
        .await?
        .map(drop)
        .map_err(|said| Failure::new(format!("psql in {member}: {said}")))
}

fn policy_of(user: &str, policy: &str) -> Request {
    Request {
        method: "PUT",
        path: "/minio/admin/v3/set-user-or-group-policy".to_owned(),
        // In the order of their names, as the signature wants them.
        query: format!("isGroup=false&policyName={policy}&userOrGroup={user}"),
        body: Vec::new(),
        signed: true,
    }
}

/// The Region stands still, and its applications get the rights of administrators.
pub async fn open(bench: &Bench<'_>) -> Outcome {
    bench.pause(true).await?;
    as_superuser(
        bench,
        "clinical",
        &[
            "GRANT CREATE ON DATABASE clinical TO clinical_db_admin",
            &format!("GRANT {SERVER_ROLE} TO clinical_app_writer"),
        ],
    )
    .await?;
    as_superuser(
        bench,
        "postgres",
        &[
            "ALTER SYSTEM SET log_statement = 'all'",
            "SELECT pg_reload_conf()",
        ],
    )
    .await?;
    let answers = send(bench, ROOT, None, &[policy_of(BUCKET, ADMINISTRATOR)]).await?;
    ensure(matches!(answers.as_slice(), [(200..=299, _)]), || {
        format!("the store's administrator was told {answers:?}")
    })?;
    let certificate = bench.place.names.client_certificate();
    client::hand_over(bench.cluster, bench.place, &certificate).await?;
    // A store elsewhere, and the way there.
    bench.unbind(&["network-policies"]).await?;
    bench.write(&[opening(bench), way_in(bench)]).await?;
    let script = Script {
        name: "foreign_store",
        told: json!({}),
        secrets: Vec::new(),
    };
    let stranger = Stand::stranger(&bench.place.location);
    Running::start(bench.cluster, &stranger, &script).await?;
    until("the store elsewhere", LIMIT, || async {
        Ok(seen_if(elsewhere(bench).await?.is_some(), || {
            "it does not run".to_owned()
        }))
    })
    .await
}

async fn paused(bench: &Bench<'_>) -> Outcome<bool> {
    let region = bench.cluster.regions().get(&bench.place.region).await?;
    Ok(region.spec.lifecycle.paused)
}

/// Takes the rights back. What it cannot take back itself, the operator does when the Region goes on.
pub async fn shut(bench: &Bench<'_>) -> Outcome {
    if !paused(bench).await? {
        return Ok(());
    }
    let stand = stand(bench);
    opening(bench).gone_as_operator(bench.cluster).await?;
    controls::bind_again(bench.cluster).await?;
    // Whoever streams, and the store elsewhere.
    client::end_all(bench.cluster).await?;
    let clients = secrets(bench, &stand.namespace);
    let names = &bench.place.names;
    for secret in [names.postgres_internal(), names.client_certificate()] {
        if clients.get_metadata_opt(&secret).await?.is_some() {
            clients.delete(&secret, &DeleteParams::default()).await?;
        }
    }
    as_superuser(
        bench,
        "clinical",
        &[
            "DROP PUBLICATION IF EXISTS e2e_channel",
            "REVOKE CREATE ON DATABASE clinical FROM clinical_db_admin",
            &format!("REVOKE {SERVER_ROLE} FROM clinical_app_writer"),
        ],
    )
    .await?;
    as_superuser(
        bench,
        "postgres",
        &[
            "ALTER SYSTEM RESET log_statement",
            "SELECT pg_reload_conf()",
        ],
    )
    .await?;
    if clients.get_metadata_opt(ROOT).await?.is_some() {
        let root = Login::of(&clients.get(ROOT).await?);
        let requests = [
            policy_of(BUCKET, &format!("bailiwick-{BUCKET}")),
            Request {
                method: "DELETE",
                path: format!("/minio/admin/v3/tier/{NAME}"),
                query: "force=true".to_owned(),
                body: Vec::new(),
                signed: true,
            },
            root.sealed("DELETE", "del-config-kv", "", "audit_webhook:e2e")?,
        ];
        // The store takes a moment to heed that nothing is sent to a target any more.
        until("the store to be as it was", RESTART, || async {
            let answers = send(bench, ROOT, None, &requests).await?;
            let done = answers.iter().all(|(status, code)| {
                matches!(status, 200..=299 | 404) || code.contains("NotFound")
            });
            Ok(seen_if(done, || format!("it answered {answers:?}")))
        })
        .await?;
    }
    way_in(bench).gone_as_operator(bench.cluster).await?;
    bench.pause(false).await
}

/// A client signs a request for the other place.
pub async fn signs_for_the_other(bench: &Bench<'_>) -> Outcome<Tried> {
    let user = bench.place.names.object_store_user(BUCKET);
    let listing = bucket("GET", "list-type=2&max-keys=1", "");
    let answers = send(bench, &user, Some(&bench.other.location), &[listing]).await?;
    match answers.as_slice() {
        [(200, _)] => Ok(Tried::Out(format!("serves as {}", bench.other.location))),
        [(400, code)] if code == "AuthorizationHeaderMalformed" => {
            Ok(Tried::Held("the store's region".to_owned()))
        }
        other => Err(Failure::new(format!("the store answered {other:?}"))),
    }
}

async fn set_region(bench: &Bench<'_>, location: &str) -> Outcome {
    let client = &bench.cluster.break_glass;
    let name = bench.place.names.object_store();
    let sets = Api::<StatefulSet>::namespaced(client.clone(), &bench.namespace());
    let set = serde_json::to_value(sets.get(&name).await?)?;
    let container = set["spec"]["template"]["spec"]["containers"][0]["name"].clone();
    let environment = json!([{ "name": REGION, "value": location }]);
    let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "name": container, "env": environment }] } } } });
    let patched = sets
        .patch(&name, &PatchParams::default(), &Patch::Strategic(patch))
        .await
        .during("set the store's region")?;
    let generation = patched.metadata.generation;
    until("the store to run with it", RESTART, || async {
        let status = sets.get(&name).await?.status.unwrap_or_default();
        let rolled = status.observed_generation == generation
            && status.current_revision == status.update_revision
            && status.ready_replicas == Some(status.replicas);
        Ok(seen_if(rolled, || {
            format!("{:?} ready", status.ready_replicas)
        }))
    })
    .await
}

/// The store calls itself the other place's.
pub async fn rename(bench: &Bench<'_>) -> Outcome {
    bench.pause(true).await?;
    set_region(bench, &bench.other.location).await
}

/// It calls itself by its own again.
pub async fn rename_back(bench: &Bench<'_>) -> Outcome {
    if paused(bench).await? {
        set_region(bench, &bench.place.location).await?;
        bench.pause(false).await?;
    }
    Ok(())
}

/// The operator begins anew, and reads everything at once that it would read every five minutes.
pub async fn restart_operator(bench: &Bench<'_>) -> Outcome {
    let pods = Api::<Pod>::namespaced(bench.cluster.client.clone(), OPERATOR_NAMESPACE);
    pods.delete_collection(&DeleteParams::default(), &ListParams::default())
        .await
        .during("restart the operator")?;
    Ok(())
}
