//! From what the image's bootstrap leaves to what the spec wants, step by step.

use bailiwick_model::sql::{PasswordFact, settle};

use super::server::Server;
use super::{ROLES, converge, observe, passwords, perform, settled, spec, wanted};

/// After every step, a crash would leave exactly the steps that had not been done; doing a step again, as after a
/// lost answer, changes nothing; and what is seen is what the model of the steps says.
#[tokio::test]
async fn every_step_brings_exactly_the_rest_nearer() {
    let server = Server::start(&ROLES).await;
    let wanted = wanted(&spec());
    let before = observe(&server).await;
    assert_eq!(wanted.findings(&before), Vec::<String>::new());
    assert_eq!(wanted.retained(&before), Vec::<String>::new());
    let steps = wanted.steps(&before);
    assert!(steps.len() > 30, "{steps:#?}");

    let mut expected = settled(&before);
    for (index, step) in steps.iter().enumerate() {
        for _ in 0..2 {
            perform(&server, step).await;
        }
        settle(&mut expected, step);
        let seen = observe(&server).await;
        assert_eq!(settled(&seen), expected, "after {}", step.describe());
        assert_eq!(
            wanted.steps(&seen),
            steps[index + 1..],
            "after {}",
            step.describe()
        );
    }

    let after = converge(&server, &wanted).await;
    assert_eq!(passwords(&after), [PasswordFact::Current; 5]);
    assert_eq!(wanted.findings(&after), Vec::<String>::new());
    assert_eq!(wanted.retained(&after), Vec::<String>::new());
    println!("{} steps, each done twice", steps.len());
}
