//! The policy language: `AND('Org1MSP.member', OR('Org2MSP.peer', 'Org3MSP.admin'))`.
//!
//! Fabric reads it in three passes of a general expression language, each producing the text for the next: the first turns
//! `AND` and `OR` into `outof(n, ..)`, the second adds a context argument `ID`, the third builds the policy. Operators know
//! the error texts, which quote those intermediate texts, so the passes are kept; of the expression language only what a
//! policy can use is here: calls, strings, numbers with arithmetic, names and their fields.

mod expression;
mod lexer;

use ripstop_msp::{Principal, Role};
use ripstop_proto::common;
use ripstop_types::MspId;

use crate::envelope::{out_of, signed_by};
use expression::{Expression, Names, Value};

/// Why a text is no policy. Displays as Fabric's error, with the place where it was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DslError {
    message: String,
}

impl DslError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    /// An error at a place of a text, counted in characters: with line, column and a picture of the line.
    fn at(source: &str, place: usize, message: &str) -> Self {
        let (mut line, mut column, mut line_start) = (1, 0, 0);
        for (index, (offset, character)) in source.char_indices().enumerate() {
            if index == place {
                break;
            }
            if character == '\n' {
                (line, column, line_start) = (line + 1, 0, offset + 1);
            } else {
                column += 1;
            }
        }
        let text = source[line_start..].lines().next().unwrap_or_default();
        if text.is_empty() {
            return Self::new(message);
        }
        let (text, dots) = (text.replace('\t', " "), ".".repeat(column));
        Self::new(format!("{message} ({line}:{})\n | {text}\n | {dots}^", column + 1))
    }
}

/// Reads the text of a signature policy.
pub fn parse(text: &str) -> Result<common::SignaturePolicyEnvelope, DslError> {
    let invalid = || DslError::new(format!("invalid policy string '{text}'"));
    let Value::Text(gates) = run(text, &mut Gates)? else { return Err(invalid()) };
    let Value::Text(with_context) = run(&gates, &mut AddContext)? else { return Err(invalid()) };
    let mut build = Build::default();
    let Value::Policy(rule) = run(&with_context, &mut build)? else { return Err(invalid()) };
    Ok(common::SignaturePolicyEnvelope { version: 0, rule: Some(rule), identities: build.principals })
}

fn run(source: &str, names: &mut dyn Names) -> Result<Value, DslError> {
    let expression = Expression::parse(source)?;
    expression.check_names(source, names)?;
    expression.evaluate(source, names)
}

/// A principal's text: an MSP id of letters, digits, dots and dashes, a dot, a role.
fn principal(text: &str) -> Option<(MspId, Role)> {
    let (msp_id, role) = text.rsplit_once('.')?;
    let role = match role {
        "admin" => Role::Admin,
        "member" => Role::Member,
        "client" => Role::Client,
        "peer" => Role::Peer,
        "orderer" => Role::Orderer,
        _ => return None,
    };
    let fits = !msp_id.is_empty() && msp_id.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    fits.then(|| (MspId::new(msp_id), role))
}

/// An argument as the next pass should see it: principals keep their quotes, everything else is text of the language.
fn requoted(text: &str) -> String {
    if principal(text).is_some() { format!("'{text}'") } else { text.to_owned() }
}

/// The first pass.
struct Gates;

impl Names for Gates {
    fn is_function(&self, name: &str) -> bool {
        matches!(name, "And" | "and" | "AND" | "Or" | "or" | "OR" | "OutOf" | "outof" | "OUTOF")
    }

    fn call(&mut self, name: &str, mut arguments: Vec<Value>) -> Result<Value, String> {
        match name {
            "And" | "and" | "AND" => {
                arguments.insert(0, Value::Int(i64::try_from(arguments.len()).unwrap_or(i64::MAX)))
            }
            "Or" | "or" | "OR" => arguments.insert(0, Value::Int(1)),
            _ => {}
        }
        let [count, rest @ ..] = arguments.as_slice() else {
            return Err("expected at least two arguments to NOutOf. Given 0".to_owned());
        };
        if rest.is_empty() {
            return Err("expected at least two arguments to NOutOf. Given 1".to_owned());
        }
        let mut out = match count {
            Value::Float(number) => format!("outof({}", *number as i64),
            Value::Int(number) => format!("outof({number}"),
            Value::Text(text) => format!("outof({text}"),
            other => return Err(format!("unexpected type {}", other.type_name())),
        };
        for argument in rest {
            let Value::Text(text) = argument else {
                return Err(format!("unexpected type {}", argument.type_name()));
            };
            out.push_str(", ");
            out.push_str(&requoted(text));
        }
        out.push(')');
        Ok(Value::Text(out))
    }
}

/// The second pass.
struct AddContext;

impl Names for AddContext {
    fn is_function(&self, name: &str) -> bool {
        name == "outof"
    }

    fn call(&mut self, _: &str, arguments: Vec<Value>) -> Result<Value, String> {
        let mut out = "outof(ID".to_owned();
        for argument in arguments {
            out.push_str(", ");
            match argument {
                Value::Text(text) => out.push_str(&requoted(&text)),
                Value::Float(number) => out.push_str(&(number as i64).to_string()),
                Value::Int(number) => out.push_str(&number.to_string()),
                other => return Err(format!("unexpected type {}", other.type_name())),
            }
        }
        out.push(')');
        Ok(Value::Text(out))
    }
}

/// The third pass.
#[derive(Default)]
struct Build {
    /// One a mention, in order; the same principal twice is listed twice.
    principals: Vec<common::MspPrincipal>,
}

impl Names for Build {
    fn is_function(&self, name: &str) -> bool {
        name == "outof"
    }

    fn is_context(&self, name: &str) -> bool {
        name == "ID"
    }

    fn call(&mut self, _: &str, arguments: Vec<Value>) -> Result<Value, String> {
        let given = arguments.len();
        let mut arguments = arguments.into_iter();
        let (Some(context), Some(count), true) = (arguments.next(), arguments.next(), given >= 3) else {
            return Err(format!("at least 3 arguments expected, got {given}"));
        };
        if !matches!(context, Value::Context) {
            return Err(format!("unrecognized type, expected the context, got {}", context.type_name()));
        }
        let threshold = match count {
            Value::Float(number) => number as i64,
            Value::Int(number) => number,
            other => return Err(format!("unrecognized type, expected a number, got {}", other.type_name())),
        };
        let rules = given - 2;
        // One more than there are rules is let through, as in Fabric: such a policy can never be satisfied.
        let threshold = i32::try_from(threshold)
            .ok()
            .filter(|threshold| usize::try_from(*threshold).is_ok_and(|threshold| threshold <= rules + 1))
            .ok_or_else(|| format!("invalid t-out-of-n predicate, t {threshold}, n {rules}"))?;
        let rules = arguments.map(|argument| self.rule(argument)).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::Policy(out_of(threshold, rules)))
    }
}

impl Build {
    fn rule(&mut self, argument: Value) -> Result<common::SignaturePolicy, String> {
        match argument {
            Value::Policy(policy) => Ok(policy),
            Value::Text(text) => {
                let (msp_id, role) = principal(&text).ok_or_else(|| format!("error parsing principal {text}"))?;
                let index = i32::try_from(self.principals.len()).map_err(|_| "too many principals".to_owned())?;
                self.principals.push(Principal::role_message(&msp_id, role));
                Ok(signed_by(index))
            }
            other => Err(format!("unrecognized type, expected a principal or a policy, got {}", other.type_name())),
        }
    }
}

#[cfg(test)]
mod tests;
