//! Structured logs and the metrics registry. No decisions.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use bailiwick_api::region::RegionStatus;
use bailiwick_model::status::is_true;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

/// How a reconcile ended: closed words only.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Ending {
    /// `applied`, `refused`, `paused` or `failed`.
    pub outcome: &'static str,
    /// The error's closed word, or empty.
    pub error: &'static str,
}

/// The Region that a gauge speaks of.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OfRegion {
    /// Its name.
    pub region: String,
}

/// The operator's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Ending, Counter<u64, AtomicU64>>,
    seconds: Histogram,
    /// Writes sent to the API server.
    pub writes: Counter<u64, AtomicU64>,
    undone: Family<OfRegion, Counter<u64, AtomicU64>>,
    ready: Family<OfRegion, Gauge<i64, AtomicI64>>,
    residency_enforced: Family<OfRegion, Gauge<i64, AtomicI64>>,
    quarantined: Family<OfRegion, Gauge<i64, AtomicI64>>,
    checked: Family<OfRegion, Gauge<i64, AtomicI64>>,
    violations: Family<OfRegion, Gauge<i64, AtomicI64>>,
    start_window: Family<OfRegion, Gauge<f64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("bailiwick");
        let reconciles = Family::default();
        registry.register(
            "reconciles",
            "Reconciles, by how they ended",
            reconciles.clone(),
        );
        let seconds = Histogram::new(exponential_buckets(0.005, 2.0, 14));
        registry.register_with_unit(
            "reconcile_duration",
            "How long a reconcile took",
            Unit::Seconds,
            seconds.clone(),
        );
        let writes = Counter::default();
        registry.register(
            "api_writes",
            "Writes sent to the API server, the Lease's aside",
            writes.clone(),
        );
        let undone = Family::default();
        registry.register(
            "foreign_changes_undone",
            "Changes by somebody else that were put right",
            undone.clone(),
        );
        let ready = Family::default();
        registry.register(
            "region_ready",
            "1 when clients can use the Region",
            ready.clone(),
        );
        let residency_enforced = Family::default();
        registry.register(
            "residency_enforced",
            "1 when every channel that is demanded was seen to be closed; 0 when one is open or unknown",
            residency_enforced.clone(),
        );
        let quarantined = Family::default();
        registry.register(
            "region_quarantined",
            "1 while clients and declared endpoints are shut off because data was seen to get out",
            quarantined.clone(),
        );
        let checked = Family::default();
        registry.register_with_unit(
            "residency_checked_timestamp",
            "When the channels were last looked at, in steps of five minutes, as Unix time",
            Unit::Seconds,
            checked.clone(),
        );
        let violations = Family::default();
        registry.register(
            "residency_violations",
            "Why the Region is not accepted, counted",
            violations.clone(),
        );
        let start_window = Family::default();
        registry.register_with_unit(
            "canary_start_window",
            "For how long a canary reached what it must not before the network policies held it; 0 when it never did",
            Unit::Seconds,
            start_window.clone(),
        );
        Self {
            registry,
            reconciles,
            seconds,
            writes,
            undone,
            ready,
            residency_enforced,
            quarantined,
            checked,
            violations,
            start_window,
        }
    }
}

impl Metrics {
    /// Counts one reconcile. `status` is what it left; none when it could not be written.
    pub fn reconciled(
        &self,
        region: &str,
        ending: Ending,
        took: Duration,
        status: Option<&RegionStatus>,
        violations: usize,
    ) {
        let labels = OfRegion {
            region: region.to_owned(),
        };
        self.reconciles.get_or_create(&ending).inc();
        self.seconds.observe(took.as_secs_f64());
        let holds = |type_| i64::from(status.is_some_and(|status| is_true(status, type_)));
        self.ready.get_or_create(&labels).set(holds("Ready"));
        self.residency_enforced
            .get_or_create(&labels)
            .set(holds("ResidencyEnforced"));
        if let Some(status) = status {
            // What could not be written is shut all the same, and so is what nobody looks at.
            let residency = status.residency.as_ref();
            let shut = residency.is_some_and(|residency| residency.breach.is_active());
            self.quarantined.get_or_create(&labels).set(i64::from(shut));
        }
        if let Some(checked) = status
            .and_then(|status| status.residency.as_ref())
            .and_then(|residency| residency.checked_at)
        {
            self.checked.get_or_create(&labels).set(checked.as_second());
        }
        self.violations
            .get_or_create(&labels)
            .set(i64::try_from(violations).unwrap_or(i64::MAX));
    }

    /// Keeps how long a canary's address was open at its start; none when no canary has said, and then nothing is said.
    pub fn start_window(&self, region: &str, window: Option<Duration>) {
        let labels = OfRegion {
            region: region.to_owned(),
        };
        match window {
            Some(window) => {
                self.start_window
                    .get_or_create(&labels)
                    .set(window.as_secs_f64());
            }
            None => {
                self.start_window.remove(&labels);
            }
        }
    }

    /// Counts a change of a Region by somebody else that was put right.
    pub fn undone(&self, region: &str) {
        let labels = OfRegion {
            region: region.to_owned(),
        };
        self.undone.get_or_create(&labels).inc();
    }

    /// Forgets a Region that is gone.
    pub fn forget(&self, region: &str) {
        let labels = OfRegion {
            region: region.to_owned(),
        };
        self.undone.remove(&labels);
        self.ready.remove(&labels);
        self.residency_enforced.remove(&labels);
        self.quarantined.remove(&labels);
        self.checked.remove(&labels);
        self.violations.remove(&labels);
        self.start_window.remove(&labels);
    }

    /// The Prometheus text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail; an empty page would say so if it did.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// The filter, under which no answer of the API server is logged as a whole.
fn without_objects(filter: &str) -> String {
    format!("{filter},kube_client::client=error")
}

/// Starts logging to standard output, as JSON when it is not a terminal. `filter` is in `RUST_LOG`'s syntax.
///
/// Whatever it says, kube's client may not warn: of an answer that it cannot decode it logs the whole, objects and all.
/// The error itself is logged where it is taken.
pub fn start(filter: &str, json: bool) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(without_objects(filter)))
        .with_target(false);
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.init();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if let Ok(mut kept) = self.0.lock() {
                kept.extend_from_slice(bytes);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_answer_of_the_api_server_is_logged_as_a_whole() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(without_objects("debug")))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "kube_client::client", "a whole list");
            tracing::warn!(target: "bailiwick_operator::controller", "a short line");
        });
        let logged = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(logged.contains("a short line"), "{logged}");
        assert!(!logged.contains("a whole list"), "{logged}");
    }
}
