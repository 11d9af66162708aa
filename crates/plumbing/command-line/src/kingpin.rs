//! Command lines as Kingpin, the library of Fabric's other tools, reads and explains them.
//!
//! Help goes to standard error with exit status 0, a fault with 1; only `--help` asks for help, `-h` is a flag like any
//! other.

mod help;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command, Parser};

/// Why a command is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Help was asked for; this is its text.
    Help(String),
    /// The arguments make no sense, and why.
    Fault(String),
}

impl Stop {
    /// Says so on standard error, in the form of most tools; gives the exit status.
    pub fn report(self, program: &str) -> ExitCode {
        match self {
            Self::Help(text) => {
                eprint!("{text}");
                ExitCode::SUCCESS
            }
            Self::Fault(fault) => {
                eprintln!("{program}: error: {fault}, try --help");
                ExitCode::FAILURE
            }
        }
    }
}

/// Reads the arguments of a process, the program's name first.
pub fn parse<T: Parser>(args: impl IntoIterator<Item = OsString>) -> Result<T, Stop> {
    parse_requiring(args, &[])
}

/// As [`parse`], with flags of the program, which may stand anywhere, that must be there whatever the command.
pub fn parse_requiring<T: Parser>(args: impl IntoIterator<Item = OsString>, required: &[&str]) -> Result<T, Stop> {
    let args: Vec<OsString> = args.into_iter().collect();
    let mut command = with_long_help_only(T::command());
    command.build();
    if args.get(1).is_some_and(|first| first == "help") {
        return Err(Stop::Help(help::text(&selected(&command, &args[2..]), required)));
    }
    let matches = match command.clone().try_get_matches_from(&args) {
        Ok(matches) => matches,
        Err(error) => {
            // Kingpin misses these before it misses a command or what the command requires.
            let misses = matches!(
                error.kind(),
                ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                    | ErrorKind::MissingRequiredArgument
            );
            let in_group = selected(&command, args.get(1..).unwrap_or_default())
                .last()
                .is_some_and(|innermost| innermost.has_subcommands() && innermost.get_name() != command.get_name());
            if let Some(missing) = required.iter().find(|name| misses && !in_group && !is_given(&command, name, &args))
            {
                return Err(Stop::Fault(format!("required flag --{missing} not provided")));
            }
            return Err(stop(&error, &command, &args, required));
        }
    };
    T::from_arg_matches(&matches).map_err(|error| stop(&error, &command, &args, required))
}

/// Whether a flag of the program stands among the arguments.
fn is_given(command: &Command, name: &str, args: &[OsString]) -> bool {
    let short = command.get_arguments().find(|arg| arg.get_long() == Some(name)).and_then(Arg::get_short);
    args.iter().filter_map(|arg| arg.to_str()).any(|arg| match arg.strip_prefix("--") {
        Some(long) => long.split('=').next() == Some(name),
        None => short.is_some_and(|short| arg.strip_prefix('-').is_some_and(|flags| flags.starts_with(short))),
    })
}

/// Kingpin knows `--help` everywhere, and neither `-h` nor a version.
fn with_long_help_only(command: Command) -> Command {
    let flag = Arg::new("help").long("help").action(ArgAction::Help).global(true).help("Show context-sensitive help.");
    command.disable_help_flag(true).disable_help_subcommand(true).disable_version_flag(true).arg(flag)
}

/// The program and the subcommands that the arguments name, outermost first.
fn selected<'a>(command: &'a Command, args: &[OsString]) -> Vec<&'a Command> {
    let mut path = vec![command];
    let mut args = args.iter().filter_map(|arg| arg.to_str());
    while let Some(arg) = args.next() {
        let innermost = path[path.len() - 1];
        if let Some(flag) = arg.strip_prefix('-') {
            let takes_next = |known: &Arg| {
                let named = match flag.strip_prefix('-') {
                    Some(long) => known.get_long() == Some(long),
                    None => known.get_short().is_some_and(|short| flag.chars().eq([short])),
                };
                named && known.get_action().takes_values()
            };
            if innermost.get_arguments().any(takes_next) {
                args.next();
            }
        } else if let Some(subcommand) = innermost.find_subcommand(arg) {
            path.push(subcommand);
        } else {
            break;
        }
    }
    path
}

/// What clap found, in Kingpin's words.
fn stop(error: &clap::Error, command: &Command, args: &[OsString], required: &[&str]) -> Stop {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
        _ => "",
    };
    // clap writes `--name <VALUE>` or `-n`.
    let argument = context(ContextKind::InvalidArg);
    let flag = argument.split([' ', '=']).next().unwrap_or(argument);
    let path = || selected(command, args.get(1..).unwrap_or_default());
    Stop::Fault(match error.kind() {
        ErrorKind::DisplayHelp => return Stop::Help(help::text(&path(), required)),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => match path().as_slice() {
            [root] => return Stop::Help(help::text(&[root], required)),
            [.., group] => format!("must select a subcommand of '{}'", group.get_name()),
            [] => return Stop::Help(String::new()),
        },
        ErrorKind::UnknownArgument if flag.starts_with("--") => format!("unknown long flag '{flag}'"),
        ErrorKind::UnknownArgument if flag.starts_with('-') => format!("unknown short flag '{flag}'"),
        ErrorKind::UnknownArgument => format!("unexpected {argument}"),
        ErrorKind::InvalidSubcommand => {
            format!("expected command but got \"{}\"", context(ContextKind::InvalidSubcommand))
        }
        ErrorKind::MissingRequiredArgument => format!("required flag {flag} not provided"),
        ErrorKind::ArgumentConflict => format!("flag '{}' cannot be repeated", flag.trim_start_matches('-')),
        ErrorKind::InvalidValue if context(ContextKind::InvalidValue).is_empty() => {
            format!("expected argument for flag '{flag}'")
        }
        _ => match std::error::Error::source(error) {
            Some(reason) => reason.to_string(),
            None => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sails and ropes
    #[derive(Debug, Parser)]
    #[command(name = "sail")]
    struct Sail {
        /// Where to
        #[arg(short = 'o', long = "outward", global = true)]
        outward: Option<String>,
        #[command(subcommand)]
        command: Work,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Work {
        /// Set a sail. Best before the wind comes, for which there is a word in every language of the sea.
        Set {
            /// How many reefs
            #[arg(long = "reefs", default_value = "1")]
            reefs: u32,
            /// Which sail
            #[arg(short = 's', long = "sail")]
            sail: String,
            /// What to call out, at length, so that the line must be broken
            #[arg(long = "call", default_value = "ahoy")]
            call: String,
        },
        /// Ropes
        #[command(subcommand)]
        Rope(Rope),
    }

    #[derive(Debug, clap::Subcommand)]
    enum Rope {
        /// Haul it
        Haul,
    }

    fn read(line: &str) -> Result<Sail, Stop> {
        parse(std::iter::once("sail").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn flags_stand_before_and_behind_commands() {
        for line in ["set --outward=x --sail jib", "-o x set -s jib --reefs 1", "set -sjib -ox"] {
            let sail = read(line).unwrap();
            assert_eq!(sail.outward.as_deref(), Some("x"));
            assert!(matches!(sail.command, Work::Set { reefs: 1, sail, call } if sail == "jib" && call == "ahoy"));
        }
        assert!(matches!(read("rope haul").unwrap().command, Work::Rope(Rope::Haul)));
    }

    #[test]
    fn faults_have_kingpins_words() {
        for (line, fault) in [
            ("set", "required flag --sail not provided"),
            ("set -s x --foo", "unknown long flag '--foo'"),
            ("set -s x -h", "unknown short flag '-h'"),
            ("set --sail", "expected argument for flag '--sail'"),
            ("set -s x -s y", "flag 'sail' cannot be repeated"),
            ("set -s x extra", "unexpected extra"),
            ("frob", "expected command but got \"frob\""),
            ("rope frob", "expected command but got \"frob\""),
            ("rope", "must select a subcommand of 'rope'"),
            ("set -s x --reefs many", "invalid digit found in string"),
        ] {
            assert_eq!(read(line).unwrap_err(), Stop::Fault(fault.to_owned()), "{line}");
        }
    }

    #[test]
    fn flags_of_the_program_are_missed_first() {
        let read = |line: &str| {
            let args = std::iter::once("sail").chain(line.split_whitespace()).map(OsString::from);
            parse_requiring::<Sail>(args, &["outward"]).map(|_| ())
        };
        let missing = |flag: &str| Err(Stop::Fault(format!("required flag --{flag} not provided")));
        assert_eq!(read(""), missing("outward"));
        assert_eq!(read("set"), missing("outward"));
        assert_eq!(read("set --outward x"), missing("sail"));
        assert_eq!(read("set -ox"), missing("sail"));
        assert_eq!(read("rope"), Err(Stop::Fault("must select a subcommand of 'rope'".into())));
        assert_eq!(read("rope haul -o x"), Ok(()));
        let Err(Stop::Help(text)) = read("--help") else { panic!("help") };
        assert!(text.starts_with("usage: sail --outward=OUTWARD [<flags>] <command> [<args> ...]\n"), "{text}");
    }

    #[test]
    fn help_is_laid_out_as_kingpin_does() {
        let root = "usage: sail [<flags>] <command> [<args> ...]

Sails and ropes

Flags:
      --help             Show context-sensitive help.
  -o, --outward=OUTWARD  Where to

Commands:
  help [<command>...]
    Show help.

  set --sail=SAIL [<flags>]
    Set a sail. Best before the wind comes, for which there is a word in every
    language of the sea

  rope haul
    Haul it


";
        for line in ["", "--help", "help"] {
            assert_eq!(read(line).unwrap_err(), Stop::Help(root.to_owned()), "{line}");
        }
        let set = "usage: sail set --sail=SAIL [<flags>]

Set a sail. Best before the wind comes, for which there is a word in every
language of the sea

Flags:
      --help             Show context-sensitive help.
  -o, --outward=OUTWARD  Where to
      --reefs=1          How many reefs
  -s, --sail=SAIL        Which sail
      --call=\"ahoy\"      What to call out, at length, so that the line must be
                         broken

";
        for line in ["help set", "-o rope set --help"] {
            assert_eq!(read(line).unwrap_err(), Stop::Help(set.to_owned()), "{line}");
        }
    }
}
