//! What stands behind a Region and is not Kubernetes: S3, SQL, Patroni. One small border, so that faults can be
//! injected at every call.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bailiwick_api::region::{EvidenceStatus, Region};
use bailiwick_model::evidence::Entry;
use bailiwick_model::facts::patroni::PatroniFacts;
use bailiwick_model::facts::postgres::PostgresFacts;
use bailiwick_model::facts::store::{Outlet, StoreFacts};
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::names::Names;
use bailiwick_model::patroni::step::PatroniStep;
use bailiwick_model::repository::ArchivedFile;
use bailiwick_model::resync::unmanaged_users_due;
use bailiwick_model::sql::step::SqlStep;
use bailiwick_model::store::step::StoreStep;
use bailiwick_model::ways;
use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::cause;
use crate::credentials::Credentials;
use crate::error::StepError;
use crate::evidence::{EvidenceError, EvidenceLog};
use crate::patroni::Patroni;
use crate::postgres::Postgres;
use crate::store::Store;

/// A Region and what is needed to speak to its services.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The Region.
    pub region: &'a Region,
    /// Its names.
    pub names: &'a Names,
    /// The values of its Secrets.
    pub credentials: &'a Credentials,
}

/// What the systems behind a Region say and do.
pub trait Systems: Send + Sync {
    /// Reads the object store.
    fn store<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<StoreFacts>>;
    /// Reads Patroni of these members, by name.
    fn patroni<'a>(
        &'a self,
        access: Access<'a>,
        members: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Observed<PatroniFacts>>;
    /// Reads the primary over SQL.
    fn postgres<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<PostgresFacts>>;
    /// Whether a file that Postgres says was archived is in the repository.
    fn archived<'a>(
        &'a self,
        access: Access<'a>,
        file: &'a ArchivedFile,
    ) -> BoxFuture<'a, Observed<bool>>;
    /// Does one step in the object store.
    fn store_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a StoreStep,
    ) -> BoxFuture<'a, Result<(), StepError>>;
    /// Does one step with Patroni.
    fn patroni_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a PatroniStep,
    ) -> BoxFuture<'a, Result<(), StepError>>;
    /// Does one step over SQL.
    fn sql_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a SqlStep,
    ) -> BoxFuture<'a, Result<(), StepError>>;
    /// Writes entries into the evidence log, after `known`, and returns its new end.
    fn record<'a>(
        &'a self,
        access: Access<'a>,
        known: Option<&'a EvidenceStatus>,
        entries: &'a [Entry],
        now: Timestamp,
    ) -> BoxFuture<'a, Result<EvidenceStatus, EvidenceError>>;
    /// Forgets a Region that is gone, with its clients and the credentials in them.
    fn forget(&self, region: &str);
}

/// The real systems, over the network. Clients are kept for as long as the Secrets that they were made from stay
/// the same, so that a look builds no TLS configuration anew.
#[derive(Default)]
pub struct RegionSystems {
    clients: Mutex<HashMap<String, (u64, Clients)>>,
}

/// The clients of one Region.
#[derive(Clone)]
struct Clients {
    store: Store,
    patroni: Arc<Patroni>,
    postgres: Postgres,
    /// None while its key is not there.
    evidence: Option<Arc<EvidenceLog>>,
    /// The users of the store that nobody made, as they were listed last.
    unmanaged_users: Arc<tokio::sync::Mutex<Option<UnmanagedUsers>>>,
}

/// The users of a store that nobody made, and when they were listed.
struct UnmanagedUsers {
    at: Instant,
    found: Result<BTreeSet<Outlet>, ReadFailure>,
}

impl Clients {
    /// Reads the store, and with it what the last list of its users said.
    async fn store_facts(&self, access: Access<'_>) -> Result<StoreFacts, Unread> {
        let mut seen = self
            .store
            .observe(access.names, access.region, access.credentials)
            .await?;
        let mut unmanaged_users = self.unmanaged_users.lock().await;
        if unmanaged_users
            .as_ref()
            .is_none_or(|last| unmanaged_users_due(&last.found, last.at.elapsed()))
        {
            *unmanaged_users = Some(UnmanagedUsers {
                at: Instant::now(),
                found: self.store.unknown_users(&seen).await,
            });
        }
        if let Some(Ok(found)) = unmanaged_users.as_ref().map(|listed| &listed.found) {
            seen.users_listed = true;
            // One that was made for the Region since is none of them.
            let unmanaged = found.iter().filter(
                |found| !matches!(found, Outlet::User(user) if seen.users.contains_key(user)),
            );
            seen.outlets.extend(unmanaged.cloned());
        }
        Ok(seen)
    }
}

impl RegionSystems {
    fn clients(&self, access: Access<'_>) -> Result<Clients, Unread> {
        let Access {
            region,
            names,
            credentials,
        } = access;
        let mut hasher = DefaultHasher::new();
        credentials.fingerprint().hash(&mut hasher);
        let made_from = hasher.finish();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = clients
            .get(names.region())
            .filter(|(version, _)| *version == made_from)
        {
            return Ok(known.clone());
        }
        let store = Store::of(names, region, credentials)?;
        let new = Clients {
            evidence: EvidenceLog::of(store.clone(), names, region, credentials)
                .ok()
                .map(Arc::new),
            unmanaged_users: Arc::default(),
            store,
            patroni: Arc::new(Patroni::of(names, credentials)?),
            postgres: Postgres::new(names.clone(), credentials, None)
                .map_err(|error| cause::unread(error.failure, error.source.as_deref()))?,
        };
        clients.insert(names.region().to_owned(), (made_from, new.clone()));
        Ok(new)
    }

    fn for_step(&self, access: Access<'_>, system: &'static str) -> Result<Clients, StepError> {
        self.clients(access)
            .map_err(|unread| StepError::unconnected(system, unread))
    }
}

/// The members whose sessions are asked for, whoever leads: all, while some must end or may be left from before.
fn members_with_stale_sessions(access: Access<'_>) -> Vec<String> {
    let Access { region, names, .. } = access;
    let residency = region
        .status
        .as_ref()
        .and_then(|status| status.residency.as_ref());
    if residency.is_none_or(|residency| !ways::asks_for_sessions(residency)) {
        return Vec::new();
    }
    (0..region.spec.postgres.instances)
        .map(|ordinal| names.postgres_member(ordinal))
        .collect()
}

/// A read as a fact.
fn observed<T>(read: Result<T, Unread>) -> Observed<T> {
    match read {
        Ok(seen) => Observed::Seen(seen),
        Err(unread) => Observed::Failed(unread),
    }
}

impl Systems for RegionSystems {
    fn store<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<StoreFacts>> {
        Box::pin(async move {
            match self.clients(access) {
                Ok(clients) => observed(clients.store_facts(access).await),
                Err(unread) => Observed::Failed(unread),
            }
        })
    }

    fn patroni<'a>(
        &'a self,
        access: Access<'a>,
        members: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Observed<PatroniFacts>> {
        Box::pin(async move {
            match self.clients(access) {
                Ok(clients) => observed(clients.patroni.among(members).observe().await),
                Err(unread) => Observed::Failed(unread),
            }
        })
    }

    fn postgres<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<PostgresFacts>> {
        Box::pin(async move {
            match self.clients(access) {
                Ok(clients) => {
                    let standbys = members_with_stale_sessions(access);
                    let (mut seen, sessions) = tokio::join!(
                        clients.postgres.observe(access.credentials),
                        clients
                            .postgres
                            .standby_sessions(access.credentials, standbys)
                    );
                    if let Observed::Seen(seen) = &mut seen {
                        seen.standby_sessions = sessions;
                    }
                    seen
                }
                Err(unread) => Observed::Failed(unread),
            }
        })
    }

    fn archived<'a>(
        &'a self,
        access: Access<'a>,
        file: &'a ArchivedFile,
    ) -> BoxFuture<'a, Observed<bool>> {
        Box::pin(async move {
            match self.clients(access) {
                Ok(clients) => observed(clients.store.archived(file).await),
                Err(unread) => Observed::Failed(unread),
            }
        })
    }

    fn store_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a StoreStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            self.for_step(access, "object store")?
                .store
                .perform(step, access.credentials)
                .await
        })
    }

    fn patroni_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a PatroniStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            self.for_step(access, "patroni")?
                .patroni
                .perform(step)
                .await
        })
    }

    fn sql_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a SqlStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            self.for_step(access, "postgres")?
                .postgres
                .perform(step, access.credentials)
                .await
        })
    }

    fn record<'a>(
        &'a self,
        access: Access<'a>,
        known: Option<&'a EvidenceStatus>,
        entries: &'a [Entry],
        now: Timestamp,
    ) -> BoxFuture<'a, Result<EvidenceStatus, EvidenceError>> {
        Box::pin(async move {
            let log = self
                .clients(access)
                .and_then(|clients| {
                    clients.evidence.ok_or_else(|| Unread {
                        failure: ReadFailure::NotReady,
                        cause: Some(format!("Secret {}", access.names.evidence_key())),
                    })
                })
                .map_err(|unread| EvidenceError::unavailable(access.names.region(), unread))?;
            log.append(known, entries, now).await
        })
    }

    fn forget(&self, region: &str) {
        self.clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(region);
    }
}
