//! Command lines as `cobra`, the library of Fabric's `peer`, reads and explains them, because scripts depend on both.
//!
//! `clap` does the reading. What it does otherwise than Fabric's library is mended here: flags may stand anywhere, also
//! before the subcommand ([`CommandLine::read`]); a value may begin with a hyphen and a boolean may have a value
//! ([`grammar`]); help, usage and complaints have the other library's form.
//!
//! Absent: `peer completion`.

use std::any::TypeId;
use std::ffi::OsString;
use std::time::Duration;

use clap::builder::OsStr;
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, Command};

use crate::value;

/// The column at which descriptions of subcommands begin, at least.
const NAME_PADDING: usize = 11;
/// The id of the words that a command takes and does not look at.
const IGNORED_WORDS: &str = "ignored words";

/// Has a command tree read flags and words as Fabric's library does.
pub fn grammar(command: Command) -> Command {
    let mut command = adapt(command);
    command.build();
    command
}

fn adapt(command: Command) -> Command {
    let leaf = !command.has_subcommands();
    let takes_words = command.get_positionals().next().is_some();
    let command = command.mut_args(|arg| {
        if arg.is_positional() {
            return arg;
        }
        if !is_boolean(&arg) {
            return arg.allow_hyphen_values(true);
        }
        let default = arg.get_default_values().first().cloned().unwrap_or(OsStr::from("false"));
        let arg = arg.action(ArgAction::Set).value_parser(value::boolean).num_args(0..=1).require_equals(true);
        arg.default_missing_value("true").default_value(default)
    });
    if leaf && !takes_words {
        return command.arg(Arg::new(IGNORED_WORDS).num_args(0..).hide(true));
    }
    command.mut_subcommands(adapt)
}

fn is_boolean(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue) || arg.get_value_parser().type_id() == TypeId::of::<bool>()
}

/// The arguments of a process, split into the command they call and the rest.
#[derive(Debug)]
pub struct CommandLine<'a> {
    /// The command and those above it, from the program down.
    path: Vec<&'a Command>,
    rest: Vec<OsString>,
}

impl<'a> CommandLine<'a> {
    /// Finds the command that arguments call. The first of them is the program's name.
    pub fn read(grammar: &'a Command, arguments: impl IntoIterator<Item = OsString>) -> Self {
        let mut line = Self { path: vec![grammar], rest: arguments.into_iter().skip(1).collect() };
        while let Some(at) = line.first_word()
            && let Some(next) = line.rest.get(at).and_then(|word| line.command().find_subcommand(word))
        {
            line.path.push(next);
            line.rest.remove(at);
        }
        line
    }

    /// Where the first argument stands that is neither a flag nor a flag's value.
    fn first_word(&self) -> Option<usize> {
        let mut at = 0;
        while let Some(argument) = self.rest.get(at) {
            let argument = argument.to_string_lossy();
            if argument == "--" {
                return None;
            }
            if !argument.starts_with('-') {
                return Some(at);
            }
            at += if self.has_value_behind(&argument) { 2 } else { 1 };
        }
        None
    }

    fn has_value_behind(&self, argument: &str) -> bool {
        let long = argument.strip_prefix("--");
        if argument.contains('=') || (long.is_none() && argument.chars().count() != 2) {
            return false;
        }
        let named = |arg: &&Arg| match long {
            Some(long) => arg.get_long() == Some(long),
            None => arg.get_short() == argument.chars().nth(1),
        };
        // A flag that nobody knows is taken for one with a value.
        let flag = self.command().get_arguments().find(named);
        flag.is_none_or(|flag| !is_boolean(flag) && flag.get_action().takes_values())
    }

    fn command(&self) -> &'a Command {
        self.path.last().expect("the path begins with the program")
    }

    /// The arguments in the order in which `clap` reads them.
    pub fn arguments(&self) -> impl Iterator<Item = OsString> + '_ {
        self.path.iter().map(|command| command.get_name().into()).chain(self.rest.iter().cloned())
    }

    /// The command's name with all above it: `peer channel list`.
    fn command_path(&self) -> String {
        self.path.iter().map(|command| command.get_name()).collect::<Vec<_>>().join(" ")
    }

    /// What a command says when it is asked for help.
    pub fn help(&self) -> String {
        let command = self.command();
        match command.get_long_about().or(command.get_about()) {
            Some(about) => format!("{about}\n\n{}", self.usage()),
            None => self.usage(),
        }
    }

    /// How a command is called.
    pub fn usage(&self) -> String {
        let (command, path) = (self.command(), self.command_path());
        let mut out = "Usage:\n".to_owned();
        if command.has_subcommands() {
            let mut subcommands: Vec<_> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
            subcommands.sort_by_key(|command| command.get_name());
            let width = subcommands.iter().map(|command| command.get_name().len()).max().unwrap_or(0).max(NAME_PADDING);
            out += &format!("  {path} [command]\n\nAvailable Commands:\n");
            for subcommand in subcommands {
                let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
                out += &format!("  {:width$} {about}\n", subcommand.get_name());
            }
        } else {
            let words = command.get_positionals().filter(|words| !words.is_hide_set()).map(words).collect::<String>();
            out += &format!("  {path}{words} [flags]\n");
        }
        let above = self.path.split_last().map(|(_, above)| above).unwrap_or_default();
        let inherited = |arg: &&Arg| {
            above.iter().any(|command| command.get_arguments().any(|other| other.get_id() == arg.get_id()))
        };
        let (global, own): (Vec<_>, Vec<_>) = command.get_arguments().filter(|arg| is_shown(arg)).partition(inherited);
        let help = Row { name: "help", flag: "  -h, --help".into(), text: format!("help for {}", command.get_name()) };
        out += &format!("\nFlags:\n{}", listed(own.into_iter().map(Row::new).chain([help]).collect()));
        if !global.is_empty() {
            out += &format!("\nGlobal Flags:\n{}", listed(global.into_iter().map(Row::new).collect()));
        }
        if command.has_subcommands() {
            out += &format!("\nUse \"{path} [command] --help\" for more information about a command.\n");
        }
        out
    }

    /// What is wrong with the arguments, in the library's words. `None`: nothing is, but help is called for.
    pub fn problem(&self, error: &clap::Error) -> Option<String> {
        let context = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
        let value = context(ContextKind::InvalidValue);
        let argument = context(ContextKind::InvalidArg);
        let flag = argument.split([' ', '=', '[']).next().unwrap_or_default();
        Some(match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return None,
            // Only the program itself insists on a command that it knows.
            ErrorKind::InvalidSubcommand if self.path.len() > 1 => return None,
            ErrorKind::InvalidSubcommand => {
                let name = context(ContextKind::InvalidSubcommand);
                format!("unknown command \"{name}\" for \"{}\"", self.command_path())
            }
            ErrorKind::UnknownArgument => match flag.strip_prefix('-') {
                Some(long) if long.starts_with('-') => format!("unknown flag: {flag}"),
                Some(letters) => {
                    format!("unknown shorthand flag: '{}' in {flag}", letters.chars().next().unwrap_or_default())
                }
                None => format!("unknown command \"{flag}\""),
            },
            ErrorKind::InvalidValue if value.is_empty() => {
                // Whatever wants a value and has none is the last argument.
                let last = self.rest.last().map(|last| last.to_string_lossy()).unwrap_or_default();
                match last.strip_prefix('-') {
                    Some(letters) if !letters.starts_with('-') => {
                        format!("flag needs an argument: '{}' in {last}", letters.chars().last().unwrap_or_default())
                    }
                    _ => format!("flag needs an argument: {flag}"),
                }
            }
            ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
                let reason = std::error::Error::source(error).map_or("invalid value".to_owned(), ToString::to_string);
                format!("invalid argument \"{value}\" for \"{}\" flag: {reason}", self.both_names(flag))
            }
            _ => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                first.strip_prefix("error: ").unwrap_or(first).to_owned()
            }
        })
    }

    /// What stands below a problem: how the command is called or, where there is no such command, who tells.
    pub fn advice(&self, error: &clap::Error) -> String {
        match error.kind() {
            ErrorKind::InvalidSubcommand => format!("Run '{} --help' for usage.", self.command_path()),
            _ => self.usage(),
        }
    }

    /// A flag's short and long name, where it has both.
    fn both_names(&self, long: &str) -> String {
        let named = |arg: &&Arg| arg.get_long().is_some_and(|name| long.strip_prefix("--") == Some(name));
        let short = self.command().get_arguments().find(named).and_then(Arg::get_short);
        short.map_or_else(|| long.to_owned(), |short| format!("-{short}, {long}"))
    }
}

fn is_shown(arg: &Arg) -> bool {
    !arg.is_positional() && !arg.is_hide_set() && !matches!(arg.get_action(), ArgAction::Help)
}

/// The words that a command takes, as its description names them.
fn words(arg: &Arg) -> String {
    arg.get_value_names().unwrap_or_default().iter().map(|name| format!(" {name}")).collect()
}

/// A flag in a list of flags.
struct Row<'a> {
    name: &'a str,
    flag: String,
    text: String,
}

impl<'a> Row<'a> {
    fn new(arg: &'a Arg) -> Self {
        let name = arg.get_long().unwrap_or_default();
        let mut flag = match arg.get_short() {
            Some(short) => format!("  -{short}, --{name}"),
            None => format!("      --{name}"),
        };
        let kind = value_kind(arg);
        if !kind.is_empty() {
            flag += &format!(" {kind}");
        }
        let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default = arg.get_default_values().first().map(|value| value.to_string_lossy()).unwrap_or_default();
        match (kind, default.as_ref()) {
            (_, "" | "0" | "0s" | "false") => {}
            ("string", default) => text += &format!(" (default \"{default}\")"),
            (_, default) => text += &format!(" (default {default})"),
        }
        Self { name, flag, text }
    }
}

/// What a flag's value is; nothing for a boolean.
fn value_kind(arg: &Arg) -> &'static str {
    let kind = arg.get_value_parser().type_id();
    match () {
        () if is_boolean(arg) => "",
        () if matches!(arg.get_action(), ArgAction::Append) => "stringArray",
        () if kind == TypeId::of::<Duration>() => "duration",
        () if kind == TypeId::of::<i64>() => "int",
        () if kind == TypeId::of::<u64>() => "uint",
        () => "string",
    }
}

fn listed(mut rows: Vec<Row<'_>>) -> String {
    rows.sort_by_key(|row| row.name);
    let width = rows.iter().map(|row| row.flag.len()).max().unwrap_or(0);
    rows.iter().map(|row| format!("{:width$}   {}\n", row.flag, row.text)).collect()
}
