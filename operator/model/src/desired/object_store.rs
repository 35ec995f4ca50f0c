//! The object store: a StatefulSet with its Services, its Secrets, and what is wrong with a spec of it. In goes a
//! plan, out come descriptions; no I/O. All that is particular to the provider stands in this file, in `store.rs`
//! and in the controller's adapter: any server that takes MinIO's settings and admin API v3 can stand behind them.

mod connections;
mod rules;

use std::collections::BTreeMap;

use bailiwick_api::quantity;
use bailiwick_api::region::{ObjectStore, RegionSpec};
pub use connections::CONNECTIONS;
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction, KeyToPath,
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Probe,
    SecretVolumeSource, Service, ServicePort, ServiceSpec, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
pub use rules::violations;

use crate::desired::fence::{Start, behind};
use crate::flow::Flow;
use crate::manifest::{Manifest, labels, owned, selector};
pub use crate::names::component::OBJECT_STORE as COMPONENT;
use crate::names::{LABEL_FLOW, Names, OBJECT_STORE_UID, OWN_USERS, port};
use crate::plan::Plan;
use crate::secret::{Contents, SecretWanted};
use crate::volume::template_annotations;
use crate::workload::{affinity, container_security, disruption_budget, pod_security, resources};

/// The key of the root user's name in its Secret.
pub const ACCESS_KEY: &str = "access-key";
/// The key of the root user's secret in its Secret.
pub const SECRET_KEY: &str = "secret-key";
/// The key of the store's master key in its Secret.
pub const KMS_KEY: &str = "kms-key";

const CERTIFICATES: &str = "/etc/object-store/certs";
const ROOT: &str = "/etc/object-store/root";
const KMS: &str = "/etc/object-store/kms";
const PORT_NAME: &str = "https-s3";

/// The objects, in apply order: what clients and peers resolve before what runs.
#[must_use]
pub fn manifests(plan: &Plan) -> Vec<Manifest> {
    vec![
        Manifest::of(&service(plan)),
        Manifest::of(&peers(plan)),
        Manifest::of(&disruption_budget(
            plan,
            &plan.names.object_store(),
            COMPONENT,
            1,
        )),
        Manifest::of(&stateful_set(plan)),
    ]
}

fn s3_port() -> ServicePort {
    ServicePort {
        name: Some(PORT_NAME.to_owned()),
        port: port::S3,
        target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some("https".to_owned()),
        ..ServicePort::default()
    }
}

/// The Service of clients.
fn service(plan: &Plan) -> Service {
    Service {
        metadata: owned(
            plan,
            &plan.names.namespace(),
            &plan.names.object_store(),
            COMPONENT,
        ),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector(plan, COMPONENT)),
            ports: Some(vec![s3_port()]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The headless Service of the servers among themselves. They must resolve each other before any of them is ready.
fn peers(plan: &Plan) -> Service {
    Service {
        metadata: owned(
            plan,
            &plan.names.namespace(),
            &plan.names.object_store_peers(),
            COMPONENT,
        ),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector(plan, COMPONENT)),
            ports: Some(vec![s3_port()]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn stateful_set(plan: &Plan) -> StatefulSet {
    let store = &plan.spec.object_store;
    let mut pod_labels = labels(plan, COMPONENT);
    pod_labels.insert(LABEL_FLOW.to_owned(), Flow::ObjectStore.label().to_owned());
    StatefulSet {
        metadata: owned(
            plan,
            &plan.names.namespace(),
            &plan.names.object_store(),
            COMPONENT,
        ),
        spec: Some(StatefulSetSpec {
            service_name: Some(plan.names.object_store_peers()),
            // The members write their last WAL to it: it sleeps once they do.
            replicas: Some(if plan.spec.lifecycle.hibernated && plan.members.ended {
                0
            } else {
                store.servers
            }),
            // Servers wait for each other: one by one, none of them would ever become ready.
            pod_management_policy: Some("Parallel".to_owned()),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Retain".to_owned()),
                    when_scaled: Some("Retain".to_owned()),
                },
            ),
            selector: LabelSelector {
                match_labels: Some(selector(plan, COMPONENT)),
                match_expressions: None,
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(behind(plan, Start::Serving, pod(plan))),
            },
            volume_claim_templates: Some(
                (0..store.volumes_per_server)
                    .map(|volume| claim(plan, volume))
                    .collect(),
            ),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn claim(plan: &Plan, volume: i32) -> PersistentVolumeClaim {
    let size = plan.object_store_volume.template.clone();
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(format!("data{volume}")),
            labels: Some(labels(plan, COMPONENT)),
            annotations: template_annotations(&plan.object_store_volume),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: Some(plan.object_store_class.place().name.clone()),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(size))].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn pod(plan: &Plan) -> PodSpec {
    PodSpec {
        affinity: Some(affinity(plan, COMPONENT)),
        automount_service_account_token: Some(false),
        // A Service in the namespace must not become a setting of the server.
        enable_service_links: Some(false),
        security_context: Some(pod_security(OBJECT_STORE_UID)),
        termination_grace_period_seconds: Some(60),
        containers: vec![container(plan)],
        volumes: Some(vec![
            Volume {
                name: "tmp".to_owned(),
                empty_dir: Some(EmptyDirVolumeSource {
                    size_limit: Some(Quantity("256Mi".to_owned())),
                    medium: None,
                }),
                ..Volume::default()
            },
            secret_volume(
                "certs",
                plan.names.object_store_certificate(),
                &[
                    ("tls.crt", "public.crt"),
                    ("tls.key", "private.key"),
                    ("ca.crt", "CAs/ca.crt"),
                ],
            ),
            secret_volume(
                "root",
                plan.names.object_store_root(),
                &[(ACCESS_KEY, ACCESS_KEY), (SECRET_KEY, SECRET_KEY)],
            ),
            secret_volume("kms", plan.names.object_store_key(), &[(KMS_KEY, KMS_KEY)]),
        ]),
        ..PodSpec::default()
    }
}

/// A Secret's keys as files. The keys are named, so that a pod waits for one that is missing: started without its
/// credential files, the server would take its vendor's default credentials.
fn secret_volume(name: &str, secret: String, items: &[(&str, &str)]) -> Volume {
    Volume {
        name: name.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            default_mode: Some(0o440),
            optional: Some(false),
            items: Some(
                items
                    .iter()
                    .map(|(key, path)| KeyToPath {
                        key: (*key).to_owned(),
                        path: (*path).to_owned(),
                        mode: None,
                    })
                    .collect(),
            ),
        }),
        ..Volume::default()
    }
}

fn container(plan: &Plan) -> Container {
    let store = &plan.spec.object_store;
    let mount = |name: &str, path: String, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path,
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let mut mounts = vec![
        mount("tmp", "/tmp".to_owned(), false),
        mount("certs", CERTIFICATES.to_owned(), true),
        mount("root", ROOT.to_owned(), true),
        mount("kms", KMS.to_owned(), true),
    ];
    mounts.extend(
        (0..store.volumes_per_server)
            .map(|volume| mount(&format!("data{volume}"), format!("/data{volume}"), false)),
    );
    Container {
        name: COMPONENT.to_owned(),
        image: Some(plan.object_store_image.place().image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        // The image's entrypoint is the server, whatever the provider calls it.
        args: Some(arguments(plan)),
        env: Some(environment(plan)),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.to_owned()),
            container_port: port::S3,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        volume_mounts: Some(mounts),
        resources: Some(resources(&store.resources, "512Mi")),
        security_context: Some(container_security()),
        readiness_probe: Some(Probe {
            period_seconds: Some(5),
            timeout_seconds: Some(3),
            failure_threshold: Some(2),
            ..probe("/minio/health/ready")
        }),
        liveness_probe: Some(Probe {
            initial_delay_seconds: Some(10),
            period_seconds: Some(10),
            timeout_seconds: Some(5),
            failure_threshold: Some(6),
            ..probe("/minio/health/live")
        }),
        ..Container::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

/// The server's command line without its name.
fn arguments(plan: &Plan) -> Vec<String> {
    let store = &plan.spec.object_store;
    let volumes = range("data", store.volumes_per_server);
    let endpoints = if store.servers == 1 {
        format!("/{volumes}")
    } else {
        format!(
            "https://{servers}.{peers}.{namespace}.svc:{port}/{volumes}",
            servers = range(&format!("{}-", plan.names.object_store()), store.servers),
            peers = plan.names.object_store_peers(),
            namespace = plan.names.namespace(),
            port = port::S3,
        )
    };
    vec![
        "server".to_owned(),
        "--certs-dir".to_owned(),
        CERTIFICATES.to_owned(),
        "--address".to_owned(),
        format!(":{}", port::S3),
        endpoints,
    ]
}

/// `<prefix>0`, or the server's own notation for several: `<prefix>{0...n-1}`.
fn range(prefix: &str, count: i32) -> String {
    if count == 1 {
        format!("{prefix}0")
    } else {
        format!("{prefix}{{0...{}}}", count - 1)
    }
}

/// Every setting of the server. A Region cannot add one: an audit webhook, an identity provider or a notification
/// target would lead out of it.
fn environment(plan: &Plan) -> Vec<EnvVar> {
    let mut settings = BTreeMap::from([
        // Without it the server asks a program that small images do not have.
        ("HOME", "/tmp".to_owned()),
        ("MINIO_SITE_NAME", plan.names.region().to_owned()),
        ("MINIO_SITE_REGION", plan.store_region().to_owned()),
        ("MINIO_ROOT_USER_FILE", format!("{ROOT}/{ACCESS_KEY}")),
        ("MINIO_ROOT_PASSWORD_FILE", format!("{ROOT}/{SECRET_KEY}")),
        ("MINIO_KMS_SECRET_KEY_FILE", format!("{KMS}/{KMS_KEY}")),
        ("MINIO_KMS_AUTO_ENCRYPTION", "on".to_owned()),
        ("MINIO_BROWSER", "off".to_owned()),
        ("MINIO_UPDATE", "off".to_owned()),
        ("MINIO_CALLHOME_ENABLE", "off".to_owned()),
        ("MINIO_PROMETHEUS_AUTH_TYPE", "jwt".to_owned()),
        // Nobody stands between a client and the server: what a client says of its own address is not believed.
        // The first is MinIO's name for it, the second Silo's.
        ("_MINIO_API_XFF_HEADER", "off".to_owned()),
        ("MINIO_API_TRUSTED_PROXIES", "none".to_owned()),
    ]);
    if let Some(memory) = quantity::bytes(&plan.spec.object_store.resources.memory) {
        // The collector has to begin before the kernel ends the process.
        settings.insert("GOMEMLIMIT", (memory / 10 * 8).to_string());
    }
    settings
        .into_iter()
        .map(|(name, value)| EnvVar {
            name: name.to_owned(),
            value: Some(value),
            value_from: None,
        })
        .collect()
}

/// The Secrets: the server's certificate, root credentials and master key, and a login for each user and for
/// pgBackRest.
#[must_use]
pub fn secrets(names: &Names, spec: &RegionSpec) -> Vec<SecretWanted> {
    let mut secrets = vec![
        SecretWanted::replaceable(
            names.object_store_certificate(),
            Contents::Certificate {
                common_name: names.object_store_host(),
                dns_names: dns_names(names, &spec.object_store),
                server: true,
                client: false,
            },
        ),
        SecretWanted::replaceable(
            names.object_store_root(),
            Contents::Passwords {
                keys: vec![ACCESS_KEY.to_owned(), SECRET_KEY.to_owned()],
            },
        ),
        SecretWanted::key(
            names.object_store_key(),
            Contents::StoreKey {
                id: names.object_store_key(),
            },
        ),
    ];
    secrets.extend(
        OWN_USERS
            .into_iter()
            .chain(
                spec.object_store
                    .users
                    .iter()
                    .map(|user| user.name.as_str()),
            )
            .map(|user| {
                SecretWanted::replaceable(
                    names.object_store_user(user),
                    Contents::StoreLogin {
                        access_key: user.to_owned(),
                        endpoint: names.object_store_endpoint(),
                        region: spec.residency.location.clone(),
                    },
                )
            }),
    );
    secrets
}

/// Every name that a client or a peer may call a server by.
fn dns_names(names: &Names, store: &ObjectStore) -> Vec<String> {
    let namespace = names.namespace();
    let mut dns_names = vec![
        names.object_store_host(),
        names.object_store(),
        format!("{}.{namespace}", names.object_store()),
        format!("{}.cluster.local", names.object_store_host()),
    ];
    dns_names.extend((0..store.servers).map(|ordinal| {
        format!(
            "{}-{ordinal}.{}.{namespace}.svc",
            names.object_store(),
            names.object_store_peers()
        )
    }));
    dns_names
}

/// The shortest user name that the server takes, and the longest that fits the name of its Secret's label.
const USER_NAME: std::ops::RangeInclusive<usize> = 3..=32;
