//! How a Region's Postgres runs: the StatefulSet of its members, their Services and settings, and the Secrets they
//! need. A plan in, objects out; pure.

pub mod config;
mod connections;
pub mod jobs;
pub mod parameters;
pub mod preloaded;
mod rules;

use std::collections::BTreeMap;

use bailiwick_api::quantity;
use bailiwick_api::region::{DATABASE_ROLE_SUFFIXES, RegionSpec, Resources};
pub use connections::CONNECTIONS;
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, KeyToPath, ObjectFieldSelector, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Probe, SecretKeySelector,
    SecretVolumeSource, Service, ServicePort, ServiceSpec, TCPSocketAction, Volume, VolumeMount,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
pub use rules::violations;

use crate::desired::fence::{Start, behind};
use crate::flow::Flow;
use crate::manifest::{Manifest, labels, owned, selector};
pub use crate::names::component::POSTGRES as COMPONENT;
use crate::names::{
    ANNOTATION_ARGO_IGNORE_UPDATES, ANNOTATION_CONFIG_HASH, LABEL_FLOW, LABEL_ROLE, Names,
    POSTGRES_UID, port,
};
use crate::plan::Plan;
use crate::repository::PASSPHRASE;
use crate::secret::{Contents, SecretWanted};
use crate::volume::template_annotations;
use crate::workload::{affinity, container_security, disruption_budget, pod_security, resources};

/// The label by which Patroni tells clusters apart; its value is the scope, [`Names::postgres`].
pub const LABEL_SCOPE: &str = "cluster-name";
/// The labels beside [`LABEL_SCOPE`] by which Patroni finds its members and its ConfigMaps. None of them is one of
/// ours, so what Patroni writes each loop wakes no watch of ours.
pub const PATRONI_LABELS: &[(&str, &str)] = &[("application", "patroni")];

/// How long a member may take to stop: to write its last checkpoint, archive what it can and hand over.
const STOP_SECONDS: i64 = 180;

/// The keys of [`Names::postgres_internal`].
const INTERNAL_PASSWORDS: [&str; 4] = [
    "superuser-password",
    "replication-password",
    "rewind-password",
    "control-password",
];

/// The objects, in apply order.
#[must_use]
pub fn manifests(plan: &Plan) -> Vec<Manifest> {
    vec![
        Manifest::of(&config_map(plan)),
        Manifest::of(&members_service(plan)),
        Manifest::of(&role_service(plan, &plan.names.postgres_rw(), "primary")),
        Manifest::of(&role_service(plan, &plan.names.postgres_ro(), "replica")),
        Manifest::of(&disruption_budget(
            plan,
            &plan.names.postgres(),
            COMPONENT,
            1,
        )),
        Manifest::of(&stateful_set(plan)),
    ]
}

/// The Secrets: what members need of each other, the archive's key and one login for each role that may log in.
#[must_use]
pub fn secrets(names: &Names, spec: &RegionSpec) -> Vec<SecretWanted> {
    let mut secrets = vec![
        SecretWanted::replaceable(
            names.postgres_certificate(),
            Contents::Certificate {
                common_name: names.postgres(),
                dns_names: certificate_names(names),
                server: true,
                // Members call each other's Patroni with it.
                client: true,
            },
        ),
        // Its passwords stand in the database too: a new one would lock the members out of each other.
        SecretWanted::key(
            names.postgres_internal(),
            Contents::Passwords {
                keys: INTERNAL_PASSWORDS.map(str::to_owned).to_vec(),
            },
        ),
        SecretWanted::key(
            names.backup_key(),
            Contents::Passwords {
                keys: vec![PASSPHRASE.to_owned()],
            },
        ),
    ];
    secrets.extend(logins(spec).into_iter().map(|(user, dbname)| {
        SecretWanted::replaceable(
            names.postgres_role(&user),
            Contents::PostgresLogin {
                user,
                dbname,
                host: service_host(names, &names.postgres_rw()),
            },
        )
    }));
    secrets
}

/// The roles that log in, each with the database that its Secret names: three a database, then those of the list.
fn logins(spec: &RegionSpec) -> Vec<(String, String)> {
    let of_databases = spec.postgres.databases.iter().flat_map(|database| {
        DATABASE_ROLE_SUFFIXES
            .iter()
            .map(|suffix| (format!("{}{suffix}", database.name), database.name.clone()))
    });
    let of_list = spec.postgres.roles.iter().filter(|role| role.login);
    of_databases
        .chain(of_list.filter_map(|role| Some((role.name.clone(), role.database.clone()?))))
        .collect()
}

fn service_host(names: &Names, service: &str) -> String {
    format!("{service}.{}.svc", names.namespace())
}

/// Every name under which a member's certificate is verified.
fn certificate_names(names: &Names) -> Vec<String> {
    let namespace = names.namespace();
    let mut dns_names = vec![
        "localhost".to_owned(),
        service_host(names, &format!("*.{}", names.postgres())),
    ];
    for service in [names.postgres(), names.postgres_rw(), names.postgres_ro()] {
        dns_names.push(service.clone());
        dns_names.push(format!("{service}.{namespace}"));
        dns_names.push(format!("{service}.{namespace}.svc"));
        dns_names.push(format!("{service}.{namespace}.svc.cluster.local"));
    }
    dns_names
}

/// The files of members and Jobs.
fn config_map(plan: &Plan) -> ConfigMap {
    ConfigMap {
        metadata: owned(
            plan,
            &plan.names.namespace(),
            &plan.names.postgres_config(),
            COMPONENT,
        ),
        data: Some(config::files(plan)),
        ..ConfigMap::default()
    }
}

fn service_port(name: &str, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

/// Gives each member its DNS name, ready or not: members find each other before they are.
fn members_service(plan: &Plan) -> Service {
    Service {
        metadata: owned(
            plan,
            &plan.names.namespace(),
            &plan.names.postgres(),
            COMPONENT,
        ),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector(plan, COMPONENT)),
            ports: Some(vec![
                service_port("postgres", port::POSTGRES),
                service_port("patroni", port::PATRONI),
                service_port("pgbackrest", port::PGBACKREST),
            ]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The Service of the members that Patroni labels with a role.
fn role_service(plan: &Plan, name: &str, role: &str) -> Service {
    let mut members = selector(plan, COMPONENT);
    members.insert(LABEL_ROLE.to_owned(), role.to_owned());
    Service {
        metadata: owned(plan, &plan.names.namespace(), name, COMPONENT),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(members),
            ports: Some(vec![service_port("postgres", port::POSTGRES)]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The members. Pods are never replaced by the StatefulSet itself: the operator replaces the replicas first and the
/// primary after a switchover, see [`crate::patroni::steps`].
fn stateful_set(plan: &Plan) -> StatefulSet {
    StatefulSet {
        metadata: owned(
            plan,
            &plan.names.namespace(),
            &plan.names.postgres(),
            COMPONENT,
        ),
        spec: Some(StatefulSetSpec {
            service_name: Some(plan.names.postgres()),
            replicas: Some(plan.members.replicas),
            // Which member leads is Patroni's choice: none may wait for member 0 to be ready.
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            revision_history_limit: Some(3),
            selector: LabelSelector {
                match_labels: Some(selector(plan, COMPONENT)),
                match_expressions: None,
            },
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: Some("Retain".to_owned()),
                    when_scaled: Some("Retain".to_owned()),
                },
            ),
            volume_claim_templates: Some(vec![data_claim(plan)]),
            template: pod_template(plan),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// The data volume. Its labels say whose data it is, long after the Region is gone.
fn data_claim(plan: &Plan) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(labels(plan, COMPONENT)),
            annotations: template_annotations(&plan.postgres_volume),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: Some(plan.postgres_class.place().name.clone()),
            volume_mode: Some("Filesystem".to_owned()),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([(
                    "storage".to_owned(),
                    Quantity(plan.postgres_volume.template.clone()),
                )])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}

fn pod_template(plan: &Plan) -> PodTemplateSpec {
    let mut pod_labels = labels(plan, COMPONENT);
    pod_labels.insert(LABEL_FLOW.to_owned(), Flow::Postgres.label().to_owned());
    pod_labels.insert(LABEL_SCOPE.to_owned(), plan.names.postgres());
    for (key, value) in PATRONI_LABELS {
        pod_labels.insert((*key).to_owned(), (*value).to_owned());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(pod_labels),
            annotations: Some(BTreeMap::from([
                (
                    ANNOTATION_CONFIG_HASH.to_owned(),
                    config::restart_hash(plan),
                ),
                // Patroni writes to its pod with every heartbeat. To its own ConfigMaps it gives no annotation of ours.
                (ANNOTATION_ARGO_IGNORE_UPDATES.to_owned(), "true".to_owned()),
            ])),
            ..ObjectMeta::default()
        }),
        spec: Some(behind(
            plan,
            Start::Serving,
            PodSpec {
                service_account_name: Some(plan.names.postgres()),
                // Patroni keeps its lock and its state in ConfigMaps.
                automount_service_account_token: Some(true),
                enable_service_links: Some(false),
                affinity: Some(affinity(plan, COMPONENT)),
                security_context: Some(pod_security(POSTGRES_UID)),
                termination_grace_period_seconds: Some(STOP_SECONDS),
                containers: vec![postgres_container(plan), pgbackrest_container(plan)],
                volumes: Some(volumes(plan)),
                ..PodSpec::default()
            },
        )),
    }
}

/// Patroni, which runs Postgres.
fn postgres_container(plan: &Plan) -> Container {
    Container {
        name: COMPONENT.to_owned(),
        image: Some(plan.postgres_image.place().image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(
            ["/usr/bin/tini", "--", "/usr/lib/bailiwick/postgres-run"]
                .map(str::to_owned)
                .to_vec(),
        ),
        env: Some(member_env(plan)),
        ports: Some(vec![
            container_port("postgres", port::POSTGRES),
            container_port("patroni", port::PATRONI),
        ]),
        resources: Some(resources(&plan.spec.postgres.resources, "1Gi")),
        security_context: Some(container_security()),
        // Patroni answers while it restores or replays: only a loop that stands still is a reason to start anew.
        startup_probe: Some(patroni_probe("/liveness", 5, 60)),
        liveness_probe: Some(patroni_probe("/liveness", 10, 6)),
        readiness_probe: Some(patroni_probe("/readiness", 5, 3)),
        volume_mounts: Some(vec![
            mount("data", "/var/lib/postgresql/data"),
            mount("run", "/run"),
            mount("tmp", "/tmp"),
            mount("spool", "/var/spool/pgbackrest"),
            mount("shared-memory", "/dev/shm"),
            read_only("patroni", "/etc/patroni"),
            read_only("archive", "/etc/pgbackrest"),
            read_only("certificate", config::TLS),
        ]),
        ..Container::default()
    }
}

/// pgBackRest's server, through which the Region's Jobs read this member. It has no key and no store.
fn pgbackrest_container(plan: &Plan) -> Container {
    Container {
        name: "pgbackrest".to_owned(),
        image: Some(plan.postgres_image.place().image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(
            [
                "/usr/bin/tini",
                "--",
                "/usr/lib/bailiwick/pgbackrest-server",
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
        ports: Some(vec![container_port("pgbackrest", port::PGBACKREST)]),
        resources: Some(resources(
            &Resources {
                cpu: "20m".to_owned(),
                memory: "128Mi".to_owned(),
            },
            "64Mi",
        )),
        security_context: Some(container_security()),
        liveness_probe: Some(Probe {
            tcp_socket: Some(TCPSocketAction {
                port: IntOrString::String("pgbackrest".to_owned()),
                host: None,
            }),
            period_seconds: Some(20),
            timeout_seconds: Some(5),
            failure_threshold: Some(3),
            ..Probe::default()
        }),
        volume_mounts: Some(vec![
            mount("data", "/var/lib/postgresql/data"),
            mount("run", "/run"),
            mount("pgbackrest-tmp", "/tmp"),
            read_only("pgbackrest", "/etc/pgbackrest"),
            read_only("certificate", config::TLS),
        ]),
        ..Container::default()
    }
}

fn container_port(name: &str, port: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: port,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// A probe of Patroni's REST API, which reading needs no certificate for.
fn patroni_probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("patroni".to_owned()),
            scheme: Some("HTTPS".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// The member's own name and addresses, and its passwords. `$(PATRONI_NAME)` is filled in by the kubelet.
fn member_env(plan: &Plan) -> Vec<EnvVar> {
    let internal = plan.names.postgres_internal();
    let host = format!(
        "$(PATRONI_NAME).{}",
        service_host(&plan.names, &plan.names.postgres())
    );
    let mut env = vec![
        EnvVar {
            name: "PATRONI_NAME".to_owned(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    field_path: "metadata.name".to_owned(),
                    api_version: None,
                }),
                ..EnvVarSource::default()
            }),
            value: None,
        },
        value(
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS",
            &format!("{host}:{}", port::POSTGRES),
        ),
        value(
            "PATRONI_RESTAPI_CONNECT_ADDRESS",
            &format!("{host}:{}", port::PATRONI),
        ),
        secret_value(
            "PATRONI_SUPERUSER_PASSWORD",
            &internal,
            "superuser-password",
        ),
        secret_value(
            "PATRONI_REPLICATION_PASSWORD",
            &internal,
            "replication-password",
        ),
        secret_value("PATRONI_REWIND_PASSWORD", &internal, "rewind-password"),
        secret_value("BAILIWICK_CONTROL_PASSWORD", &internal, "control-password"),
    ];
    env.extend(repository_env(plan));
    env
}

/// What pgBackRest needs to use the repository: its key, and its user in the store.
fn repository_env(plan: &Plan) -> Vec<EnvVar> {
    let user = config::store_user_secret(plan);
    vec![
        secret_value(
            "PGBACKREST_REPO1_CIPHER_PASS",
            &plan.names.backup_key(),
            PASSPHRASE,
        ),
        secret_value("PGBACKREST_REPO1_S3_KEY", &user, "access-key"),
        secret_value("PGBACKREST_REPO1_S3_KEY_SECRET", &user, "secret-key"),
    ]
}

fn value(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

fn secret_value(name: &str, secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    }
}

fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount {
        read_only: Some(true),
        ..mount(name, path)
    }
}

fn volumes(plan: &Plan) -> Vec<Volume> {
    vec![
        scratch("run", "16Mi"),
        scratch("tmp", "256Mi"),
        scratch("spool", "512Mi"),
        scratch("pgbackrest-tmp", "32Mi"),
        shared_memory(plan),
        file(plan, "patroni", config::PATRONI_FILE, "patroni.yml"),
        file(plan, "archive", config::ARCHIVE_FILE, "pgbackrest.conf"),
        file(plan, "pgbackrest", config::SERVER_FILE, "pgbackrest.conf"),
        certificate(&plan.names.postgres_certificate()),
    ]
}

fn scratch(name: &str, limit: &str) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: None,
            size_limit: Some(Quantity(limit.to_owned())),
        }),
        ..Volume::default()
    }
}

/// What parallel queries exchange rows through; it counts as the container's memory.
fn shared_memory(plan: &Plan) -> Volume {
    const MIB: u64 = 1 << 20;
    let memory = quantity::bytes(&plan.spec.postgres.resources.memory).unwrap_or(512 * MIB);
    let size = (memory / 4 / MIB).max(64);
    Volume {
        name: "shared-memory".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            medium: Some("Memory".to_owned()),
            size_limit: Some(Quantity(format!("{size}Mi"))),
        }),
        ..Volume::default()
    }
}

/// One file of the ConfigMap, under the name that its reader expects.
fn file(plan: &Plan, volume: &str, key: &str, path: &str) -> Volume {
    Volume {
        name: volume.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: plan.names.postgres_config(),
            items: Some(vec![KeyToPath {
                key: key.to_owned(),
                path: path.to_owned(),
                mode: None,
            }]),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A certificate with its key, readable by the pod's group alone, as Postgres and pgBackRest demand.
fn certificate(secret: &str) -> Volume {
    Volume {
        name: "certificate".to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.to_owned()),
            default_mode: Some(0o440),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}
