use serde::{Deserialize, Deserializer};

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
    /// Organizations that run orderers.
    #[serde(deserialize_with = "given")]
    pub orderer_orgs: Vec<OrganizationSpec>,
    /// Organizations that run peers.
    #[serde(deserialize_with = "given")]
    pub peer_orgs: Vec<OrganizationSpec>,
}

/// One organization.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OrganizationSpec {
    /// A name for people; nothing is made of it.
    #[serde(deserialize_with = "given")]
    pub name: String,
    /// The domain: the end of all host names, and the name of the organization's folder.
    #[serde(deserialize_with = "given")]
    pub domain: String,
    /// Whether organizational units mark roles.
    #[serde(rename = "EnableNodeOUs", deserialize_with = "given")]
    pub enable_node_ous: bool,
    /// The authorities. Host name and common name have defaults.
    #[serde(rename = "CA", deserialize_with = "given")]
    pub ca: NodeSpec,
    /// Nodes by the dozen.
    #[serde(deserialize_with = "given")]
    pub template: NodeTemplate,
    /// Nodes one by one.
    #[serde(deserialize_with = "given")]
    pub specs: Vec<NodeSpec>,
    /// Users beside the administrator, who is always made.
    #[serde(deserialize_with = "given")]
    pub users: UsersSpec,
}

/// A node, or an organization's authorities.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeSpec {
    /// The host's name without the domain.
    #[serde(deserialize_with = "given")]
    pub hostname: String,
    /// The full name, or a template of it; `{{.Hostname}}.{{.Domain}}` when empty.
    #[serde(deserialize_with = "given")]
    pub common_name: String,
    /// For authorities: the country; `US` when empty.
    #[serde(deserialize_with = "given")]
    pub country: String,
    /// For authorities: the state or province; `California` when empty.
    #[serde(deserialize_with = "given")]
    pub province: String,
    /// For authorities: the locality; `San Francisco` when empty.
    #[serde(deserialize_with = "given")]
    pub locality: String,
    /// For authorities: an organizational unit of theirs and of all they issue to.
    #[serde(deserialize_with = "given")]
    pub organizational_unit: String,
    /// For authorities: a street address.
    #[serde(deserialize_with = "given")]
    pub street_address: String,
    /// For authorities: a postal code.
    #[serde(deserialize_with = "given")]
    pub postal_code: String,
    /// Further host names and addresses, or templates of them.
    #[serde(rename = "SANS", deserialize_with = "given")]
    pub sans: Vec<String>,
    /// The kind of its keys.
    #[serde(deserialize_with = "given")]
    pub public_key_algorithm: KeyAlgorithm,
}

/// Nodes that are alike.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeTemplate {
    /// How many; none when negative.
    #[serde(deserialize_with = "given")]
    pub count: i64,
    /// The number of the first.
    #[serde(deserialize_with = "given")]
    pub start: i64,
    /// A template of the host name; `{{.Prefix}}{{.Index}}` when empty.
    #[serde(deserialize_with = "given")]
    pub hostname: String,
    /// Further host names and addresses, or templates of them.
    #[serde(rename = "SANS", deserialize_with = "given")]
    pub sans: Vec<String>,
    /// The kind of their keys.
    #[serde(deserialize_with = "given")]
    pub public_key_algorithm: KeyAlgorithm,
}

/// Users of a peer organization: `User1`, `User2` and so on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UsersSpec {
    /// How many beside the administrator.
    #[serde(deserialize_with = "given")]
    pub count: i64,
    /// The kind of their keys.
    #[serde(deserialize_with = "given")]
    pub public_key_algorithm: KeyAlgorithm,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum KeyAlgorithm {
    /// ECDSA over P-256.
    #[default]
    Ecdsa,
    /// Ed25519.
    Ed25519,
}

impl TryFrom<String> for KeyAlgorithm {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "" | "ecdsa" => Ok(Self::Ecdsa),
            "ed25519" => Ok(Self::Ed25519),
            other => Err(format!("Unsupported key algorithm: {other}; there are ecdsa and ed25519")),
        }
    }
}

/// A value, or the default where the key stands without one.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What organizations of a kind call their nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Orderer,
    Peer,
}

impl Kind {
    /// How Fabric calls such nodes: in templates, units and messages.
    pub(crate) const fn name(self) -> &'static str {
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

    /// All organizations, those that run peers first.
    pub(crate) fn organizations(&self) -> impl Iterator<Item = (Kind, &OrganizationSpec)> {
        let peers = self.peer_orgs.iter().map(|organization| (Kind::Peer, organization));
        peers.chain(self.orderer_orgs.iter().map(|organization| (Kind::Orderer, organization)))
    }
}

impl OrganizationSpec {
    /// Fills in templates and defaults: afterwards every node has its names, and nodes of the template stand among the others.
    pub(crate) fn render(mut self, kind: Kind) -> Result<Self, ConfigError> {
        let hostname = Template::parse(or_default(&self.template.hostname, "{{.Prefix}}{{.Index}}"))?;
        for index in 0..self.template.count {
            let index = index.saturating_add(self.template.start).to_string();
            let fields = [("Prefix", kind.name()), ("Index", &index), ("Domain", &self.domain)];
            let hostname = hostname.fill("HostnameData", &fields)?;
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
            let fields = [("Hostname", self.hostname.as_str()), ("Domain", domain), ("CommonName", common_name)];
            template.fill("SpecData", &fields)
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
