//! The policies as Git holds them, and as they are put on a cluster, whole or with one validation off. Runs
//! `kubectl kustomize`; writes policies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};

/// How long a changed policy may take to be in force on a busy machine; mostly it is a second.
pub const IN_FORCE: Duration = Duration::from_secs(30);

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The documents of a kustomization.
pub fn build(folder: &str) -> Vec<Value> {
    let output = Command::new(crate::support::api_server::binary("kubectl"))
        .arg("kustomize")
        .arg(repository().join(folder))
        .output()
        .expect("kubectl");
    assert!(
        output.status.success(),
        "{folder}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_yaml::Deserializer::from_slice(&output.stdout)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// The policies and their bindings, by the policy's name.
pub struct Policies {
    policies: BTreeMap<String, Value>,
    bindings: Vec<Value>,
}

impl Policies {
    /// Reads them from `platform/policies`, and holds each to what all have in common.
    pub fn read() -> Self {
        let (policies, bindings): (Vec<Value>, Vec<Value>) = build("platform/policies")
            .into_iter()
            .partition(|object| object["kind"] == "ValidatingAdmissionPolicy");
        let policies: BTreeMap<String, Value> = policies
            .into_iter()
            .map(|policy| {
                (
                    policy["metadata"]["name"].as_str().unwrap().to_owned(),
                    policy,
                )
            })
            .collect();
        for (name, policy) in &policies {
            assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{name}");
            assert!(
                policy["spec"]["paramKind"].is_null(),
                "{name} has parameters"
            );
            for validation in policy["spec"]["validations"].as_array().unwrap() {
                assert_eq!(validation["reason"], "Forbidden", "{name}: {validation}");
                assert!(
                    validation["message"].is_string()
                        || validation["messageExpression"].is_string(),
                    "{name} says nothing: {validation}"
                );
            }
            let of: Vec<&Value> = bindings
                .iter()
                .filter(|binding| binding["spec"]["policyName"] == name.as_str())
                .collect();
            assert_eq!(of.len(), 1, "{name} has {} bindings", of.len());
            assert_eq!(
                of[0]["spec"],
                json!({"policyName": name, "validationActions": ["Deny"]}),
                "{name}: a binding denies, and narrows nothing"
            );
        }
        assert_eq!(policies.len(), bindings.len(), "a binding of no policy");
        assert!(policies.len() >= 20, "only {} policies", policies.len());
        Self { policies, bindings }
    }

    pub fn len(&self) -> usize {
        self.policies.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.policies.keys()
    }

    /// Every validation by its policy and index.
    pub fn validations(&self) -> impl Iterator<Item = (String, usize)> + '_ {
        self.policies.iter().flat_map(|(name, policy)| {
            let count = policy["spec"]["validations"].as_array().unwrap().len();
            (0..count).map(move |index| (name.clone(), index))
        })
    }

    /// How many validations the longest policy has.
    pub fn most_validations(&self) -> usize {
        self.validations()
            .map(|(_, index)| index + 1)
            .max()
            .unwrap()
    }

    /// What a validation's refusal says: its message, or the words between what its expression fills in.
    pub fn words(&self, policy: &str, validation: usize) -> Vec<String> {
        let validation = &self.policies[policy]["spec"]["validations"][validation];
        if let Some(message) = validation["message"].as_str() {
            return vec![message.trim().to_owned()];
        }
        let text = validation["messageExpression"].as_str().unwrap();
        let words: Vec<String> = text
            .split('\'')
            .skip(1)
            .step_by(2)
            .filter(|words| words.contains(' ') && words.len() > 4)
            .map(|words| words.trim().to_owned())
            .collect();
        assert!(!words.is_empty(), "{policy}: no words in {text}");
        words
    }

    /// Puts all of them on the cluster as they are.
    pub async fn apply(&self, client: &Client) {
        let mut faults = Vec::new();
        for policy in self.policies.values() {
            faults.push(put::<ValidatingAdmissionPolicy>(client, policy).await);
        }
        for binding in &self.bindings {
            faults.push(put::<ValidatingAdmissionPolicyBinding>(client, binding).await);
        }
        crate::hold(faults);
    }

    /// Leaves of each policy what it matches and one validation that says yes.
    pub async fn blank(&self, client: &Client) {
        for policy in self.policies.values() {
            let mut policy = policy.clone();
            let spec = policy["spec"].as_object_mut().unwrap();
            spec.remove("matchConditions");
            spec.remove("variables");
            spec.insert("validations".to_owned(), json!([{"expression": "true"}]));
            crate::hold(vec![
                put::<ValidatingAdmissionPolicy>(client, &policy).await,
            ]);
        }
    }

    /// Takes the validation of that index out of each policy that has one.
    pub async fn without(&self, client: &Client, index: usize) {
        for policy in self.policies.values() {
            let mut policy = policy.clone();
            if let Some(validation) = policy["spec"]["validations"].get_mut(index) {
                *validation = json!({"expression": "true"});
                crate::hold(vec![
                    put::<ValidatingAdmissionPolicy>(client, &policy).await,
                ]);
            }
        }
    }
}

/// Applies an object and returns what is wrong with it.
async fn put<K>(client: &Client, object: &Value) -> Option<String>
where
    K: kube::Resource<Scope = kube::core::ClusterResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let name = object["metadata"]["name"].as_str().unwrap();
    Api::<K>::all(client.clone())
        .patch(
            name,
            &PatchParams::apply("test").force().validation_strict(),
            &Patch::Apply(object),
        )
        .await
        .err()
        .map(|error| format!("{name}: {error}"))
}

/// Every expression fits the kinds that it is for; the cluster's own controller says so.
pub async fn have_no_warnings(client: &Client, policies: &Policies) {
    let api: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let start = Instant::now();
    for name in policies.names() {
        loop {
            let live = api.get(name).await.unwrap();
            let status = live.status.clone().unwrap_or_default();
            let warnings = status
                .type_checking
                .and_then(|checked| checked.expression_warnings)
                .unwrap_or_default();
            assert!(warnings.is_empty(), "{name}: {warnings:#?}");
            if status.observed_generation == live.metadata.generation {
                break;
            }
            assert!(
                start.elapsed() < IN_FORCE,
                "{}: its types were not checked",
                live.name_any()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
