//! The start fence: the init container that comes first in every pod of a Region, and the ConfigMap that tells it what a
//! fenced pod does not reach. A plan in, objects out; pure.

use std::collections::BTreeMap;

use bailiwick_api::region::Resources;
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, PodSpec, Volume, VolumeMount,
};

use crate::fence::CONTAINER;
use crate::manifest::owned;
use crate::names::component::BOUNDARY as COMPONENT;
use crate::names::port;
use crate::plan::Plan;
use crate::workload::{container_security, resources};

/// Where the ConfigMap is mounted.
const FOLDER: &str = "/fence";
/// The key of the targets in the ConfigMap.
pub const TARGETS: &str = "targets.json";
/// Where the fence leaves its report.
const REPORT: &str = "/dev/termination-log";

/// What a pod does once its fence lets it, and so how the fence waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It serves for as long as it can. It waits for nothing that it needs: a Region that is created, or restarted while
    /// its store, DNS or API server is down, must come up.
    Serving,
    /// It works on the archive, once: without the store there is nothing to do.
    Job,
    /// It tries the boundary itself, so it starts even where its address is open: it must find that.
    Canary,
}

impl Start {
    /// How long the fence waits at most for the pod's address to be closed, in seconds.
    const fn closed_for(self) -> i64 {
        match self {
            Self::Serving | Self::Job => 60,
            Self::Canary => 20,
        }
    }

    /// How long it waits at most for what must be open, in seconds.
    const fn open_for(self) -> i64 {
        match self {
            Self::Serving => 30,
            Self::Job => 120,
            Self::Canary => 20,
        }
    }

    /// How long it may hold the pod in one attempt, in seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.closed_for() + self.open_for()
    }
}

/// The pod behind its fence: nothing of it starts before.
#[must_use]
pub fn behind(plan: &Plan, start: Start, pod: PodSpec) -> PodSpec {
    let mut init_containers = vec![container(plan, start)];
    init_containers.extend(pod.init_containers.into_iter().flatten());
    let mut volumes = pod.volumes.unwrap_or_default();
    volumes.push(Volume {
        name: CONTAINER.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: plan.names.fence_config(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    });
    PodSpec {
        init_containers: Some(init_containers),
        volumes: Some(volumes),
        ..pod
    }
}

fn container(plan: &Plan, start: Start) -> Container {
    Container {
        name: CONTAINER.to_owned(),
        image: Some(plan.fence_image.place().image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(arguments(plan, start)),
        resources: Some(resources(
            &Resources {
                cpu: "10m".to_owned(),
                memory: "16Mi".to_owned(),
            },
            "16Mi",
        )),
        security_context: Some(container_security()),
        termination_message_path: Some(REPORT.to_owned()),
        termination_message_policy: Some("File".to_owned()),
        volume_mounts: Some(vec![VolumeMount {
            name: CONTAINER.to_owned(),
            mount_path: FOLDER.to_owned(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

fn arguments(plan: &Plan, start: Start) -> Vec<String> {
    let mut arguments = vec![
        "wait".to_owned(),
        "--targets".to_owned(),
        format!("{FOLDER}/{TARGETS}"),
    ];
    let mut option = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    if start != Start::Serving {
        let store = format!("{}:{}", plan.names.object_store_host(), port::S3);
        option("--open", store);
    }
    let (not_open, not_closed) = match start {
        Start::Serving => ("start", "fail"),
        Start::Job => ("fail", "fail"),
        Start::Canary => ("start", "report"),
    };
    option("--open-for", start.open_for().to_string());
    option("--not-open", not_open.to_owned());
    option("--not-closed", not_closed.to_owned());
    option("--closed-for", start.closed_for().to_string());
    option("--report", REPORT.to_owned());
    arguments
}

/// What a fenced pod does not reach; none while nothing is known to put in it, and then the one that is there stays. It is
/// no part of any pod template: the responder may move, and nothing restarts.
#[must_use]
pub fn config_map(plan: &Plan) -> Option<ConfigMap> {
    let targets = serde_json::to_string_pretty(plan.fence_targets.as_ref()?).ok()?;
    Some(ConfigMap {
        metadata: owned(
            plan,
            &plan.names.namespace(),
            &plan.names.fence_config(),
            COMPONENT,
        ),
        data: Some(BTreeMap::from([(TARGETS.to_owned(), targets)])),
        ..ConfigMap::default()
    })
}
