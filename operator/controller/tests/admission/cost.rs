//! What the policies cost on a create: the same pod, by turns in a namespace that they match and in one of the same
//! Pod Security that they do not. No time is asserted, machines differ; the ratio is printed. Sends dry runs.

use std::time::{Duration, Instant};

use kube::Client;

use crate::cases::{OWN, create};
use crate::objects::pod;
use crate::request::{Verdict, Who, send};

/// How many creates are measured in each namespace.
const CREATES: usize = 300;
/// A namespace like a Region's, but for the label.
const UNMATCHED: &str = "late";

/// The median create in the matched namespace and in the other.
pub struct Sample {
    matched: Duration,
    unmatched: Duration,
}

impl Sample {
    fn ratio(&self) -> f64 {
        self.matched.as_secs_f64() / self.unmatched.as_secs_f64()
    }
}

/// Measures.
pub async fn sample(client: &Client) -> Sample {
    let mut times = [Vec::new(), Vec::new()];
    for turn in 0..2 * CREATES {
        // Pairs change their order, so that neither always follows the other.
        let which = (turn + turn / 2) % 2;
        let ask = create([OWN, UNMATCHED][which], pod("measured"));
        let start = Instant::now();
        let verdict = send(client, Who::Editor, &ask).await;
        times[which].push(start.elapsed());
        assert_eq!(verdict, Verdict::Admitted);
    }
    let [matched, unmatched] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    Sample { matched, unmatched }
}

/// Measures again, with the policies, and prints both.
pub async fn report(client: &Client, before: Sample) {
    let after = sample(client).await;
    println!(
        "a pod's create, median of {CREATES}: without policies {:.2} ms in the Region's namespace and {:.2} ms beside it \
         (ratio {:.3}); with them {:.2} ms and {:.2} ms (ratio {:.3}): they add {:.1} %",
        before.matched.as_secs_f64() * 1e3,
        before.unmatched.as_secs_f64() * 1e3,
        before.ratio(),
        after.matched.as_secs_f64() * 1e3,
        after.unmatched.as_secs_f64() * 1e3,
        after.ratio(),
        (after.ratio() / before.ratio() - 1.0) * 100.0
    );
}
