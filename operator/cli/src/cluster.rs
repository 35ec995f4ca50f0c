//! What is read from the API server: Regions, and the metadata of their objects. Never a Secret, and nothing is written.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_api::region::{Region, RegionStatus};
use bailiwick_model::names::{LABEL_REGION, Names};
use bailiwick_model::region_object::RegionObject;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};

use crate::audit::namespace_deletion;
use crate::children::Child;
use crate::error::{CliError, named};

/// How long an answer may take: people wait for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Which cluster.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Target {
    /// The context of the kubeconfig to use [default: its current one].
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The kubeconfig file [default: as kubectl takes it].
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// A cluster to read from.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
}

impl Cluster {
    /// Finds the cluster that `target` names.
    ///
    /// # Errors
    /// No kubeconfig, no such context, or one that no client can be made from.
    pub async fn of(target: &Target) -> Result<Self, CliError> {
        let options = KubeConfigOptions {
            context: target.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match (&target.kubeconfig, &target.context) {
            (Some(file), _) => {
                let read = Kubeconfig::read_from(file).map_err(CliError::kubeconfig)?;
                Config::from_custom_kubeconfig(read, &options)
                    .await
                    .map_err(CliError::kubeconfig)?
            }
            (None, Some(_)) => Config::from_kubeconfig(&options)
                .await
                .map_err(CliError::kubeconfig)?,
            (None, None) => Config::infer().await.map_err(CliError::no_cluster)?,
        };
        let client = Client::try_from(config).map_err(CliError::no_cluster)?;
        Ok(Self { client })
    }

    /// A cluster behind a client.
    #[must_use]
    pub const fn behind(client: Client) -> Self {
        Self { client }
    }

    /// The Regions: one of this name, or all by name, and those that this plugin cannot decode.
    ///
    /// # Errors
    /// The Region is not there or cannot be decoded, or the API server does not answer or does not let us.
    pub async fn regions(
        &self,
        name: Option<&str>,
    ) -> Result<(Vec<Region>, Vec<CliError>), CliError> {
        let api = self.api();
        let read = async {
            match name {
                Some(name) => api.get(name).await.map(|region| vec![region]),
                None => api
                    .list(&ListParams::default())
                    .await
                    .map(|list| list.items),
            }
        };
        let objects = match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(objects)) => objects,
            Ok(Err(error)) => return Err(CliError::regions(name, error)),
            Err(_) => {
                return Err(CliError::Silent {
                    what: named(name),
                    seconds: PATIENCE.as_secs(),
                });
            }
        };
        let (mut regions, mut undecodable) = (Vec::new(), Vec::new());
        for object in objects {
            match object {
                RegionObject::Decoded(region) => regions.push(Arc::unwrap_or_clone(region)),
                RegionObject::Undecodable(this) => undecodable.push(CliError::Undecodable {
                    name: this.metadata.name.unwrap_or_default(),
                    field: this.field,
                    cause: crate::text::one_line(&this.cause),
                }),
            }
        }
        if name.is_some()
            && let Some(error) = undecodable.pop()
        {
            return Err(error);
        }
        regions.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        Ok((regions, undecodable))
    }

    /// What is to be known of how this cluster deletes a namespace; none when pods go before policies there.
    pub async fn namespace_deletion(&self) -> Option<String> {
        let asked = tokio::time::timeout(PATIENCE, self.client.apiserver_version()).await;
        let (major, minor) = match asked {
            Ok(Ok(version)) => (version.major, version.minor),
            Ok(Err(_)) | Err(_) => (String::new(), String::new()),
        };
        namespace_deletion(&major, &minor)
    }

    /// The Regions, for watching.
    #[must_use]
    pub fn api(&self) -> Api<RegionObject> {
        Api::all(self.client.clone())
    }

    /// The objects of a Region in its own namespaces, by their metadata, and what could not be listed.
    pub async fn children(
        &self,
        region: &str,
        status: Option<&RegionStatus>,
    ) -> (Vec<Child>, Vec<String>) {
        let kinds = [
            ApiResource::erase::<StatefulSet>(&()),
            ApiResource::erase::<Pod>(&()),
            ApiResource::erase::<PersistentVolumeClaim>(&()),
            ApiResource::erase::<Service>(&()),
            ApiResource::erase::<CronJob>(&()),
            ApiResource::erase::<Job>(&()),
            ApiResource::erase::<NetworkPolicy>(&()),
            ApiResource::erase::<PodDisruptionBudget>(&()),
        ];
        let namespaces = Names::new(region).namespaces();
        let label = ListParams::default().labels(&format!("{LABEL_REGION}={region}"));
        let reads = namespaces.iter().flat_map(|namespace| {
            let label = &label;
            kinds.iter().map(move |kind| async move {
                let api: Api<DynamicObject> =
                    Api::namespaced_with(self.client.clone(), namespace, kind);
                let listed = tokio::time::timeout(PATIENCE, api.list_metadata(label)).await;
                match listed {
                    Ok(Ok(list)) => Ok((kind, list.items)),
                    Ok(Err(kube::Error::Api(refusal))) => Err(format!(
                        "{} in namespace {namespace}: {}",
                        kind.plural, refusal.reason
                    )),
                    Ok(Err(_)) => Err(format!(
                        "{} in namespace {namespace}: no answer",
                        kind.plural
                    )),
                    Err(_) => Err(format!(
                        "{} in namespace {namespace}: no answer within {} s",
                        kind.plural,
                        PATIENCE.as_secs()
                    )),
                }
            })
        });
        let (mut children, mut not_shown) = (Vec::new(), Vec::new());
        for read in join_all(reads).await {
            match read {
                Ok((kind, items)) => children.extend(
                    items
                        .iter()
                        .filter_map(|item| Child::of(&kind.kind, item.meta(), status)),
                ),
                Err(what) => not_shown.push(what),
            }
        }
        (children, not_shown)
    }
}
