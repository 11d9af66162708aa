//! Flags as Go's `flag` package reads them: one dash or two, the value behind `=` or as the next argument.

use std::ffi::OsString;

/// What the operator asks for; empty texts are as if the flag were not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) as_org: String,
    pub(crate) channel_create_tx_base_profile: String,
    pub(crate) channel_id: String,
    pub(crate) config_path: String,
    pub(crate) inspect_block: String,
    pub(crate) inspect_channel_create_tx: String,
    pub(crate) output_anchor_peers_update: String,
    pub(crate) output_block: String,
    pub(crate) output_create_channel_tx: String,
    pub(crate) print_org: String,
    pub(crate) profile: String,
    pub(crate) version: bool,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Help was asked for.
    Help,
    /// The arguments make no sense, and why.
    Fault(String),
}

/// A flag that takes a text: its name, what it is for, and where the text goes.
type TextFlag = (&'static str, &'static str, fn(&mut Flags) -> &mut String);

/// By name, as help lists them.
const TEXT_FLAGS: [TextFlag; 11] = [
    ("asOrg", "With -outputAnchorPeersUpdate, the organization (by name) whose anchor peers are named", |flags| {
        &mut flags.as_org
    }),
    (
        "channelCreateTxBaseProfile",
        "[DEPRECATED] The profile of the orderer system channel that the channel creation configtx is based on. Only valid \
         in conjunction with 'outputCreateChannelTx'.",
        |flags| &mut flags.channel_create_tx_base_profile,
    ),
    ("channelID", "The channel ID to use in the configtx", |flags| &mut flags.channel_id),
    ("configPath", "The path containing the configuration to use (if set)", |flags| &mut flags.config_path),
    ("inspectBlock", "Prints the configuration contained in the block at the specified path", |flags| {
        &mut flags.inspect_block
    }),
    (
        "inspectChannelCreateTx",
        "[DEPRECATED] Prints the configuration contained in the transaction at the specified path",
        |flags| &mut flags.inspect_channel_create_tx,
    ),
    (
        "outputAnchorPeersUpdate",
        "[DEPRECATED] The path to write a config update to that names an organization's anchor peers (if set). Works for \
         the first update of a channel only.",
        |flags| &mut flags.output_anchor_peers_update,
    ),
    ("outputBlock", "The path to write the genesis block to (if set)", |flags| &mut flags.output_block),
    ("outputCreateChannelTx", "[DEPRECATED] The path to write a channel creation configtx to (if set)", |flags| {
        &mut flags.output_create_channel_tx
    }),
    (
        "printOrg",
        "Prints the definition of an organization as JSON. (useful for adding an org to a channel manually)",
        |flags| &mut flags.print_org,
    ),
    ("profile", "The profile from configtx.yaml to use for generation.", |flags| &mut flags.profile),
];

const VERSION: (&str, &str) = ("version", "Show version information");

impl Flags {
    /// Reads the arguments behind the program's name. They end at the first that is no flag.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let mut flags = Self::default();
        let mut args = args.into_iter().map(|arg| arg.to_string_lossy().into_owned());
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix('-').filter(|flag| !flag.is_empty()) else { break };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            if flag.is_empty() {
                break;
            }
            if flag.starts_with(['-', '=']) {
                return Err(Stop::Fault(format!("bad flag syntax: {arg}")));
            }
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if let Some((_, _, place)) = TEXT_FLAGS.iter().find(|(known, ..)| *known == name) {
                let value = value.or_else(|| args.next());
                *place(&mut flags) = value.ok_or_else(|| Stop::Fault(format!("flag needs an argument: -{name}")))?;
            } else if name == VERSION.0 {
                flags.version = boolean(value.as_deref().unwrap_or("true")).ok_or_else(|| {
                    let value = value.unwrap_or_default();
                    Stop::Fault(format!("invalid boolean value \"{value}\" for -{name}: parse error"))
                })?;
            } else if matches!(name, "h" | "help") {
                return Err(Stop::Help);
            } else {
                return Err(Stop::Fault(format!("flag provided but not defined: -{name}")));
            }
        }
        Ok(flags)
    }

    /// What the flags are for.
    pub(crate) fn usage() -> String {
        let text = TEXT_FLAGS.map(|(name, usage, _)| format!("  -{name} string\n    \t{usage}\n"));
        format!("Usage of configtxgen:\n{}  -{}\n    \t{}\n", text.concat(), VERSION.0, VERSION.1)
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, Stop> {
        Flags::parse(line.split(' ').filter(|arg| !arg.is_empty()).map(OsString::from))
    }

    #[test]
    fn flags_have_one_dash_or_two_and_end_at_the_first_other_word() {
        let expected = Flags { profile: "P".into(), channel_id: "a=b".into(), version: true, ..Flags::default() };
        for line in ["-profile P -channelID=a=b -version", "--version=1 --channelID a=b --profile=P word -asOrg"] {
            assert_eq!(parse(line).unwrap(), expected, "{line}");
        }
        assert_eq!(parse("- -profile P").unwrap(), Flags::default());
        assert_eq!(parse("-- -profile P").unwrap(), Flags::default());
        assert_eq!(parse("-profile x -profile=").unwrap(), Flags::default());
        assert_eq!(parse("-profile -version").unwrap().profile, "-version", "whatever follows is the value");
    }

    #[test]
    fn faults_have_gos_words() {
        for (line, fault) in [
            ("-odd", "flag provided but not defined: -odd"),
            ("-profile", "flag needs an argument: -profile"),
            ("-version=maybe", "invalid boolean value \"maybe\" for -version: parse error"),
            ("---x", "bad flag syntax: ---x"),
            ("-=x", "bad flag syntax: -=x"),
        ] {
            assert_eq!(parse(line), Err(Stop::Fault(fault.into())), "{line}");
        }
        assert_eq!(parse("-h"), Err(Stop::Help));
        assert!(TEXT_FLAGS.is_sorted_by_key(|(name, ..)| *name));
    }
}
