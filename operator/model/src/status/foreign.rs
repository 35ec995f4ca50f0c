//! What stands in a status besides what the operator wants there: server-side apply leaves what others own. Values in, a merge
//! patch out; no I/O.

use bailiwick_api::region::RegionStatus;
use serde_json::Value;

use super::unreadable::difference;

/// The merge patch (RFC 7386) that takes out of a status what somebody else wrote into it, after `wanted` was applied and
/// `seen` was the answer; none when it is as it is wanted.
///
/// # Errors
/// When one of them is no JSON.
pub fn foreign(
    seen: Option<&RegionStatus>,
    wanted: &RegionStatus,
) -> Result<Option<Value>, serde_json::Error> {
    // As JSON: times have whole seconds there.
    let (seen, wanted) = (serde_json::to_value(seen)?, serde_json::to_value(wanted)?);
    Ok((seen != wanted).then(|| difference(&seen, &wanted)))
}
