//! One request to the API server as anybody, and what it answered. I/O: the API server.

use http::Request;
use kube::Client;
use serde_json::Value;

use crate::failure::{Failure, Outcome};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever the client is.
    Own,
    /// A person, impersonated.
    Person(&'static str),
    /// A person with every right who is in a group.
    Member(&'static str, &'static str),
    /// A `ServiceAccount` by its namespace and name, impersonated.
    Account(&'static str, &'static str),
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    method: &'static str,
    path: String,
    kind: &'static str,
    body: Value,
}

/// What the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It did what was asked; the body.
    Taken(String),
    /// It did not; the code and the message.
    Refused(u16, String),
}

impl Ask {
    fn new(method: &'static str, path: impl Into<String>, kind: &'static str, body: Value) -> Self {
        Self {
            method,
            path: path.into(),
            kind,
            body,
        }
    }

    /// Reads.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new("GET", path, "", Value::Null)
    }

    /// Makes an object in a collection.
    pub fn create(path: impl Into<String>, object: Value) -> Self {
        Self::new("POST", path, "application/json", object)
    }

    /// Changes an object by a merge patch.
    pub fn merge(path: impl Into<String>, edit: Value) -> Self {
        Self::new("PATCH", path, "application/merge-patch+json", edit)
    }

    /// Applies a manifest as Argo CD and `kubectl apply --server-side --force-conflicts` do, by this manager.
    pub fn apply(path: &str, manager: &str, manifest: Value) -> Self {
        let path = format!("{path}?fieldManager={manager}&force=true");
        Self::new("PATCH", path, "application/apply-patch+yaml", manifest)
    }

    /// Deletes.
    pub fn delete(path: impl Into<String>) -> Self {
        Self::new("DELETE", path, "", Value::Null)
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.path
            .split_once('?')
            .map_or(self.path.as_str(), |(path, _)| path)
    }

    /// Tunnels are never dry runs. Without an upgrade nothing comes of them past admission either.
    fn is_tunnel(&self) -> bool {
        ["/exec", "/attach", "/portforward", "/proxy"]
            .iter()
            .any(|it| self.path().contains(it))
    }

    /// Asks, and nothing stays of it: authentication, rights and admission are those of the real request, and what passes
    /// all three is not kept.
    ///
    /// # Errors
    /// No answer.
    pub async fn dry(&self, client: &Client, who: Who) -> Outcome<Answer> {
        if self.method == "GET" || self.is_tunnel() {
            return self.send(client, who).await;
        }
        let sign = if self.path.contains('?') { '&' } else { '?' };
        let dry = Self {
            path: format!("{}{sign}dryRun=All", self.path),
            ..self.clone()
        };
        dry.send(client, who).await
    }

    /// Asks in earnest.
    ///
    /// # Errors
    /// No answer.
    pub async fn send(&self, client: &Client, who: Who) -> Outcome<Answer> {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        match who {
            Who::Own => {}
            Who::Person(user) => {
                request = request
                    .header("Impersonate-User", user)
                    .header("Impersonate-Group", "system:authenticated");
            }
            Who::Member(user, group) => {
                request = request
                    .header("Impersonate-User", user)
                    .header("Impersonate-Group", "system:authenticated")
                    .header("Impersonate-Group", "system:masters")
                    .header("Impersonate-Group", group);
            }
            Who::Account(namespace, name) => {
                request = request
                    .header(
                        "Impersonate-User",
                        format!("system:serviceaccount:{namespace}:{name}"),
                    )
                    .header("Impersonate-Group", "system:authenticated")
                    .header("Impersonate-Group", "system:serviceaccounts")
                    .header(
                        "Impersonate-Group",
                        format!("system:serviceaccounts:{namespace}"),
                    );
            }
        }
        let body = if self.body.is_null() {
            Vec::new()
        } else {
            request = request.header("Content-Type", self.kind);
            serde_json::to_vec(&self.body)?
        };
        match client.request_text(request.body(body)?).await {
            Ok(text) => Ok(Answer::Taken(text)),
            Err(kube::Error::Api(status)) => Ok(Answer::Refused(status.code, status.message)),
            Err(error) => Err(Failure::from(error)),
        }
    }
}
