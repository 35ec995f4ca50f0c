//! The admin API, v3, of MinIO and its forks: its answers, and the calls behind users and outlets. I/O: HTTPS to the
//! Region's own store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use bailiwick_model::facts::ReadFailure;
use bailiwick_model::store::{Outlet, UserFact};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::signed::Failure;
use super::{SEALING, Store, seal};
use crate::cause;

impl Store {
    pub(super) async fn user(
        &self,
        user: &str,
        secret_key: Option<&str>,
    ) -> Result<Option<UserFact>, Failure> {
        let info: UserInfo = match self.get("user-info", &[("accessKey", user)]).await {
            Ok(info) => info,
            Err(failure) if failure.code == "XMinioAdminNoSuchUser" => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let enabled = info.status == "enabled";
        let key_current = match secret_key {
            Some(secret_key) if enabled => self.signed.knows(user, secret_key).await?,
            _ => true,
        };
        let policies = info.policy_name.split(',').filter(|name| !name.is_empty());
        Ok(Some(UserFact {
            enabled,
            policies: policies.map(str::to_owned).collect(),
            groups: info.member_of.into_iter().flatten().collect(),
            key_current,
        }))
    }

    /// What could lead out of the store as a whole.
    pub(super) async fn outlets(&self, info: &Info) -> Result<BTreeSet<Outlet>, Failure> {
        let (replication, tiers, providers): (SiteReplication, Option<Vec<Tier>>, Providers) = futures::try_join!(
            self.get("site-replication/info", &[]),
            self.get("tier", &[]),
            self.get("site-replication/peer/idp-settings", &[]),
        )?;
        let mut outlets = BTreeSet::new();
        if replication.enabled {
            outlets.insert(Outlet::SiteReplication);
        }
        outlets.extend(
            tiers
                .into_iter()
                .flatten()
                .map(|tier| Outlet::Tier(tier.name)),
        );
        for (enabled, name) in [
            (providers.ldap.enabled, "ldap"),
            (providers.openid.enabled, "openid"),
        ] {
            if enabled {
                outlets.insert(Outlet::IdentityProvider(name.to_owned()));
            }
        }
        let services = &info.services;
        outlets.extend(
            services
                .notifications
                .iter()
                .flat_map(BTreeMap::keys)
                .map(|target| Outlet::EventTarget(target.clone())),
        );
        outlets.extend(
            services
                .logger
                .iter()
                .chain(&services.audit)
                .flat_map(BTreeMap::keys)
                .map(|target| Outlet::LogTarget(target.clone())),
        );
        outlets.extend(
            info.servers
                .iter()
                .flat_map(|server| server.environment.iter())
                .filter(|(name, value)| leads_out(name, value))
                .map(|(name, _)| Outlet::Setting(name.clone())),
        );
        Ok(outlets)
    }

    /// The remote stores that buckets know, by bucket.
    pub(super) async fn targets(&self) -> Result<BTreeMap<String, Vec<String>>, Failure> {
        let targets: Option<Vec<Target>> = self
            .get("list-remote-targets", &[("bucket", ""), ("type", "")])
            .await?;
        let mut by_bucket: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for target in targets.into_iter().flatten() {
            by_bucket.entry(target.bucket).or_default().push(target.arn);
        }
        Ok(by_bucket)
    }

    /// Does Argon2id's work off the runtime's threads, one body at a time.
    pub(super) async fn sealing<F>(&self, work: F) -> Result<Vec<u8>, Failure>
    where
        F: FnOnce(&[u8]) -> Result<Vec<u8>, seal::SealError> + Send + 'static,
    {
        let password = self.signed.secret_key().to_vec();
        let _one = SEALING.lock().await;
        self.sealed.fetch_add(1, Ordering::Relaxed);
        tokio::task::spawn_blocking(move || work(&password))
            .await
            .map_err(|_| Failure::of(ReadFailure::NotReady))?
            .map_err(|error| Failure::because(ReadFailure::Malformed, error.to_string()))
    }

    pub(super) async fn call(
        &self,
        method: Method,
        operation: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let path = format!("/minio/admin/v3/{operation}");
        self.signed.call(method, &path, query, body).await
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        operation: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let body = self.call(Method::GET, operation, query, Vec::new()).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let cause = cause::cause(&error).unwrap_or_default();
            Failure::because(ReadFailure::Malformed, format!("{operation}: {cause}"))
        })
    }

    pub(super) async fn put(
        &self,
        operation: &str,
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<(), Failure> {
        self.call(Method::PUT, operation, query, body.to_string().into_bytes())
            .await
            .map(drop)
    }
}

/// Whether a setting of the server sends something out, or lets strangers in.
fn leads_out(name: &str, value: &str) -> bool {
    const PREFIXES: [&str; 10] = [
        "MINIO_AUDIT_",
        "MINIO_ETCD_",
        "MINIO_FTP",
        "MINIO_IDENTITY_",
        "MINIO_LAMBDA_",
        "MINIO_LOGGER_",
        "MINIO_LOG_QUERY_",
        "MINIO_NOTIFY_",
        "MINIO_POLICY_PLUGIN_",
        "MINIO_SUBNET_",
    ];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || name == "MINIO_CALLHOME_ENABLE" && value != "off"
}

/// What the server says of itself and its neighbours.
#[derive(Deserialize)]
pub(super) struct Info {
    #[serde(default)]
    pub(super) mode: String,
    #[serde(default)]
    pub(super) region: String,
    #[serde(default)]
    pub(super) services: Services,
    #[serde(default)]
    pub(super) servers: Vec<Server>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Services {
    #[serde(rename = "kmsStatus")]
    pub(super) kms_status: Vec<Kms>,
    pub(super) notifications: Vec<BTreeMap<String, Value>>,
    pub(super) logger: Vec<BTreeMap<String, Value>>,
    pub(super) audit: Vec<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
pub(super) struct Kms {
    #[serde(default)]
    pub(super) status: String,
}

#[derive(Deserialize)]
pub(super) struct Server {
    #[serde(default, rename = "minio_env_vars")]
    environment: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserInfo {
    #[serde(default)]
    policy_name: String,
    status: String,
    #[serde(default)]
    member_of: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct SiteReplication {
    enabled: bool,
}

#[derive(Deserialize)]
struct Tier {
    #[serde(rename = "Name")]
    name: String,
}

#[derive(Deserialize)]
struct Providers {
    #[serde(rename = "LDAP")]
    ldap: Ldap,
    #[serde(rename = "OpenID")]
    openid: OpenId,
}

#[derive(Deserialize)]
struct Ldap {
    #[serde(rename = "IsLDAPEnabled")]
    enabled: bool,
}

#[derive(Deserialize)]
struct OpenId {
    #[serde(rename = "Enabled")]
    enabled: bool,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "sourcebucket")]
    bucket: String,
    arn: String,
}
