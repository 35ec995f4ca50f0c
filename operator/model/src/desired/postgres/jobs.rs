//! The Jobs that work on the archive, and what they leave behind. A plan in, Jobs out; a termination message in, a
//! typed result out. Pure.

use bailiwick_api::region::Resources;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::{certificate, config, file, mount, read_only, repository_env, scratch, value};
use crate::desired::fence::{Start, behind};
use crate::flow::Flow;
use crate::manifest::{labels, owned};
use crate::names::{LABEL_FLOW, LABEL_TASK, POSTGRES_UID};
use crate::plan::Plan;
use crate::workload::{affinity, container_security, pod_security, resources};

/// The component's name in labels: not that of the members, whose selectors must not match a Job's pod.
pub const COMPONENT: &str = "backup";

/// What a Job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Makes the stanza and checks that a WAL segment reaches the repository.
    Stanza,
    /// Takes a full backup.
    FullBackup,
}

impl Task {
    /// The value of [`LABEL_TASK`].
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Stanza => "stanza",
            Self::FullBackup => "backup-full",
        }
    }

    const fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Stanza => &["stanza"],
            Self::FullBackup => &["backup", "full"],
        }
    }

    /// How long it may take once its fence has let it start, in seconds. A backup's time grows with its database; a day is a lost one.
    const fn deadline(self) -> i64 {
        match self {
            Self::Stanza => 300,
            Self::FullBackup => 86_400,
        }
    }
}

/// What a Job left in its termination message (see the README of the image).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct JobResult {
    /// `Succeeded` or `Failed`.
    pub state: JobState,
    /// The stanza.
    #[serde(default)]
    pub stanza: String,
    /// Why it failed: a word of a closed list, for example `StoreUnreachable`.
    #[serde(default)]
    pub reason: Option<String>,
    /// The backup's label.
    #[serde(default)]
    pub label: Option<String>,
    /// When the backup or the Job ended.
    #[serde(default)]
    pub stop: Option<Timestamp>,
    /// The size of the database as it was backed up, in bytes.
    #[serde(default)]
    pub bytes: Option<i64>,
    /// What the backup added to the repository, in bytes.
    #[serde(default)]
    pub stored_bytes: Option<i64>,
    /// The system identifier of the database that the repository holds.
    #[serde(default)]
    pub system_identifier: Option<String>,
}

/// How a Job ended.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It did what it was for.
    Succeeded,
    /// It did not.
    Failed,
}

impl JobResult {
    /// The result in a termination message, or none when it is not one: a Job that was killed leaves nothing.
    #[must_use]
    pub fn parse(termination_message: &str) -> Option<Self> {
        serde_json::from_str(termination_message.trim()).ok()
    }
}

/// The Job that does `task`. It is created once and never changed.
#[must_use]
pub fn job(plan: &Plan, name: &str, task: Task) -> Job {
    let task_label = |mut labels: std::collections::BTreeMap<String, String>| {
        labels.insert(LABEL_TASK.to_owned(), task.label().to_owned());
        labels
    };
    let mut metadata = owned(plan, &plan.names.namespace(), name, COMPONENT);
    metadata.labels = metadata.labels.map(task_label);
    let mut pod_labels = task_label(labels(plan, COMPONENT));
    pod_labels.insert(LABEL_FLOW.to_owned(), Flow::Backup.label().to_owned());

    let mut command: Vec<String> = ["/usr/bin/tini", "--", "/usr/lib/bailiwick/pgbackrest-job"]
        .map(str::to_owned)
        .to_vec();
    command.extend(task.arguments().iter().map(|it| (*it).to_owned()));
    let mut env = vec![
        value("PGBACKREST_STANZA", &plan.names.stanza(plan.incarnation)),
        // Before the Job's own deadline, so that a result is left.
        value("BAILIWICK_JOB_SECONDS", &(task.deadline() - 30).to_string()),
    ];
    env.extend(repository_env(plan));

    Job {
        metadata,
        spec: Some(JobSpec {
            // The operator tries again, later each time, and can say why.
            backoff_limit: Some(0),
            active_deadline_seconds: Some(task.deadline() + Start::Job.seconds()),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(behind(
                    plan,
                    Start::Job,
                    PodSpec {
                        restart_policy: Some("Never".to_owned()),
                        automount_service_account_token: Some(false),
                        enable_service_links: Some(false),
                        affinity: Some(affinity(plan, COMPONENT)),
                        security_context: Some(pod_security(POSTGRES_UID)),
                        containers: vec![Container {
                            name: "pgbackrest".to_owned(),
                            image: Some(plan.postgres_image.place().image.clone()),
                            image_pull_policy: Some("IfNotPresent".to_owned()),
                            command: Some(command),
                            env: Some(env),
                            resources: Some(resources(
                                &Resources {
                                    cpu: "50m".to_owned(),
                                    memory: "256Mi".to_owned(),
                                },
                                "256Mi",
                            )),
                            security_context: Some(container_security()),
                            volume_mounts: Some(vec![
                                mount("tmp", "/tmp"),
                                read_only("pgbackrest", "/etc/pgbackrest"),
                                read_only("certificate", config::TLS),
                            ]),
                            ..Container::default()
                        }],
                        volumes: Some(vec![
                            scratch("tmp", "128Mi"),
                            file(plan, "pgbackrest", config::JOB_FILE, "pgbackrest.conf"),
                            certificate(&plan.names.client_certificate()),
                        ]),
                        ..PodSpec::default()
                    },
                )),
            },
            ..JobSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_as_the_image_writes_them() {
        let failed = JobResult::parse(
            r#"{"command": "stanza", "stanza": "tr-i1", "start": "2026-11-21T08:00:00Z",
                "stop": "2026-11-21T08:00:10Z", "state": "Failed", "step": "check",
                "reason": "StoreUnreachable", "code": 103}"#,
        )
        .unwrap();
        assert_eq!(failed.state, JobState::Failed);
        assert_eq!(failed.reason.as_deref(), Some("StoreUnreachable"));

        let backup = JobResult::parse(
            r#"{"command": "backup full", "stanza": "tr-i1", "start": "2026-11-21T08:00:00Z",
                "state": "Succeeded", "label": "20261121-080000F", "stop": "2026-11-21T08:01:00Z",
                "bytes": 31000000, "storedBytes": 4100000, "firstWal": "000000010000000000000003",
                "lastWal": "000000010000000000000003", "systemIdentifier": "7391"}"#,
        )
        .unwrap();
        assert_eq!(backup.label.as_deref(), Some("20261121-080000F"));
        assert_eq!(backup.bytes, Some(31_000_000));
        assert_eq!(backup.system_identifier.as_deref(), Some("7391"));
    }

    #[test]
    fn what_is_not_a_result_is_none() {
        for text in ["", "killed", "{}", r#"{"state": "Odd"}"#] {
            assert_eq!(JobResult::parse(text), None, "{text}");
        }
    }
}
