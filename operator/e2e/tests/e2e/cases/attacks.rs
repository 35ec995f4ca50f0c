//! An attack corpus: what six adversaries try against `tr`, with what each of them holds. Every attempt is refused, and for
//! the right reason; or the operator refuses what it led to; or it is noticed, undone and reported in time. I/O: the API
//! server as each adversary, client pods, and whatever got in is taken away again.

mod database;
pub mod editor;
mod git;
mod live;
mod namespace;
mod neighbour;
pub mod refusals;
pub mod region;
mod store;
pub mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::Api;
use serde_json::Value;

use crate::cluster::{Cluster, Place};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::request::{Answer, Ask, Who};
use crate::wait::{Look, until};

/// The Region that is attacked.
const VICTIM: &str = "tr";
/// The Region next to it.
const NEIGHBOUR: &str = "es";
/// How many attempts there are at least, and how many of each adversary: issue 4, section 4.
const LEAST: usize = 60;
const LEAST_EACH: usize = 6;
/// How long the API server may take to know of rights.
const GRANTED: Duration = Duration::from_secs(10);
/// How long the Region may take to be settled once all is taken away.
const SETTLED: Duration = Duration::from_mins(2);

/// Who attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Adversary {
    /// Who may write Regions and nothing else.
    RegionEditor,
    /// Who may write what is in the Region's namespace: `admin`, and more.
    NamespaceEditor,
    /// Who has the login that owns the database.
    DatabaseOwner,
    /// Who has a user of the object store.
    StoreUser,
    /// Whose manifests are applied by whoever applies the overlay.
    GitCommitter,
    /// The pods, accounts and credentials of another Region.
    Neighbour,
}

impl Adversary {
    const ALL: [Self; 6] = [
        Self::RegionEditor,
        Self::NamespaceEditor,
        Self::DatabaseOwner,
        Self::StoreUser,
        Self::GitCommitter,
        Self::Neighbour,
    ];
}

impl fmt::Display for Adversary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RegionEditor => "editor of the Region",
            Self::NamespaceEditor => "editor of its namespace",
            Self::DatabaseOwner => "owner of its database",
            Self::StoreUser => "user of its store",
            Self::GitCommitter => "committer to Git",
            Self::Neighbour => "neighbour region",
        })
    }
}

/// How it is tried.
#[derive(Clone, Debug)]
enum How {
    /// By one request to the API server.
    Ask(Who, Ask),
    /// By a statement.
    Sql(database::Statement),
    /// By a request to the object store.
    Store(store::Request),
    /// By a connection from a pod of the neighbour.
    Connect(neighbour::Door),
    /// By what the API server lets in.
    Live(live::Intrusion),
}

/// What must come of it.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// It is refused, and the answer says these words: a refusal for another reason shows nothing.
    Refused(&'static str),
    /// It is let in, noticed within [`live::NOTICED`], undone within [`live::UNDONE`] and reported.
    Undone,
    /// It is let in and does nothing: the operator says so within [`live::NOTICED`].
    NotAccepted,
    /// It is let in and noticed within [`live::NOTICED`]; what undoes it is outside of the product.
    Noticed,
}

impl Expected {
    /// What must be seen of what is let in; none of what must not be.
    const fn came(self) -> Option<live::Came> {
        match self {
            Self::Refused(_) => None,
            Self::Undone => Some(live::Came::Undone),
            Self::NotAccepted => Some(live::Came::NotAccepted),
            Self::Noticed => Some(live::Came::Noticed),
        }
    }
}

/// One attempt.
struct Attempt {
    adversary: Adversary,
    name: &'static str,
    how: How,
    expected: Expected,
}

/// The attempts of one adversary by one way.
fn attempts<T>(
    adversary: Adversary,
    rows: impl IntoIterator<Item = (&'static str, T, Expected)>,
    how: impl Fn(T) -> How,
) -> Vec<Attempt> {
    rows.into_iter()
        .map(|(name, what, expected)| Attempt {
            adversary,
            name,
            how: how(what),
            expected,
        })
        .collect()
}

/// The table.
fn table() -> Vec<Attempt> {
    [
        region::attempts(),
        namespace::attempts(),
        database::attempts(),
        store::attempts(),
        git::attempts(),
        neighbour::attempts(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The table is what the case says of it.
fn whole(table: &[Attempt]) -> Outcome {
    ensure(table.len() >= LEAST, || {
        format!("only {} attempts, expected {LEAST}", table.len())
    })?;
    for adversary in Adversary::ALL {
        let count = table
            .iter()
            .filter(|attempt| attempt.adversary == adversary)
            .count();
        ensure(count >= LEAST_EACH, || {
            format!("only {count} attempts of the {adversary}, expected {LEAST_EACH}")
        })?;
    }
    let mut names = BTreeSet::new();
    for attempt in table {
        ensure(names.insert(attempt.name), || {
            format!("two attempts are called {:?}", attempt.name)
        })?;
        ensure(
            !matches!(attempt.expected, Expected::Refused(words) if words.is_empty()),
            || format!("{:?} may be refused for any reason", attempt.name),
        )?;
        let live = matches!(attempt.how, How::Live(_));
        let refused = matches!(attempt.expected, Expected::Refused(_));
        ensure(live != refused, || {
            format!("{:?} expects what its way never does", attempt.name)
        })?;
    }
    Ok(())
}

/// Runs the table.
pub async fn corpus(cluster: &Cluster) -> Outcome<String> {
    let table = table();
    whole(&table)?;
    let victim = cluster.place(VICTIM)?;
    cluster.settled(&victim.region, SETTLED).await?;
    remove(cluster).await?;
    namespace::grant(cluster).await?;
    region::grant(cluster).await?;
    neighbour::grant(cluster).await?;
    in_force(cluster).await?;
    all_there(cluster, &table).await?;
    let outcome = run(cluster, victim, &table).await;
    // Whatever came of it, nothing stays.
    let removed = remove(cluster).await;
    let measured = outcome?;
    removed?;
    cluster.settled(&victim.region, SETTLED).await?;
    Ok(measured)
}

/// Waits until the API server knows the adversaries' rights: what it refused for want of them would show nothing.
async fn in_force(cluster: &Cluster) -> Outcome {
    for (who, path) in [
        (region::WHO, "/apis/bailiwick.dev/v1alpha1/regions/tr"),
        // By the one role and by the other.
        (namespace::WHO, "/api/v1/namespaces/tr"),
        (namespace::WHO, "/api/v1/namespaces/tr/secrets"),
        (
            neighbour::OPERATOR,
            "/apis/bailiwick.dev/v1alpha1/regions/es",
        ),
    ] {
        until(&format!("{who:?} to read {path}"), GRANTED, || async {
            Ok(match Ask::get(path).send(&cluster.client, who).await? {
                Answer::Taken(_) => Look::Seen(()),
                Answer::Refused(_, message) => Look::NotYet(message),
            })
        })
        .await?;
    }
    Ok(())
}

/// Fails unless whoever asks is there: what is refused to nobody shows nothing.
async fn all_there(cluster: &Cluster, table: &[Attempt]) -> Outcome {
    let mut accounts = BTreeSet::new();
    for attempt in table {
        match &attempt.how {
            How::Ask(Who::Account(namespace, name), _) => {
                accounts.insert((*namespace, *name));
            }
            How::Ask(who @ Who::Person(_), _) => {
                ensure([region::WHO, namespace::WHO].contains(who), || {
                    format!("{:?}: nobody gave {who:?} any right", attempt.name)
                })?;
            }
            _ => {}
        }
    }
    for (namespace, name) in &accounts {
        Api::<ServiceAccount>::namespaced(cluster.client.clone(), namespace)
            .get(name)
            .await
            .during(format_args!(
                "find who attacks, ServiceAccount {namespace}/{name}"
            ))?;
    }
    ensure(!accounts.is_empty(), || "no account attacks".to_owned())
}

/// Takes away what an earlier run left, and the adversaries' rights.
pub async fn remove(cluster: &Cluster) -> Outcome {
    live::remove(cluster).await?;
    namespace::revoke(cluster).await?;
    neighbour::revoke(cluster).await?;
    region::revoke(cluster).await
}

async fn run(cluster: &Cluster, victim: &Place, table: &[Attempt]) -> Outcome<String> {
    let neighbour = cluster.place(NEIGHBOUR)?;
    let pick = |of: fn(&How) -> bool| -> Vec<&Attempt> {
        table.iter().filter(|attempt| of(&attempt.how)).collect()
    };
    let (asks, statements, requests, doors, intrusions) = (
        pick(|how| matches!(how, How::Ask(..))),
        pick(|how| matches!(how, How::Sql(_))),
        pick(|how| matches!(how, How::Store(_))),
        pick(|how| matches!(how, How::Connect(_))),
        pick(|how| matches!(how, How::Live(_))),
    );
    let (asked, said, stored, connected) = futures::try_join!(
        ask_all(cluster, &asks),
        database::run(cluster, victim, neighbour, &statements),
        store::run(cluster, victim, neighbour, &requests),
        neighbour::run(cluster, victim, neighbour, &doors),
    )?;
    let answers = asks
        .iter()
        .zip(asked)
        .chain(statements.iter().zip(said))
        .chain(requests.iter().zip(stored))
        .chain(doors.iter().zip(connected));
    let mut succeeded = Vec::new();
    for (attempt, answer) in answers {
        if let Err(words) = judge(attempt, answer.as_deref()) {
            succeeded.push(format!("{}: {}: {words}", attempt.adversary, attempt.name));
        }
    }
    let mut times = Vec::new();
    for attempt in &intrusions {
        if let How::Live(intrusion) = &attempt.how {
            match live::run(cluster, victim, *intrusion).await {
                Ok((came, told)) if attempt.expected.came() == Some(came) => {
                    times.push(format!("{}: {told}", attempt.name));
                }
                Ok((came, told)) => {
                    succeeded.push(format!(
                        "{}: {}: {came:?} ({told}), expected {:?}",
                        attempt.adversary, attempt.name, attempt.expected
                    ));
                }
                Err(failure) => {
                    succeeded.push(format!(
                        "{}: {}: {failure}",
                        attempt.adversary, attempt.name
                    ));
                }
            }
        }
    }
    tell(table);
    for time in &times {
        println!("         {time}");
    }
    if succeeded.is_empty() {
        let refused = table.len() - intrusions.len();
        let noticed = intrusions
            .iter()
            .filter(|attempt| matches!(attempt.expected, Expected::Noticed))
            .count();
        return Ok(format!(
            "{} attempts of {} adversaries: {refused} refused for their reason, {} undone or not accepted, {noticed} noticed \
             in time and undone by whoever applies Git",
            table.len(),
            Adversary::ALL.len(),
            intrusions.len() - noticed,
        ));
    }
    Err(Failure::new(format!(
        "{} of {} attempts came to something else:\n    {}",
        succeeded.len(),
        table.len(),
        succeeded.join("\n    ")
    )))
}

/// A line for each adversary.
fn tell(table: &[Attempt]) {
    let mut counts: BTreeMap<Adversary, [usize; 3]> = BTreeMap::new();
    for attempt in table {
        let count = counts.entry(attempt.adversary).or_default();
        count[match attempt.expected {
            Expected::Refused(_) => 0,
            Expected::Undone | Expected::NotAccepted => 1,
            Expected::Noticed => 2,
        }] += 1;
    }
    for (adversary, [refused, undone, noticed]) in counts {
        println!(
            "       {adversary}: {} attempts: {refused} refused, {undone} undone or not accepted, {noticed} noticed",
            refused + undone + noticed
        );
    }
}

/// Whether an answer, none for an attempt that got in, is what was expected; in words when it is not.
fn judge(attempt: &Attempt, answer: Option<&str>) -> Result<(), String> {
    match (attempt.expected, answer) {
        (Expected::Refused(words), Some(answer)) if answer.contains(words) => Ok(()),
        (Expected::Refused(words), Some(answer)) => {
            Err(format!("refused with {answer:?}, expected {words:?}"))
        }
        (_, None) => Err("it got in".to_owned()),
        (expected, Some(answer)) => Err(format!("{answer:?}, expected {expected:?}")),
    }
}

/// Sends requests to the API server, as dry runs: what refuses is the same, and what got in leaves nothing behind.
async fn ask_all(cluster: &Cluster, attempts: &[&Attempt]) -> Outcome<Vec<Option<String>>> {
    try_join_all(attempts.iter().map(|attempt| async move {
        let How::Ask(who, ask) = &attempt.how else {
            return Err(Failure::new(format!("{} asks nothing", attempt.name)));
        };
        Ok(match ask.dry(&cluster.client, *who).await? {
            Answer::Taken(_) => None,
            Answer::Refused(code, message) => Some(format!("{code} {message}")),
        })
    }))
    .await
}

/// One answer of a script for each attempt. The first is to what the adversary may do: one to whom all is refused shows
/// nothing.
fn answers(found: Value, attempts: &[&Attempt]) -> Outcome<Vec<Option<String>>> {
    let mut answers: Vec<Option<String>> = serde_json::from_value(found)?;
    let may = answers.drain(..answers.len().min(1)).next();
    ensure(may == Some(None), || {
        format!("what the adversary may do came to {may:?}, expected it to be let in")
    })?;
    ensure(answers.len() == attempts.len(), || {
        format!("{} answers to {} attempts", answers.len(), attempts.len())
    })?;
    Ok(answers)
}

/// `object` with `edit` merged over it; lists are replaced whole, null removes.
fn with(mut object: Value, edit: Value) -> Value {
    match (&mut object, edit) {
        (Value::Object(fields), Value::Object(edits)) => {
            for (key, edit) in edits {
                if edit.is_null() {
                    fields.remove(&key);
                } else {
                    let old = fields.remove(&key).unwrap_or(Value::Null);
                    fields.insert(key, with(old, edit));
                }
            }
            object
        }
        (_, edit) => edit,
    }
}
