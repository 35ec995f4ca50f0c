//! What a Region's residency allows. `Policy::admit(Place)` is the only way to a `Resident<Place>`, and every
//! builder that names a place takes a `Resident<_>`: code that skips the check does not compile. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_api::region::RegionSpec;
use bailiwick_api::violation::{Reason, Violation};
use jiff::Timestamp;

use crate::names::NODE_REGION;

/// The exceptions that have ended at `now`. A Region that has one stands; a new one with it asks for what it does not get.
#[must_use]
pub fn ended_exceptions(spec: &RegionSpec, now: Timestamp) -> Vec<Violation> {
    let exceptions = spec.residency.exceptions.iter().enumerate();
    exceptions
        .filter(|(_, exception)| exception.expires <= now)
        .map(|(index, exception)| {
            Violation::new(
                format!("spec.residency.exceptions[{index}].expires"),
                Reason::Invalid,
                format!(
                    "is {}, which is past: the exception for channel {} excepts nothing; name a moment to come and have it \
                     approved anew, or take the exception out",
                    exception.expires, exception.channel
                ),
            )
        })
        .collect()
}

/// Something that has a location, or must prove one.
pub trait Place {
    /// Where it is, or why that cannot be told.
    ///
    /// # Errors
    /// A sentence that says what is missing and what to do next.
    fn location(&self, policy: &Policy) -> Result<String, String>;
}

/// A place that the Region's policy has admitted. Made by [`Policy::admit`] and by nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident<P> {
    place: P,
    location: String,
}

impl<P> Resident<P> {
    /// The place.
    #[must_use]
    pub const fn place(&self) -> &P {
        &self.place
    }

    /// The allowed location that it is in.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }
}

/// A Region's residency, ready to judge places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    jurisdiction: String,
    location: String,
    allowed: BTreeSet<String>,
}

impl Policy {
    /// The policy of a Region's spec. `residency.allowedLocations` defaults to the location alone.
    #[must_use]
    pub fn of(spec: &RegionSpec) -> Self {
        let residency = &spec.residency;
        let mut allowed: BTreeSet<String> = residency.allowed_locations.iter().cloned().collect();
        if allowed.is_empty() {
            allowed.insert(residency.location.clone());
        }
        Self {
            jurisdiction: residency.jurisdiction.clone(),
            location: residency.location.clone(),
            allowed,
        }
    }

    /// The jurisdiction.
    #[must_use]
    pub fn jurisdiction(&self) -> &str {
        &self.jurisdiction
    }

    /// The location that the Region runs in.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Whether the Region's data may be in a location.
    #[must_use]
    pub fn allows(&self, location: &str) -> bool {
        self.allowed.contains(location)
    }

    /// Admits a place that the Region names at `field`.
    ///
    /// # Errors
    /// [`Reason::OutsideJurisdiction`] when the place is elsewhere or its location cannot be told: a rule that
    /// cannot be checked never passes.
    pub fn admit<P: Place>(&self, field: &str, place: P) -> Result<Resident<P>, Violation> {
        let refused = |message| Violation::new(field, Reason::OutsideJurisdiction, message);
        let location = place.location(self).map_err(refused)?;
        if self.allowed.contains(&location) {
            Ok(Resident { place, location })
        } else {
            Err(refused(format!(
                "is in {location}, expected one of {}; name a place there, or add the location to \
                 spec.residency.allowedLocations of a new Region",
                self.allowed.iter().cloned().collect::<Vec<_>>().join(", ")
            )))
        }
    }
}

/// The nodes that a selector chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePool {
    /// The selector, as required node affinity.
    pub selector: BTreeMap<String, String>,
    /// For each node that matches: its name and its [`NODE_REGION`] label.
    pub nodes: BTreeMap<String, Option<String>>,
}

impl Place for NodePool {
    fn location(&self, policy: &Policy) -> Result<String, String> {
        // One node elsewhere is enough: the scheduler may choose any of them.
        for (name, location) in &self.nodes {
            match location {
                Some(location) if location == policy.location() => {}
                Some(location) => {
                    return Err(format!(
                        "selects node {name}, which is in {location}, expected {}; narrow the selector",
                        policy.location()
                    ));
                }
                None => {
                    return Err(format!(
                        "selects node {name}, which has no label {NODE_REGION}; label it or narrow the selector"
                    ));
                }
            }
        }
        // Without a node yet, the selector itself must name the place.
        match self.selector.get(NODE_REGION) {
            Some(location) => Ok(location.clone()),
            None if self.nodes.is_empty() => Err(format!(
                "selects no node and does not name {NODE_REGION}; add that label to the selector"
            )),
            None => Ok(policy.location().to_owned()),
        }
    }
}

/// A storage class of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageClassPlace {
    /// Its name.
    pub name: String,
    /// The values that its `allowedTopologies` allow for [`NODE_REGION`]; none when it does not restrict it.
    pub locations: BTreeSet<String>,
}

impl Place for StorageClassPlace {
    fn location(&self, policy: &Policy) -> Result<String, String> {
        let mut locations = self.locations.iter();
        match (locations.next(), locations.next()) {
            // Volumes stand where the nodes of their pods do, and the admission policy on volumes asks for that place.
            (Some(only), None) if only != policy.location() && policy.allows(only) => Err(format!(
                "storage class {} is of {only}, where no pod of the Region runs; use a class whose topology is {}",
                self.name,
                policy.location()
            )),
            // The name is all that a claim says of its class, so the admission policy on volumes goes by it.
            (Some(only), None)
                if self
                    .name
                    .strip_prefix(only.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) =>
            {
                Ok(only.clone())
            }
            (Some(only), None) => Err(format!(
                "storage class {} is not called after {only}, and the admission policies refuse its volumes there; use a \
                 class of {only}, which is called {only} or {only}-<anything>",
                self.name
            )),
            (None, _) => Err(format!(
                "storage class {} has no allowedTopologies for {NODE_REGION}, so its volumes could be anywhere; \
                 use a class whose topology is {}",
                self.name,
                policy.location()
            )),
            (Some(_), Some(_)) => Err(format!(
                "storage class {} allows volumes in several locations; use a class whose topology is {} alone",
                self.name,
                policy.location()
            )),
        }
    }
}

/// An endpoint outside the cluster, with the location that the Region declares for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalEndpoint {
    /// Its name in the spec.
    pub name: String,
    /// Its addresses.
    pub cidrs: Vec<String>,
    /// Its TCP ports.
    pub ports: Vec<i32>,
    /// Its declared location.
    pub location: String,
}

impl Place for ExternalEndpoint {
    fn location(&self, _: &Policy) -> Result<String, String> {
        Ok(self.location.clone())
    }
}

/// A bucket in the Region's own object store, which stands where the Region stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlace {
    /// Its name.
    pub name: String,
    /// The S3 region that its store signs with.
    pub store_region: String,
}

impl Place for BucketPlace {
    fn location(&self, _: &Policy) -> Result<String, String> {
        Ok(self.store_region.clone())
    }
}

/// A container image and the registries that the operator was told are in the Region's location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlace {
    /// The image, with a pinned tag or digest.
    pub image: String,
    /// Allowed registry prefixes and the location of each; `*` stands for every served location.
    pub registries: BTreeMap<String, String>,
}

impl Place for ImagePlace {
    fn location(&self, policy: &Policy) -> Result<String, String> {
        self.registries
            .iter()
            .find(|(prefix, _)| {
                self.image.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'))
            })
            .map(|(_, location)| {
                if location == "*" { policy.location().to_owned() } else { location.clone() }
            })
            .ok_or_else(|| {
                format!(
                    "image {} is from no registry that the operator was started with (--image-registry); \
                     use a mirror in {}",
                    self.image,
                    policy.location()
                )
            })
    }
}
