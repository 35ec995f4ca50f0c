//! What stands behind a Region and is not Kubernetes: an object store, Patroni and Postgres in memory, behind the
//! controller's own border. Their pods are those of the API server in memory; every call is in the same sequence as
//! the requests, so that each of them can go wrong.

#[path = "../../../../model/tests/fixture/store.rs"]
mod store;
mod systems;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Arc, Mutex};

use bailiwick_model::facts::patroni::{MemberFact, MemberRole, PatroniFacts, SettingChange};
use bailiwick_model::facts::postgres::{
    ArchiverFact, AvailableExtension, PasswordFact, PostgresFacts, RunningSettings,
};
use bailiwick_model::facts::store::StoreFacts;
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::names::{REPLICATION_ROLE, REWIND_ROLE};
use bailiwick_model::patroni::step::PatroniStep;
use bailiwick_model::sql::step::SqlStep;
use bailiwick_model::sql::{EXTENSIONS, settle};
use bailiwick_model::store::step::StoreStep;
use bailiwick_operator::cause::Cause;
use bailiwick_operator::credentials::Credentials;
use bailiwick_operator::error::StepError;
use bailiwick_operator::systems::Access;
use serde_json::{Value, json};

use super::cluster::is_ready;
use super::fake_api::{FakeApi, Key, text};
use super::journal::{Fault, Journal};

/// The settings that only a restart brings into force, as far as the tests change them.
const NEEDS_RESTART: &[&str] = &["max_connections", "max_worker_processes", "shared_buffers"];

/// The state of one Region's systems. It lives on its volumes.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// The object store.
    pub store: StoreFacts,
    /// Whether the database refuses the operator's password.
    pub refuses_control: bool,
    /// The roles of members that it refuses, their Secret having other passwords.
    pub refuses_members: BTreeSet<&'static str>,
    /// The root credentials that the store's server runs with, and the uid of its pod.
    root: Option<(String, Vec<u8>)>,
    /// Whether what Postgres archives arrives in another store.
    pub archives_elsewhere: bool,
    /// The keys that were looked for in the repository.
    pub looked_for: Vec<String>,
    /// The secret key of each of the store's users.
    keys: BTreeMap<String, Vec<u8>>,
    /// Postgres, once it was asked.
    pub postgres: PostgresFacts,
    /// The Secret and the password that each role was given.
    passwords: BTreeMap<String, (String, Vec<u8>)>,
    /// Patroni's dynamic configuration.
    pub config: Value,
    /// The member that leads.
    pub leader: Option<String>,
    /// What waits for a restart, by member and the uid of its pod.
    pending: BTreeMap<(String, String), BTreeMap<String, SettingChange>>,
}

/// The systems behind all Regions.
#[derive(Clone)]
pub struct World {
    api: FakeApi,
    journal: Journal,
    data: Arc<Mutex<BTreeMap<String, Data>>>,
    /// The Regions whose clients were to be forgotten.
    pub forgotten: Arc<Mutex<Vec<String>>>,
    /// The Regions whose stores never answer, and how often each was asked.
    pub hanging: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl World {
    /// Systems without data, whose pods are in `api`.
    pub fn new(api: FakeApi, journal: Journal) -> Self {
        Self {
            api,
            journal,
            data: Arc::default(),
            forgotten: Arc::default(),
            hanging: Arc::default(),
        }
    }

    /// Other systems with the same data.
    pub fn copy(&self, api: FakeApi, journal: Journal) -> Self {
        let data = self.data.lock().unwrap().clone();
        Self {
            api,
            journal,
            data: Arc::new(Mutex::new(data)),
            forgotten: Arc::default(),
            hanging: Arc::default(),
        }
    }

    /// The state of a Region's systems.
    pub fn of(&self, region: &str) -> Data {
        self.data
            .lock()
            .unwrap()
            .get(region)
            .cloned()
            .unwrap_or_default()
    }

    /// Changes the state of a Region's systems as somebody else does.
    pub fn change(&self, region: &str, change: impl FnOnce(&mut Data)) {
        self.with(region, change);
    }

    fn with<T>(&self, region: &str, work: impl FnOnce(&mut Data) -> T) -> T {
        let mut data = self.data.lock().unwrap();
        work(data.entry(region.to_owned()).or_insert_with(fresh))
    }

    fn fault(&self, verb: &'static str, system: &str, name: impl Display) -> Option<Fault> {
        self.journal.next(verb, system.to_owned(), name.to_string())
    }

    /// The members whose pods run, with their pods' uids.
    fn members(&self, access: Access<'_>) -> BTreeMap<String, String> {
        let namespace = access.names.namespace();
        (0..9)
            .map(|ordinal| access.names.postgres_member(ordinal))
            .filter_map(|name| {
                let mut uid = String::new();
                let ready = self.api.is(&Key::new("pods", &namespace, &name), |pod| {
                    text(pod, "/metadata/uid").clone_into(&mut uid);
                    is_ready(pod)
                });
                ready.then_some((name, uid))
            })
            .collect()
    }

    fn store_facts(&self, access: Access<'_>) -> Observed<StoreFacts> {
        let Access {
            region,
            names,
            credentials,
        } = access;
        let server = Key::new(
            "pods",
            &names.namespace(),
            &format!("{}-0", names.object_store()),
        );
        let mut uid = String::new();
        let ready = self.api.is(&server, |pod| {
            text(pod, "/metadata/uid").clone_into(&mut uid);
            is_ready(pod)
        });
        if !ready {
            return Observed::Failed(ReadFailure::Unreachable.into());
        }
        // As the server reads it: once, when its pod starts.
        let root = Key::new("secrets", &names.namespace(), &names.object_store_root());
        let there = self
            .api
            .get(&root)
            .map(|it| it["data"]["secret-key"].clone());
        let runs_with = self.with(names.region(), |data| {
            if data.root.as_ref().is_none_or(|(of, _)| *of != uid) {
                let value = serde_json::from_value::<k8s_openapi::ByteString>(
                    there.clone().unwrap_or_default(),
                );
                data.root = value.ok().map(|value| (uid.clone(), value.0));
            }
            data.root.as_ref().map(|(_, value)| value.clone())
        });
        if credentials.bytes(&names.object_store_root(), "secret-key") != runs_with.as_deref() {
            return Observed::Failed(ReadFailure::Unauthenticated.into());
        }
        let facts = self.with(names.region(), |data| {
            let mut facts = data.store.clone();
            facts.region.clone_from(&region.spec.residency.location);
            for (user, fact) in &mut facts.users {
                let wanted = credentials.bytes(&names.object_store_user(user), "secret-key");
                fact.key_current = wanted.is_none_or(|wanted| data.keys[user] == wanted);
            }
            facts
        });
        Observed::Seen(facts)
    }

    fn patroni_facts(
        &self,
        access: Access<'_>,
        asked: &BTreeSet<String>,
    ) -> Observed<PatroniFacts> {
        let running = self.members(access);
        if running.is_empty() {
            return Observed::Failed(ReadFailure::Unreachable.into());
        }
        self.with(access.names.region(), |data| {
            let led = data
                .leader
                .as_ref()
                .is_some_and(|it| running.contains_key(it));
            if !led {
                data.leader = running.keys().next().cloned();
            }
            let members = running
                .iter()
                .filter(|(name, _)| asked.contains(*name))
                .map(|(name, uid)| {
                    let leads = data.leader.as_ref() == Some(name);
                    let pending = data
                        .pending
                        .get(&(name.clone(), uid.clone()))
                        .cloned()
                        .unwrap_or_default();
                    let fact = MemberFact {
                        role: if leads {
                            MemberRole::Primary
                        } else {
                            MemberRole::SyncStandby
                        },
                        state: if leads { "running" } else { "streaming" }.to_owned(),
                        timeline: Some(1),
                        lag_bytes: (!leads).then_some(0),
                        pending_restart: !pending.is_empty(),
                        pending_settings: pending,
                    };
                    (name.clone(), fact)
                })
                .collect();
            Observed::Seen(PatroniFacts {
                members,
                config: data.config.clone(),
                system_identifier: data.postgres.system_identifier.clone(),
            })
        })
    }

    fn postgres_facts(&self, access: Access<'_>) -> PostgresFacts {
        let running = self.members(access);
        self.with(access.names.region(), |data| {
            let mut facts = data.postgres.clone();
            for member in running.keys() {
                if data.leader.as_ref() != Some(member) {
                    // One that answers says what it has, be it nothing.
                    facts.standby_sessions.entry(member.clone()).or_default();
                }
            }
            let refused = Unread {
                failure: ReadFailure::Unauthenticated,
                cause: Some("SQLSTATE 28P01".to_owned()),
            };
            facts.logins = [REPLICATION_ROLE, REWIND_ROLE]
                .map(|role| {
                    let is_kept_out = data.refuses_members.contains(role);
                    (
                        role,
                        if is_kept_out {
                            Err(refused.clone())
                        } else {
                            Ok(())
                        },
                    )
                })
                .into();
            // What Patroni was told, as a server has it once Patroni has written it down.
            let told = data.config["postgresql"]["parameters"].as_object();
            facts.running = Some(RunningSettings {
                values: told
                    .into_iter()
                    .flatten()
                    .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                    .collect(),
                refused: Some(BTreeMap::new()),
                ..RunningSettings::default()
            });
            for (role, fact) in &mut facts.roles {
                if let Some((secret, password)) = data.passwords.get(role) {
                    fact.password = match access.credentials.bytes(secret, "password") {
                        Some(wanted) if wanted == password => PasswordFact::Current,
                        Some(_) => PasswordFact::Stale,
                        None => PasswordFact::Unknown,
                    };
                }
            }
            facts
        })
    }

    fn do_store_step(&self, access: Access<'_>, step: &StoreStep) {
        self.with(access.names.region(), |data| {
            if let StoreStep::CreateUser { user, secret } = step {
                data.keys.insert(
                    user.clone(),
                    value(access.credentials, secret, "secret-key"),
                );
            }
            store::apply(&mut data.store, step);
        });
    }

    fn do_patroni_step(&self, access: Access<'_>, step: &PatroniStep) {
        let running = self.members(access);
        self.with(access.names.region(), |data| match step {
            PatroniStep::PatchConfig(patch) => {
                let before = data.config.clone();
                merge(&mut data.config, patch);
                let setting = |config: &Value, name: &str| {
                    config["postgresql"]["parameters"][name]
                        .as_str()
                        .map(str::to_owned)
                };
                for name in NEEDS_RESTART {
                    if let (Some(from), Some(to)) =
                        (setting(&before, name), setting(&data.config, name))
                        && from != to
                    {
                        for (member, uid) in &running {
                            data.pending
                                .entry((member.clone(), uid.clone()))
                                .or_default()
                                .insert(
                                    (*name).to_owned(),
                                    SettingChange {
                                        from: from.clone(),
                                        to: to.clone(),
                                    },
                                );
                        }
                    }
                }
            }
            PatroniStep::Restart { member } => {
                let uid = running.get(member).cloned().unwrap_or_default();
                data.pending.remove(&(member.clone(), uid));
            }
            PatroniStep::Switchover { from, to } => {
                assert_eq!(data.leader.as_ref(), Some(from));
                assert!(running.contains_key(to), "{to} does not run");
                data.leader = Some(to.clone());
            }
        });
    }

    fn do_sql_step(&self, access: Access<'_>, step: &SqlStep) {
        self.with(access.names.region(), |data| {
            if let SqlStep::SetPassword { role, secret, .. } = step {
                let password = value(access.credentials, secret, "password");
                data.passwords
                    .insert(role.clone(), (secret.clone(), password));
            }
            settle(&mut data.postgres, step);
        });
    }

    /// Does a step unless it goes wrong.
    async fn step(
        &self,
        system: &'static str,
        what: &str,
        work: impl FnOnce(),
    ) -> Result<(), StepError> {
        self.does("step", system, what, work).await
    }

    async fn does(
        &self,
        verb: &'static str,
        system: &'static str,
        what: &str,
        work: impl FnOnce(),
    ) -> Result<(), StepError> {
        let failed = |failure, cause: Option<String>| {
            Err(StepError {
                system,
                what: what.to_owned(),
                failure,
                source: cause.map(|cause| Cause(cause).into()),
            })
        };
        match self.fault(verb, system, what) {
            None => {
                work();
                Ok(())
            }
            Some(Fault::LoseAnswer) => {
                work();
                failed(ReadFailure::TimedOut, None)
            }
            Some(Fault::DieBefore) => std::future::pending().await,
            Some(Fault::DieAfter) => {
                work();
                std::future::pending().await
            }
            Some(Fault::Fail) => failed(ReadFailure::NotReady, None),
            // It is this that is refused, and the system is well.
            Some(Fault::Refuse(code)) => {
                failed(ReadFailure::Malformed, Some(format!("HTTP {code}")))
            }
        }
    }

    /// Reads unless it goes wrong.
    async fn read<T>(&self, system: &str, work: impl FnOnce() -> Observed<T>) -> Observed<T> {
        match self.fault("read", system, "") {
            None => work(),
            Some(Fault::DieBefore | Fault::DieAfter) => std::future::pending().await,
            Some(Fault::LoseAnswer) => Observed::Failed(ReadFailure::TimedOut.into()),
            Some(Fault::Fail) => Observed::Failed(ReadFailure::Unreachable.into()),
            Some(Fault::Refuse(code)) => Observed::Failed(Unread {
                failure: ReadFailure::NotReady,
                cause: Some(format!("HTTP {code}")),
            }),
        }
    }
}

/// The value that a step needs of a Secret; the controller must have it by then.
fn value(credentials: &Credentials, secret: &str, key: &str) -> Vec<u8> {
    credentials
        .bytes(secret, key)
        .unwrap_or_else(|| panic!("{secret} has no {key}"))
        .to_vec()
}

/// Volumes on which everything was just made.
fn fresh() -> Data {
    Data {
        store: StoreFacts {
            users_listed: true,
            encrypts: true,
            ..StoreFacts::default()
        },
        postgres: PostgresFacts {
            server_version: 170_012,
            system_identifier: Some("7391".to_owned()),
            available_extensions: EXTENSIONS
                .iter()
                .map(|name| {
                    let available = AvailableExtension {
                        version: "1.0".to_owned(),
                        ..AvailableExtension::default()
                    };
                    ((*name).to_owned(), available)
                })
                .collect(),
            archiver: ArchiverFact {
                enabled: true,
                timeout_seconds: 60,
                last_archived: Some("000000010000000000000003".to_owned()),
                last_archived_at: "2026-11-21T08:01:01Z".parse().ok(),
                archived_through: "2026-11-21T08:01:00Z".parse().ok(),
                read_at: "2026-11-21T08:01:30Z".parse().unwrap(),
                ..ArchiverFact::default()
            },
            ..PostgresFacts::default()
        },
        // As Patroni starts out when its file says nothing of the rest.
        config: json!({"ttl": 30, "loop_wait": 10, "postgresql": {"parameters": {}}}),
        ..Data::default()
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let fields = into.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
