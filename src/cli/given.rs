//! Which of a command's flags were typed, by the heading of its help under which they stand.

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// A field for a command's `Args`, in front of all others, which take their values out of the matches.
pub struct Given(ArgMatches);

impl Given {
    /// The typed flags of the command with arguments `A` that stand under one of these headings, in the help's order.
    pub fn under<A: Args>(&self, headings: &[&str]) -> Vec<String> {
        let command = A::augment_args(Command::new(""));
        let of_heading = command
            .get_arguments()
            .filter(|flag| flag.get_help_heading().is_some_and(|heading| headings.contains(&heading)));
        let typed =
            of_heading.filter(|flag| self.0.value_source(flag.get_id().as_str()) == Some(ValueSource::CommandLine));
        typed.filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect()
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Given, clap::Error> {
        Ok(Given(matches.clone()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Given::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Args)]
    struct Paint {
        #[command(flatten)]
        given: Given,
        #[arg(long, help_heading = "Colours", default_value = "dark")]
        red: String,
        #[arg(long, help_heading = "Shapes")]
        round: bool,
        #[arg(long)]
        plain: bool,
        #[command(flatten)]
        more: More,
    }

    #[derive(Args)]
    #[command(next_help_heading = "Colours")]
    struct More {
        #[arg(long)]
        deep_blue: Option<u8>,
        #[arg(long)]
        green: bool,
    }

    #[test]
    fn flags_are_given_if_they_were_typed_and_not_if_they_have_a_default() {
        let paint = |line: &str| {
            let command = super::super::lenient(Paint::augment_args(Command::new("paint")));
            Paint::from_arg_matches(&command.try_get_matches_from(line.split(' ')).unwrap()).unwrap()
        };
        let all = paint("paint --plain --deep-blue 3 --red light");
        assert_eq!(all.given.under::<Paint>(&["Colours"]), ["--red", "--deep-blue"]);
        assert_eq!(all.given.under::<Paint>(&["Shapes"]), [""; 0]);
        assert_eq!((all.red.as_str(), all.more.deep_blue, all.plain), ("light", Some(3), true));
        let twice = paint("paint --round --green --green");
        assert_eq!(twice.given.under::<Paint>(&["Shapes", "Colours"]), ["--round", "--green"]);
        assert_eq!((twice.red.as_str(), twice.round, twice.more.green), ("dark", true, true));
        assert_eq!(paint("paint").given.under::<Paint>(&["Shapes", "Colours"]), [""; 0]);
    }
}
