//! The mark that the operator leaves in the comment of every role and database it keeps. JSON text in, value out,
//! and back; no I/O.

use bailiwick_api::region::Reclaim;
use serde::{Deserialize, Serialize};

/// What the comment of a role or database of ours says, as `{"bailiwick":{"reclaim":"Retain"}}`. It outlives
/// the spec: what left it is deleted only when its mark says so.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What becomes of it when it leaves the spec.
    pub reclaim: Reclaim,
    /// For a role, the fingerprint of the password that was set last, as the adapter made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// The comment around a mark.
#[derive(Serialize, Deserialize)]
struct Comment {
    bailiwick: Mark,
}

impl Mark {
    /// The mark of something new.
    #[must_use]
    pub const fn new(reclaim: Reclaim) -> Self {
        Self {
            reclaim,
            password: None,
        }
    }

    /// The same mark with another word on what becomes of it.
    #[must_use]
    pub fn reclaimed(&self, reclaim: Reclaim) -> Self {
        Self {
            reclaim,
            ..self.clone()
        }
    }

    /// Reads a comment. A comment of somebody else's is no mark.
    #[must_use]
    pub fn parse(comment: &str) -> Option<Self> {
        serde_json::from_str::<Comment>(comment)
            .ok()
            .map(|comment| comment.bailiwick)
    }

    /// The comment to write.
    #[must_use]
    pub fn comment(&self) -> String {
        // Two plain fields always serialise; an empty comment would only be written again.
        serde_json::to_string(&Comment {
            bailiwick: self.clone(),
        })
        .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_as_it_was_written() {
        for reclaim in [Reclaim::Retain, Reclaim::Delete] {
            for password in [None, Some("5f".to_owned())] {
                let mark = Mark { reclaim, password };
                assert_eq!(Mark::parse(&mark.comment()), Some(mark));
            }
        }
        assert_eq!(
            Mark::new(Reclaim::Delete).comment(),
            r#"{"bailiwick":{"reclaim":"Delete"}}"#
        );
    }

    #[test]
    fn a_comment_of_somebody_else_is_no_mark() {
        for comment in [
            "",
            "default administrative connection database",
            "{}",
            r#"{"bailiwick":{}}"#,
            r#"{"bailiwick":{"reclaim":"Burn"}}"#,
        ] {
            assert_eq!(Mark::parse(comment), None, "{comment}");
        }
    }
}
