//! What stands behind a Region and is not Kubernetes: S3, SQL, Patroni. One small border, so that faults can be
//! injected at every call.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bailiwick_model::facts::{Observed, ReadFailure};
use bailiwick_model::names::Names;
use bailiwick_model::patroni::{PatroniFacts, PatroniStep};
use bailiwick_model::region::Region;
use bailiwick_model::sql::{PostgresFacts, SqlStep};
use bailiwick_model::store::{StoreFacts, StoreStep};
use futures::future::BoxFuture;

use crate::credentials::Credentials;
use crate::error::StepError;
use crate::patroni::Patroni;
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
    /// Reads Patroni.
    fn patroni<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<PatroniFacts>>;
    /// Reads the primary over SQL.
    fn postgres<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<PostgresFacts>>;
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
}

/// The real systems, over the network. Clients are kept for as long as the Secrets that they were made from stay
/// the same, so that a look costs no new connection.
#[derive(Debug, Default)]
pub struct RegionSystems {
    stores: Mutex<HashMap<String, (u64, Store)>>,
}

impl RegionSystems {
    fn store_of(&self, access: Access<'_>) -> Result<Store, ReadFailure> {
        let region = access.names.region();
        let version = access.credentials.fingerprint();
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, store)) = stores
            .get(region)
            .filter(|(made_from, _)| *made_from == version)
        {
            return Ok(store.clone());
        }
        let store = Store::of(access.names, access.region, access.credentials)?;
        stores.insert(region.to_owned(), (version, store.clone()));
        Ok(store)
    }
}

/// The Region's Patroni. Its members' addresses change with their pods: no client is kept.
fn patroni_of(access: Access<'_>) -> Result<Patroni, ReadFailure> {
    let instances = access.region.spec.postgres.instances;
    Patroni::of(access.names, instances, access.credentials)
}

/// A read as a fact.
fn observed<T>(read: Result<T, ReadFailure>) -> Observed<T> {
    match read {
        Ok(seen) => Observed::Seen(seen),
        Err(failure) => Observed::Failed(failure),
    }
}

impl Systems for RegionSystems {
    fn store<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<StoreFacts>> {
        Box::pin(async move {
            match self.store_of(access) {
                Ok(store) => observed(
                    store
                        .observe(access.names, access.region, access.credentials)
                        .await,
                ),
                Err(failure) => Observed::Failed(failure),
            }
        })
    }
    fn patroni<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<PatroniFacts>> {
        Box::pin(async move {
            match patroni_of(access) {
                Ok(patroni) => observed(patroni.observe().await),
                Err(failure) => Observed::Failed(failure),
            }
        })
    }
    fn postgres<'a>(&'a self, _access: Access<'a>) -> BoxFuture<'a, Observed<PostgresFacts>> {
        Box::pin(async { Observed::NotAsked })
    }
    fn store_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a StoreStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let store = self.store_of(access).map_err(|failure| StepError {
                system: "object store",
                what: "connect".to_owned(),
                failure,
                source: None,
            })?;
            store.perform(step, access.credentials).await
        })
    }
    fn patroni_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a PatroniStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async move {
            let patroni = patroni_of(access).map_err(|failure| StepError {
                system: "patroni",
                what: "connect".to_owned(),
                failure,
                source: None,
            })?;
            patroni.perform(step).await
        })
    }
    fn sql_step<'a>(
        &'a self,
        _access: Access<'a>,
        _step: &'a SqlStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Ok(()) })
    }
}
