//! The evidence log against the real object store, started on this machine as the model describes it: written by two
//! writers at once, attacked with every right that the store knows, and verified from outside by the built program.

mod auditor;
mod chain;

use std::time::Duration;

use aws_sdk_s3::Client;
use bailiwick_api::region::{EvidenceStatus, Region};
use bailiwick_model::canary::question::Class;
use bailiwick_model::evidence::entry::{CanaryAnswer, CanaryTry, Channel, Name, Reach};
use bailiwick_model::evidence::{
    Anchor, Entry, Expected, Finding, PublicKey, SigningKey, Stored, Verified, verify,
};
use bailiwick_model::facts::ReadFailure;
use bailiwick_model::flow::Guise;
use bailiwick_model::plan::Plan;
use bailiwick_model::secret::SIGNING_KEY;
use bailiwick_model::store::steps;
use bailiwick_operator::evidence::{EvidenceLog, records};
use bailiwick_operator::store::Store;
use jiff::Timestamp;

use crate::fixture;
use crate::server::Server;

/// A Region with a running store that has all its buckets and users.
struct Place {
    region: Region,
    plan: Plan,
    server: Server,
}

impl Place {
    async fn new() -> Self {
        let region = fixture::tr_with(
            "
spec:
  objectStore:
    buckets: [{name: documents}]
    users: [{name: patient-api, grants: [{bucket: documents, access: ReadWrite}]}]
",
        );
        let plan = fixture::planned(&region);
        let server = Server::start(&plan, &[]).await;
        let place = Self {
            region,
            plan,
            server,
        };
        let store = place.store();
        for _ in 0..100 {
            match store
                .observe(&place.plan.names, &place.region, &place.server.credentials)
                .await
            {
                Ok(seen) => {
                    for step in steps(&place.plan, &seen) {
                        store
                            .perform(&step, &place.server.credentials)
                            .await
                            .expect("a step");
                    }
                    return place;
                }
                Err(unread) if unread.failure == ReadFailure::NotReady => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(failure) => panic!("{failure:?}\n{}", place.server.log()),
            }
        }
        panic!("the store does not get ready:\n{}", place.server.log());
    }

    fn root(&self) -> (&str, &str) {
        let secret = self.plan.names.object_store_root();
        let text = |key| {
            self.server
                .credentials
                .text(&secret, key)
                .expect("root's Secret")
        };
        (text("access-key"), text("secret-key"))
    }

    fn store(&self) -> Store {
        let (user, secret) = self.root();
        Store::new(
            &self.server.endpoint,
            self.plan.store_region(),
            user,
            secret,
            &self.server.authority,
        )
        .expect("a client")
    }

    /// A log of its own connections and memory, as of another replica.
    fn log(&self) -> EvidenceLog {
        self.log_with_key(1)
    }

    fn log_with_key(&self, seed: u8) -> EvidenceLog {
        let mut credentials = self.server.credentials.clone();
        let pem = SigningKey::pem_of_seed(&[seed; 32]).into_bytes();
        credentials.insert(
            self.plan.names.evidence_key(),
            [(SIGNING_KEY.to_owned(), pem)].into(),
        );
        EvidenceLog::of(self.store(), &self.plan.names, &self.region, &credentials).expect("a log")
    }

    async fn records(&self) -> Vec<Stored> {
        records(&self.store()).await.expect("the records")
    }

    async fn judged(&self, anchor: Option<&Anchor>) -> Result<Verified, Vec<Finding>> {
        let keys = [public(1)];
        let region = self.plan.names.region();
        let expected = Expected {
            region,
            keys: &keys,
            claimed: &[],
            anchor,
            stretch: false,
        };
        verify(&self.records().await, &expected)
    }

    fn client(&self, user: &str, secret: &str) -> Client {
        let signer = Some((user, secret));
        crate::client(&self.server, self.plan.store_region(), signer)
    }
}

fn public(seed: u8) -> PublicKey {
    SigningKey::from_seed(&[seed; 32]).expect("a key").public()
}

fn canary(target: Class) -> Entry {
    Entry::Canary {
        run: Name::new("0e6d0a7c-6f7e-4a43-9d53-5a0f6c1a9b11").expect("a name"),
        guise: Guise::Plain,
        node: None,
        ended: None,
        answer: CanaryAnswer::Given,
        tries: vec![CanaryTry {
            target,
            expected: Reach::Blocked,
            result: Some(Reach::Blocked),
        }],
    }
}

fn expired(channel: u8, expires: Timestamp) -> Entry {
    Entry::ExceptionExpired {
        channel: Channel::new(channel).expect("a channel"),
        expires,
    }
}

fn kinds(verified: &Verified) -> Vec<&'static str> {
    verified
        .records
        .iter()
        .map(|record| record.entry.kind())
        .collect()
}

fn words(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(Finding::word).collect()
}

fn anchor_of(text: &str) -> Anchor {
    text.parse().expect("an anchor")
}

fn anchor(status: &EvidenceStatus) -> Anchor {
    Anchor::of(status).expect("an anchor")
}
