//! What stands behind a Region and is not Kubernetes: S3, SQL, Patroni. One small border, so that faults can be
//! injected at every call.

use bailiwick_model::facts::Observed;
use bailiwick_model::names::Names;
use bailiwick_model::patroni::{PatroniFacts, PatroniStep};
use bailiwick_model::region::Region;
use bailiwick_model::sql::{PostgresFacts, SqlStep};
use bailiwick_model::store::{StoreFacts, StoreStep};
use futures::future::BoxFuture;

use crate::credentials::Credentials;
use crate::error::StepError;

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

/// The real systems, over the network.
#[derive(Debug, Default)]
pub struct RegionSystems {}

impl Systems for RegionSystems {
    fn store<'a>(&'a self, _access: Access<'a>) -> BoxFuture<'a, Observed<StoreFacts>> {
        Box::pin(async { Observed::NotAsked })
    }
    fn patroni<'a>(&'a self, _access: Access<'a>) -> BoxFuture<'a, Observed<PatroniFacts>> {
        Box::pin(async { Observed::NotAsked })
    }
    fn postgres<'a>(&'a self, _access: Access<'a>) -> BoxFuture<'a, Observed<PostgresFacts>> {
        Box::pin(async { Observed::NotAsked })
    }
    fn store_step<'a>(
        &'a self,
        _access: Access<'a>,
        _step: &'a StoreStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Ok(()) })
    }
    fn patroni_step<'a>(
        &'a self,
        _access: Access<'a>,
        _step: &'a PatroniStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Ok(()) })
    }
    fn sql_step<'a>(
        &'a self,
        _access: Access<'a>,
        _step: &'a SqlStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        Box::pin(async { Ok(()) })
    }
}
