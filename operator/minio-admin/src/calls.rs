//! The operations of the admin API, each as one call. I/O: HTTPS to the store.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::{
    IdentityProviders, Info, Quota, RemoteTarget, SiteReplication, Tier, UserInfo,
};
use crate::client::{Client, answer};
use crate::error::Error;

impl Client {
    /// What a server says of itself and its neighbours. It answers before it has read its settings: see [`Info::mode`].
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn info(&self) -> Result<Info, Error> {
        self.get("info", &[]).await
    }

    /// The documents of the policies that users may have, by name.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn policies(&self) -> Result<BTreeMap<String, Value>, Error> {
        self.get("list-canned-policies", &[]).await
    }

    /// Writes the document of a policy, and over what it was.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn put_policy(&self, name: &str, document: &Value) -> Result<(), Error> {
        self.put("add-canned-policy", &[("name", name)], document)
            .await
    }

    /// A user; none when the store has none by that name.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn user_info(&self, user: &str) -> Result<Option<UserInfo>, Error> {
        match self.get("user-info", &[("accessKey", user)]).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.code() == "XMinioAdminNoSuchUser" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every user that the store keeps itself, by name. The answer is sealed: see [`Self::sealed_bodies`].
    ///
    /// # Errors
    /// Why there is no answer, or why it does not open.
    pub async fn users(&self) -> Result<BTreeMap<String, Value>, Error> {
        let operation = "list-users";
        let sealed = self.call(Method::GET, operation, &[], Vec::new()).await?;
        answer(operation, &self.open(sealed).await?)
    }

    /// Makes an enabled user with this secret key, or gives it to the one that is there. The body is sealed: see
    /// [`Self::sealed_bodies`].
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn add_user(&self, user: &str, secret_key: &str) -> Result<(), Error> {
        let plain = json!({"secretKey": secret_key, "status": "enabled"}).to_string();
        let sealed = self.seal(plain.into_bytes()).await?;
        self.call(Method::PUT, "add-user", &[("accessKey", user)], sealed)
            .await
            .map(drop)
    }

    /// Lets a user sign requests, or no longer.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn set_user_enabled(&self, user: &str, enabled: bool) -> Result<(), Error> {
        let status = if enabled { "enabled" } else { "disabled" };
        let query = [("accessKey", user), ("status", status)];
        self.call(Method::PUT, "set-user-status", &query, Vec::new())
            .await
            .map(drop)
    }

    /// Gives a user one policy, instead of those that it had.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn set_user_policy(&self, user: &str, policy: &str) -> Result<(), Error> {
        let query = [
            ("policyName", policy),
            ("userOrGroup", user),
            ("isGroup", "false"),
        ];
        self.call(Method::PUT, "set-user-or-group-policy", &query, Vec::new())
            .await
            .map(drop)
    }

    /// Takes a user out of a group.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn leave_group(&self, user: &str, group: &str) -> Result<(), Error> {
        let change = json!({
            "group": group,
            "members": [user],
            "groupStatus": "enabled",
            "isRemove": true,
        });
        self.put("update-group-members", &[], &change).await
    }

    /// How many bytes a bucket may hold; none when there is no limit.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn bucket_quota(&self, bucket: &str) -> Result<Option<u64>, Error> {
        let quota: Quota = self.get("get-bucket-quota", &[("bucket", bucket)]).await?;
        Ok(quota.bytes())
    }

    /// Sets how many bytes a bucket may hold; none for no limit.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn set_bucket_quota(&self, bucket: &str, bytes: Option<u64>) -> Result<(), Error> {
        let quota = match bytes {
            Some(bytes) => json!({"quota": bytes, "size": bytes, "quotatype": "hard"}),
            None => json!({"quota": 0, "size": 0}),
        };
        self.put("set-bucket-quota", &[("bucket", bucket)], &quota)
            .await
    }

    /// The remote stores that buckets know.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn remote_targets(&self) -> Result<Vec<RemoteTarget>, Error> {
        let query = [("bucket", ""), ("type", "")];
        let targets: Option<_> = self.get("list-remote-targets", &query).await?;
        Ok(targets.unwrap_or_default())
    }

    /// Takes a remote store from a bucket. That it knows none of that name is as well.
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn remove_remote_target(&self, bucket: &str, arn: &str) -> Result<(), Error> {
        let query = [("bucket", bucket), ("arn", arn)];
        let removed = self
            .call(Method::DELETE, "remove-remote-target", &query, Vec::new())
            .await;
        match removed {
            Err(error) if error.code() != "XMinioAdminRemoteTargetNotFoundError" => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the store is replicated as a whole.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn site_replication(&self) -> Result<SiteReplication, Error> {
        self.get("site-replication/info", &[]).await
    }

    /// The remote stores that objects may be moved to.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn tiers(&self) -> Result<Vec<Tier>, Error> {
        let tiers: Option<_> = self.get("tier", &[]).await?;
        Ok(tiers.unwrap_or_default())
    }

    /// What else than the store knows users.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn identity_providers(&self) -> Result<IdentityProviders, Error> {
        self.get("site-replication/peer/idp-settings", &[]).await
    }
}
