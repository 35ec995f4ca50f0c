//! The neighbour region: its pods with all that their own boundary opens to them, its accounts, and its credentials. I/O:
//! pods in the neighbour's namespace, and pods in the victim's own for which the same doors are open.
#![allow(clippy::too_many_lines, reason = "a table is read from top to bottom")]

use bailiwick_model::flow::Flow;
use bailiwick_model::names::{OPERATOR_SERVICE_ACCOUNT, port};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use serde_json::json;

use super::namespace::{NAME, binding, opening, service};
use super::{Adversary, Attempt, Expected, How, database, store, with};
use crate::cases::components::access::{Target, reach};
use crate::client::{LABEL, Stand, apply};
use crate::cluster::{Cluster, MANAGER, Place};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::request::{Ask, Who};

/// The namespace of an operator that the neighbour runs for itself.
const OPERATORS_NAMESPACE: &str = "bailiwick-es";
/// That operator.
pub const OPERATOR: Who = Who::Account(OPERATORS_NAMESPACE, "bailiwick-operator");
/// What gives it the rights that an operator has in the whole cluster.
const OPERATORS_RIGHTS: &str = "e2e-neighbours-operator";

/// A way into the victim that is tried from a pod of the neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A member's port.
    Member(i32),
    /// The store's pod.
    Store,
    /// The Service of the primary.
    Primary,
    /// The Service of the replicas.
    Replicas,
    /// The store's Service.
    StoreService,
}

/// What the neighbour tries.
pub fn attempts() -> Vec<Attempt> {
    use Expected::Refused;
    let adversary = Adversary::Neighbour;
    let silent = Refused("no answer");
    let mut attempts = super::attempts(
        adversary,
        [
            ("a member's Postgres", Door::Member(port::POSTGRES), silent),
            ("a member's Patroni", Door::Member(port::PATRONI), silent),
            (
                "a member's pgBackRest",
                Door::Member(port::PGBACKREST),
                silent,
            ),
            ("the store's pod", Door::Store, silent),
            ("the primary's Service", Door::Primary, silent),
            ("the replicas' Service", Door::Replicas, silent),
            ("the store's Service", Door::StoreService, silent),
        ],
        How::Connect,
    );
    attempts.extend(super::attempts(adversary, accounts(), |(who, ask)| {
        How::Ask(who, ask)
    }));
    attempts.extend(super::attempts(
        adversary,
        [(
            "the neighbour's password of the owner of the same name",
            database::sql("SELECT 1").of_neighbour(),
            Refused("password authentication failed"),
        )],
        How::Sql,
    ));
    attempts.extend(super::attempts(
        adversary,
        [
            (
                "the neighbour's keys of the user of the same name",
                store::request("GET", "/documents", "list-type=2").of_neighbour(),
                Refused("403 "),
            ),
            (
                "the neighbour's keys write an object",
                store::request("PUT", "/documents/e2e", "").of_neighbour(),
                Refused("403 "),
            ),
        ],
        How::Store,
    ));
    attempts
}

/// What the accounts of the neighbour ask of the victim.
fn accounts() -> Vec<(&'static str, (Who, Ask), Expected)> {
    use Expected::Refused;
    let pods = Who::Account("es", "es-pg");
    let default = Who::Account("es", "default");
    let operator = OPERATOR;
    let shared = Who::Account("bailiwick-system", "bailiwick-operator");
    let core = "/api/v1/namespaces/tr";
    let to_victim = json!([{ "to": [{ "namespaceSelector": { "matchLabels": { "bailiwick.dev/region": "tr" } } }] }]);
    let neighbours = |spec: serde_json::Value| {
        with(
            with(opening(), json!({ "metadata": { "namespace": "es" } })),
            json!({ "spec": spec }),
        )
    };
    let policies = "/apis/networking.k8s.io/v1/namespaces/es/networkpolicies";
    vec![
        (
            "its pods' account reads passwords",
            (pods, Ask::get(format!("{core}/secrets/tr-pg-internal"))),
            Refused("cannot get resource \"secrets\""),
        ),
        (
            "its pods' account lists Secrets",
            (pods, Ask::get(format!("{core}/secrets"))),
            Refused("cannot list resource \"secrets\""),
        ),
        (
            "its pods' account reads Patroni's settings",
            (pods, Ask::get(format!("{core}/configmaps/tr-pg-config"))),
            Refused("cannot get resource \"configmaps\""),
        ),
        (
            "its pods' account takes the leader's key",
            (
                pods,
                Ask::merge(
                    format!("{core}/configmaps/tr-pg-leader"),
                    json!({ "metadata": { "annotations": { "leader": "es-pg-0" } } }),
                ),
            ),
            Refused("cannot patch resource \"configmaps\""),
        ),
        (
            "its pods' account lists pods",
            (pods, Ask::get(format!("{core}/pods"))),
            Refused("cannot list resource \"pods\""),
        ),
        (
            "its pods' account relabels the primary",
            (
                pods,
                Ask::merge(
                    format!("{core}/pods/tr-pg-0"),
                    json!({ "metadata": { "labels": { "role": "none" } } }),
                ),
            ),
            Refused("cannot patch resource \"pods\""),
        ),
        (
            "its pods' account makes a Service",
            (
                pods,
                Ask::create(format!("{core}/services"), service(json!({}))),
            ),
            Refused("cannot create resource \"services\""),
        ),
        (
            "its pods' account asks for a token of the victim's",
            (
                pods,
                Ask::create(
                    format!("{core}/serviceaccounts/tr-pg/token"),
                    json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {} }),
                ),
            ),
            Refused("cannot create resource \"serviceaccounts/token\""),
        ),
        (
            "its pods' account opens a shell",
            (
                pods,
                Ask::create(
                    format!("{core}/pods/tr-pg-0/exec?command=id&stdout=true"),
                    serde_json::Value::Null,
                ),
            ),
            Refused("cannot create resource \"pods/exec\""),
        ),
        (
            "its default account reads the Region",
            (default, Ask::get("/apis/bailiwick.dev/v1alpha1/regions/tr")),
            Refused("cannot get resource \"regions\""),
        ),
        (
            "its pods' account widens the Region",
            (
                pods,
                Ask::merge(
                    "/apis/bailiwick.dev/v1alpha1/regions/tr",
                    json!({ "spec": { "residency": { "allowedLocations": ["es-mad-1"] } } }),
                ),
            ),
            Refused("cannot patch resource \"regions\""),
        ),
        (
            "an operator of its own reads the victim's passwords",
            (operator, Ask::get(format!("{core}/secrets/tr-pg-internal"))),
            Refused("cannot get resource \"secrets\""),
        ),
        (
            "an operator of its own is let in by Git",
            (
                Who::Own,
                Ask::apply(
                    &format!(
                        "/apis/rbac.authorization.k8s.io/v1/namespaces/tr/rolebindings/{NAME}"
                    ),
                    MANAGER,
                    binding(
                        "bailiwick-region",
                        OPERATORS_NAMESPACE,
                        "bailiwick-operator",
                    ),
                ),
            ),
            Refused("serve people, ServiceAccounts of that Region and the operator; nobody else"),
        ),
        (
            "the operator opens its egress to the victim",
            (
                shared,
                Ask::create(policies, neighbours(json!({ "egress": to_victim }))),
            ),
            Refused("names no other Region in bailiwick.dev/region"),
        ),
        (
            "the operator opens its egress to everything",
            (
                shared,
                Ask::create(policies, neighbours(json!({ "egress": [{}] }))),
            ),
            Refused("a rule without peers opens to everything"),
        ),
        (
            "the operator lets the neighbour into the victim",
            (
                shared,
                Ask::create(
                    "/apis/networking.k8s.io/v1/namespaces/tr/networkpolicies",
                    with(
                        opening(),
                        json!({ "spec": { "egress": null, "policyTypes": ["Ingress"], "ingress": [
                    { "from": [{ "namespaceSelector": { "matchLabels": { "bailiwick.dev/region": "es" } } }] }] } }),
                    ),
                ),
            ),
            Refused("names no other Region in bailiwick.dev/region"),
        ),
    ]
}

/// Tries the doors from pods of the neighbour, of each flow; and from the victim's own, for which each must be open.
pub async fn run(
    cluster: &Cluster,
    victim: &Place,
    neighbour: &Place,
    attempts: &[&Attempt],
) -> Outcome<Vec<Option<String>>> {
    let mut doors = Vec::new();
    for attempt in attempts {
        if let How::Connect(door) = attempt.how {
            doors.push(resolve(cluster, victim, door).await?);
        }
    }
    let stands: Vec<Stand> = [Flow::Postgres, Flow::Backup]
        .into_iter()
        .flat_map(|flow| [Stand::inside(neighbour, flow), Stand::inside(victim, flow)])
        .collect();
    let tried = try_join_all(stands.iter().map(|stand| reach(cluster, stand, &doors))).await?;
    let mut answers = Vec::new();
    for (index, door) in doors.iter().enumerate() {
        let of = |place: &Place| {
            stands
                .iter()
                .zip(&tried)
                .filter(|(stand, _)| stand.namespace == place.names.namespace())
                .map(|(_, answers)| answers[index].as_str())
                .collect::<Vec<_>>()
        };
        ensure(of(victim).contains(&"open"), || {
            format!(
                "{}:{} is open to no pod of {} either, so that nothing is shown: {:?}",
                door.host,
                door.port,
                victim.region,
                of(victim)
            )
        })?;
        // What got in counts, else the first that was not silent. A reset comes from there: packets do as well.
        let strangers = of(neighbour);
        answers.push(
            if strangers.iter().any(|it| ["open", "reset"].contains(it)) {
                None
            } else {
                strangers
                    .iter()
                    .find(|answer| **answer != "no answer")
                    .or_else(|| strangers.first())
                    .map(|answer| (*answer).to_owned())
            },
        );
    }
    Ok(answers)
}

/// Makes the neighbour's own operator and gives it its rights in the whole cluster, as the shipped manifests would.
pub async fn grant(cluster: &Cluster) -> Outcome {
    let client = &cluster.client;
    apply(
        &Api::<Namespace>::all(client.clone()),
        OPERATORS_NAMESPACE,
        &json!({ "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": OPERATORS_NAMESPACE, "labels": { LABEL: "true" } } }),
    )
    .await?;
    apply(
        &Api::<ServiceAccount>::namespaced(client.clone(), OPERATORS_NAMESPACE),
        OPERATOR_SERVICE_ACCOUNT,
        &json!({ "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": OPERATOR_SERVICE_ACCOUNT, "labels": { LABEL: "true" } } }),
    )
    .await?;
    apply(
        &Api::<ClusterRoleBinding>::all(client.clone()),
        OPERATORS_RIGHTS,
        &json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": OPERATORS_RIGHTS, "labels": { LABEL: "true" } },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bailiwick-operator" },
            "subjects": [{ "kind": "ServiceAccount", "namespace": OPERATORS_NAMESPACE,
                "name": OPERATOR_SERVICE_ACCOUNT }] }),
    )
    .await
}

/// Takes its rights away. It stays, as the clients' namespaces do.
pub async fn revoke(cluster: &Cluster) -> Outcome {
    let bindings = Api::<ClusterRoleBinding>::all(cluster.client.clone());
    match bindings
        .delete(OPERATORS_RIGHTS, &DeleteParams::default())
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error).during(format_args!("remove {OPERATORS_RIGHTS}")),
    }
}

async fn resolve(cluster: &Cluster, victim: &Place, door: Door) -> Outcome<Target> {
    let names = &victim.names;
    let (host, port) = match door {
        Door::Member(port) => (pod(cluster, victim, &names.postgres_member(0)).await?, port),
        Door::Store => (
            pod(cluster, victim, &format!("{}-0", names.object_store())).await?,
            port::S3,
        ),
        Door::Primary => (
            service_of(cluster, victim, &names.postgres_rw()).await?,
            port::POSTGRES,
        ),
        Door::Replicas => (
            service_of(cluster, victim, &names.postgres_ro()).await?,
            port::POSTGRES,
        ),
        Door::StoreService => (
            service_of(cluster, victim, &names.object_store()).await?,
            port::S3,
        ),
    };
    Ok(Target {
        host,
        port,
        served: false,
    })
}

async fn pod(cluster: &Cluster, place: &Place, name: &str) -> Outcome<String> {
    cluster
        .pods(&place.names.namespace())
        .await?
        .into_iter()
        .find(|pod| pod.name_any() == name)
        .and_then(|pod| pod.status?.pod_ip)
        .ok_or_else(|| Failure::new(format!("pod {name} has no address")))
}

async fn service_of(cluster: &Cluster, place: &Place, name: &str) -> Outcome<String> {
    Api::<Service>::namespaced(cluster.client.clone(), &place.names.namespace())
        .get(name)
        .await?
        .spec
        .and_then(|spec| spec.cluster_ip)
        .ok_or_else(|| Failure::new(format!("Service {name} has no address")))
}
