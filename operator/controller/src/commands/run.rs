//! `run`: the operator itself. Arguments in; runs until it is asked to stop or loses its Lease.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_model::plan::Platform;
use clap::Args;
use ipnet::IpNet;
use jiff::SignedDuration;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::CommandError;
use crate::context::Context;
use crate::controller;
use crate::lease::Lease;
use crate::systems::RegionSystems;
use crate::{serve, telemetry};

/// The name of the Lease.
const LEASE: &str = "bailiwick-operator";
/// What runs may take this long to finish when the operator is asked to stop.
const FINISH: Duration = Duration::from_secs(10);
/// Giving the Lease up may take this long.
const RELEASE: Duration = Duration::from_secs(3);

/// Run the operator.
#[derive(Args, Debug)]
pub struct Run {
    /// A location that this cluster serves. One in production; several make the assurance Simulated.
    #[arg(long = "location", required = true, value_name = "LOCATION")]
    locations: Vec<String>,
    /// The image of a major version of Postgres, as 17=registry/postgres:17.12-1.
    #[arg(long = "postgres-image", required = true, value_name = "MAJOR=IMAGE", value_parser = versioned_image)]
    postgres_images: Vec<(i32, String)>,
    /// The image of the object store.
    #[arg(long, value_name = "IMAGE")]
    object_store_image: String,
    /// The operator's own image, which canaries run; the Deployment gives it in OPERATOR_IMAGE.
    #[arg(long, env = "OPERATOR_IMAGE", value_name = "IMAGE")]
    operator_image: String,
    /// The image of the start fence, of a version of its own; the Deployment gives it in FENCE_IMAGE.
    #[arg(long, env = "FENCE_IMAGE", value_name = "IMAGE")]
    fence_image: String,
    /// A registry that images may come from and the location it is in; * for every served location.
    #[arg(long = "image-registry", required = true, value_name = "PREFIX=LOCATION", value_parser = registry)]
    image_registries: Vec<(String, String)>,
    /// An endpoint outside the cluster that accepts connections, for canaries to try and to fail. Name one of your own:
    /// without it NetworkEnforced is Unknown.
    #[arg(long, value_name = "IP:PORT")]
    outside_address: Option<SocketAddr>,
    /// A name outside the cluster that has an address, for canaries to ask for and not to be told. Name one of your
    /// own: without it NetworkEnforced is Unknown.
    #[arg(long, value_name = "NAME")]
    outside_name: Option<String>,
    /// The addresses outside the cluster that are in a location, as tr-ist-1=203.0.113.0/28,2001:db8::/120: Regions may
    /// declare endpoints among them and nowhere else. Without it, a Region that declares an endpoint has channel 9
    /// Unknown.
    #[arg(long, env = "LOCATION_ADDRESSES", value_delimiter = ';', value_name = "LOCATION=CIDR[,CIDR...]", value_parser = addresses)]
    location_addresses: Vec<(String, Vec<IpNet>)>,
    /// A range of the cluster's own Services or pods, which no Region may declare; nodes, the API server and what nodes
    /// say of their pods are seen without it.
    #[arg(
        long,
        env = "CLUSTER_ADDRESSES",
        value_delimiter = ',',
        value_name = "CIDR"
    )]
    cluster_addresses: Vec<IpNet>,
    /// The address of /livez, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    listen: String,
    /// The namespace of the Lease.
    #[arg(long, default_value = bailiwick_model::names::OPERATOR_NAMESPACE, value_name = "NAMESPACE")]
    namespace: String,
    /// What this replica calls itself in the Lease; unique among the replicas.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: String,
    /// How long the certificates of Regions are valid; they are renewed after two thirds of it.
    #[arg(long, default_value = "2160h", value_name = "DURATION")]
    certificate_lifetime: SignedDuration,
    /// What is logged, in the syntax of RUST_LOG.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
}

/// Reads `MAJOR=IMAGE`.
pub(super) fn versioned_image(text: &str) -> Result<(i32, String), String> {
    let (major, image) = text
        .split_once('=')
        .ok_or("expected MAJOR=IMAGE, for example 17=registry/postgres:17.12-1")?;
    let major = major
        .parse()
        .map_err(|_| format!("{major:?} is not a major version; expected a number such as 17"))?;
    Ok((major, image.to_owned()))
}

/// Reads `PREFIX=LOCATION`.
pub(super) fn registry(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(prefix, location)| (prefix.to_owned(), location.to_owned()))
        .ok_or_else(|| {
            "expected PREFIX=LOCATION, for example registry.example.org=tr-ist-1".to_owned()
        })
}

/// Reads `LOCATION=CIDR[,CIDR...]`.
fn addresses(text: &str) -> Result<(String, Vec<IpNet>), String> {
    let (location, ranges) = text
        .split_once('=')
        .filter(|(location, _)| !location.is_empty())
        .ok_or("expected LOCATION=CIDR[,CIDR...], for example tr-ist-1=203.0.113.0/28")?;
    let ranges = ranges
        .split(',')
        .map(|range| {
            range.trim().parse().map_err(|_| {
                format!(
                    "{range:?} is no range of addresses; expected CIDR notation, as 203.0.113.0/28"
                )
            })
        })
        .collect::<Result<_, _>>()?;
    Ok((location.to_owned(), ranges))
}

/// The ranges of each location, of however many arguments.
fn by_location(told: Vec<(String, Vec<IpNet>)>) -> BTreeMap<String, Vec<IpNet>> {
    let mut by_location: BTreeMap<String, Vec<IpNet>> = BTreeMap::new();
    for (location, ranges) in told {
        by_location.entry(location).or_default().extend(ranges);
    }
    by_location
}

/// Runs the operator until it is told to stop.
///
/// # Errors
/// When the API server's address or credentials cannot be found, or the address cannot be listened on; also when the
/// Lease is lost, so that the process starts anew with nothing remembered.
pub async fn run(run: Run, json: bool) -> Result<(), CommandError> {
    let Run {
        locations,
        postgres_images,
        object_store_image,
        operator_image,
        fence_image,
        image_registries,
        outside_address,
        outside_name,
        location_addresses,
        cluster_addresses,
        listen,
        namespace,
        identity,
        certificate_lifetime,
        log,
    } = run;
    telemetry::start(&log, json);
    let platform = Platform {
        locations,
        postgres_images: postgres_images.into_iter().collect(),
        object_store_image,
        operator_image,
        fence_image,
        image_registries: image_registries.into_iter().collect(),
        outside_address,
        outside_name,
        location_addresses: by_location(location_addresses),
        cluster_addresses,
    };
    let client = Client::try_default()
        .await
        .map_err(|source| CommandError::Cluster(Box::new(source)))?;
    let systems = Arc::new(RegionSystems::default());
    let ctx = Arc::new(Context::new(
        client.clone(),
        platform,
        systems,
        Lease::new(),
        certificate_lifetime,
    ));

    let server = tokio::spawn(serve::serve(ctx.clone(), listen));
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let work = controller::run(ctx.clone(), async {
        let _ = stopped.await;
    });
    tokio::pin!(work);
    let holding = ctx.lease.run(client.clone(), &namespace, LEASE, &identity);
    let result = tokio::select! {
        () = &mut work => Ok(()),
        () = holding => Err(CommandError::LeaseLost),
        _ = terminated.recv() => { tracing::info!("asked to stop: finishing what runs"); Ok(()) }
        _ = interrupted.recv() => { tracing::info!("interrupted: finishing what runs"); Ok(()) }
    };
    if result.is_ok() {
        // What runs has until the Lease runs out; the kubelet's grace is longer.
        let _ = stop.send(());
        let finished = tokio::time::timeout(FINISH, work).await.is_ok();
        // Only after the last write: whoever takes it begins at once.
        if finished {
            let release = ctx.lease.release(client, &namespace, LEASE, &identity);
            match tokio::time::timeout(RELEASE, release).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot give the Lease up: it runs out"),
                Err(_) => tracing::warn!("cannot give the Lease up in time: it runs out"),
            }
        }
    }
    server.abort();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_location() {
        let read = |text: &str| addresses(text).map(|told| by_location(vec![told]));
        let ranges = |texts: &[&str]| -> Vec<IpNet> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(
            read("tr-ist-1=203.0.113.0/28,2001:db8::/120"),
            Ok([(
                "tr-ist-1".to_owned(),
                ranges(&["203.0.113.0/28", "2001:db8::/120"])
            )]
            .into())
        );
        for wrong in [
            "",
            "tr-ist-1",
            "=203.0.113.0/28",
            "tr-ist-1=",
            "tr-ist-1=203.0.113.1",
            "tr-ist-1=203.0.113.0/28,",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let twice = ["a=203.0.113.0/28", "b=198.51.100.0/28", "a=2001:db8::/120"]
            .map(|text| addresses(text).unwrap());
        assert_eq!(
            by_location(twice.into())["a"],
            ranges(&["203.0.113.0/28", "2001:db8::/120"])
        );
    }
}
