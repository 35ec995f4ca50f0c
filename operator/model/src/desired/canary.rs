//! The canaries' schedules and Jobs. A plan in, manifests out; pure.

use std::collections::BTreeMap;

use bailiwick_api::region::Resources;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job, JobSpec, JobTemplateSpec};
use k8s_openapi::api::core::v1::{Container, EnvVar, PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest, Sha256};

use crate::canary::question::{Question, VARIABLE};
use crate::canary::{questions, verdict};
use crate::desired::fence::{Start, behind};
use crate::flow::Guise;
use crate::manifest::{Manifest, labels, owned};
use crate::names::{LABEL_FLOW, LABEL_TASK, OPERATOR_UID};
use crate::plan::Plan;
use crate::workload::{affinity, container_security, pod_security, resources};

/// The component's name in labels: that of nothing that a Service, a StatefulSet or a budget selects.
pub use crate::names::component::CANARY as COMPONENT;
/// How long a canary may take, its images included and its fence aside: each attempt is bounded by a few seconds.
const DEADLINE_SECONDS: i64 = 120;
/// How long a Job of its own stays after its end. By then the schedule has asked the same.
const KEPT_SECONDS: i32 = 600;

/// A schedule for each guise; none while the Region sleeps.
#[must_use]
pub fn manifests(plan: &Plan) -> Vec<Manifest> {
    if plan.spec.lifecycle.hibernated {
        return Vec::new();
    }
    questions(plan)
        .iter()
        .map(|(guise, question)| Manifest::of(&schedule(plan, *guise, question)))
        .collect()
}

fn schedule(plan: &Plan, guise: Guise, question: &Question) -> CronJob {
    let minutes = verdict::PERIOD.as_mins();
    // Not all Regions of a cluster in the same minute.
    let first = i64::from(Sha256::digest(plan.names.canary(guise))[0]) % minutes;
    CronJob {
        metadata: of_guise(
            owned(
                plan,
                &plan.names.namespace(),
                &plan.names.canary(guise),
                COMPONENT,
            ),
            guise,
        ),
        spec: Some(CronJobSpec {
            schedule: format!("{first}-59/{minutes} * * * *"),
            concurrency_policy: Some("Forbid".to_owned()),
            // One that comes later than the next would be is no use.
            starting_deadline_seconds: Some(minutes * 60),
            successful_jobs_history_limit: Some(1),
            failed_jobs_history_limit: Some(1),
            suspend: Some(false),
            job_template: JobTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels_of(plan, guise)),
                    ..ObjectMeta::default()
                }),
                spec: Some(job_spec(plan, guise, question)),
            },
            ..CronJobSpec::default()
        }),
        status: None,
    }
}

/// The Job that asks a question at once, whose name ends with `run`: the question's id when it is asked for the first
/// time. It is created once, is never changed, and goes by itself.
#[must_use]
pub fn job(plan: &Plan, guise: Guise, question: &Question, run: &str) -> Job {
    Job {
        metadata: of_guise(
            owned(
                plan,
                &plan.names.namespace(),
                &plan.names.canary_job(guise, run),
                COMPONENT,
            ),
            guise,
        ),
        spec: Some(JobSpec {
            ttl_seconds_after_finished: Some(KEPT_SECONDS),
            ..job_spec(plan, guise, question)
        }),
        status: None,
    }
}

fn labels_of(plan: &Plan, guise: Guise) -> BTreeMap<String, String> {
    let mut labels = labels(plan, COMPONENT);
    labels.insert(LABEL_TASK.to_owned(), guise.label().to_owned());
    labels
}

fn of_guise(metadata: ObjectMeta, guise: Guise) -> ObjectMeta {
    let mut labels = metadata.labels.unwrap_or_default();
    labels.insert(LABEL_TASK.to_owned(), guise.label().to_owned());
    ObjectMeta {
        labels: Some(labels),
        ..metadata
    }
}

fn job_spec(plan: &Plan, guise: Guise, question: &Question) -> JobSpec {
    let mut pod_labels = labels_of(plan, guise);
    pod_labels.insert(LABEL_FLOW.to_owned(), guise.flow().label().to_owned());
    JobSpec {
        backoff_limit: Some(0),
        active_deadline_seconds: Some(DEADLINE_SECONDS + Start::Canary.seconds()),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta {
                labels: Some(pod_labels),
                ..ObjectMeta::default()
            }),
            spec: Some(behind(
                plan,
                Start::Canary,
                PodSpec {
                    restart_policy: Some("Never".to_owned()),
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    termination_grace_period_seconds: Some(5),
                    affinity: Some(affinity(plan, COMPONENT)),
                    security_context: Some(pod_security(OPERATOR_UID)),
                    containers: vec![Container {
                        name: "canary".to_owned(),
                        image: Some(plan.operator_image.place().image.clone()),
                        image_pull_policy: Some("IfNotPresent".to_owned()),
                        args: Some(vec!["probe".to_owned()]),
                        env: Some(vec![EnvVar {
                            name: VARIABLE.to_owned(),
                            value: serde_json::to_string(question).ok(),
                            value_from: None,
                        }]),
                        resources: Some(resources(
                            &Resources {
                                cpu: "10m".to_owned(),
                                memory: "32Mi".to_owned(),
                            },
                            "16Mi",
                        )),
                        security_context: Some(container_security()),
                        ..Container::default()
                    }],
                    ..PodSpec::default()
                },
            )),
        },
        ..JobSpec::default()
    }
}
