//! Calls to Patroni's REST API, as data. No I/O.

use serde_json::Value;

/// One call to Patroni's REST API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatroniStep {
    /// `PATCH /config` on any member.
    PatchConfig(Value),
    /// `POST /restart` on a member whose changed settings wait for it.
    Restart {
        /// The member.
        member: String,
    },
    /// `POST /switchover`.
    Switchover {
        /// The primary that steps down.
        from: String,
        /// The replica that takes over.
        to: String,
    },
}
