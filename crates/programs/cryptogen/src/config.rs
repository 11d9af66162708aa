use serde::Deserialize;

use crate::template::{Template, TemplateError};

/// Why a text is no `crypto-config.yaml`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is no YAML of the right form.
    #[error("Error Unmarshalling YAML: {0}")]
    Yaml(String),
    /// A name's template cannot be filled in.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// What to make: the content of `crypto-config.yaml`. Keys that are not known here are passed over, as Fabric does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CryptoConfig {
    /// Organisations that run orderers.
    pub orderer_orgs: Vec<OrganizationSpec>,
    /// Organisations that run peers.
    pub peer_orgs: Vec<OrganizationSpec>,
}

/// One organisation.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OrganizationSpec {
    /// A name for people; nothing is made of it.
    pub name: String,
    /// The domain: the end of all host names, and the name of the organisation's folder.
    pub domain: String,
    /// Whether organisational units mark roles.
    #[serde(rename = "EnableNodeOUs")]
    pub enable_node_ous: bool,
    /// The authorities. Host name and common name have defaults.
    #[serde(rename = "CA")]
    pub ca: NodeSpec,
    /// Nodes by the dozen.
    pub template: NodeTemplate,
    /// Nodes one by one.
    pub specs: Vec<NodeSpec>,
    /// Users beside the administrator, who is always made.
    pub users: UsersSpec,
}

/// A node, or an organisation's authorities.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeSpec {
    /// The host's name without the domain.
    pub hostname: String,
    /// The full name, or a template of it; `{{.Hostname}}.{{.Domain}}` when empty.
    pub common_name: String,
    /// For authorities: the country; `US` when empty.
    pub country: String,
    /// For authorities: the state or province; `California` when empty.
    pub province: String,
    /// For authorities: the locality; `San Francisco` when empty.
    pub locality: String,
    /// For authorities: an organisational unit of theirs and of all they issue to.
    pub organizational_unit: String,
    /// For authorities: a street address.
    pub street_address: String,
    /// For authorities: a postal code.
    pub postal_code: String,
    /// Further host names and addresses, or templates of them.
    #[serde(rename = "SANS")]
    pub sans: Vec<String>,
    /// The kind of its keys.
    pub public_key_algorithm: KeyAlgorithm,
}

/// Nodes that are alike.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeTemplate {
    /// How many.
    pub count: u32,
    /// The number of the first.
    pub start: u32,
    /// A template of the host name; `{{.Prefix}}{{.Index}}` when empty.
    pub hostname: String,
    /// Further host names and addresses, or templates of them.
    #[serde(rename = "SANS")]
    pub sans: Vec<String>,
    /// The kind of their keys.
    pub public_key_algorithm: KeyAlgorithm,
}

/// Users of a peer organisation: `User1`, `User2` and so on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UsersSpec {
    /// How many beside the administrator.
    pub count: u32,
    /// The kind of their keys.
    pub public_key_algorithm: KeyAlgorithm,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum KeyAlgorithm {
    /// ECDSA over P-256.
    #[default]
    #[serde(rename = "ecdsa", alias = "")]
    Ecdsa,
    /// Ed25519.
    #[serde(rename = "ed25519")]
    Ed25519,
}

/// What organisations of a kind call their nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Orderer,
    Peer,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Orderer => "orderer",
            Self::Peer => "peer",
        }
    }
}

impl CryptoConfig {
    /// Reads `crypto-config.yaml`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let parsed: Option<Self> =
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Yaml(error.to_string()))?;
        Ok(parsed.unwrap_or_default())
    }
}

impl OrganizationSpec {
    /// Fills in templates and defaults: afterwards every node has its names, and nodes of the template stand among the others.
    pub(crate) fn render(mut self, kind: Kind) -> Result<Self, ConfigError> {
        let hostname = Template::parse(or_default(&self.template.hostname, "{{.Prefix}}{{.Index}}"))?;
        for index in (self.template.start..).take(self.template.count as usize) {
            let index = index.to_string();
            let hostname = hostname.fill(&[("Prefix", kind.prefix()), ("Index", &index), ("Domain", &self.domain)])?;
            self.specs.push(NodeSpec {
                hostname,
                sans: self.template.sans.clone(),
                public_key_algorithm: self.template.public_key_algorithm,
                ..NodeSpec::default()
            });
        }
        for spec in &mut self.specs {
            spec.render(&self.domain)?;
        }
        if self.ca.hostname.is_empty() {
            self.ca.hostname = "ca".to_owned();
        }
        self.ca.render(&self.domain)?;
        Ok(self)
    }
}

impl NodeSpec {
    /// The full name and the host name are alternative names of their own accord.
    fn render(&mut self, domain: &str) -> Result<(), TemplateError> {
        let template = Template::parse(or_default(&self.common_name, "{{.Hostname}}.{{.Domain}}"))?;
        let names = |common_name: &str, template: Template| {
            template.fill(&[("Hostname", &self.hostname), ("Domain", domain), ("CommonName", common_name)])
        };
        let common_name = names("", template)?;
        let mut sans = vec![common_name.clone(), self.hostname.clone()];
        for san in &self.sans {
            sans.push(names(&common_name, Template::parse(san)?)?);
        }
        self.common_name = common_name;
        self.sans = sans;
        Ok(())
    }
}

fn or_default<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}
