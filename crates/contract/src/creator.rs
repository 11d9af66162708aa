use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use prost::Message;
use ripstop_proto::msp;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

/// The extension in which Fabric CA puts attributes: 1.2.3.4.5.6.7.8.1.
const ATTRIBUTES: &[u64] = &[1, 2, 3, 4, 5, 6, 7, 8, 1];

/// Why a creator cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreatorError {
    /// The transaction was proposed without one.
    #[error("the transaction has no creator")]
    None,
    /// It is no `SerializedIdentity`.
    #[error("the creator does not decode: {0}")]
    Undecodable(String),
    /// Its identity is no certificate.
    #[error("the creator's certificate cannot be read: {0}")]
    Certificate(String),
}

/// Who proposed a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creator {
    msp_id: String,
    certificate: Vec<u8>,
    subject: String,
    issuer: String,
    attributes: BTreeMap<String, String>,
}

impl Creator {
    /// Reads a `SerializedIdentity`.
    pub(crate) fn parse(serialized: Bytes) -> Result<Self, CreatorError> {
        if serialized.is_empty() {
            return Err(CreatorError::None);
        }
        let identity = msp::SerializedIdentity::decode(serialized)
            .map_err(|error| CreatorError::Undecodable(error.to_string()))?;
        let block = pem::parse(&identity.id_bytes).map_err(|error| CreatorError::Certificate(error.to_string()))?;
        let certificate = block.into_contents();
        let unreadable = |error: &dyn std::fmt::Display| CreatorError::Certificate(error.to_string());
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| unreadable(&error))?;
        let (subject, issuer) = (distinguished_name(parsed.subject()), distinguished_name(parsed.issuer()));
        let attributes = attributes(&parsed)?;
        Ok(Self { msp_id: identity.mspid, subject, issuer, attributes, certificate })
    }

    /// The organization.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The certificate's subject, most specific part first: `CN=User1@org1.example.com,OU=client,..`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The certificate's issuer, in the form of [`Self::subject`].
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A text that stands for this identity within its organization, as Fabric's client identity libraries make it.
    pub fn id(&self) -> String {
        BASE64_STANDARD.encode(format!("x509::{}::{}", self.subject, self.issuer))
    }

    /// An attribute that Fabric CA put into the certificate.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts = name.iter_rdn().map(|rdn| {
        let attributes = rdn.iter().map(|attribute| {
            let kind = match attribute.attr_type().to_id_string().as_str() {
                "2.5.4.3" => "CN".to_owned(),
                "2.5.4.5" => "SERIALNUMBER".to_owned(),
                "2.5.4.6" => "C".to_owned(),
                "2.5.4.7" => "L".to_owned(),
                "2.5.4.8" => "ST".to_owned(),
                "2.5.4.9" => "STREET".to_owned(),
                "2.5.4.10" => "O".to_owned(),
                "2.5.4.11" => "OU".to_owned(),
                "2.5.4.17" => "POSTALCODE".to_owned(),
                other => other.to_owned(),
            };
            format!("{kind}={}", escape(attribute.as_str().unwrap_or_default()))
        });
        attributes.collect::<Vec<_>>().join("+")
    });
    let mut parts: Vec<String> = parts.collect();
    parts.reverse();
    parts.join(",")
}

/// Escapes as RFC 2253 asks.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let special = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            '#' => index == 0,
            ' ' => index == 0 || index == last,
            _ => false,
        };
        if special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn attributes(certificate: &X509Certificate<'_>) -> Result<BTreeMap<String, String>, CreatorError> {
    #[derive(serde::Deserialize)]
    struct Attributes {
        attrs: BTreeMap<String, String>,
    }
    let oid = Oid::from(ATTRIBUTES).map_err(|_| CreatorError::Certificate("bad attribute extension".to_owned()))?;
    let extension = certificate.extensions().iter().find(|extension| extension.oid == oid);
    let Some(extension) = extension else { return Ok(BTreeMap::new()) };
    let attributes: Attributes = serde_json::from_slice(extension.value)
        .map_err(|error| CreatorError::Certificate(format!("its attributes: {error}")))?;
    Ok(attributes.attrs)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair};

    use super::*;

    fn serialized(extension: Option<&[u8]>) -> Bytes {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Org, Inc.");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "client");
        params.distinguished_name.push(DnType::CommonName, "user1");
        params
            .custom_extensions
            .extend(extension.map(|content| CustomExtension::from_oid_content(ATTRIBUTES, content.to_vec())));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let identity =
            msp::SerializedIdentity { mspid: "Org1MSP".to_owned(), id_bytes: certificate.pem().into_bytes().into() };
        identity.encode_to_vec().into()
    }

    #[test]
    fn creators_have_a_name_an_id_and_attributes() {
        let creator = Creator::parse(serialized(Some(br#"{"attrs":{"role":"auditor","n":"1"}}"#))).unwrap();
        assert_eq!(creator.msp_id(), "Org1MSP");
        assert_eq!(creator.subject(), r"CN=user1,OU=client,O=Org\, Inc.");
        assert_eq!(creator.issuer(), creator.subject());
        let id = String::from_utf8(BASE64_STANDARD.decode(creator.id()).unwrap()).unwrap();
        assert_eq!(id, format!("x509::{0}::{0}", creator.subject()));
        assert_eq!((creator.attribute("role"), creator.attribute("x")), (Some("auditor"), None));
        assert_eq!(Creator::parse(serialized(None)).unwrap().attribute("role"), None);
    }

    #[test]
    fn what_is_no_creator_is_refused() {
        assert_eq!(Creator::parse(Bytes::new()), Err(CreatorError::None));
        assert!(matches!(Creator::parse(Bytes::from_static(b"\xff")), Err(CreatorError::Undecodable(_))));
        let nobody = msp::SerializedIdentity { mspid: "m".to_owned(), id_bytes: Bytes::from_static(b"no PEM") };
        assert!(matches!(Creator::parse(nobody.encode_to_vec().into()), Err(CreatorError::Certificate(_))));
        assert!(matches!(Creator::parse(serialized(Some(b"no JSON"))), Err(CreatorError::Certificate(_))));
    }
}
