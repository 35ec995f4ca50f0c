//! Every call that the controller makes, to the API server and to the systems behind it, in one sequence, and which
//! of them shall go wrong. Calls in, faults out; no I/O.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it does: `get`, `create`, `apply`, `replace`, `patch`, `delete`, `review`, `rules` or `groups`; of a system `read`,
    /// `step` or `record`.
    pub verb: &'static str,
    /// The plural of the resource with its subresource, or the system.
    pub resource: String,
    /// The namespace and name of the object, or the step.
    pub name: String,
}

impl Call {
    /// Whether the API server was asked to change something. A review of one's own rights changes nothing.
    pub fn is_write(&self) -> bool {
        matches!(
            self.verb,
            "create" | "apply" | "replace" | "patch" | "delete"
        )
    }

    /// Whether it writes the status or tells of it in an Event.
    pub fn is_report(&self) -> bool {
        matches!(self.resource.as_str(), "regions/status" | "events")
    }

    /// Whether it leaves everything as it was, whether it arrived or not.
    pub fn changes_nothing(&self) -> bool {
        matches!(self.verb, "get" | "review" | "rules" | "groups" | "read")
    }

    /// Whether the API server was asked at all.
    pub fn is_request(&self) -> bool {
        !matches!(self.verb, "read" | "step" | "record")
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.verb, self.resource, self.name)
    }
}

/// How a call goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and the caller is told so.
    Fail,
    /// It is done, and the caller does not hear of it.
    LoseAnswer,
    /// The API server answers with this code and does nothing.
    Refuse(u16),
    /// The caller dies before it is sent: nothing is done, and nobody is left who hears of it.
    DieBefore,
    /// The caller dies once it is sent: it is done, and nobody is left who hears of it.
    DieAfter,
}

/// Which calls a standing fault is for.
type Matches = Box<dyn Fn(&Call) -> bool + Send>;

#[derive(Default)]
struct Inner {
    calls: Vec<Call>,
    at: Option<(usize, Fault)>,
    standing: Option<(Matches, Fault)>,
    dead: bool,
}

/// The sequence, shared by the API server and the systems.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Inner>>, Arc<Notify>);

impl Journal {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Waits until the caller died of [`Fault::DieBefore`] or [`Fault::DieAfter`].
    pub async fn death(&self) {
        self.1.notified().await;
    }

    /// Takes a call down and says how it goes wrong, if it does.
    pub fn next(&self, verb: &'static str, resource: String, name: String) -> Option<Fault> {
        let mut inner = self.lock();
        if inner.dead {
            // Whatever else the process was about to send never leaves it.
            return Some(Fault::DieBefore);
        }
        let call = Call {
            verb,
            resource,
            name,
        };
        let number = inner.calls.len();
        let standing = inner
            .standing
            .as_ref()
            .filter(|(matches, _)| matches(&call))
            .map(|(_, fault)| *fault);
        inner.calls.push(call);
        let fault = standing.or_else(|| {
            inner
                .at
                .filter(|(at, _)| *at == number)
                .map(|(_, fault)| fault)
        });
        if matches!(fault, Some(Fault::DieBefore | Fault::DieAfter)) {
            inner.dead = true;
            self.1.notify_one();
        }
        fault
    }

    /// Lets call number `at`, counted from 0 and from now, go wrong.
    pub fn fault_at(&self, at: usize, fault: Fault) {
        let mut inner = self.lock();
        inner.calls.clear();
        inner.at = Some((at, fault));
    }

    /// Lets every call that matches go wrong, until [`Journal::heal`].
    pub fn fault_on(&self, fault: Fault, matches: impl Fn(&Call) -> bool + Send + 'static) {
        self.lock().standing = Some((Box::new(matches), fault));
    }

    /// Nothing goes wrong any more, and whoever calls is alive.
    pub fn heal(&self) {
        let mut inner = self.lock();
        inner.at = None;
        inner.standing = None;
        inner.dead = false;
    }

    /// How many calls were made since the last [`Journal::take`].
    pub fn len(&self) -> usize {
        self.lock().calls.len()
    }

    /// The calls since the last time, and begins anew.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.lock().calls)
    }

    /// The calls since the last time.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }
}
