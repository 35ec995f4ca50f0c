//! `bailiwick-operator evidence verify` and `evidence export`: say whether a Region's evidence log is whole, and put a
//! day of it into a file that verifies elsewhere. They read a folder, a bundle or the Region's bucket, and, when asked
//! to, the Region's status; they change nothing in either.

mod files;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bailiwick_api::duration::seconds;
use bailiwick_api::region::Region;
use bailiwick_model::evidence::bundle::{Bundle, MANIFEST};
use bailiwick_model::evidence::{
    Anchor, Expected, Finding, PREFIX, PublicKey, Stored, Verified, verify,
};
use bailiwick_model::facts::ReadFailure;
use clap::{Args, Subcommand};
use jiff::civil::Date;
use kube::Api;

use super::CommandError;
use crate::evidence::records;
use crate::store::Store;

/// How long a store that did not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What is done with the evidence log.
#[derive(Args, Debug)]
pub struct Evidence {
    #[command(subcommand)]
    command: Do,
}

#[derive(Subcommand, Debug)]
enum Do {
    /// Say whether records were edited, dropped, reordered, cut off or written by somebody else. Exit code 0: none
    /// was; 1: findings, one a line; 2: it could not be checked.
    Verify(Verify),
    /// Write a day of the log into a bundle that verifies without the cluster.
    Export(Export),
}

/// Verify a log or a bundle.
#[derive(Args, Debug)]
struct Verify {
    /// A bundle, or a folder with the contents of the bucket or of a bundle [default: the bucket at --endpoint].
    #[arg(value_name = "PATH", conflicts_with = "endpoint")]
    path: Option<PathBuf>,
    /// The Region; a bundle names its own.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    bucket: Bucket,
}

/// Export a day.
#[derive(Args, Debug)]
struct Export {
    /// The Region.
    #[arg(long, value_name = "REGION")]
    region: String,
    /// The day, in UTC, as 2026-11-21.
    #[arg(long, value_name = "DAY")]
    day: Date,
    /// The file to write; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A folder with the contents of the bucket [default: the bucket at --endpoint].
    #[arg(long, value_name = "FOLDER", conflicts_with = "endpoint")]
    from: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
    #[command(flatten)]
    bucket: Bucket,
}

/// What the log is held against. Without an anchor a cut-off end is not seen.
#[derive(Args, Debug)]
struct Trust {
    /// An end that the log had, from elsewhere than the log: status.residency.evidence of the Region, as
    /// <sequence>:<hash>.
    #[arg(long, value_name = "SEQUENCE:HASH")]
    anchor: Option<Anchor>,
    /// Take the anchor from the Region's status, in the cluster that KUBECONFIG points at.
    #[arg(long, conflicts_with = "anchor")]
    cluster: bool,
    /// A file with a public key that is trusted, in PEM: `signing.pub` of Secret <region>-evidence-key.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
}

/// Where the bucket is, and who asks.
#[derive(Args, Debug)]
struct Bucket {
    /// The Region's object store, for example https://tr-s3.tr.svc:9000.
    #[arg(long, value_name = "URL", requires_all = ["ca", "s3_region", "access_key", "secret_key"])]
    endpoint: Option<String>,
    /// The authority that the store's certificate must be of: `ca.crt` of Secret <region>-s3-tls.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The S3 region: the Region's location.
    #[arg(long, env = "AWS_REGION", value_name = "LOCATION")]
    s3_region: Option<String>,
    /// The user who asks. It must be allowed to list and read versions in the bucket bailiwick-evidence.
    #[arg(long, env = "AWS_ACCESS_KEY_ID", value_name = "USER")]
    access_key: Option<String>,
    /// That user's secret key; better in the environment than on the command line.
    #[arg(
        long,
        env = "AWS_SECRET_ACCESS_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    secret_key: Option<String>,
    /// For how long a store that does not answer is asked again: a pod's network may open only moments after it started.
    #[arg(long, default_value = "1m", value_name = "DURATION", value_parser = patience)]
    wait: Duration,
}

/// Reads a duration, as `30s` or `5m`.
fn patience(text: &str) -> Result<Duration, String> {
    seconds(text)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs)
        .ok_or_else(|| format!("{text:?} is no duration, expected one as 30s or 5m"))
}

/// What is to be verified, as it was found.
enum Source {
    Chain(Vec<Stored>),
    Bundle(Bundle),
}

/// Verifies or exports. Findings and verdicts go to `out`, what to do next to `hints`.
///
/// # Errors
/// [`CommandError::Findings`] when something is wrong with the log; any other when it could not be checked.
pub async fn run(
    evidence: Evidence,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> Result<(), CommandError> {
    match evidence.command {
        Do::Verify(arguments) => verify_log(arguments, out, hints).await,
        Do::Export(arguments) => export(arguments, out, hints).await,
    }
}

async fn verify_log(
    arguments: Verify,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> Result<(), CommandError> {
    let Verify {
        path,
        region,
        trust,
        bucket,
    } = arguments;
    let source = match &path {
        Some(path) => source(path)?,
        None => Source::Chain(bucket.read().await?),
    };
    let (region, of_day) = match (&source, region) {
        (Source::Bundle(bundle), region) => {
            let named = bundle.manifest.region.as_str().to_owned();
            if region.is_some_and(|region| region != named) {
                return Err(CommandError::Argument(format!(
                    "--region: the bundle is of Region {named}; name that one, or another bundle"
                )));
            }
            (named, Some(bundle.manifest.day))
        }
        (Source::Chain(_), Some(region)) => (region, None),
        (Source::Chain(_), None) => {
            return Err(CommandError::Argument(
                "--region is missing: name the Region that the records are of".to_owned(),
            ));
        }
    };
    let (keys, anchor) = trust.read(&region).await?;
    let result = match &source {
        Source::Bundle(bundle) => bundle.verify(&keys, anchor.as_ref()),
        Source::Chain(objects) => verify(
            objects,
            &Expected {
                region: &region,
                keys: &keys,
                claimed: &[],
                anchor: anchor.as_ref(),
                stretch: false,
            },
        ),
    };
    let verified = judged(result, out)?;
    report(&region, of_day, &verified, out)?;
    match (verified.anchored, of_day) {
        (true, _) => writeln!(
            hints,
            "Nothing up to the anchor was edited, dropped, reordered or cut off. Next: keep the new end, {}, where \
             the writer of the log cannot reach it.",
            verified.last
        )?,
        (false, Some(_)) => writeln!(
            hints,
            "The day is complete by the records before and after it. Next: compare the key above with \
             status.residency.evidence.keyId of the Region."
        )?,
        (false, None) => writeln!(
            hints,
            "Without an anchor a cut-off end is not seen. Next: verify again with --cluster, or with --anchor \
             <sequence>:<hash> of an earlier time."
        )?,
    }
    Ok(())
}

async fn export(
    arguments: Export,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> Result<(), CommandError> {
    let Export {
        region,
        day,
        out: file,
        from,
        trust,
        bucket,
    } = arguments;
    let objects = match &from {
        Some(folder) => match source(folder)? {
            Source::Chain(objects) => objects,
            Source::Bundle(_) => {
                return Err(CommandError::Argument(format!(
                    "--from: {} is a bundle already; name a folder with the contents of the bucket",
                    folder.display()
                )));
            }
        },
        None => bucket.read().await?,
    };
    let (keys, anchor) = trust.read(&region).await?;
    let expected = Expected {
        region: &region,
        keys: &keys,
        claimed: &[],
        anchor: anchor.as_ref(),
        stretch: false,
    };
    let chain = judged(verify(&objects, &expected), out)?;
    let bundle = Bundle::of_day(&chain, &objects, &keys, day)?;
    // Held to the same as whoever gets it will hold it to.
    let verified = judged(bundle.verify(&bundle.keys, Some(&chain.last)), out)?;
    files::write(&file, &bundle)?;
    report(&region, Some(day), &verified, out)?;
    // Nothing but the anchor shows the end of a day that no record follows.
    let is_open = |finding: &Finding| matches!(finding, Finding::OpenEnd { .. });
    let alone = bundle.verify(&bundle.keys, None);
    let key = if alone.is_err_and(|findings| findings.iter().any(is_open)) {
        "from elsewhere than the bundle: with --key alone it ends with OpenEnd, since no record of a later day is there yet"
    } else {
        "or --key, either from elsewhere than the bundle"
    };
    writeln!(
        hints,
        "{} is written. Next: `bailiwick-operator evidence verify {}` with --anchor {} {key}.",
        file.display(),
        file.display(),
        chain.last
    )?;
    Ok(())
}

/// The verified chain, or each finding on a line of its own.
fn judged(
    result: Result<Verified, Vec<Finding>>,
    out: &mut impl Write,
) -> Result<Verified, CommandError> {
    match result {
        Ok(verified) => Ok(verified),
        Err(findings) => {
            for finding in &findings {
                writeln!(out, "{}: {finding}", finding.word())?;
            }
            Err(CommandError::Findings {
                count: findings.len(),
            })
        }
    }
}

fn report(
    region: &str,
    of_day: Option<Date>,
    verified: &Verified,
    out: &mut impl Write,
) -> Result<(), CommandError> {
    if let (Some(first), Some(last)) = (verified.records.first(), verified.records.last()) {
        let of_day = of_day.map(|day| format!(", for {day}")).unwrap_or_default();
        writeln!(
            out,
            "Region {region}: records {} to {}, {} to {}{of_day}: verified",
            first.sequence, last.sequence, first.time, last.time
        )?;
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &verified.records {
        *kinds.entry(record.entry.kind()).or_default() += 1;
    }
    for (kind, count) in kinds {
        writeln!(out, "  {count:>6} {kind}")?;
    }
    let anchored = if verified.anchored {
        "is one of them"
    } else {
        "not among them, or not given"
    };
    writeln!(
        out,
        "key:    {}\nend:    {}\nanchor: {anchored}",
        verified.key, verified.last
    )?;
    Ok(())
}

/// The records at a path: a bundle where there is a manifest, else a chain.
fn source(path: &Path) -> Result<Source, CommandError> {
    let files = files::read(path)?;
    if files.iter().any(|(name, _)| name == MANIFEST) {
        return Ok(Source::Bundle(Bundle::read(files)?));
    }
    Ok(Source::Chain(
        files
            .into_iter()
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, bytes)| Stored::new(name, bytes))
            .collect(),
    ))
}

impl Trust {
    async fn read(&self, region: &str) -> Result<(Vec<PublicKey>, Option<Anchor>), CommandError> {
        let keys = self
            .keys
            .iter()
            .map(|file| {
                let pem = std::fs::read_to_string(file).map_err(|source| CommandError::Read {
                    file: file.clone(),
                    source,
                })?;
                PublicKey::from_pem(&pem).map_err(|error| {
                    CommandError::Argument(format!("--key: {}: {error}", file.display()))
                })
            })
            .collect::<Result<Vec<PublicKey>, CommandError>>()?;
        let anchor = match (&self.anchor, self.cluster) {
            (Some(anchor), _) => Some(*anchor),
            (None, true) => Some(anchor_in_cluster(region).await?),
            (None, false) => None,
        };
        if keys.is_empty() && anchor.is_none() {
            return Err(CommandError::Argument(
                "nothing to hold the log against; give --cluster, --anchor or --key, from elsewhere than the log"
                    .to_owned(),
            ));
        }
        Ok((keys, anchor))
    }
}

async fn anchor_in_cluster(name: &str) -> Result<Anchor, CommandError> {
    let cluster = |source| CommandError::Cluster(Box::new(source));
    let client = kube::Client::try_default().await.map_err(cluster)?;
    let region = Api::<Region>::all(client)
        .get(name)
        .await
        .map_err(|source| CommandError::Region {
            name: name.to_owned(),
            source: Box::new(source),
        })?;
    region
        .status
        .and_then(|status| status.residency)
        .and_then(|residency| residency.evidence)
        .as_ref()
        .and_then(Anchor::of)
        .ok_or_else(|| {
            CommandError::Argument(format!(
                "Region {name}: status.residency.evidence is not there, expected the end of its log; wait until the \
                 operator has written a record, or give --anchor"
            ))
        })
}

impl Bucket {
    async fn read(&self) -> Result<Vec<Stored>, CommandError> {
        let (Some(endpoint), Some(ca), Some(region), Some(access_key), Some(secret_key)) = (
            &self.endpoint,
            &self.ca,
            &self.s3_region,
            &self.access_key,
            &self.secret_key,
        ) else {
            return Err(CommandError::Argument(
                "nothing to verify: name a bundle or folder, or the bucket with --endpoint, --ca, --s3-region and the \
                 user in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .to_owned(),
            ));
        };
        let authority = std::fs::read(ca).map_err(|source| CommandError::Read {
            file: ca.clone(),
            source,
        })?;
        let unreadable = |failure: ReadFailure| {
            CommandError::Argument(format!(
                "--endpoint {endpoint}: the evidence log cannot be read: {}; look at the address, the authority and \
                 the user's rights",
                failure.as_str()
            ))
        };
        let store =
            Store::new(endpoint, region, access_key, secret_key, &authority).map_err(unreadable)?;
        let asked_since = Instant::now();
        loop {
            match records(&store).await {
                // No connection could be made, or nobody has answered yet.
                Err(ReadFailure::Unreachable | ReadFailure::TimedOut | ReadFailure::NotReady)
                    if asked_since.elapsed() < self.wait =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                read => return read.map_err(unreadable),
            }
        }
    }
}
