//! The adapter for Postgres: reads the primary's facts over SQL and does one step at a time, as the control role,
//! over verified TLS. All I/O; it decides nothing.
//!
//! The control role is no superuser. It is made by the image when the cluster is bootstrapped (`control-role.sql`):
//! `CREATEDB`, `CREATEROLE`, `pg_monitor`. It owns the databases of the spec and administers their roles; the
//! rights of a role it takes only by `SET ROLE`, for one transaction, so that by itself it reads no table of an
//! application.

mod connection;
mod password;
mod reading;
mod statement;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bailiwick_model::facts::postgres::{ArchiverFact, PostgresFacts, RunningSettings, Sessions};
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::names::{Names, REPLICATION_ROLE, REWIND_ROLE};
use bailiwick_model::sql::step::SqlStep;
use futures::future::join_all;
use tokio_postgres::Client;

use self::connection::{Endpoint, Patience};
use self::statement::Work;
use crate::cause;
use crate::credentials::Credentials;
use crate::error::StepError;

/// The database that comes with Postgres and that roles and databases are read and made from.
const MAINTENANCE_DATABASE: &str = "postgres";

/// The primary of one Region, over SQL. It holds no connection between calls: a failover or a new certificate is
/// met at the next call.
#[derive(Clone)]
pub struct Postgres {
    names: Names,
    endpoint: Endpoint,
    /// The password of replication that the server took last: it is tried once, not at each look.
    admitted: Arc<Mutex<Option<String>>>,
}

/// Why a call to Postgres did not succeed: the class goes into the status, the source into the log alone.
#[derive(Debug, thiserror::Error)]
#[error("postgres: {}", failure.as_str())]
pub struct PostgresError {
    /// Which class of failure it is.
    pub failure: ReadFailure,
    /// What the server or the network said.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Postgres {
    /// A client for the primary behind the Region's Service. `address` replaces the Service's address and port, not
    /// the name that its certificate must carry: tests use it.
    ///
    /// # Errors
    /// `Untrusted` when the Region's certificate Secret holds no authority (`ca.crt`) to verify the server with.
    pub fn new(
        names: Names,
        credentials: &Credentials,
        address: Option<SocketAddr>,
    ) -> Result<Self, PostgresError> {
        let endpoint = Endpoint::new(&names, credentials, address)?;
        Ok(Self {
            names,
            endpoint,
            admitted: Arc::default(),
        })
    }

    /// Reads everything that steps and status are made from.
    pub async fn observe(&self, credentials: &Credentials) -> Observed<PostgresFacts> {
        match self.read(credentials).await {
            Ok(facts) => Observed::Seen(facts),
            Err(error) => Observed::Failed(told(&self.names, &error)),
        }
    }

    /// Reads the sessions of applications on standbys, each asked by itself: one that does not answer is not in what is
    /// returned, and nor is one that is no standby.
    pub async fn standby_sessions(
        &self,
        credentials: &Credentials,
        members: impl IntoIterator<Item = String>,
    ) -> BTreeMap<String, BTreeMap<String, Sessions>> {
        let asked = members.into_iter().map(|member| async {
            let read = async {
                let client = self
                    .endpoint
                    .of_member(&self.names, &member)
                    .connect(
                        &self.names,
                        credentials,
                        MAINTENANCE_DATABASE,
                        Patience::Short,
                    )
                    .await?;
                reading::standby_sessions(&client).await
            };
            match read.await {
                Ok(sessions) => Some((member, sessions?)),
                Err(error) => {
                    told(&self.names, &error);
                    None
                }
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Reads the archive's state alone: one connection, one query, for looks in between.
    pub async fn observe_archive(&self, credentials: &Credentials) -> Observed<ArchiverFact> {
        let read = async {
            let client = self.connect(credentials, MAINTENANCE_DATABASE).await?;
            reading::archiver(&client).await
        };
        match read.await {
            Ok(fact) => Observed::Seen(fact),
            Err(error) => Observed::Failed(told(&self.names, &error)),
        }
    }

    /// Does one step. Doing it twice, or again after a lost answer, ends the same.
    ///
    /// # Errors
    /// When it was not done, or its answer was lost. The text names the step's objects, and no value.
    pub async fn perform(
        &self,
        step: &SqlStep,
        credentials: &Credentials,
    ) -> Result<(), StepError> {
        self.work(step, credentials)
            .await
            .map_err(|error| StepError {
                system: "postgres",
                what: step.describe(),
                failure: error.failure,
                source: error.source,
            })
    }

    /// Reads the same as [`Self::observe`], with the cause when it fails.
    ///
    /// # Errors
    /// When Postgres cannot be reached, verified or understood, or refuses us.
    pub async fn read(&self, credentials: &Credentials) -> Result<PostgresFacts, PostgresError> {
        let client = self.connect(credentials, MAINTENANCE_DATABASE).await?;
        let passwords = password::Passwords::new(&self.names, credentials);
        let mut facts = reading::server(&client, &passwords).await?;
        let refused = reading::refused_settings(&client).await?;
        drop(client);
        match self.settings(credentials).await {
            Ok((settings, running)) => {
                facts.logins.insert(REWIND_ROLE, Ok(()));
                facts.settings = settings;
                facts.running = Some(RunningSettings { refused, ..running });
            }
            // What was not read is unknown, and nothing else waits for it.
            Err(error) => {
                let unread = told(&self.names, &error);
                facts.logins.insert(REWIND_ROLE, Err(unread));
            }
        }
        facts
            .logins
            .insert(REPLICATION_ROLE, self.replication_login(credentials).await);
        for (name, database) in reading::ours(&mut facts) {
            let client = self.connect(credentials, name).await?;
            database.inside = Some(reading::inside(&client).await?);
        }
        Ok(facts)
    }

    /// The settings of the log and those that a Region may set, as pg_rewind's role sees them: it has none of its own.
    async fn settings(
        &self,
        credentials: &Credentials,
    ) -> Result<(BTreeMap<String, String>, RunningSettings), PostgresError> {
        let login = (REWIND_ROLE, "rewind-password");
        let client = self
            .endpoint
            .connect_as_others(login, &self.names, credentials, MAINTENANCE_DATABASE)
            .await?;
        Ok((
            reading::settings(&client).await?,
            reading::running(&client).await?,
        ))
    }

    /// Whether the server takes the password of replication that its Secret has now, and else why not: members that are
    /// started with another one could not follow. The role may connect to no database, which the server says only to whom it
    /// has let in.
    async fn replication_login(&self, credentials: &Credentials) -> Result<(), Unread> {
        const KEY: &str = "replication-password";
        let password = credentials.text(&self.names.postgres_internal(), KEY);
        let known = || self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if password.is_some() && known().as_deref() == password {
            return Ok(());
        }
        let login = (REPLICATION_ROLE, KEY);
        let tried = self
            .endpoint
            .connect_as_others(login, &self.names, credentials, MAINTENANCE_DATABASE)
            .await;
        let login = match &tried {
            Err(error) if error.failure != ReadFailure::Forbidden => Err(told(&self.names, error)),
            _ => Ok(()),
        };
        *known() = password.filter(|_| login.is_ok()).map(str::to_owned);
        login
    }

    async fn work(&self, step: &SqlStep, credentials: &Credentials) -> Result<(), PostgresError> {
        let passwords = password::Passwords::new(&self.names, credentials);
        let endpoint = match step {
            SqlStep::EndSessions {
                standby: Some(member),
                ..
            } => self.endpoint.of_member(&self.names, member),
            _ => self.endpoint.clone(),
        };
        for Work {
            database,
            patience,
            statements,
        } in statement::work(step, &passwords)?
        {
            let mut client = endpoint
                .connect(&self.names, credentials, &database, patience)
                .await?;
            statement::run(&mut client, &statements, patience).await?;
        }
        Ok(())
    }

    async fn connect(
        &self,
        credentials: &Credentials,
        database: &str,
    ) -> Result<Client, PostgresError> {
        self.endpoint
            .connect(&self.names, credentials, database, Patience::Short)
            .await
    }
}

/// Logs a failure with what was said, which stays out of the status; its cause does not.
fn told(names: &Names, error: &PostgresError) -> Unread {
    let unread = cause::unread(error.failure, error.source.as_deref());
    tracing::warn!(
        region = names.region(),
        failure = unread.failure.as_str(),
        cause = unread.cause,
        said = error.source.as_deref().map(tracing::field::display),
        "postgres could not be read"
    );
    unread
}
