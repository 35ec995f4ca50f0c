//! What may come next on the command line, for `kubectl`'s own completion: kubectl starts `kubectl_complete-bailiwick` with
//! the words typed so far. A command and words in, candidates out; no I/O.

use clap::{Arg, Command};

/// The candidates for the last of `words`, each as `word<TAB>description`; `command` is the whole command line.
#[must_use]
pub fn candidates(command: &Command, words: &[String]) -> Vec<String> {
    let mut command = command.clone();
    command.build();
    let Some((typing, before)) = words.split_last() else {
        return Vec::new();
    };
    let mut current = &command;
    let mut awaits: Option<&Arg> = None;
    for word in before {
        if awaits.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            awaits = value_of(current, word);
        } else if let Some(next) = current.find_subcommand(word) {
            current = next;
        }
    }
    let found: Vec<(String, String)> = if let Some(flag) = awaits {
        values(flag)
    } else if typing.starts_with('-') {
        current
            .get_arguments()
            .filter(|arg| !arg.is_hide_set())
            .filter_map(|arg| {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                Some((format!("--{}", arg.get_long()?), help))
            })
            .collect()
    } else {
        let subcommands = current
            .get_subcommands()
            .filter(|subcommand| !subcommand.is_hide_set())
            .map(|subcommand| {
                let about = subcommand.get_about().map(ToString::to_string);
                (subcommand.get_name().to_owned(), about.unwrap_or_default())
            });
        subcommands
            .chain(current.get_positionals().flat_map(values))
            .collect()
    };
    found
        .into_iter()
        .filter(|(word, _)| word.starts_with(typing.as_str()))
        .map(|(word, help)| {
            if help.is_empty() {
                word
            } else {
                format!("{word}\t{help}")
            }
        })
        .collect()
}

/// The flag that `word` is, if its value is the next word.
fn value_of<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .filter(|arg| arg.get_action().takes_values())
        .find(|arg| {
            let long = arg
                .get_long()
                .is_some_and(|long| word == format!("--{long}"));
            long || arg
                .get_short()
                .is_some_and(|short| word == format!("-{short}"))
        })
}

/// The values that an argument may have, where they are a closed list.
fn values(arg: &Arg) -> Vec<(String, String)> {
    // A flag without a value has two of its own, which nobody types.
    if !arg.get_action().takes_values() {
        return Vec::new();
    }
    arg.get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| {
            let help = value.get_help().map(ToString::to_string);
            (value.get_name().to_owned(), help.unwrap_or_default())
        })
        .collect()
}
