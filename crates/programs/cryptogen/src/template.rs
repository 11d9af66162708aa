/// Why a template of a name cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Braces without end.
    #[error("Error parsing template: '{0}': unclosed action")]
    Unclosed(String),
    /// Something other than a field between the braces.
    #[error("Error parsing template: '{template}': only fields such as {{{{.Hostname}}}} are known, not '{action}'")]
    Action {
        /// The whole template.
        template: String,
        /// What stands between the braces.
        action: String,
    },
    /// A field that does not exist there.
    #[error("Error executing template: can't evaluate field {0}")]
    Field(String),
}

/// A text with fields, in the form of Go's templates: `{{.Hostname}}.{{.Domain}}`, with `{{-` and `-}}` taking away blanks.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    Field(String),
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
            let (action, behind) = behind.split_once("}}").ok_or_else(|| TemplateError::Unclosed(text.to_owned()))?;
            let (action, trim_before) = match action.strip_prefix("- ") {
                Some(action) => (action, true),
                None => (action, false),
            };
            let (action, trim_behind) = match action.strip_suffix(" -") {
                Some(action) => (action, true),
                None => (action, false),
            };
            let literal = if trim_before { literal.trim_end() } else { literal };
            parts.push(Part::Text(literal.to_owned()));
            let is_name = |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
            let field = action
                .trim()
                .strip_prefix('.')
                .filter(is_name)
                .ok_or_else(|| TemplateError::Action { template: text.to_owned(), action: action.trim().to_owned() })?;
            parts.push(Part::Field(field.to_owned()));
            (rest, trim) = (behind, trim_behind);
        }
    }

    pub(crate) fn fill(&self, fields: &[(&str, &str)]) -> Result<String, TemplateError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(name) => {
                    let (_, value) = fields
                        .iter()
                        .find(|(field, _)| field == name)
                        .ok_or_else(|| TemplateError::Field(name.clone()))?;
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
            assert_eq!(Template::parse(template).and_then(|template| template.fill(&fields)).unwrap(), expected);
        }
        for template in ["{{.Hostname", "{{Hostname}}", "{{if .X}}", "{{.A.B}}", "{{}}", "{{.Other}}"] {
            assert!(Template::parse(template).and_then(|template| template.fill(&fields)).is_err(), "{template}");
        }
    }
}
