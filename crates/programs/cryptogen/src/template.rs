/// Why a template of a name cannot be filled in, in the words of Go's templates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Braces without end.
    #[error("Error parsing template: template: parse:{line}: unclosed action")]
    Unclosed {
        /// Its line.
        line: usize,
    },
    /// Something other than a field between the braces.
    #[error(
        "Error parsing template: template: parse:{line}: only fields such as {{{{.Hostname}}}} are known, not \"{action}\""
    )]
    Action {
        /// Its line.
        line: usize,
        /// What stands between the braces.
        action: String,
    },
    /// A field that does not exist there. The type is Fabric's name for what has the fields.
    #[error(
        "Error executing template: template: parse:{line}:{column}: executing \"parse\" at <.{field}>: can't evaluate field {field} in type main.{data}"
    )]
    Field {
        /// Its line.
        line: usize,
        /// Its place in the line, from 0.
        column: usize,
        /// Its name.
        field: String,
        /// What has other fields.
        data: &'static str,
    },
}

/// A text with fields, in the form of Go's templates: `{{.Hostname}}.{{.Domain}}`, with `{{-` and `-}}` taking away blanks.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Field { name: String, line: usize, column: usize },
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let (mut rest, mut trim) = (text, false);
        loop {
            let found = rest.split_once("{{");
            let literal = found.map_or(rest, |(literal, _)| literal);
            let literal = if trim { literal.trim_start() } else { literal };
            let Some((_, behind)) = found else {
                parts.push(Part::Text(literal.to_owned()));
                return Ok(Self { parts });
            };
            let before = &text[..text.len() - behind.len()];
            let line = before.matches('\n').count() + 1;
            let (inside, behind) = behind.split_once("}}").ok_or(TemplateError::Unclosed { line })?;
            let (action, trim_before) = match inside.strip_prefix("- ") {
                Some(action) => (action, true),
                None => (inside, false),
            };
            let (action, trim_behind) = match action.strip_suffix(" -") {
                Some(action) => (action, true),
                None => (action, false),
            };
            let literal = if trim_before { literal.trim_end() } else { literal };
            parts.push(Part::Text(literal.to_owned()));
            let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            let name = action
                .trim()
                .strip_prefix('.')
                .filter(is_name)
                .ok_or_else(|| TemplateError::Action { line, action: action.trim().to_owned() })?;
            let column = before.len() - before.rfind('\n').map_or(0, |end| end + 1) + inside.find('.').unwrap_or(0);
            parts.push(Part::Field { name: name.to_owned(), line, column });
            (rest, trim) = (behind, trim_behind);
        }
    }

    /// Puts the fields in; `data` is Fabric's name for what has them.
    pub(crate) fn fill(&self, data: &'static str, fields: &[(&str, &str)]) -> Result<String, TemplateError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { name, line, column } => {
                    let known = fields.iter().find(|(field, _)| field == name);
                    let (_, value) = known.ok_or_else(|| TemplateError::Field {
                        line: *line,
                        column: *column,
                        field: name.clone(),
                        data,
                    })?;
                    out.push_str(value);
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in() {
        let fields = [("Hostname", "peer0"), ("Domain", "org1")];
        for (template, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("{{.Hostname}}.{{ .Domain }}", "peer0.org1"),
            ("a {{- .Hostname -}} b", "apeer0b"),
            ("}}{{.Domain}}", "}}org1"),
        ] {
            assert_eq!(
                Template::parse(template).and_then(|template| template.fill("SpecData", &fields)).unwrap(),
                expected
            );
        }
        for template in ["{{.Hostname", "{{Hostname}}", "{{if .X}}", "{{.A.B}}", "{{}}", "{{.Other}}"] {
            assert!(
                Template::parse(template).and_then(|template| template.fill("SpecData", &fields)).is_err(),
                "{template}"
            );
        }
    }
}
