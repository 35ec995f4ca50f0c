//! Whether each pod of the Region was seen to be closed off before anything of it that reads data started.

use bailiwick_fence::Outcome;

use super::{Sight, Verdict, counted, some_of};
use crate::facts::FenceFact;
use crate::fence;

/// The pods that run started behind a fence that saw their addresses closed, against a responder that answers; if wanted,
/// with the start window that canaries measured.
pub(super) fn closed_before_start(sight: &Sight<'_>, with_window: bool) -> Verdict {
    let facts = sight.facts;
    let unfenced: Vec<&str> = fence::unfenced(facts).collect();
    if !unfenced.is_empty() {
        return Verdict::open(
            "fence",
            format!(
                "{}: runs and did not start behind the fence; delete it, and it is made anew behind it",
                some_of(unfenced)
            ),
        );
    }
    let Some(responder) = facts.fence_responder.seen() else {
        return Verdict::unknown("the responder of the start fence was not looked for yet");
    };
    if !responder.values().any(|ready| *ready) {
        return Verdict::unknown("no responder of the start fence is ready");
    }
    let mut lasting = 0;
    for (name, pod) in fence::running(facts).filter(|(_, pod)| !fence::is_canary(pod)) {
        let FenceFact::Passed { report } = &pod.fence else {
            continue;
        };
        match report.as_ref().map(|report| report.outcome) {
            Some(Outcome::Fenced | Outcome::FencedNotOpen) => {}
            Some(Outcome::Unverified) => {
                return Verdict::unknown(format!(
                    "fence: pod {name} has an address of a family that nothing was there to try"
                ));
            }
            Some(Outcome::Open) => {
                return Verdict::open(
                    "fence",
                    format!(
                        "{name}: runs though its fence saw its address open; see docs/runbooks/network-enforced.md"
                    ),
                );
            }
            None => {
                return Verdict::unknown(format!(
                    "fence: pod {name} has no report that can be read"
                ));
            }
        }
        // Those of Jobs come and go, and what is counted must not.
        lasting += usize::from(pod.revision.is_some());
    }
    let window = fence::start_window(facts)
        .filter(|_| with_window)
        .map_or_else(String::new, |window| {
            format!(", {}", fence::in_words(window))
        });
    Verdict::enforced(format!("fence: {} closed{window}", counted(lasting, "pod")))
}
