use std::fmt;

/// Why signatures do not suffice: Fabric's words first, then what was needed and who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRefusal {
    headline: String,
    explanation: String,
}

impl PolicyRefusal {
    pub(crate) fn new(headline: impl Into<String>, explanation: impl Into<String>) -> Self {
        Self { headline: headline.into(), explanation: explanation.into() }
    }

    /// Exactly what Fabric says.
    pub fn headline(&self) -> &str {
        &self.headline
    }

    /// What was needed, who signed, and why that does not count; may be empty.
    pub fn explanation(&self) -> &str {
        &self.explanation
    }
}

impl fmt::Display for PolicyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline)?;
        if self.explanation.is_empty() { Ok(()) } else { write!(f, ": {}", self.explanation) }
    }
}

impl std::error::Error for PolicyRefusal {}
