use std::fmt;
use std::sync::Arc;

use ripstop_msp::{Identity, MspSet, Principal};
use ripstop_proto::common::{self, signature_policy::Type};
use ripstop_types::SignedData;

use crate::{PolicyRefusal, Signers};

/// What Fabric says when a signature policy is not satisfied.
pub(crate) const REFUSED: &str = "signature set did not satisfy policy";

/// Why a message is no signature policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The bytes are no `SignaturePolicyEnvelope`.
    #[error("Error unmarshalling to SignaturePolicy: {0}")]
    Encoding(String),
    /// A version nobody knows.
    #[error("This evaluator only understands messages of version 0, but version was {0}")]
    Version(i32),
    /// A rule without content.
    #[error("Empty policy element")]
    Empty,
    /// A rule of no known kind.
    #[error("Unknown type: <nil>:<nil>")]
    UnknownType,
    /// A rule names a principal that the policy does not list.
    #[error("identity index out of range, requested {requested}, but identities length is {listed}")]
    PrincipalIndex {
        /// The number in the rule.
        requested: i32,
        /// How many the policy lists.
        listed: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The principal at a place in the policy's list.
    SignedBy(usize),
    /// At least `n` of the rules.
    OutOf { n: i32, rules: Vec<Rule> },
}

impl Rule {
    /// The rule over a list of principals in which its own begin at `first`.
    pub(crate) fn shifted(&self, first: usize) -> Self {
        match self {
            Self::SignedBy(index) => Self::SignedBy(first.saturating_add(*index)),
            Self::OutOf { n, rules } => {
                Self::OutOf { n: *n, rules: rules.iter().map(|rule| rule.shifted(first)).collect() }
            }
        }
    }
}

/// Whose signatures are needed, ready to be evaluated. Displays as in the policy language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignaturePolicy {
    pub(crate) rule: Rule,
    pub(crate) principals: Vec<Principal>,
}

impl SignaturePolicy {
    /// Reads the bytes of a `SignaturePolicyEnvelope`.
    pub fn parse(bytes: &[u8]) -> Result<Self, CompileError> {
        let envelope = ripstop_proto::read::<common::SignaturePolicyEnvelope>(bytes)
            .map_err(|error| CompileError::Encoding(error.to_string()))?;
        Self::compile(&envelope)
    }

    /// Checks a policy's form.
    pub fn compile(envelope: &common::SignaturePolicyEnvelope) -> Result<Self, CompileError> {
        if envelope.version != 0 {
            return Err(CompileError::Version(envelope.version));
        }
        let rule = compile_rule(envelope.rule.as_ref(), envelope.identities.len())?;
        Ok(Self { rule, principals: envelope.identities.iter().map(Principal::parse).collect() })
    }

    /// Checks signatures and whether they suffice.
    pub fn evaluate(&self, signed: &[SignedData], msps: &MspSet) -> Result<(), PolicyRefusal> {
        self.evaluate_signers(&Signers::collect(signed, msps), msps)
    }

    /// Whether signers suffice whose signatures were checked already.
    pub fn evaluate_signers(&self, signers: &Signers, msps: &MspSet) -> Result<(), PolicyRefusal> {
        if self.is_satisfied(signers, msps) {
            Ok(())
        } else {
            let needed = vec![format!("it needs {self}")];
            Err(PolicyRefusal::explained(REFUSED, needed, &self.principals, signers, msps))
        }
    }

    pub(crate) fn is_satisfied(&self, signers: &Signers, msps: &MspSet) -> bool {
        let identities = signers.identities();
        let evaluation = Evaluation { principals: &self.principals, identities, msps };
        evaluation.holds(&self.rule, &mut vec![false; identities.len()])
    }

    /// The principals it lists, in order.
    pub fn principals(&self) -> &[Principal] {
        &self.principals
    }
}

fn compile_rule(rule: Option<&common::SignaturePolicy>, listed: usize) -> Result<Rule, CompileError> {
    match &rule.ok_or(CompileError::Empty)?.r#type {
        Some(Type::SignedBy(requested)) => usize::try_from(*requested)
            .ok()
            .filter(|index| *index < listed)
            .map(Rule::SignedBy)
            .ok_or(CompileError::PrincipalIndex { requested: *requested, listed }),
        Some(Type::NOutOf(out_of)) => Ok(Rule::OutOf {
            n: out_of.n,
            rules: out_of.rules.iter().map(|rule| compile_rule(Some(rule), listed)).collect::<Result<_, _>>()?,
        }),
        None => Err(CompileError::UnknownType),
    }
}

struct Evaluation<'a> {
    principals: &'a [Principal],
    identities: &'a [Arc<Identity>],
    msps: &'a MspSet,
}

impl Evaluation<'_> {
    /// Greedy: each rule takes the first unused signers that fit, and all rules are tried even where fewer would do.
    fn holds(&self, rule: &Rule, used: &mut Vec<bool>) -> bool {
        match rule {
            Rule::SignedBy(index) => {
                let Some(principal) = self.principals.get(*index) else { return false };
                for (identity, used) in self.identities.iter().zip(used.iter_mut()) {
                    if !*used && self.msps.satisfies(identity, principal).is_ok() {
                        *used = true;
                        return true;
                    }
                }
                false
            }
            Rule::OutOf { n, rules } => {
                let mut satisfied: i32 = 0;
                for rule in rules {
                    let mut tried = used.clone();
                    if self.holds(rule, &mut tried) {
                        satisfied = satisfied.saturating_add(1);
                        *used = tried;
                    }
                }
                satisfied >= *n
            }
        }
    }
}

impl fmt::Display for SignaturePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_rule(&self.rule, f)
    }
}

impl SignaturePolicy {
    fn write_rule(&self, rule: &Rule, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match rule {
            Rule::SignedBy(index) => match self.principals.get(*index) {
                Some(principal) => write!(f, "{principal}"),
                None => f.write_str("nobody"),
            },
            Rule::OutOf { n, rules } => {
                write!(f, "OutOf({n}")?;
                for rule in rules {
                    f.write_str(", ")?;
                    self.write_rule(rule, f)?;
                }
                f.write_str(")")
            }
        }
    }
}
