//! The controller's border to the systems, carried out in memory.

use std::collections::BTreeSet;

use bailiwick_api::region::EvidenceStatus;
use bailiwick_model::evidence::Entry;
use bailiwick_model::facts::patroni::PatroniFacts;
use bailiwick_model::facts::postgres::PostgresFacts;
use bailiwick_model::facts::store::StoreFacts;
use bailiwick_model::facts::{Observed, ReadFailure, Unread};
use bailiwick_model::patroni::step::PatroniStep;
use bailiwick_model::repository::ArchivedFile;
use bailiwick_model::sql::step::SqlStep;
use bailiwick_model::store::step::StoreStep;
use bailiwick_operator::error::StepError;
use bailiwick_operator::evidence::EvidenceError;
use bailiwick_operator::systems::{Access, Systems};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::World;

impl Systems for World {
    fn store<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<StoreFacts>> {
        async move {
            let hangs = self
                .hanging
                .lock()
                .unwrap()
                .get_mut(access.names.region())
                .map(|asked| *asked += 1);
            if hangs.is_some() {
                std::future::pending::<()>().await;
            }
            self.read("object store", || self.store_facts(access)).await
        }
        .boxed()
    }

    fn archived<'a>(
        &'a self,
        access: Access<'a>,
        file: &'a ArchivedFile,
    ) -> BoxFuture<'a, Observed<bool>> {
        async move {
            let key = file.prefix(&file.first());
            self.read("archived file", || {
                self.with(access.names.region(), |data| {
                    data.looked_for.push(key);
                    Observed::Seen(!data.archives_elsewhere)
                })
            })
            .await
        }
        .boxed()
    }

    fn patroni<'a>(
        &'a self,
        access: Access<'a>,
        members: &'a BTreeSet<String>,
    ) -> BoxFuture<'a, Observed<PatroniFacts>> {
        async move {
            self.read("patroni", || self.patroni_facts(access, members))
                .await
        }
        .boxed()
    }

    fn postgres<'a>(&'a self, access: Access<'a>) -> BoxFuture<'a, Observed<PostgresFacts>> {
        async move {
            self.read("postgres", || {
                if self.of(access.names.region()).refuses_control {
                    return Observed::Failed(ReadFailure::Unauthenticated.into());
                }
                Observed::Seen(self.postgres_facts(access))
            })
            .await
        }
        .boxed()
    }

    fn store_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a StoreStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            self.step("object store", &step.to_string(), || {
                self.do_store_step(access, step);
            })
            .await
        }
        .boxed()
    }

    fn patroni_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a PatroniStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            self.step("patroni", &format!("{step:?}"), || {
                self.do_patroni_step(access, step);
            })
            .await
        }
        .boxed()
    }

    fn sql_step<'a>(
        &'a self,
        access: Access<'a>,
        step: &'a SqlStep,
    ) -> BoxFuture<'a, Result<(), StepError>> {
        async move {
            self.step("postgres", &step.describe(), || {
                self.do_sql_step(access, step);
            })
            .await
        }
        .boxed()
    }

    fn record<'a>(
        &'a self,
        _: Access<'a>,
        _: Option<&'a EvidenceStatus>,
        entries: &'a [Entry],
        _: Timestamp,
    ) -> BoxFuture<'a, Result<EvidenceStatus, EvidenceError>> {
        async move {
            let kinds: Vec<&str> = entries.iter().map(Entry::kind).collect();
            let what = format!("record {}", kinds.join(" "));
            self.does("record", "object store", &what, || {})
                .await
                .map_err(|error| {
                    let unread = Unread {
                        failure: error.failure,
                        cause: error.cause(),
                    };
                    EvidenceError::unavailable("tr", unread)
                })?;
            // The log has tests of its own: here it ends where it ends, however often it was tried.
            Ok(EvidenceStatus {
                sequence: 1,
                hash: "00".repeat(32),
                key_id: "11".repeat(32),
                told: String::new(),
            })
        }
        .boxed()
    }

    fn forget(&self, region: &str) {
        self.forgotten.lock().unwrap().push(region.to_owned());
    }
}
