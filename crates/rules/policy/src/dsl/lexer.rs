use std::fmt;

use super::DslError;

/// What a token is. Named in error texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Identifier,
    Number,
    String,
    Operator,
    Bracket,
    Eof,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    /// The place of its first character, counted in characters.
    pub(super) place: usize,
}

impl Token {
    pub(super) fn is(&self, kind: Kind, text: &str) -> bool {
        self.kind == kind && self.text == text
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Identifier => "Identifier",
            Kind::Number => "Number",
            Kind::String => "String",
            Kind::Operator => "Operator",
            Kind::Bracket => "Bracket",
            Kind::Eof => "EOF",
        };
        if self.text.is_empty() { f.write_str(kind) } else { write!(f, "{kind}({:?})", self.text) }
    }
}

/// Splits a text into tokens; the last is the end.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, DslError> {
    let mut lexer = Lexer { source, characters: source.chars().collect(), at: 0, tokens: Vec::new() };
    lexer.run()?;
    let place = lexer.characters.len().saturating_sub(1);
    lexer.tokens.push(Token { kind: Kind::Eof, text: String::new(), place });
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    source: &'a str,
    characters: Vec<char>,
    at: usize,
    tokens: Vec<Token>,
}

/// Words that the expression language reserves.
const WORD_OPERATORS: [&str; 11] =
    ["not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"];

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn peek_second(&self) -> Option<char> {
        self.characters.get(self.at + 1).copied()
    }

    fn emit(&mut self, kind: Kind, start: usize) {
        let text = self.characters[start..self.at].iter().collect();
        self.tokens.push(Token { kind, text, place: start });
    }

    fn error(&self, place: usize, message: &str) -> DslError {
        DslError::at(self.source, place, message)
    }

    fn run(&mut self) -> Result<(), DslError> {
        while let Some(character) = self.peek() {
            let start = self.at;
            match character {
                c if c.is_whitespace() => self.at += 1,
                '\'' | '"' | '`' => self.string(character)?,
                '0'..='9' => self.number()?,
                '.' if self.peek_second().is_some_and(|c| c.is_ascii_digit()) => self.number()?,
                '/' if self.peek_second() == Some('/') => self.skip_line(),
                '/' if self.peek_second() == Some('*') => self.skip_comment()?,
                '(' | ')' | '[' | ']' | '{' | '}' => {
                    self.at += 1;
                    self.emit(Kind::Bracket, start);
                }
                ',' | ';' | '%' | '+' | '-' | '^' | '?' | '/' | '#' | '|' | ':' | '.' | '&' | '!' | '=' | '*' | '<'
                | '>' => {
                    self.at += 1;
                    let doubles = match character {
                        '&' | '!' | '=' | '*' | '<' | '>' => "&=*",
                        '|' => "|",
                        ':' => ":",
                        '?' => ".?",
                        '.' => ".",
                        _ => "",
                    };
                    if self.peek().is_some_and(|next| doubles.contains(next)) {
                        self.at += 1;
                    }
                    self.emit(Kind::Operator, start);
                }
                c if is_word(c) => self.word(),
                other => {
                    let message = format!("unrecognized character: U+{:04X} '{other}'", u32::from(other));
                    return Err(self.error(start, &message));
                }
            }
        }
        Ok(())
    }

    fn word(&mut self) {
        let start = self.at;
        while self.peek().is_some_and(is_word) {
            self.at += 1;
        }
        let text: String = self.characters[start..self.at].iter().collect();
        let kind = if WORD_OPERATORS.contains(&text.as_str()) { Kind::Operator } else { Kind::Identifier };
        self.emit(kind, start);
    }

    fn number(&mut self) -> Result<(), DslError> {
        let start = self.at;
        let digits = |lexer: &mut Self| {
            while lexer.peek().is_some_and(|c| c.is_ascii_digit() || c == '_') {
                lexer.at += 1;
            }
        };
        digits(self);
        if self.peek() == Some('.') && self.peek_second() != Some('.') {
            self.at += 1;
            digits(self);
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.at += 1;
            if matches!(self.peek(), Some('+' | '-')) {
                self.at += 1;
            }
            digits(self);
        }
        if self.peek().is_some_and(is_word) {
            let text: String = self.characters[start..=self.at].iter().collect();
            return Err(self.error(self.at, &format!("bad number syntax: {text:?}")));
        }
        self.emit(Kind::Number, start);
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<(), DslError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(character) = self.peek() else {
                return Err(self.error(self.characters.len(), "literal not terminated"));
            };
            self.at += 1;
            match character {
                c if c == quote => break,
                '\n' if quote != '`' => return Err(self.error(self.at - 1, "literal not terminated")),
                '\\' if quote != '`' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
        self.tokens.push(Token { kind: Kind::String, text, place: start });
        Ok(())
    }

    /// The character that an escape stands for; the backslash was taken.
    fn escape(&mut self) -> Result<char, DslError> {
        let invalid = |lexer: &Self| lexer.error(lexer.at.saturating_sub(1), "invalid char escape");
        let Some(character) = self.peek() else { return Err(invalid(self)) };
        self.at += 1;
        let digits = match character {
            'n' => return Ok('\n'),
            't' => return Ok('\t'),
            'r' => return Ok('\r'),
            '\\' | '\'' | '"' | '`' => return Ok(character),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(invalid(self)),
        };
        let mut code = 0u32;
        for _ in 0..digits {
            let digit = self.peek().and_then(|c| c.to_digit(16)).ok_or_else(|| invalid(self))?;
            code = code.wrapping_mul(16).wrapping_add(digit);
            self.at += 1;
        }
        char::from_u32(code).ok_or_else(|| invalid(self))
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    fn skip_comment(&mut self) -> Result<(), DslError> {
        self.at += 2;
        loop {
            match (self.peek(), self.peek_second()) {
                (Some('*'), Some('/')) => break,
                (Some(_), _) => self.at += 1,
                (None, _) => return Err(self.error(self.characters.len(), "unclosed comment")),
            }
        }
        self.at += 2;
        Ok(())
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character == '$' || character.is_alphabetic() || character.is_numeric()
}
