//! The answers of the admin API, with the fields that are read of them. Fields that are not known are passed over.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What a server says of itself and its neighbours (`info`; `madmin.InfoMessage`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// `online` once the server has read its settings; before, it answers with little else.
    pub mode: String,
    /// The region that requests must be signed for; empty until the server is online.
    pub region: String,
    /// What the servers are connected to.
    pub services: Services,
    /// The servers, this one among them.
    pub servers: Vec<Server>,
}

/// What the servers are connected to (`madmin.Services`). Targets are maps of their name to their status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Services {
    /// The key management that objects are encrypted with.
    #[serde(rename = "kmsStatus")]
    pub kms_status: Vec<Status>,
    /// Where events of buckets may be sent.
    pub notifications: Vec<BTreeMap<String, Value>>,
    /// Where logs are sent.
    pub logger: Vec<BTreeMap<String, Value>>,
    /// Where records of calls are sent.
    pub audit: Vec<BTreeMap<String, Value>>,
}

/// Whether something is there (`madmin.KMS`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `online` or `offline`.
    pub status: String,
}

/// One server (`madmin.ServerProperties`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    /// Its settings from the environment, by name; the server redacts those that are secret.
    #[serde(rename = "minio_env_vars")]
    pub environment: BTreeMap<String, String>,
}

/// A user (`user-info`; `madmin.UserInfo`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserInfo {
    #[serde(default)]
    policy_name: String,
    status: String,
    #[serde(default)]
    member_of: Option<Vec<String>>,
}

impl UserInfo {
    /// Whether it may sign requests.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.status == "enabled"
    }

    /// The names of its own policies, without those of its groups.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.policy_name.split(',').filter(|name| !name.is_empty())
    }

    /// The groups that it is a member of.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        self.member_of.as_deref().unwrap_or_default()
    }
}

/// Whether the store is replicated as a whole (`site-replication/info`; `madmin.SiteReplicationInfo`).
#[derive(Clone, Debug, Deserialize)]
pub struct SiteReplication {
    /// Whether there is another site.
    pub enabled: bool,
}

/// A remote store that objects may be moved to (`tier`; `madmin.TierConfig`).
#[derive(Clone, Debug, Deserialize)]
pub struct Tier {
    /// Its name; none has an empty one.
    #[serde(rename = "Name")]
    pub name: String,
}

/// What else than the store knows users (`site-replication/peer/idp-settings`; `madmin.IDPSettings`).
#[derive(Clone, Debug, Deserialize)]
pub struct IdentityProviders {
    /// A directory.
    #[serde(rename = "LDAP")]
    pub ldap: Ldap,
    /// A provider of tokens.
    #[serde(rename = "OpenID")]
    pub openid: OpenId,
}

/// A directory (`madmin.LDAPSettings`).
#[derive(Clone, Debug, Deserialize)]
pub struct Ldap {
    /// Whether its users may sign in.
    #[serde(rename = "IsLDAPEnabled")]
    pub enabled: bool,
}

/// A provider of tokens (`madmin.OpenIDSettings`).
#[derive(Clone, Debug, Deserialize)]
pub struct OpenId {
    /// Whether its users may sign in.
    #[serde(rename = "Enabled")]
    pub enabled: bool,
}

/// A remote store that a bucket knows (`list-remote-targets`; `madmin.BucketTarget`).
#[derive(Clone, Debug, Deserialize)]
pub struct RemoteTarget {
    /// The bucket here.
    #[serde(rename = "sourcebucket")]
    pub bucket: String,
    /// The name by which rules of replication refer to it.
    pub arn: String,
}

/// How much a bucket may hold (`get-bucket-quota`; `madmin.BucketQuota`).
#[derive(Deserialize)]
pub(crate) struct Quota {
    #[serde(default)]
    quota: u64,
    #[serde(default)]
    size: u64,
}

impl Quota {
    /// In bytes; none when there is no quota. Newer servers keep it as `size`, older ones as `quota`.
    pub(crate) fn bytes(&self) -> Option<u64> {
        Some(self.size.max(self.quota)).filter(|bytes| *bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_little_is_not_online_and_more_than_is_known_is_passed_over() {
        let info: Info = serde_json::from_str(r#"{"deploymentID": "x"}"#).unwrap();
        assert_eq!((info.mode.as_str(), info.region.as_str()), ("", ""));
        let said = r#"{
            "mode": "online", "region": "tr-ist-1", "buckets": {"count": 3},
            "services": {"kmsStatus": [{"status": "online", "version": "1"}], "audit": [{"webhook": {"status": "online"}}]},
            "servers": [{"state": "online", "minio_env_vars": {"MINIO_SITE_REGION": "tr-ist-1"}}]
        }"#;
        let info: Info = serde_json::from_str(said).unwrap();
        assert_eq!(info.region, "tr-ist-1");
        assert_eq!(info.services.kms_status[0].status, "online");
        assert!(info.services.audit[0].contains_key("webhook"));
        assert_eq!(info.servers[0].environment["MINIO_SITE_REGION"], "tr-ist-1");
    }

    #[test]
    fn a_user_has_the_policies_of_a_list_and_groups_or_none() {
        let user: UserInfo = serde_json::from_str(
            r#"{"policyName": "a,,b", "status": "enabled", "memberOf": ["staff"]}"#,
        )
        .unwrap();
        assert!(user.is_enabled());
        assert_eq!(user.policies().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(user.groups(), ["staff"]);
        let user: UserInfo =
            serde_json::from_str(r#"{"status": "disabled", "memberOf": null}"#).unwrap();
        assert!(!user.is_enabled());
        assert_eq!(user.policies().count() + user.groups().len(), 0);
        // Without a status nobody can say that it is disabled.
        assert!(serde_json::from_str::<UserInfo>("{}").is_err());
    }

    #[test]
    fn a_quota_is_the_larger_of_both_names_and_none_is_zero() {
        for (said, bytes) in [
            (r#"{"quota": 0, "size": 0}"#, None),
            ("{}", None),
            (r#"{"quota": 7}"#, Some(7)),
            (r#"{"quota": 7, "size": 9, "quotatype": "hard"}"#, Some(9)),
        ] {
            let quota: Quota = serde_json::from_str(said).unwrap();
            assert_eq!(quota.bytes(), bytes, "{said}");
        }
    }
}
