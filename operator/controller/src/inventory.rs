//! What is in a Region's namespaces and is not the operator's, and what of the cluster concerns it: read as a whole, now
//! and then. Lists of the API server in, Inventory out. Reads only; Secrets and ConfigMaps are never listed.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::region::Region;
use bailiwick_model::facts::{
    ClientNamespace, Inventory, NamespacePod, Observed, ReadFailure, Right,
};
use bailiwick_model::names::{LABEL_MANAGED_BY, LABEL_REGION, MANAGED_BY, Names, SNAPSHOTS};
use bailiwick_model::rights;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount, Volume};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::{Expression, GroupVersionKind, Selector};
use kube::{Client, ResourceExt};

use crate::cause;

/// Reads a Region's inventory. One read that fails leaves all of it unknown.
pub async fn inventory(client: &Client, region: &Region, names: &Names) -> Observed<Inventory> {
    match read(client, region, names).await {
        Ok(seen) => Observed::Seen(seen),
        Err(error) => {
            tracing::warn!(
                region = names.region(),
                cause = cause::cause(&error),
                "the Region's inventory could not be read"
            );
            Observed::Failed(cause::unread(failure(&error), Some(&error)))
        }
    }
}

fn failure(error: &kube::Error) -> ReadFailure {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => ReadFailure::Forbidden,
        kube::Error::Api(_) => ReadFailure::NotReady,
        _ => ReadFailure::Unreachable,
    }
}

async fn read(client: &Client, region: &Region, names: &Names) -> kube::Result<Inventory> {
    let mut seen = Inventory {
        api_groups: client
            .list_api_groups()
            .await?
            .groups
            .into_iter()
            .map(|group| group.name)
            .collect(),
        log_readers: log_readers(client).await?,
        rights: own_rights(client, &names.namespace()).await?,
        clients: clients(client, region, names).await?,
        ..Inventory::default()
    };
    for namespace in names.namespaces() {
        read_namespace(client, &namespace, &mut seen).await?;
    }
    if seen.api_groups.contains(SNAPSHOTS) {
        seen.snapshots = snapshots(client, names).await?;
    }
    Ok(seen)
}

/// The VolumeSnapshots of the Region's namespaces, each with its class; none where the operator may not list them or they
/// are served in no version that it knows.
async fn snapshots(
    client: &Client,
    names: &Names,
) -> kube::Result<Option<BTreeMap<String, String>>> {
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(SNAPSHOTS, "v1", "VolumeSnapshot"),
        "volumesnapshots",
    );
    let mut found = BTreeMap::new();
    for namespace in names.namespaces() {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource);
        match api.list(&ListParams::default()).await {
            Ok(listed) => found.extend(listed.iter().map(|snapshot| {
                let class = snapshot.data["spec"]["volumeSnapshotClassName"].as_str();
                (
                    format!("{namespace}/{}", snapshot.name_any()),
                    class.unwrap_or_default().to_owned(),
                )
            })),
            Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(found))
}

async fn read_namespace(
    client: &Client,
    namespace: &str,
    seen: &mut Inventory,
) -> kube::Result<()> {
    let all = ListParams::default();
    let id = |name: String| format!("{namespace}/{name}");
    let policies = Api::<NetworkPolicy>::namespaced(client.clone(), namespace)
        .list_metadata(&all)
        .await?;
    seen.foreign_policies.extend(
        policies
            .iter()
            .filter(|policy| !is_ours(&policy.metadata))
            .map(|policy| id(policy.name_any())),
    );
    let services = Api::<Service>::namespaced(client.clone(), namespace)
        .list(&all)
        .await?;
    seen.published_services.extend(
        services
            .iter()
            .filter(|service| is_published(service))
            .map(|service| id(service.name_any())),
    );
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace)
        .list_metadata(&all)
        .await?;
    seen.manual_slices.extend(
        slices
            .iter()
            .filter(|slice| !is_of_a_controller(&slice.metadata))
            .map(|slice| id(slice.name_any())),
    );
    let ingresses = Api::<Ingress>::namespaced(client.clone(), namespace)
        .list_metadata(&all)
        .await?;
    seen.ingresses
        .extend(ingresses.iter().map(|ingress| id(ingress.name_any())));
    let bindings = Api::<RoleBinding>::namespaced(client.clone(), namespace)
        .list(&all)
        .await?;
    seen.bindings.extend(
        bindings
            .iter()
            .map(|binding| (id(binding.name_any()), grant(binding))),
    );
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace)
        .list(&all)
        .await?;
    let without_token: BTreeSet<String> = accounts
        .iter()
        .filter(|account| account.automount_service_account_token == Some(false))
        .map(ResourceExt::name_any)
        .collect();
    let pods = Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&all)
        .await?;
    seen.pods.extend(
        pods.iter()
            .map(|pod| (id(pod.name_any()), neighbour(pod, &without_token))),
    );
    Ok(())
}

fn is_ours(meta: &ObjectMeta) -> bool {
    meta.labels
        .as_ref()
        .and_then(|labels| labels.get(LABEL_MANAGED_BY))
        .map(String::as_str)
        == Some(MANAGED_BY)
}

fn is_published(service: &Service) -> bool {
    let Some(spec) = &service.spec else {
        return true;
    };
    spec.type_.as_deref().unwrap_or("ClusterIP") != "ClusterIP"
        || spec
            .external_ips
            .as_ref()
            .is_some_and(|ips| !ips.is_empty())
        || spec
            .external_name
            .as_ref()
            .is_some_and(|name| !name.is_empty())
        || spec.selector.as_ref().is_none_or(BTreeMap::is_empty)
}

/// Slices mirrored from Endpoints are made by hand too: only those that follow a Service's selector are not.
/// <https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#management>
fn is_of_a_controller(meta: &ObjectMeta) -> bool {
    meta.labels
        .as_ref()
        .and_then(|labels| labels.get("endpointslice.kubernetes.io/managed-by"))
        .map(String::as_str)
        == Some("endpointslice-controller.k8s.io")
}

fn grant(binding: &RoleBinding) -> String {
    let subjects: Vec<(String, String, String)> = binding
        .subjects
        .iter()
        .flatten()
        .map(|subject| {
            (
                subject.kind.clone(),
                subject.namespace.clone().unwrap_or_default(),
                subject.name.clone(),
            )
        })
        .collect();
    rights::grant(&binding.role_ref.kind, &binding.role_ref.name, &subjects)
}

fn neighbour(pod: &Pod, without_token: &BTreeSet<String>) -> NamespacePod {
    let Some(spec) = &pod.spec else {
        return NamespacePod::default();
    };
    let containers = || {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    };
    let account = spec.service_account_name.clone();
    NamespacePod {
        ours: is_ours(&pod.metadata),
        ended: pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed")),
        node: spec.node_name.clone(),
        images: containers()
            .filter_map(|container| container.image.clone())
            .collect(),
        host_network: [spec.host_network, spec.host_pid, spec.host_ipc].contains(&Some(true)),
        writable_root: containers().any(|container| {
            container
                .security_context
                .as_ref()
                .and_then(|context| context.read_only_root_filesystem)
                != Some(true)
        }),
        // What the pod says of it wins over its account.
        token: spec.automount_service_account_token.unwrap_or_else(|| {
            !account
                .as_ref()
                .is_some_and(|account| without_token.contains(account))
        }),
        account,
        quotes_log: containers().any(|container| {
            container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
        }),
    }
}

/// The namespaces that the Region's clients are in.
async fn clients(
    client: &Client,
    region: &Region,
    names: &Names,
) -> kube::Result<BTreeMap<String, ClientNamespace>> {
    let own = names.namespaces();
    let mut found = BTreeMap::new();
    for wanted in &region.spec.network.clients {
        let selected = Api::<Namespace>::all(client.clone())
            .list_metadata(
                &ListParams::default().labels_from(&selector(&wanted.namespace_selector)),
            )
            .await?;
        for namespace in selected {
            let name = namespace.name_any();
            if own.contains(&name) || found.contains_key(&name) {
                continue;
            }
            let policies = Api::<NetworkPolicy>::namespaced(client.clone(), &name)
                .list(&ListParams::default())
                .await?;
            let pods = Api::<Pod>::namespaced(client.clone(), &name)
                .list(&ListParams::default())
                .await?;
            let seen = ClientNamespace {
                region: namespace.labels().get(LABEL_REGION).cloned(),
                default_deny: policies.iter().any(denies_all),
                nodes: pods
                    .iter()
                    .filter_map(|pod| pod.spec.as_ref()?.node_name.clone())
                    .collect(),
            };
            found.insert(name, seen);
        }
    }
    Ok(found)
}

fn selector(selector: &LabelSelector) -> Selector {
    let labels = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| Expression::Equal(key.clone(), value.clone()));
    let expressions = selector.match_expressions.iter().flatten().map(|one| {
        let values: BTreeSet<String> = one.values.iter().flatten().cloned().collect();
        match one.operator.as_str() {
            "In" => Expression::In(one.key.clone(), values),
            "NotIn" => Expression::NotIn(one.key.clone(), values),
            "DoesNotExist" => Expression::DoesNotExist(one.key.clone()),
            _ => Expression::Exists(one.key.clone()),
        }
    });
    labels.chain(expressions).collect()
}

fn denies_all(policy: &NetworkPolicy) -> bool {
    policy.spec.as_ref().is_some_and(|spec| {
        let types = spec.policy_types.as_deref().unwrap_or_default();
        let everything = spec
            .pod_selector
            .as_ref()
            .is_none_or(|selector| *selector == LabelSelector::default());
        everything
            && ["Ingress", "Egress"]
                .iter()
                .all(|type_| types.iter().any(|one| one == type_))
            && spec.ingress.as_ref().is_none_or(Vec::is_empty)
            && spec.egress.as_ref().is_none_or(Vec::is_empty)
    })
}

/// The DaemonSets that mount the nodes' logs, as `namespace/name`.
async fn log_readers(client: &Client) -> kube::Result<BTreeSet<String>> {
    let sets = Api::<DaemonSet>::all(client.clone())
        .list(&ListParams::default())
        .await?;
    Ok(sets
        .iter()
        .filter(|set| {
            set.spec
                .as_ref()
                .and_then(|spec| spec.template.spec.as_ref())
                .is_some_and(|spec| spec.volumes.iter().flatten().any(mounts_logs))
        })
        .map(|set| format!("{}/{}", set.namespace().unwrap_or_default(), set.name_any()))
        .collect())
}

/// Whether a volume shows what pods print: `/var/log/pods`, or a folder that holds it.
fn mounts_logs(volume: &Volume) -> bool {
    volume.host_path.as_ref().is_some_and(|host| {
        let path = host.path.trim_end_matches('/');
        ["", "/var", "/var/log", "/var/log/containers"].contains(&path)
            || path.starts_with("/var/log/pods")
    })
}

/// What the operator may do in a namespace; none when the API server could not list it all.
async fn own_rights(client: &Client, namespace: &str) -> kube::Result<Option<BTreeSet<Right>>> {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let answer = Api::<SelfSubjectRulesReview>::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    Ok(answer
        .status
        .filter(|status| !status.incomplete)
        .map(|status| {
            status
                .resource_rules
                .into_iter()
                .flat_map(|rule| {
                    rights::rights_of(
                        &rule.verbs,
                        rule.api_groups.as_deref().unwrap_or_default(),
                        rule.resources.as_deref().unwrap_or_default(),
                        rule.resource_names.as_deref().unwrap_or_default(),
                    )
                })
                .collect()
        }))
}
