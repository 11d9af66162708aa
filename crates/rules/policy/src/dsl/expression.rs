use ripstop_proto::common;

use super::DslError;
use super::lexer::{Kind, Token, tokens};

/// How deep expressions may be nested.
const MAX_DEPTH: usize = 128;

/// What an expression stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
    Nil,
    Function(String),
    Context,
    Policy(common::SignaturePolicy),
}

impl Value {
    /// The type as error texts name it.
    pub(super) const fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "string",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Bool(_) => "bool",
            Self::Nil => "%!s(<nil>)",
            Self::Function(_) => "func(...interface {}) (interface {}, error)",
            Self::Context => "*policydsl.context",
            Self::Policy(_) => "*common.SignaturePolicy",
        }
    }
}

/// The names that an expression may use.
pub(super) trait Names {
    fn is_function(&self, name: &str) -> bool;

    fn is_context(&self, _name: &str) -> bool {
        false
    }

    /// Calls a function; the error is without place.
    fn call(&mut self, name: &str, arguments: Vec<Value>) -> Result<Value, String>;
}

#[derive(Debug)]
enum Node {
    Literal(Value),
    Name(String),
    Field(Box<Expression>, String),
    Call(String, Vec<Expression>),
    Minus(Box<Expression>),
    Arithmetic(char, Box<Expression>, Box<Expression>),
    /// The last counts.
    Sequence(Vec<Expression>),
}

/// A parsed expression and its place.
#[derive(Debug)]
pub(super) struct Expression {
    node: Node,
    place: usize,
}

impl Expression {
    pub(super) fn parse(source: &str) -> Result<Self, DslError> {
        let mut parser = Parser { source, tokens: tokens(source)?, at: 0, depth: 0 };
        let expression = parser.sequence()?;
        if parser.current().kind == Kind::Eof { Ok(expression) } else { Err(parser.unexpected()) }
    }

    /// Checks that every name is known, before anything is evaluated.
    pub(super) fn check_names(&self, source: &str, names: &dyn Names) -> Result<(), DslError> {
        let known = |name: &str| names.is_function(name) || names.is_context(name);
        match &self.node {
            Node::Literal(_) => Ok(()),
            Node::Name(name) if known(name) => Ok(()),
            Node::Name(name) => Err(DslError::at(source, self.place, &format!("unknown name {name}"))),
            Node::Field(of, field) => {
                of.check_names(source, names)?;
                let type_name = match &of.node {
                    Node::Literal(value) => value.type_name(),
                    Node::Name(name) if names.is_function(name) => Value::Function(String::new()).type_name(),
                    _ => return Ok(()),
                };
                Err(DslError::at(source, self.place, &format!("type {type_name} has no field {field}")))
            }
            Node::Call(name, _) if !known(name) => {
                Err(DslError::at(source, self.place, &format!("unknown name {name}")))
            }
            Node::Call(_, parts) | Node::Sequence(parts) => {
                parts.iter().try_for_each(|part| part.check_names(source, names))
            }
            Node::Minus(of) => of.check_names(source, names),
            Node::Arithmetic(_, left, right) => {
                left.check_names(source, names)?;
                right.check_names(source, names)
            }
        }
    }

    pub(super) fn evaluate(&self, source: &str, names: &mut dyn Names) -> Result<Value, DslError> {
        let refuse = |message: &str| DslError::at(source, self.place, message);
        match &self.node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Name(name) if names.is_context(name) => Ok(Value::Context),
            Node::Name(name) => Ok(Value::Function(name.clone())),
            Node::Field(of, field) => {
                let value = of.evaluate(source, names)?;
                Err(refuse(&format!("cannot fetch {field} from {}", value.type_name())))
            }
            Node::Call(name, arguments) => {
                let values =
                    arguments.iter().map(|argument| argument.evaluate(source, names)).collect::<Result<Vec<_>, _>>()?;
                names.call(name, values).map_err(|message| refuse(&message))
            }
            Node::Minus(of) => match of.evaluate(source, names)? {
                Value::Int(number) => Ok(Value::Int(number.wrapping_neg())),
                Value::Float(number) => Ok(Value::Float(-number)),
                other => Err(refuse(&format!("invalid operation: - (mismatched type {})", other.type_name()))),
            },
            Node::Arithmetic(operator, left, right) => {
                let (left, right) = (left.evaluate(source, names)?, right.evaluate(source, names)?);
                arithmetic(*operator, left, right).map_err(|message| refuse(&message))
            }
            Node::Sequence(parts) => {
                let mut last = Value::Nil;
                for part in parts {
                    last = part.evaluate(source, names)?;
                }
                Ok(last)
            }
        }
    }
}

fn arithmetic(operator: char, left: Value, right: Value) -> Result<Value, String> {
    use Value::{Float, Int, Text};
    Ok(match (operator, left, right) {
        ('+', Text(left), Text(right)) => Text(left + &right),
        ('+', Int(left), Int(right)) => Int(left.wrapping_add(right)),
        ('-', Int(left), Int(right)) => Int(left.wrapping_sub(right)),
        ('*', Int(left), Int(right)) => Int(left.wrapping_mul(right)),
        ('%', Int(_), Int(0)) => return Err("runtime error: integer divide by zero".to_owned()),
        ('%', Int(left), Int(right)) => Int(left.wrapping_rem(right)),
        ('/', Int(left), Int(right)) => Float(left as f64 / right as f64),
        (operator, Int(left), Float(right)) if operator != '%' => float(operator, left as f64, right),
        (operator, Float(left), Int(right)) if operator != '%' => float(operator, left, right as f64),
        (operator, Float(left), Float(right)) if operator != '%' => float(operator, left, right),
        (operator, left, right) => {
            return Err(format!(
                "invalid operation: {operator} (mismatched types {} and {})",
                left.type_name(),
                right.type_name()
            ));
        }
    })
}

fn float(operator: char, left: f64, right: f64) -> Value {
    Value::Float(match operator {
        '+' => left + right,
        '-' => left - right,
        '*' => left * right,
        _ => left / right,
    })
}

struct Parser<'a> {
    source: &'a str,
    /// Never empty: the last is the end.
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn current(&self) -> &Token {
        &self.tokens[self.at]
    }

    /// Takes the current token; the end stays.
    fn take(&mut self) -> Token {
        let token = self.current().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn unexpected(&self) -> DslError {
        DslError::at(self.source, self.current().place, &format!("unexpected token {}", self.current()))
    }

    fn expect(&mut self, kind: Kind, text: &str) -> Result<(), DslError> {
        if self.current().is(kind, text) {
            self.take();
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn sequence(&mut self) -> Result<Expression, DslError> {
        let mut parts = vec![self.sum()?];
        while self.current().is(Kind::Operator, ";") {
            self.take();
            if self.current().kind == Kind::Eof {
                break;
            }
            parts.push(self.sum()?);
        }
        let place = parts[0].place;
        match parts.pop() {
            Some(only) if parts.is_empty() => Ok(only),
            last => {
                parts.extend(last);
                Ok(Expression { node: Node::Sequence(parts), place })
            }
        }
    }

    fn sum(&mut self) -> Result<Expression, DslError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(DslError::new(format!("the policy is nested more than {MAX_DEPTH} levels deep")));
        }
        let mut left = self.product()?;
        while let Some(operator) = self.operator(&["+", "-"]) {
            let place = self.take().place;
            let right = self.product()?;
            left = Expression { node: Node::Arithmetic(operator, Box::new(left), Box::new(right)), place };
        }
        self.depth -= 1;
        Ok(left)
    }

    fn product(&mut self) -> Result<Expression, DslError> {
        let mut left = self.primary()?;
        while let Some(operator) = self.operator(&["*", "/", "%"]) {
            let place = self.take().place;
            let right = self.primary()?;
            left = Expression { node: Node::Arithmetic(operator, Box::new(left), Box::new(right)), place };
        }
        Ok(left)
    }

    fn operator(&self, operators: &[&str]) -> Option<char> {
        let token = self.current();
        let is_one = token.kind == Kind::Operator && operators.contains(&token.text.as_str());
        token.text.chars().next().filter(|_| is_one)
    }

    fn primary(&mut self) -> Result<Expression, DslError> {
        let token = self.current().clone();
        let place = token.place;
        let literal = |value| Expression { node: Node::Literal(value), place };
        match token.kind {
            Kind::Operator if token.text == "-" || token.text == "+" => {
                self.take();
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(self.unexpected());
                }
                let of = self.primary()?;
                self.depth -= 1;
                Ok(if token.text == "-" { Expression { node: Node::Minus(Box::new(of)), place } } else { of })
            }
            Kind::Bracket if token.text == "(" => {
                self.take();
                let inner = self.sequence()?;
                self.expect(Kind::Bracket, ")")?;
                self.fields(inner)
            }
            Kind::Number => {
                self.take();
                self.number(&token)
            }
            Kind::String => {
                self.take();
                self.fields(literal(Value::Text(token.text)))
            }
            Kind::Identifier => {
                self.take();
                let expression = match token.text.as_str() {
                    "true" => literal(Value::Bool(true)),
                    "false" => literal(Value::Bool(false)),
                    "nil" => literal(Value::Nil),
                    _ if self.current().is(Kind::Bracket, "(") => {
                        Expression { node: Node::Call(token.text, self.arguments()?), place }
                    }
                    _ => Expression { node: Node::Name(token.text), place },
                };
                self.fields(expression)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn number(&self, token: &Token) -> Result<Expression, DslError> {
        let digits = token.text.replace('_', "");
        let value = if digits.contains(['.', 'e', 'E']) {
            digits.parse().map(Value::Float).map_err(|_| "invalid float literal: invalid syntax".to_owned())
        } else {
            digits.parse().map(Value::Int).map_err(|_| {
                format!("invalid integer literal: strconv.ParseInt: parsing \"{digits}\": value out of range")
            })
        };
        let value = value.map_err(|message| DslError::at(self.source, self.current().place, &message))?;
        Ok(Expression { node: Node::Literal(value), place: token.place })
    }

    /// Arguments in parentheses; a comma may stand behind the last.
    fn arguments(&mut self) -> Result<Vec<Expression>, DslError> {
        self.expect(Kind::Bracket, "(")?;
        let mut arguments = Vec::new();
        while !self.current().is(Kind::Bracket, ")") {
            if !arguments.is_empty() {
                self.expect(Kind::Operator, ",")?;
                if self.current().is(Kind::Bracket, ")") {
                    break;
                }
            }
            arguments.push(self.sum()?);
        }
        self.expect(Kind::Bracket, ")")?;
        Ok(arguments)
    }

    fn fields(&mut self, mut expression: Expression) -> Result<Expression, DslError> {
        while self.current().is(Kind::Operator, ".") {
            self.take();
            let field = self.take();
            let is_name = field.kind == Kind::Identifier
                || (field.kind == Kind::Operator && field.text.chars().all(char::is_alphabetic));
            if !is_name {
                return Err(DslError::at(self.source, field.place, "expected name"));
            }
            expression = Expression { node: Node::Field(Box::new(expression), field.text), place: field.place };
        }
        Ok(expression)
    }
}
