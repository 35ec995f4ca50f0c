//! A case of the short suite that chooses at random, several times over. No I/O of its own.

use super::channels;
use crate::cluster::Cluster;
use crate::failure::{Outcome, While};

/// How often: each time ten rounds.
const TIMES: usize = 4;

/// Controls broken at random: others each time, unless a seed is given.
pub async fn random_breaks(cluster: &Cluster) -> Outcome<String> {
    let mut told = Vec::new();
    for time in 1..=TIMES {
        told.push(
            channels::random(cluster)
                .await
                .during(format_args!("time {time} of {TIMES}"))?,
        );
    }
    Ok(told.join("; "))
}
