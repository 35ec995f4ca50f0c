//! HTTP: what a request asks, and how an answer or a refusal is sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::channel::mpsc;
use http::{Method, Response, StatusCode};
use http_body::Frame;
use kube::client::Body;
use serde_json::{Value, json};

use super::{Answer, Answered, Key, Refusal, text};

pub fn refusal(code: u16) -> Refusal {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        422 => "Invalid",
        _ => "InternalError",
    };
    Refusal(
        StatusCode::from_u16(code).unwrap(),
        reason,
        "injected".to_owned(),
    )
}

pub fn respond(answered: Answered) -> Response<Answering> {
    let (code, body) = match answered {
        Ok(Answer::Object(value)) => (
            StatusCode::OK,
            Answering::Once(Some(value.to_string().into_bytes())),
        ),
        Ok(Answer::Created(value)) => (
            StatusCode::CREATED,
            Answering::Once(Some(value.to_string().into_bytes())),
        ),
        Ok(Answer::Stream(receiver)) => (StatusCode::OK, Answering::Stream(receiver)),
        Err(Refusal(code, reason, message)) => {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "code": code.as_u16(),
            });
            (code, Answering::Once(Some(status.to_string().into_bytes())))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}

/// The body of an answer.
pub enum Answering {
    Once(Option<Vec<u8>>),
    Stream(mpsc::UnboundedReceiver<Vec<u8>>),
}

impl http_body::Body for Answering {
    type Data = <Body as http_body::Body>::Data;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Once(bytes) => Poll::Ready(bytes.take().map(|it| Ok(Frame::data(it.into())))),
            Self::Stream(receiver) => receiver
                .poll_next_unpin(cx)
                .map(|line| line.map(|it| Ok(Frame::data(it.into())))),
        }
    }
}

/// A request, understood.
pub struct Parsed {
    pub verb: &'static str,
    pub key: Key,
    pub subresource: String,
    pub selector: String,
    pub manager: String,
    pub metadata_only: bool,
    /// The version that a watch begins at.
    pub since: u64,
    pub bookmarks: bool,
    pub body: Value,
}

impl Parsed {
    pub fn of(parts: &http::request::Parts, body: &[u8]) -> Self {
        let mut path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
        // `api/v1` or `apis/group/version`; `apis` alone asks for the groups.
        path.drain(
            ..match path[0] {
                "api" => 2,
                _ if path.len() == 1 => 0,
                _ => 3,
            },
        );
        let namespace = if path[0] == "namespaces" && path.len() > 2 {
            let namespace = path[1].to_owned();
            path.drain(..2);
            namespace
        } else {
            String::new()
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let query: BTreeMap<String, String> = parts
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let resource = path[0].to_owned();
        let named = path.get(1).copied().unwrap_or_default().to_owned();
        let verb = match (parts.method.clone(), named.is_empty()) {
            (Method::GET, true) if resource == "apis" => "groups",
            (Method::GET, false) => "get",
            (Method::GET, true) if query.get("watch").is_some_and(|it| it == "true") => "watch",
            (Method::GET, true) => "list",
            (Method::POST, _) if resource == "selfsubjectaccessreviews" => "review",
            (Method::POST, _) if resource == "selfsubjectrulesreviews" => "rules",
            (Method::POST, _) => "create",
            (Method::PUT, _) => "replace",
            (Method::DELETE, _) => "delete",
            (Method::PATCH, _) => {
                let content = &parts.headers["content-type"];
                if content == "application/merge-patch+json" {
                    "patch"
                } else {
                    assert_eq!(content, "application/apply-patch+yaml", "{}", parts.uri);
                    assert_eq!(query.get("force").map(String::as_str), Some("true"));
                    "apply"
                }
            }
            (method, _) => panic!("{method} {} is not served", parts.uri),
        };
        let accept = parts
            .headers
            .get("accept")
            .map_or("", |it| it.to_str().unwrap());
        let name = if named.is_empty() {
            text(&body, "/metadata/name").to_owned()
        } else {
            named
        };
        Self {
            verb,
            key: Key {
                resource,
                namespace,
                name,
            },
            subresource: path.get(2).copied().unwrap_or_default().to_owned(),
            selector: query.get("labelSelector").cloned().unwrap_or_default(),
            manager: query.get("fieldManager").cloned().unwrap_or_default(),
            metadata_only: accept.contains("PartialObjectMetadata"),
            since: query
                .get("resourceVersion")
                .and_then(|version| version.parse().ok())
                .unwrap_or_default(),
            bookmarks: query
                .get("allowWatchBookmarks")
                .is_some_and(|it| it == "true"),
            body,
        }
    }

    pub fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.key.resource.clone()
        } else {
            format!("{}/{}", self.key.resource, self.subresource)
        }
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                out.push(u8::from_str_radix(&text[at + 1..at + 3], 16).unwrap());
                at += 3;
            }
            b'+' => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap()
}
