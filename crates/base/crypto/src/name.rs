use std::fmt;

use ripstop_types::put_der;
use x509_parser::x509::X509Name;

/// The name of a certificate's subject or issuer. Displays as Go prints it, most specific part first, because error texts
/// and logs name certificates so: `CN=peer0.org1.example.com,OU=peer,L=San Francisco,ST=California,C=US`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Name {
    /// The common name, or empty.
    pub common_name: String,
    /// The organizational units, in order.
    pub organizational_units: Vec<String>,
    /// The organizations, in order.
    pub organizations: Vec<String>,
    text: String,
}

/// The attributes Go knows by name, in the order in which it writes them (`pkix.Name.ToRDNSequence`).
const KNOWN: [(&str, &str); 9] = [
    ("2.5.4.6", "C"),
    ("2.5.4.8", "ST"),
    ("2.5.4.7", "L"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.3", "CN"),
    ("2.5.4.5", "SERIALNUMBER"),
];
const ORGANIZATION: usize = 5;
const UNIT: usize = 6;
const COMMON_NAME: usize = 7;

impl Name {
    pub(crate) fn new(name: &X509Name<'_>) -> Self {
        let mut known: [Vec<String>; KNOWN.len()] = Default::default();
        let mut others = Vec::new();
        for attribute in name.iter_attributes() {
            let oid = attribute.attr_type().to_id_string();
            match KNOWN.iter().position(|(id, _)| *id == oid) {
                Some(index) => {
                    let value = String::from_utf8_lossy(attribute.as_slice()).into_owned();
                    // A name has one common name and one serial number: the last.
                    if index >= COMMON_NAME {
                        known[index].clear();
                    }
                    known[index].push(value);
                }
                None => others.push(format!("{oid}=#{}", hex::encode(der_of(attribute)))),
            }
        }
        let mut parts: Vec<String> = Vec::new();
        for (values, (_, label)) in known.iter().zip(KNOWN).rev() {
            if values.iter().any(|value| !value.is_empty()) || (values.len() > 1) {
                let values: Vec<String> = values.iter().map(|value| format!("{label}={}", escape(value))).collect();
                parts.push(values.join("+"));
            }
        }
        parts.extend(others.into_iter().rev());
        Self {
            common_name: known[COMMON_NAME].first().cloned().unwrap_or_default(),
            organizational_units: std::mem::take(&mut known[UNIT]),
            organizations: std::mem::take(&mut known[ORGANIZATION]),
            text: parts.join(","),
        }
    }
}

fn der_of(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let tag = u8::try_from(attribute.attr_value().tag().0).unwrap_or_default();
    put_der(&mut out, tag, attribute.as_slice());
    out
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, character) in value.char_indices() {
        let escaped = match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
            ' ' => at == 0 || at == last,
            '#' => at == 0,
            _ => false,
        };
        if escaped {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn special_characters_are_escaped_as_in_go() {
        for (value, expected) in
            [("plain", "plain"), ("a,b+c", "a\\,b\\+c"), (" x ", "\\ x\\ "), ("#1#", "\\#1#"), ("", "")]
        {
            assert_eq!(escape(value), expected);
        }
    }
}
