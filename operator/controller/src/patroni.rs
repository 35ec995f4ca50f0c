//! Patroni behind a Region: reads its members into facts and does one step at a time, over their REST APIs. I/O:
//! HTTPS to the Region's own members, with the Region's authority and client certificate. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bailiwick_api::MAX_INSTANCES;
use bailiwick_model::facts::patroni::{
    MemberFact, MemberRole, PatroniFacts, SettingChange, UNREACHABLE,
};
use bailiwick_model::facts::{ReadFailure, Unread};
use bailiwick_model::names::{Names, port};
use bailiwick_model::patroni::step::PatroniStep;
use futures::future;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cause::{self, Cause};
use crate::credentials::Credentials;
use crate::error::StepError;
use crate::tls;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a member may take to say how it is: one that takes longer is not well.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a step is waited for. One that takes longer goes on in Patroni, and the next look sees what became of it.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that an answer may hold.
const ANSWER_LIMIT: usize = 1 << 20;

/// The members of a Region's Postgres.
#[derive(Clone, Debug)]
pub struct Patroni {
    http: reqwest::Client,
    members: BTreeMap<String, Url>,
}

impl Patroni {
    /// A client of `members`, the REST API's base URL of each by name, that trusts the authorities in `ca_pem` alone
    /// and shows the given certificate. Nothing is connected yet.
    ///
    /// # Errors
    /// `Malformed` when a base URL is none, else as [`tls::mutual`].
    pub fn new(
        members: &BTreeMap<String, String>,
        ca_pem: &[u8],
        certificate_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<Self, ReadFailure> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::mutual(ca_pem, certificate_pem, key_pem)?)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            // A member's address changes with its pod: no connection is kept.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|_| ReadFailure::Malformed)?;
        let members = members
            .iter()
            .map(|(name, base)| {
                let base = Url::parse(base).map_err(|_| ReadFailure::Malformed)?;
                Ok((name.clone(), base))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { http, members })
    }

    /// A client of all the members that a Region may ever have, with the certificate and the authority of its Secrets.
    ///
    /// # Errors
    /// `NotReady` when the Secret is not there yet, else as [`Self::new`].
    pub fn of(names: &Names, credentials: &Credentials) -> Result<Self, ReadFailure> {
        let members = (0..MAX_INSTANCES)
            .map(|ordinal| {
                let host = names.postgres_member_host(ordinal);
                (
                    names.postgres_member(ordinal),
                    format!("https://{host}:{}/", port::PATRONI),
                )
            })
            .collect();
        let secret = names.client_certificate();
        let value = |key| credentials.bytes(&secret, key).ok_or(ReadFailure::NotReady);
        Self::new(
            &members,
            value("ca.crt")?,
            value("tls.crt")?,
            value("tls.key")?,
        )
    }

    /// The same client for these members alone: nobody asks one that is not there.
    #[must_use]
    pub fn among(&self, members: &BTreeSet<String>) -> Self {
        let mut among = self.clone();
        among.members.retain(|name, _| members.contains(name));
        among
    }

    /// How the cluster is: every member is asked how it is itself, and the primary, or else any that answers, how
    /// the cluster is. A member that does not answer is [`UNREACHABLE`], whatever the others still believe.
    ///
    /// # Errors
    /// Why no member could be read.
    pub async fn observe(&self) -> Result<PatroniFacts, Unread> {
        let asked = self.members.keys().map(|name| async move {
            let answer: Result<Own, Failure> = self.read(name, "patroni").await;
            (name.as_str(), answer)
        });
        let mut own = BTreeMap::new();
        let mut failures = Vec::new();
        for (name, answer) in future::join_all(asked).await {
            match answer {
                Ok(answer) => {
                    own.insert(name, answer);
                }
                Err(failure) => failures.push(failure.unread()),
            }
        }
        // The primary first: what the others know of the cluster is as old as their last look.
        let mut witnesses: Vec<&str> = own.keys().copied().collect();
        witnesses.sort_by_key(|name| own.get(name).is_none_or(|it| it.role != PRIMARY));
        for witness in witnesses {
            let (cluster, config) = future::join(
                self.read::<ClusterView>(witness, "cluster"),
                self.read::<Value>(witness, "config"),
            )
            .await;
            match cluster {
                // Without a configuration yet there is nothing to compare: null says so.
                Ok(cluster) => return Ok(facts(&cluster, config.unwrap_or_default(), &own)),
                Err(failure) => failures.push(failure.unread()),
            }
        }
        // What tells most: that nobody answers says less than why one refused.
        let told = failures
            .iter()
            .position(|it| it.failure != ReadFailure::Unreachable)
            .unwrap_or_default();
        let unread = if failures.is_empty() {
            Unread {
                failure: ReadFailure::Unreachable,
                cause: Some("there is no member to ask".to_owned()),
            }
        } else {
            failures.swap_remove(told)
        };
        tracing::warn!(
            failure = unread.failure.as_str(),
            cause = unread.cause,
            "no member of Patroni could be read"
        );
        Err(unread)
    }

    /// Does one step. Doing it again, or when it was done already, ends the same.
    ///
    /// # Errors
    /// Which step was not done, and why.
    pub async fn perform(&self, step: &PatroniStep) -> Result<(), StepError> {
        let (what, result) = match step {
            PatroniStep::PatchConfig(patch) => (
                "change the configuration".to_owned(),
                self.patch(patch).await,
            ),
            PatroniStep::Restart { member } => (
                format!("restart Postgres of {member}"),
                self.restart(member).await,
            ),
            PatroniStep::Switchover { from, to } => (
                format!("switch over from {from} to {to}"),
                self.switchover(from, to).await,
            ),
        };
        result.map_err(|failure| StepError {
            system: "patroni",
            what,
            failure: failure.kind,
            source: failure.source,
        })
    }

    /// The first member that answers does it for all.
    async fn patch(&self, patch: &Value) -> Result<(), Failure> {
        let mut last = Failure::because(ReadFailure::Unreachable, "there is no member to ask");
        for name in self.members.keys() {
            match self.call(name, Method::PATCH, "config", Some(patch)).await {
                Ok((StatusCode::OK, _)) => return Ok(()),
                Ok((status, body)) => {
                    return Err(Failure::answered(name, "config", status, &body));
                }
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    async fn restart(&self, member: &str) -> Result<(), Failure> {
        // Only when something waits for it: asked twice, it restarts once.
        let body = json!({"restart_pending": true});
        match self
            .call(member, Method::POST, "restart", Some(&body))
            .await
        {
            Ok((StatusCode::OK, _)) => Ok(()),
            Ok((StatusCode::SERVICE_UNAVAILABLE, body)) if under_way(&body) => Ok(()),
            Ok((status, body)) => Err(Failure::answered(member, "restart", status, &body)),
            Err(failure) => failure.unless_slow(),
        }
    }

    async fn switchover(&self, from: &str, to: &str) -> Result<(), Failure> {
        let body = json!({"leader": from, "candidate": to});
        match self
            .call(from, Method::POST, "switchover", Some(&body))
            .await
        {
            Ok((StatusCode::OK, _)) => Ok(()),
            Ok((StatusCode::PRECONDITION_FAILED, body))
                if body.contains("leader name does not match") =>
            {
                Ok(())
            }
            Ok((StatusCode::SERVICE_UNAVAILABLE, body)) if body.contains("status unknown") => {
                Ok(())
            }
            Ok((status, body)) => Err(Failure::answered(from, "switchover", status, &body)),
            Err(failure) => failure.unless_slow(),
        }
    }

    /// Reads a path of a member as JSON.
    async fn read<T: DeserializeOwned>(&self, member: &str, path: &str) -> Result<T, Failure> {
        let (status, body) = self.call(member, Method::GET, path, None).await?;
        if status != StatusCode::OK {
            return Err(Failure::answered(member, path, status, &body));
        }
        serde_json::from_str(&body).map_err(|error| {
            Failure::of_call(ReadFailure::Malformed, member, path, cause::cause(&error))
        })
    }

    /// One request to one member. Out come the status and the body.
    async fn call(
        &self,
        member: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, String), Failure> {
        let url = self
            .members
            .get(member)
            .and_then(|base| base.join(path).ok())
            .ok_or_else(|| {
                Failure::because(
                    ReadFailure::Malformed,
                    format!("there is no member {member}"),
                )
            })?;
        let timeout = if body.is_some() {
            STEP_TIMEOUT
        } else {
            READ_TIMEOUT
        };
        let mut request = self.http.request(method, url).timeout(timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        let unanswered = |error| Failure::unanswered(member, path, &error);
        let mut response = request.send().await.map_err(unanswered)?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if answer.len() + chunk.len() > ANSWER_LIMIT {
                let cause = format!("an answer of more than {} MiB", ANSWER_LIMIT >> 20);
                return Err(Failure::of_call(
                    ReadFailure::Malformed,
                    member,
                    path,
                    Some(cause),
                ));
            }
            answer.extend_from_slice(&chunk);
        }
        let body = String::from_utf8_lossy(&answer).into_owned();
        Ok((response.status(), body))
    }
}

/// What Patroni says to a restart that is done or goes on.
fn under_way(body: &str) -> bool {
    [
        "conditions are not satisfied",
        "already in progress",
        "still starting",
    ]
    .iter()
    .any(|it| body.contains(it))
}

/// What Patroni says of a switchover, a restart or a configuration that it does not take, without the names and values that
/// may stand around it (`patroni/api.py` of Patroni 4).
const SAYINGS: [&str; 20] = [
    "Access is denied",
    "candidate does not exist",
    "candidate name does not match with sync_standby",
    "can not find sync_standby",
    "cluster does not have leader",
    "cluster does not have members except leader",
    "client certificate required",
    "leader name does not match",
    "no good candidates have been found",
    "not authenticated",
    "failover failed",
    "failover status unknown",
    "failed to write failover key into DCS",
    "no auth header received",
    "restart failed",
    "Switchover could be performed only from a specific leader",
    "Switchover failed",
    "Switchover is possible only to a specific candidate in a paused state",
    "Switchover status unknown",
    "Switchover target and source are the same",
];

/// Why a call failed: the word for the status, and the cause, which quotes nothing.
struct Failure {
    kind: ReadFailure,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    fn because(kind: ReadFailure, cause: impl Into<String>) -> Self {
        Self {
            kind,
            source: Some(Cause(cause.into()).into()),
        }
    }

    /// A call of a path of a member, and its cause where that is known by a code.
    fn of_call(kind: ReadFailure, member: &str, path: &str, cause: Option<String>) -> Self {
        let call = format!("{member} /{path}");
        match cause {
            Some(cause) => Self::because(kind, format!("{call}: {cause}")),
            None => Self::because(kind, call),
        }
    }

    fn answered(member: &str, path: &str, status: StatusCode, body: &str) -> Self {
        let kind = match status {
            StatusCode::UNAUTHORIZED => ReadFailure::Unauthenticated,
            StatusCode::FORBIDDEN => ReadFailure::Forbidden,
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => ReadFailure::NotReady,
            status if status.is_server_error() => ReadFailure::NotReady,
            _ => ReadFailure::Malformed,
        };
        let said = SAYINGS.into_iter().find(|saying| body.contains(saying));
        let cause = match said {
            Some(said) => format!("HTTP {}, {said}", status.as_u16()),
            None => format!("HTTP {}", status.as_u16()),
        };
        Self::of_call(kind, member, path, Some(cause))
    }

    fn unanswered(member: &str, path: &str, error: &reqwest::Error) -> Self {
        let kind = if tls::is_untrusted(error) {
            ReadFailure::Untrusted
        } else if error.is_timeout() && !error.is_connect() {
            ReadFailure::TimedOut
        } else {
            ReadFailure::Unreachable
        };
        Self::of_call(kind, member, path, cause::cause(error))
    }

    fn unread(&self) -> Unread {
        cause::unread(self.kind, self.source.as_deref())
    }

    /// A request that was taken but not answered in time goes on: the next look sees what became of it.
    fn unless_slow(self) -> Result<(), Self> {
        if self.kind == ReadFailure::TimedOut {
            Ok(())
        } else {
            Err(self)
        }
    }
}

/// Patroni's word for a primary's role.
const PRIMARY: &str = "primary";

/// What a member says of itself (`GET /patroni`).
#[derive(Deserialize)]
struct Own {
    state: String,
    role: String,
    #[serde(default)]
    timeline: Option<i64>,
    #[serde(default)]
    replication_state: Option<String>,
    #[serde(default)]
    xlog: Option<Wal>,
    #[serde(default)]
    pending_restart: bool,
    #[serde(default)]
    pending_restart_reason: BTreeMap<String, Waiting>,
    #[serde(default)]
    database_system_identifier: Option<String>,
}

/// Positions in the WAL, as bytes from its beginning.
#[derive(Deserialize)]
struct Wal {
    #[serde(default)]
    location: Option<i64>,
    #[serde(default)]
    replayed_location: Option<i64>,
}

/// A setting that waits for a restart.
#[derive(Deserialize)]
struct Waiting {
    #[serde(default)]
    old_value: Value,
    #[serde(default)]
    new_value: Value,
}

/// What a member says of the cluster (`GET /cluster`).
#[derive(Deserialize)]
struct ClusterView {
    members: Vec<MemberView>,
}

#[derive(Deserialize)]
struct MemberView {
    name: String,
    role: String,
}

/// The facts in the answers.
fn facts(cluster: &ClusterView, config: Value, own: &BTreeMap<&str, Own>) -> PatroniFacts {
    // Both must say so: during a switchover the two differ for a moment.
    let leads = |name: &str| {
        let leader = cluster.members.iter().find(|it| it.role == "leader");
        leader.is_some_and(|it| it.name == name)
            && own.get(name).is_some_and(|it| it.role == PRIMARY)
    };
    let written = own
        .iter()
        .filter(|(name, _)| leads(name))
        .find_map(|(_, it)| it.xlog.as_ref()?.location);
    let listed = cluster.members.iter().map(|it| it.name.as_str());
    let members = listed
        .chain(own.keys().copied())
        .map(|name| {
            let view = cluster.members.iter().find(|it| it.name == name);
            let role = if leads(name) {
                MemberRole::Primary
            } else if view
                .is_some_and(|it| ["sync_standby", "quorum_standby"].contains(&it.role.as_str()))
            {
                MemberRole::SyncStandby
            } else {
                MemberRole::Replica
            };
            (name.to_owned(), member(role, own.get(name), written))
        })
        .collect();
    PatroniFacts {
        members,
        config,
        system_identifier: own
            .values()
            .find_map(|it| it.database_system_identifier.clone()),
    }
}

/// The facts of one member. `written` is how far the primary has written.
fn member(role: MemberRole, own: Option<&Own>, written: Option<i64>) -> MemberFact {
    let Some(own) = own else {
        return MemberFact {
            role,
            state: UNREACHABLE.to_owned(),
            timeline: None,
            lag_bytes: None,
            pending_restart: false,
            pending_settings: BTreeMap::new(),
        };
    };
    let state = match (&own.replication_state, role) {
        (Some(replication), MemberRole::SyncStandby | MemberRole::Replica)
            if own.state == "running" =>
        {
            replication.clone()
        }
        _ => own.state.clone(),
    };
    let replayed = own.xlog.as_ref().and_then(|it| it.replayed_location);
    let lag_bytes = match (role, written, replayed) {
        (MemberRole::SyncStandby | MemberRole::Replica, Some(written), Some(replayed)) => {
            Some((written - replayed).max(0))
        }
        _ => None,
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    MemberFact {
        role,
        state,
        timeline: own.timeline,
        lag_bytes,
        pending_restart: own.pending_restart,
        pending_settings: own
            .pending_restart_reason
            .iter()
            .map(|(name, waiting)| {
                let change = SettingChange {
                    from: text(&waiting.old_value),
                    to: text(&waiting.new_value),
                };
                (name.clone(), change)
            })
            .collect(),
    }
}
