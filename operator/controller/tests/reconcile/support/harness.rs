//! One Region under the controller's own `reconcile`, look by look: the API server, the cluster and the systems in
//! memory, and the watches fed from them between two looks. Nothing sleeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Poll;

use bailiwick_api::region::{Region, RegionStatus};
use bailiwick_model::names::{
    FENCE_NAMESPACE, FENCE_SERVICE, LABEL_JURISDICTION, LABEL_LOCATION, LABEL_REGION, NODE_REGION,
    Names,
};
use bailiwick_model::plan::Platform;
use bailiwick_operator::context::Context;
use bailiwick_operator::controller::error_policy;
use bailiwick_operator::error::Error;
use bailiwick_operator::lease::Lease;
use bailiwick_operator::reconcile::reconcile_at;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::cluster;
use super::fake_api::{FakeApi, Key};
use super::journal::{Call, Journal};
use super::world::World;

/// How many watches the controller opens, that of Regions aside.
const WATCHES: usize = 16;
/// How long the certificates of the tests are valid.
pub const LIFETIME_HOURS: i64 = 2160;
/// The field manager of the people in the tests.
pub const USER: &str = "kubectl";

/// A small Region.
pub fn tr() -> Value {
    json!({
        "apiVersion": "bailiwick.dev/v1alpha1", "kind": "Region", "metadata": {"name": "tr"},
        "spec": {
            "residency": {"jurisdiction": "TR", "location": "tr-ist-1"},
            "network": {"external": [{
                "name": "registry", "host": "registry.test", "cidrs": ["198.51.100.7/32"], "ports": [443], "location": "tr-ist-1",
            }]},
            "postgres": {
                "version": 17, "instances": 2,
                "storage": {"data": {"size": "1Gi", "storageClass": "tr-ist-1-local"}},
                "databases": [{"name": "clinical"}],
            },
            "objectStore": {
                "servers": 1, "volume": {"size": "1Gi", "storageClass": "tr-ist-1-local"},
                "buckets": [{"name": "documents"}],
                "users": [{"name": "patient-api", "grants": [{"bucket": "documents", "access": "ReadWrite"}]}],
            },
        },
    })
}

/// What the operator of the tests is started with.
fn platform() -> Platform {
    Platform {
        locations: vec!["tr-ist-1".to_owned(), "es-mad-1".to_owned()],
        postgres_images: [(17, "registry.test/bailiwick/postgres:17.12-1".to_owned())].into(),
        object_store_image: "registry.test/bailiwick/minio:1".to_owned(),
        operator_image: "registry.test/bailiwick/operator:1".to_owned(),
        fence_image: "registry.test/bailiwick/fence:1".to_owned(),
        image_registries: [("registry.test/bailiwick".to_owned(), "*".to_owned())].into(),
        outside_address: Some(([198, 51, 100, 10], 443).into()),
        outside_name: Some("outside.test".to_owned()),
        location_addresses: [(
            "tr-ist-1".to_owned(),
            vec!["198.51.100.7/32".parse().unwrap()],
        )]
        .into(),
        cluster_addresses: Vec::new(),
    }
}

/// A cluster and an operator.
pub struct Harness {
    /// The API server.
    pub api: FakeApi,
    /// What stands behind S3, SQL and Patroni.
    pub world: World,
    /// Every call, in order.
    pub journal: Journal,
    /// The operator's memory.
    pub ctx: Arc<Context>,
    changes: BoxStream<'static, String>,
    later: SignedDuration,
}

/// How a look ended.
pub struct Look {
    /// What `reconcile` returned.
    pub result: Result<Action, Error>,
    /// What was called.
    pub calls: Vec<Call>,
}

impl Look {
    /// The requests to the API server.
    pub fn requests(&self) -> Vec<String> {
        self.calls
            .iter()
            .filter(|call| call.is_request())
            .map(ToString::to_string)
            .collect()
    }

    /// The requests that change something beside the status.
    pub fn repairs(&self) -> Vec<String> {
        self.calls
            .iter()
            .filter(|call| call.is_write() && !call.is_report())
            .map(ToString::to_string)
            .collect()
    }

    /// The requests that change something.
    pub fn writes(&self) -> Vec<String> {
        self.calls
            .iter()
            .filter(|call| call.is_write())
            .map(ToString::to_string)
            .collect()
    }
}

impl Harness {
    /// A cluster with nodes, storage classes and the namespaces of `tr`, and no Region.
    pub fn new() -> Self {
        let journal = Journal::default();
        let api = FakeApi::new(journal.clone());
        for (node, location, address) in [
            ("tr-1", "tr-ist-1", "10.200.0.11"),
            ("es-1", "es-mad-1", "10.200.0.12"),
        ] {
            let value = json!({
                "metadata": {"labels": {NODE_REGION: location}},
                "status": {"addresses": [{"type": "InternalIP", "address": address}]},
            });
            api.put(&Key::new("nodes", "", node), "kubelet", "", value);
            let class = json!({
                "provisioner": "local", "reclaimPolicy": "Retain",
                "allowedTopologies": [{"matchLabelExpressions": [{"key": NODE_REGION, "values": [location]}]}],
            });
            let name = format!("{location}-local");
            api.put(&Key::new("storageclasses", "", &name), USER, "", class);
        }
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "kubernetes"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.200.0.1"]}], "ports": [{"port": 6443}],
        });
        api.put(
            &Key::new("endpointslices", "default", "kubernetes"),
            "kube-apiserver",
            "",
            slice,
        );
        put_responder(&api, &[("10.200.9.1", true)]);
        put_policies(&api);
        let harness = Self::on(api.clone(), World::new(api, journal.clone()), journal);
        harness.make_namespaces();
        harness
    }

    fn on(api: FakeApi, world: World, journal: Journal) -> Self {
        // The second provider in a process is refused; the first is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let ctx = context(&api, &world, Lease::always());
        let changes = ctx
            .watched
            .open(&api.client(), &ctx.platform.image_registries);
        Self {
            api,
            world,
            journal,
            ctx,
            changes,
            later: SignedDuration::ZERO,
        }
    }

    /// Another cluster in the same state, with an operator that remembers nothing.
    pub fn copy(&self) -> Self {
        let journal = Journal::default();
        let api = self.api.copy(journal.clone());
        let world = self.world.copy(api.clone(), journal.clone());
        Self::on(api, world, journal)
    }

    /// The namespaces of `tr`, as its manifest has them.
    pub fn make_namespaces(&self) {
        let labels = BTreeMap::from([
            (LABEL_REGION, "tr"),
            (LABEL_LOCATION, "tr-ist-1"),
            (LABEL_JURISDICTION, "TR"),
            ("pod-security.kubernetes.io/enforce", "restricted"),
        ]);
        for namespace in Names::new("tr").namespaces() {
            let value = json!({"metadata": {"labels": labels}});
            self.api
                .put(&Key::new("namespaces", "", &namespace), USER, "", value);
        }
    }

    /// The process ends and another begins: nothing is remembered, and everything is listed anew.
    pub fn crash(&mut self) {
        self.restart_with(Lease::always());
    }

    /// The same, with another Lease.
    pub fn restart_with(&mut self, lease: Lease) {
        self.api.close_streams();
        self.ctx = context(&self.api, &self.world, lease);
        self.changes = self
            .ctx
            .watched
            .open(&self.api.client(), &self.ctx.platform.image_registries);
    }

    /// Takes up all that the watches have to tell.
    pub async fn sync(&mut self) {
        let mut quiet = 0;
        while quiet < 3 {
            match futures::poll!(self.changes.next()) {
                Poll::Ready(Some(_)) => quiet = 0,
                Poll::Ready(None) => panic!("the watches ended"),
                Poll::Pending => {
                    // The client's own queue needs a turn to pass a request on.
                    tokio::task::yield_now().await;
                    if self.api.streams() >= WATCHES && self.ctx.watched.missing().is_empty() {
                        quiet += 1;
                    }
                }
            }
        }
    }

    /// Takes up what the watches have to tell within a time, whether they are complete or not.
    pub async fn sync_for(&mut self, time: std::time::Duration) {
        let until = tokio::time::Instant::now() + time;
        let changes = &mut self.changes;
        let _ =
            tokio::time::timeout_at(until, async { while changes.next().await.is_some() {} }).await;
    }

    /// The Region as the API server has it.
    pub fn region(&self) -> Region {
        let value = self
            .api
            .get(&Key::new("regions", "", "tr"))
            .expect("the Region is there");
        serde_json::from_value(value).expect("it is a Region")
    }

    /// Its status, which must be there.
    pub fn status(&self) -> RegionStatus {
        self.region().status.expect("the Region has a status")
    }

    /// The status, reason and message of a condition.
    pub fn condition(&self, type_: &str) -> (String, String, String) {
        let status = self.status();
        let found = status.conditions.iter().find(|it| it.type_ == type_);
        let found = found.unwrap_or_else(|| panic!("no condition {type_}"));
        (
            found.status.clone(),
            found.reason.clone(),
            found.message.clone(),
        )
    }

    /// Applies a Region as a user does.
    pub fn apply(&self, region: &Value) {
        self.api
            .user_applies(&Key::new("regions", "", "tr"), region);
    }

    /// Lets the operator's clock be ahead.
    pub fn now_is(&mut self, later: SignedDuration) {
        self.later = later;
    }

    /// One turn of the cluster. Returns whether anything moved.
    pub fn turn(&self) -> bool {
        cluster::turn(&self.api, "tr")
    }

    /// One look of the operator with all that the watches tell.
    pub async fn look(&mut self) -> Look {
        self.sync().await;
        let region = Arc::new(self.region());
        self.look_at(region).await
    }

    /// One look during which the operator may die: none if it did, and then nothing of the look goes on.
    pub async fn look_or_die(&mut self) -> Option<Look> {
        let journal = self.journal.clone();
        tokio::select! {
            biased;
            () = journal.death() => None,
            look = self.look() => Some(look),
        }
    }

    /// One look of the operator at a Region as some cache has it.
    pub async fn look_at(&mut self, region: Arc<Region>) -> Look {
        let before = self.journal.len();
        let now = Timestamp::now() + self.later;
        let result = reconcile_at(region, self.ctx.clone(), now).await;
        let calls = self.journal.calls().split_off(before);
        Look { result, calls }
    }

    /// When the operator looks again after an error.
    pub fn next_after(&self, error: &Error) -> Action {
        error_policy(Arc::new(self.region()), error, self.ctx.clone())
    }

    /// Turns and looks until nothing moves any more; every look must succeed.
    pub async fn settle(&mut self) {
        self.settle_forgiving(false).await;
    }

    /// The same, when the first look may still fail for a fault that is healed.
    pub async fn settle_through_errors(&mut self) {
        self.settle_forgiving(true).await;
    }

    async fn settle_forgiving(&mut self, mut forgiving: bool) {
        let mut quiet = 0;
        for _ in 0..60 {
            let moved = self.turn();
            let look = self.look().await;
            if let Err(error) = &look.result {
                assert!(forgiving, "a look failed: {error:?}");
            }
            forgiving = false;
            let worked =
                !look.requests().is_empty() || look.calls.iter().any(|it| it.verb == "step");
            quiet = if moved || worked { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
        }
        let calls: Vec<String> = self
            .journal
            .calls()
            .iter()
            .map(ToString::to_string)
            .collect();
        panic!(
            "it does not settle; the last calls: {:#?}",
            &calls[calls.len().saturating_sub(30)..]
        );
    }

    /// Turns and looks until the Region that is being deleted is gone; `each` sees the cluster after each.
    pub async fn until_gone(&mut self, mut each: impl FnMut(&mut Self)) {
        for _ in 0..60 {
            self.turn();
            each(self);
            if !self.api.is(&Key::new("regions", "", "tr"), |_| true) {
                self.sync().await;
                return;
            }
            let look = self.look().await;
            assert!(
                look.result.is_ok(),
                "a look failed: {:?}",
                look.result.err()
            );
            each(self);
        }
        panic!(
            "it does not go: {:#?}",
            self.region().status.map(|it| it.conditions)
        );
    }

    /// A cluster with `tr` running and settled.
    pub async fn running() -> Self {
        let mut harness = Self::new();
        harness.apply(&tr());
        harness.settle().await;
        let (ready, reason, message) = harness.condition("Ready");
        assert_eq!(ready, "True", "{reason}: {message}");
        harness.journal.take();
        harness
    }
}

/// The start fence's responder at these addresses, ready there or not.
pub fn put_responder(api: &FakeApi, addresses: &[(&str, bool)]) {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|(ip, ready)| json!({"addresses": [ip], "conditions": {"ready": ready}}))
        .collect();
    let slice = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": FENCE_SERVICE}}, "addressType": "IPv4",
        "endpoints": endpoints, "ports": [{"port": 7443}],
    });
    let key = Key::new("endpointslices", FENCE_NAMESPACE, "fence-responder-x7x7x");
    api.put(&key, "kube-controller-manager", "", slice);
}

/// The admission policies as they are shipped, with the registries of this operator.
fn put_policies(api: &FakeApi) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../platform/policies");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the policies are there") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("it is text");
        let text = text.replace("{'bailiwick.dev': '*'}", "{'registry.test/bailiwick': '*'}");
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object = Value::deserialize(document).expect("it is YAML");
            let resource = match object["kind"].as_str() {
                Some("ValidatingAdmissionPolicy") => "validatingadmissionpolicies",
                Some("ValidatingAdmissionPolicyBinding") => "validatingadmissionpolicybindings",
                _ => continue,
            };
            let name = super::fake_api::text(&object, "/metadata/name").to_owned();
            api.put(&Key::new(resource, "", &name), USER, "", object);
            count += 1;
        }
    }
    assert!(count > 20, "only {count} policies and bindings");
}

fn context(api: &FakeApi, world: &World, lease: Lease) -> Arc<Context> {
    Arc::new(Context::new(
        api.client(),
        platform(),
        Arc::new(world.clone()),
        lease,
        SignedDuration::from_hours(LIFETIME_HOURS),
    ))
}
