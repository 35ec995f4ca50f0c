//! One request to the API server, as a person or a program would send it, and what became of it. Sends requests.

use http::Request;
use kube::Client;
use serde_json::Value;

/// Everything may be done by this group as far as RBAC is concerned: what refuses is admission alone.
pub const EVERYTHING: &str = "test:everything";

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// A person with every right.
    Editor,
    /// A person with every right who is in one more group.
    Member(&'static str),
    /// A program by its user name, with every right.
    Program(&'static str),
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// `POST`, `PATCH` and so on.
    pub method: &'static str,
    /// The path with its query.
    pub path: String,
    /// The object or the merge patch; null for none.
    pub body: Value,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Admission let it pass.
    Admitted,
    /// A policy refused it.
    Refused {
        /// The policy.
        policy: String,
        /// What it said.
        message: String,
        /// The status code and the reason.
        status: String,
    },
    /// Something else went wrong, so that the request shows nothing.
    Failed(String),
}

impl Ask {
    fn is_tunnel(&self) -> bool {
        ["/exec", "/attach", "/portforward", "/proxy"]
            .iter()
            .any(|it| self.path.contains(it))
    }
}

/// Sends it. Nothing of it stays: all but tunnels are dry runs.
pub async fn send(client: &Client, who: Who, ask: &Ask) -> Verdict {
    if ask.is_tunnel() {
        return send_for_good(client, who, ask).await;
    }
    let sign = if ask.path.contains('?') { '&' } else { '?' };
    let dry = Ask {
        path: format!("{}{sign}dryRun=All", ask.path),
        ..ask.clone()
    };
    send_for_good(client, who, &dry).await
}

/// Sends it as it is.
pub async fn send_for_good(client: &Client, who: Who, ask: &Ask) -> Verdict {
    let (user, group) = match who {
        Who::Editor => ("mallory", None),
        Who::Member(group) => ("mallory", Some(group)),
        Who::Program(user) => (user, None),
    };
    let mut request = Request::builder()
        .method(ask.method)
        .uri(&ask.path)
        .header("Impersonate-User", user)
        .header("Impersonate-Group", EVERYTHING)
        .header("Impersonate-Group", "system:authenticated");
    if let Some(group) = group {
        request = request.header("Impersonate-Group", group);
    }
    let body = if ask.body.is_null() {
        Vec::new()
    } else {
        let kind = if ask.method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        request = request.header("Content-Type", kind);
        serde_json::to_vec(&ask.body).unwrap()
    };
    match client.request_text(request.body(body).unwrap()).await {
        Ok(_) => Verdict::Admitted,
        Err(kube::Error::Api(status)) => match refusal(&status.message) {
            Some((policy, message)) => Verdict::Refused {
                policy,
                message,
                status: format!("{} {}", status.code, status.reason),
            },
            // Past admission there is no kubelet to speak to, and no pod behind the Service.
            None if ask.is_tunnel() && status.code != 403 => Verdict::Admitted,
            None => Verdict::Failed(format!("{} {}", status.code, status.message)),
        },
        Err(error) => Verdict::Failed(format!("{error:?}")),
    }
}

/// The policy and the message of a refusal by a ValidatingAdmissionPolicy.
fn refusal(text: &str) -> Option<(String, String)> {
    let (_, rest) = text.split_once("ValidatingAdmissionPolicy '")?;
    let (policy, rest) = rest.split_once('\'')?;
    let (_, message) = rest.split_once("denied request: ")?;
    Some((policy.to_owned(), message.to_owned()))
}
