use std::net::IpAddr;

use clap::{Arg, Command, ValueHint};

/// The width that help is laid out for.
const WIDTH: usize = 80;
/// First columns at least this wide get a line of their own.
const WIDEST_COLUMN: usize = 30;

/// Help on the last command of a path; the first is the program, some of whose flags are required.
pub(crate) fn text(path: &[&Command], required: &[&str]) -> String {
    let Some((root, subcommands)) = path.split_first() else { return String::new() };
    let innermost = path[path.len() - 1];
    let names: Vec<&str> = path.iter().map(|command| command.get_name()).collect();
    let mut usage = format!("usage: {}", names.join(" "));
    // The program's flags may stand anywhere; the usage of a command names its own only.
    usage.push_str(&match subcommands {
        [] => summary(innermost, Scope::All, required),
        _ => summary(innermost, Scope::Own, &[]),
    });
    if innermost.has_subcommands() {
        usage.push_str(" <command> [<args> ...]");
    }
    let mut out = format!("{usage}\n");
    if let Some(about) = innermost.get_about() {
        out.push_str(&format!("\n{}\n", wrap(&about.to_string(), WIDTH).join("\n")));
    }
    out.push_str(&format!("\nFlags:\n{}\n", flags(root, innermost)));
    if innermost.has_subcommands() {
        let title = if subcommands.is_empty() { "Commands" } else { "Subcommands" };
        out.push_str(&format!("{title}:\n"));
        if subcommands.is_empty() {
            out.push_str("  help [<command>...]\n    Show help.\n\n");
        }
        list(innermost, &names[1..], &mut out);
        out.push('\n');
    }
    out
}

/// Which flags a summary counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Own,
}

fn visible(command: &Command, scope: Scope) -> impl Iterator<Item = &Arg> {
    command
        .get_arguments()
        .filter(|arg| arg.get_long().is_some() && !arg.is_hide_set() && arg.get_id() != "help")
        .filter(move |arg| scope == Scope::All || !arg.is_global_set())
}

/// The required flags, and whether there are others.
fn summary(command: &Command, scope: Scope, required: &[&str]) -> String {
    let mut out = String::new();
    // The program has at least the flag `--help`.
    let mut others = scope == Scope::All;
    for arg in visible(command, scope) {
        if arg.is_required_set() || arg.get_long().is_some_and(|name| required.contains(&name)) {
            out.push_str(&format!(" --{}", with_value(arg)));
        } else {
            others = true;
        }
    }
    if others {
        out.push_str(" [<flags>]");
    }
    out
}

/// A flag's name and what stands for its value: the default, in quotation marks if it is text, or the name in capitals.
fn with_value(arg: &Arg) -> String {
    let name = arg.get_long().unwrap_or_default();
    if !arg.get_action().takes_values() {
        return name.to_owned();
    }
    match arg.get_default_values().first().and_then(|default| default.to_str()) {
        Some(address) if address.parse::<IpAddr>().is_ok() => format!("{name}=\"{address}\""),
        Some(number) if number.starts_with(|first: char| first.is_ascii_digit()) => format!("{name}={number}"),
        Some(file) if arg.get_value_hint() == ValueHint::FilePath => format!("{name}={file}"),
        Some(text) => format!("{name}=\"{text}\""),
        None => format!("{name}={}", name.to_uppercase()),
    }
}

/// The flags in two columns, those of the program first.
fn flags(root: &Command, innermost: &Command) -> String {
    let mut all: Vec<&Arg> = root.get_arguments().filter(|arg| arg.get_id() == "help").collect();
    all.extend(visible(root, Scope::All));
    if !std::ptr::eq(root, innermost) {
        all.extend(visible(innermost, Scope::Own));
    }
    let any_short = all.iter().any(|arg| arg.get_short().is_some());
    let rows: Vec<(String, String)> = all
        .into_iter()
        .map(|arg| {
            let short = match arg.get_short() {
                Some(short) => format!("-{short}, "),
                None if any_short => "    ".to_owned(),
                None => String::new(),
            };
            let repeated = if matches!(arg.get_action(), clap::ArgAction::Append) { " ..." } else { "" };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            (format!("{short}--{}{repeated}", with_value(arg)), help)
        })
        .collect();
    let narrow = rows.iter().map(|(flag, _)| flag.len()).filter(|length| *length < WIDEST_COLUMN);
    let column = narrow.max().unwrap_or_default();
    let offset = column + 4;
    let mut out = String::new();
    for (flag, help) in rows {
        out.push_str(&format!("  {flag:column$}  "));
        if flag.len() >= WIDEST_COLUMN {
            out.push_str(&format!("\n{:offset$}", ""));
        }
        out.push_str(&wrap(&help, WIDTH - offset).join(&format!("\n{:offset$}", "")));
        out.push('\n');
    }
    out
}

/// Every command below one that can be run, with the names that lead to it.
fn list(command: &Command, names: &[&str], out: &mut String) {
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        let names = [names, &[subcommand.get_name()]].concat();
        if subcommand.has_subcommands() {
            list(subcommand, &names, out);
            continue;
        }
        out.push_str(&format!("  {}{}\n", names.join(" "), summary(subcommand, Scope::Own, &[])));
        let about = subcommand.get_about().map(ToString::to_string).unwrap_or_default();
        for line in wrap(&about, WIDTH - 4) {
            out.push_str(&format!("    {line}\n"));
        }
        out.push('\n');
    }
}

/// A text in lines of at most `width` characters, broken between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line from the start");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
