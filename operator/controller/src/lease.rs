//! Leader election by a Lease: of several replicas one holds it, and only the holder writes. Every renewal carries
//! the Lease's resourceVersion, so two candidates can never both win. Reads and writes one Lease.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::error::Error;

/// How long a holding lasts without a renewal.
const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);
/// A holder stops writing this long before others may take over, so that a slow clock does no harm.
const MARGIN: Duration = Duration::from_secs(3);

/// This replica's view of the Lease.
#[derive(Debug)]
pub struct Lease {
    held_until: Mutex<Option<Instant>>,
    /// When the API server last answered about the Lease; none before it was asked.
    answered: Mutex<Option<Instant>>,
    unconditional: bool,
}

impl Lease {
    /// A Lease that is not held yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            held_until: Mutex::new(None),
            answered: Mutex::new(None),
            unconditional: false,
        }
    }

    /// For a process that is alone by construction, such as a test.
    #[must_use]
    pub const fn always() -> Self {
        Self {
            held_until: Mutex::new(None),
            answered: Mutex::new(None),
            unconditional: true,
        }
    }

    /// Whether this replica may write now.
    #[must_use]
    pub fn held(&self) -> bool {
        self.unconditional
            || self
                .held_until
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some_and(|until| Instant::now() + MARGIN < until)
    }

    /// Checked before each batch of writes.
    ///
    /// # Errors
    /// [`Error::NotLeader`].
    pub fn check(&self) -> Result<(), Error> {
        if self.held() {
            Ok(())
        } else {
            Err(Error::NotLeader)
        }
    }

    fn set(&self, until: Option<Instant>) {
        *self
            .held_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// For how long the API server gave no answer about the Lease, at `now`: holder and candidates ask every few seconds.
    /// None before the first answer, which `/readyz` waits for by other means.
    #[must_use]
    pub fn silent(&self, now: Instant) -> Option<Duration> {
        self.answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .map(|at| now.duration_since(at))
    }

    /// Gives the Lease up, so that another replica takes it at once and need not wait until it runs out. Nothing may be
    /// written after this: whoever calls it has finished. One that is not ours (any more) stays as it is.
    ///
    /// # Errors
    /// What the API server said; the Lease then runs out by itself.
    pub async fn release(
        &self,
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
    ) -> kube::Result<()> {
        self.set(None);
        let api: Api<LeaseObject> = Api::namespaced(client, namespace);
        let Some(mut lease) = api.get_opt(name).await? else {
            return Ok(());
        };
        let Some(spec) = lease
            .spec
            .as_mut()
            .filter(|spec| spec.holder_identity.as_deref() == Some(identity))
        else {
            return Ok(());
        };
        // As client-go's leader election leaves it: nobody's. Its resourceVersion goes with it, so that one that somebody
        // took meanwhile is not touched.
        spec.holder_identity = None;
        match api.replace(name, &PostParams::default(), &lease).await {
            Ok(_) => {
                tracing::info!(name, "the Lease was given up");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Takes and renews the Lease until the future is dropped. Returns only when a Lease that was held is lost.
    pub async fn run(&self, client: Client, namespace: &str, name: &str, identity: &str) {
        let api: Api<LeaseObject> = Api::namespaced(client, namespace);
        // The last version seen of another's holding, and when we first saw it: clocks of machines are not compared.
        let mut others: Option<(String, Instant)> = None;
        let mut held: Option<LeaseObject> = None;
        loop {
            let asked = Instant::now();
            let turn = self
                .turn(&api, name, identity, held.take(), &mut others)
                .await;
            if turn.is_ok() {
                *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
            }
            match turn {
                Ok(Some(lease)) => {
                    self.set(Some(asked + DURATION));
                    held = Some(lease);
                }
                Ok(None) => {
                    if self
                        .held_until
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .is_some()
                    {
                        self.set(None);
                        tracing::error!(name, "the Lease was taken by another replica");
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(name, %error, "cannot renew the Lease");
                    let lost = self
                        .held_until
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .is_some_and(|until| until < Instant::now());
                    if lost {
                        self.set(None);
                        tracing::error!(name, "the Lease could not be renewed in time");
                        return;
                    }
                }
            }
            tokio::time::sleep(RENEW).await;
        }
    }

    /// One look: the Lease when it is ours now, none while it is another's.
    async fn turn(
        &self,
        api: &Api<LeaseObject>,
        name: &str,
        identity: &str,
        held: Option<LeaseObject>,
        others: &mut Option<(String, Instant)>,
    ) -> kube::Result<Option<LeaseObject>> {
        let found = match held {
            Some(lease) => Some(lease),
            None => api.get_opt(name).await?,
        };
        let Some(found) = found else {
            let lease = LeaseObject {
                metadata: ObjectMeta {
                    name: Some(name.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(holding(identity, 0)),
            };
            return match api.create(&PostParams::default(), &lease).await {
                Ok(lease) => Ok(Some(lease)),
                Err(kube::Error::Api(status))
                    if status.is_already_exists() || status.is_conflict() =>
                {
                    Ok(None)
                }
                Err(error) => Err(error),
            };
        };
        let spec = found.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder != identity && !holder.is_empty() {
            let version = found.metadata.resource_version.clone().unwrap_or_default();
            match others {
                Some((seen, since)) if *seen == version => {
                    if since.elapsed() < DURATION {
                        return Ok(None);
                    }
                }
                _ => {
                    *others = Some((version, Instant::now()));
                    return Ok(None);
                }
            }
        }
        let transitions =
            spec.lease_transitions.unwrap_or_default() + i32::from(holder != identity);
        let mut next = found;
        next.spec = Some(LeaseSpec {
            acquire_time: if holder == identity {
                spec.acquire_time
            } else {
                Some(MicroTime(Timestamp::now()))
            },
            ..holding(identity, transitions)
        });
        match api.replace(name, &PostParams::default(), &next).await {
            Ok(lease) => Ok(Some(lease)),
            // Somebody else was faster; the next look sees who. A Lease of ours that somebody only touched
            // is taken again then, before it runs out.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                if self.held() {
                    return api.get_opt(name).await.map(|lease| {
                        lease.filter(|lease| {
                            lease
                                .spec
                                .as_ref()
                                .and_then(|spec| spec.holder_identity.as_deref())
                                == Some(identity)
                        })
                    });
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}

fn holding(identity: &str, transitions: i32) -> LeaseSpec {
    let now = MicroTime(Timestamp::now());
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    }
}
