//! Policies over the policies of child groups, and their text, such as `MAJORITY Admins`.

use std::fmt;

use ripstop_proto::common;

/// How many child groups must be satisfied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetaRule {
    /// One.
    Any,
    /// All.
    All,
    /// More than half.
    Majority,
    /// A number without a meaning, read from a configuration.
    Unknown(i32),
}

impl MetaRule {
    pub(crate) const fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Any,
            1 => Self::All,
            2 => Self::Majority,
            other => Self::Unknown(other),
        }
    }

    /// How many of `children` groups must be satisfied. Without any child the answer is none.
    pub(crate) const fn threshold(self, children: usize) -> usize {
        match self {
            _ if children == 0 => 0,
            Self::Any => 1,
            Self::All => children,
            Self::Majority => children / 2 + 1,
            Self::Unknown(_) => 0,
        }
    }
}

impl fmt::Display for MetaRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("ANY"),
            Self::All => f.write_str("ALL"),
            Self::Majority => f.write_str("MAJORITY"),
            Self::Unknown(number) => write!(f, "rule {number}"),
        }
    }
}

/// Why a text is no implicit-meta policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImplicitMetaError {
    /// Not a rule and a name.
    #[error("expected two space separated tokens, but got {0}")]
    Tokens(usize),
    /// No such rule.
    #[error("unknown rule type '{0}', expected ALL, ANY, or MAJORITY")]
    Rule(String),
}

/// Reads the text of an implicit-meta policy: a rule, one space, the name of the sub-policies.
pub fn parse(text: &str) -> Result<common::ImplicitMetaPolicy, ImplicitMetaError> {
    let tokens: Vec<&str> = text.split(' ').collect();
    let [rule, sub_policy] = tokens.as_slice() else { return Err(ImplicitMetaError::Tokens(tokens.len())) };
    let rule = match *rule {
        "ANY" => common::implicit_meta_policy::Rule::Any,
        "ALL" => common::implicit_meta_policy::Rule::All,
        "MAJORITY" => common::implicit_meta_policy::Rule::Majority,
        other => return Err(ImplicitMetaError::Rule(other.to_owned())),
    };
    Ok(common::ImplicitMetaPolicy { sub_policy: (*sub_policy).to_owned(), rule: rule as i32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_refused_as_in_fabric() {
        let majority = parse("MAJORITY Admins").unwrap();
        assert_eq!((majority.sub_policy.as_str(), majority.rule), ("Admins", 2));
        assert_eq!(parse("ANY").unwrap_err().to_string(), "expected two space separated tokens, but got 1");
        assert_eq!(parse("ANY  Admins").unwrap_err().to_string(), "expected two space separated tokens, but got 3");
        assert_eq!(
            parse("any Admins").unwrap_err().to_string(),
            "unknown rule type 'any', expected ALL, ANY, or MAJORITY"
        );
    }

    #[test]
    fn thresholds_by_number_of_children() {
        for (rule, children, threshold) in [
            (MetaRule::Any, 0, 0),
            (MetaRule::All, 0, 0),
            (MetaRule::Majority, 0, 0),
            (MetaRule::Any, 3, 1),
            (MetaRule::All, 3, 3),
            (MetaRule::Majority, 1, 1),
            (MetaRule::Majority, 2, 2),
            (MetaRule::Majority, 3, 2),
            (MetaRule::Majority, 4, 3),
        ] {
            assert_eq!(rule.threshold(children), threshold, "{rule} of {children}");
        }
    }
}
