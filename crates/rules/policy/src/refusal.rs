use std::fmt;

use ripstop_msp::{MspSet, Principal};

use crate::Signers;
use crate::explain::{explain_policies, explain_signers, explain_strangers};

/// Who reads why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Whoever signed it. A member of one of the channel's organizations may read its configuration, and is told which policies
    /// are not satisfied and what they need. A stranger is told only what is wrong with what he sent.
    Signer,
    /// The operator of this node, and members of the channel.
    Member,
}

/// Why signatures do not suffice: Fabric's words first, then what was needed and who signed. Displays as for its signers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRefusal {
    headline: String,
    explanation: String,
    /// What its signers are told where none of them is a member.
    for_strangers: Option<String>,
}

impl PolicyRefusal {
    /// There is nothing to say beyond Fabric's words.
    pub(crate) fn bare(headline: impl Into<String>) -> Self {
        Self { headline: headline.into(), explanation: String::new(), for_strangers: None }
    }

    /// `policies` says what is needed and what of it is lacking; `principals` are those named there.
    pub(crate) fn explained(
        headline: impl Into<String>,
        policies: Vec<String>,
        principals: &[Principal],
        signers: &Signers,
        msps: &MspSet,
    ) -> Self {
        let is_by_member = signers.identities().iter().any(|identity| identity.validate().is_ok());
        Self {
            headline: headline.into(),
            explanation: format!("{}; {}", explain_policies(policies), explain_signers(principals, signers, msps)),
            for_strangers: (!is_by_member).then(|| explain_strangers(signers)),
        }
    }

    /// Exactly what Fabric says.
    pub fn headline(&self) -> &str {
        &self.headline
    }

    /// What was needed, who signed, and why that does not count; may be empty.
    pub fn explanation(&self, reader: Reader) -> &str {
        match (reader, &self.for_strangers) {
            (Reader::Signer, Some(for_strangers)) => for_strangers,
            _ => &self.explanation,
        }
    }

    /// All of it.
    pub fn text(&self, reader: Reader) -> String {
        match self.explanation(reader) {
            "" => self.headline.clone(),
            explanation => format!("{}: {explanation}", self.headline),
        }
    }
}

impl fmt::Display for PolicyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Reader::Signer))
    }
}

impl std::error::Error for PolicyRefusal {}
