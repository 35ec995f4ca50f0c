//! The admin API's answers as facts: users, and what could lead out of the store. I/O: HTTPS to the Region's own store.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_minio_admin::Info;
use bailiwick_model::facts::store::{Outlet, UserFact};

use super::Store;
use super::failure::Failure;

impl Store {
    pub(super) async fn user(
        &self,
        user: &str,
        secret_key: Option<&str>,
    ) -> Result<Option<UserFact>, Failure> {
        let Some(info) = self.admin.user_info(user).await? else {
            return Ok(None);
        };
        let enabled = info.is_enabled();
        let key_current = match secret_key {
            Some(secret_key) if enabled => self.admin.knows(user, secret_key).await?,
            _ => true,
        };
        Ok(Some(UserFact {
            enabled,
            policies: info.policies().map(str::to_owned).collect(),
            groups: info.groups().iter().cloned().collect(),
            key_current,
        }))
    }

    /// What could lead out of the store as a whole.
    pub(super) async fn outlets(&self, info: &Info) -> Result<BTreeSet<Outlet>, Failure> {
        let (replication, tiers, providers) = futures::try_join!(
            self.admin.site_replication(),
            self.admin.tiers(),
            self.admin.identity_providers(),
        )?;
        let mut outlets = BTreeSet::new();
        if replication.enabled {
            outlets.insert(Outlet::SiteReplication);
        }
        outlets.extend(tiers.into_iter().map(|tier| Outlet::Tier(tier.name)));
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
        let mut by_bucket: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for target in self.admin.remote_targets().await? {
            by_bucket.entry(target.bucket).or_default().push(target.arn);
        }
        Ok(by_bucket)
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
