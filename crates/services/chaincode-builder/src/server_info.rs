//! `connection.json`: where a chaincode's server is, and how to speak to it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ripstop_transport::{ClientTls, Endpoint, InvalidAddress, KeyPair, TlsError};
use ripstop_types::GoDuration;
use serde::Deserialize;

/// How long the server is tried to be reached when the file does not say.
const DEFAULT_DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a chaincode's server cannot be told from its package.
#[derive(Debug, thiserror::Error)]
pub enum ServerInfoError {
    /// There is no file.
    #[error("connection.json not found in source folder")]
    Missing,
    /// The file cannot be read.
    #[error("could not read '{path}' for chaincode info: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no JSON of the right form.
    #[error("malformed chaincode info in connection.json: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Something is missing.
    #[error("chaincode {0} not provided")]
    Lacks(&'static str),
    /// A time that is none.
    #[error("malformed chaincode info in connection.json: '{0}' is no duration")]
    Duration(String),
    /// A template with something else in it than the name of a value.
    #[error(
        "connection.json holds the template '{0}', which has no value; set it in CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG, \
         as in {{\"name\":\"value\"}} for {{{{.name}}}}"
    )]
    Template(String),
    /// The values for templates are no JSON object.
    #[error("Failed to unmarshal CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG: {0}")]
    TemplateValues(serde_json::Error),
    /// The address is none.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// A key or certificate does not work.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    address: String,
    #[serde(default)]
    domain: String,
    #[serde(default)]
    dial_timeout: Option<serde_json::Value>,
    #[serde(default)]
    tls_required: Flag,
    #[serde(default)]
    client_auth_required: Flag,
    #[serde(default)]
    client_key: String,
    #[serde(default)]
    client_cert: String,
    #[serde(default)]
    root_cert: String,
}

/// A boolean; files written for templates have it as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Boolean(bool),
    Text(String),
}

impl Default for Flag {
    fn default() -> Self {
        Self::Boolean(false)
    }
}

impl Flag {
    fn is_set(&self) -> bool {
        match self {
            Self::Boolean(set) => *set,
            Self::Text(text) => text == "true",
        }
    }
}

/// Where a chaincode's server is, and how to speak to it.
#[derive(Debug, Clone)]
pub struct ServerInfo {
    address: String,
    dial_timeout: Duration,
    tls: Option<Tls>,
}

#[derive(Clone)]
struct Tls {
    root: String,
    client: Option<(String, String)>,
    server_name: Option<String>,
}

impl fmt::Debug for Tls {
    /// Without the client's key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("root", &self.root)
            .field("client", &self.client.as_ref().map(|(certificate, _)| certificate))
            .field("server_name", &self.server_name)
            .finish()
    }
}

impl ServerInfo {
    /// Reads the file. `template_values`, a JSON object or empty, fills in `{{.name}}`; that is how one package serves
    /// peers that reach the chaincode under different names (Fabric's builder takes it from the environment variable
    /// `CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG`).
    pub fn parse(json: &[u8], template_values: &str) -> Result<Self, ServerInfoError> {
        let mut file: File = serde_json::from_slice(json)?;
        let values: serde_json::Map<String, serde_json::Value> = match template_values {
            "" => serde_json::Map::new(),
            text => serde_json::from_str(text).map_err(ServerInfoError::TemplateValues)?,
        };
        if let Some(serde_json::Value::String(text)) = &mut file.dial_timeout {
            *text = fill_in(text, &values)?;
        }
        for text in
            [&mut file.address, &mut file.domain, &mut file.client_key, &mut file.client_cert, &mut file.root_cert]
        {
            *text = fill_in(text, &values)?;
        }
        if file.address.is_empty() {
            return Err(ServerInfoError::Lacks("address"));
        }
        let dial_timeout = match file.dial_timeout {
            None => DEFAULT_DIAL_TIMEOUT,
            Some(value) => duration(&value)?,
        };
        let tls = match file.tls_required.is_set() {
            false => None,
            true => Some(Tls::new(
                file.client_auth_required.is_set(),
                file.client_key,
                file.client_cert,
                file.root_cert,
                file.domain,
            )?),
        };
        Ok(Self { address: file.address, dial_timeout, tls })
    }

    /// How long the server is tried to be reached.
    pub fn dial_timeout(&self) -> Duration {
        self.dial_timeout
    }

    /// The server as something to connect to.
    pub fn endpoint(&self) -> Result<Endpoint, ServerInfoError> {
        let mut endpoint = Endpoint::new(&self.address)?.connect_timeout(self.dial_timeout);
        if let Some(tls) = &self.tls {
            let key_pair = match &tls.client {
                Some((certificate, key)) => Some(KeyPair::from_pem(certificate.as_bytes(), key.as_bytes())?),
                None => None,
            };
            endpoint = endpoint.tls(ClientTls::new([tls.root.as_bytes()], key_pair)?);
            if let Some(name) = &tls.server_name {
                endpoint = endpoint.server_name(name.as_str());
            }
        }
        Ok(endpoint)
    }
}

impl Tls {
    fn new(
        client_auth: bool,
        key: String,
        cert: String,
        root: String,
        domain: String,
    ) -> Result<Self, ServerInfoError> {
        if client_auth && key.is_empty() {
            return Err(ServerInfoError::Lacks("tls key"));
        }
        if client_auth && cert.is_empty() {
            return Err(ServerInfoError::Lacks("tls cert"));
        }
        if root.is_empty() {
            return Err(ServerInfoError::Lacks("tls root cert"));
        }
        // Fabric overrides the server's name only together with client authentication.
        let server_name = Some(domain).filter(|domain| client_auth && !domain.is_empty());
        Ok(Self { root, client: client_auth.then_some((cert, key)), server_name })
    }
}

/// Replaces each `{{.name}}` by its value. Other actions of Go's templates are not known here.
fn fill_in(text: &str, values: &serde_json::Map<String, serde_json::Value>) -> Result<String, ServerInfoError> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, action)) = rest.split_once("{{") {
        let unknown = || ServerInfoError::Template(text.to_owned());
        let (action, after) = action.split_once("}}").ok_or_else(unknown)?;
        let name = action.trim().strip_prefix('.').ok_or_else(unknown)?;
        filled.push_str(before);
        match values.get(name).ok_or_else(unknown)? {
            serde_json::Value::String(value) => filled.push_str(value),
            value => filled.push_str(&value.to_string()),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// A duration as Go writes it (`10s`, `1m30s`, `500ms`), or a number of nanoseconds.
fn duration(value: &serde_json::Value) -> Result<Duration, ServerInfoError> {
    let invalid = || ServerInfoError::Duration(value.to_string());
    let parsed = match value {
        serde_json::Value::Number(nanos) => nanos.as_u64().map(Duration::from_nanos).ok_or_else(invalid)?,
        serde_json::Value::String(text) => {
            GoDuration::parse(text).ok().and_then(GoDuration::to_std).ok_or_else(invalid)?
        }
        _ => return Err(invalid()),
    };
    Ok(if parsed.is_zero() { DEFAULT_DIAL_TIMEOUT } else { parsed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_files_are_read_in_all_their_forms() {
        let plain = ServerInfo::parse(br#"{"address":"cc.example.com:9999"}"#, "").unwrap();
        assert_eq!(plain.dial_timeout(), DEFAULT_DIAL_TIMEOUT);
        assert_eq!(plain.endpoint().unwrap().address(), "cc.example.com:9999");
        let timed = |value: &str| {
            ServerInfo::parse(
                format!(r#"{{"address":"a:1","dial_timeout":{value},"tls_required":"false"}}"#).as_bytes(),
                "",
            )
        };
        assert_eq!(timed(r#""10s""#).unwrap().dial_timeout(), Duration::from_secs(10));
        assert_eq!(timed("1500000000").unwrap().dial_timeout(), Duration::from_millis(1500));
        assert!(timed(r#""soon""#).is_err());
    }

    #[test]
    fn one_package_can_name_a_server_for_each_peer() {
        let json = br#"{"address":"{{.peername}}_basic:{{ .port }}","dial_timeout":"{{.patience}}"}"#;
        let values = r#"{"peername":"peer0org1","port":9999,"patience":"7s"}"#;
        let info = ServerInfo::parse(json, values).unwrap();
        assert_eq!(info.endpoint().unwrap().address(), "peer0org1_basic:9999");
        assert_eq!(info.dial_timeout(), Duration::from_secs(7));
        for json in [r#"{"address":"{{.other}}:1"}"#, r#"{"address":"{{.peername:1"}"#, r#"{"address":"{{if x}}:1"}"#] {
            let error = ServerInfo::parse(json.as_bytes(), values).unwrap_err();
            assert!(matches!(error, ServerInfoError::Template(_)), "{error}");
        }
        assert!(matches!(ServerInfo::parse(json, "[]"), Err(ServerInfoError::TemplateValues(_))));
    }

    #[test]
    fn a_key_is_not_printed() {
        let json = br#"{"address":"a:1","tls_required":true,"client_auth_required":true,"root_cert":"ROOT",
            "client_cert":"CERT","client_key":"SECRET"}"#;
        let shown = format!("{:?}", ServerInfo::parse(json, "").unwrap());
        assert!(shown.contains("ROOT") && shown.contains("CERT") && !shown.contains("SECRET"), "{shown}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let refused = |json: &str| ServerInfo::parse(json.as_bytes(), "").unwrap_err().to_string();
        assert_eq!(refused("{}"), "chaincode address not provided");
        assert_eq!(refused(r#"{"address":"a:1","tls_required":true}"#), "chaincode tls root cert not provided");
        assert_eq!(
            refused(r#"{"address":"a:1","tls_required":true,"client_auth_required":true,"root_cert":"x"}"#),
            "chaincode tls key not provided"
        );
        assert!(refused(r#"{"address":"{{.peername}}_basic:9999"}"#).contains("template"));
        assert!(refused("{").starts_with("malformed chaincode info"));
    }
}
