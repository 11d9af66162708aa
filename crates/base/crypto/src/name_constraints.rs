use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints as Parsed};

/// A name a certificate was issued for beside its subject, as far as authorities can restrict such names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlternativeName {
    /// A host.
    Dns(String),
    /// A mailbox.
    Email(String),
    /// A resource.
    Uri(String),
    /// An address of 4 or 16 bytes; in a constraint followed by a mask of the same length.
    Ip(Vec<u8>),
}

impl AlternativeName {
    pub(crate) fn new(name: &GeneralName<'_>) -> Option<Self> {
        Some(match name {
            GeneralName::DNSName(name) => Self::Dns((*name).to_owned()),
            GeneralName::RFC822Name(name) => Self::Email((*name).to_owned()),
            GeneralName::URI(name) => Self::Uri((*name).to_owned()),
            GeneralName::IPAddress(address) => Self::Ip(address.to_vec()),
            _ => return None,
        })
    }

    const fn is_same_kind(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Dns(_), Self::Dns(_))
                | (Self::Email(_), Self::Email(_))
                | (Self::Uri(_), Self::Uri(_))
                | (Self::Ip(_), Self::Ip(_))
        )
    }

    /// The kind as error texts name it.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Dns(_) => "DNS name",
            Self::Email(_) => "email address",
            Self::Uri(_) => "URI",
            Self::Ip(_) => "IP address",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Dns(name) | Self::Email(name) | Self::Uri(name) => name.clone(),
            Self::Ip(address) => {
                let v4 = <[u8; 4]>::try_from(address.as_slice()).map(|octets| Ipv4Addr::from(octets).to_string());
                let v6 = <[u8; 16]>::try_from(address.as_slice()).map(|octets| Ipv6Addr::from(octets).to_string());
                v4.or(v6).unwrap_or_else(|_| hex::encode(address))
            }
        }
    }
}

/// Which names an authority may sign for (RFC 5280, section 4.2.1.10), judged as Go does.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameConstraints {
    permitted: Vec<AlternativeName>,
    excluded: Vec<AlternativeName>,
    /// Whether there are constraints on other kinds of names, which are not checked.
    pub(crate) has_others: bool,
}

impl NameConstraints {
    pub(crate) fn new(parsed: &Parsed<'_>) -> Self {
        let mut out = Self::default();
        let mut take = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| -> Vec<AlternativeName> {
            let names = subtrees.iter().flatten().map(|subtree| AlternativeName::new(&subtree.base));
            let names: Vec<_> = names.collect();
            out.has_others |= names.iter().any(Option::is_none);
            names.into_iter().flatten().collect()
        };
        let (permitted, excluded) = (take(&parsed.permitted_subtrees), take(&parsed.excluded_subtrees));
        (out.permitted, out.excluded) = (permitted, excluded);
        out
    }

    /// Checks a name; the error says which constraint it breaks.
    pub(crate) fn check(&self, name: &AlternativeName) -> Result<(), String> {
        let of_kind = |constraint: &&AlternativeName| constraint.is_same_kind(name);
        let mut permitted = self.permitted.iter().filter(of_kind).peekable();
        let excluded: Vec<_> = self.excluded.iter().filter(of_kind).collect();
        if permitted.peek().is_none() && excluded.is_empty() {
            return Ok(());
        }
        if let AlternativeName::Uri(uri) = name
            && uri_host(uri).is_none()
        {
            return Err(format!("URI {uri:?} cannot be matched against constraints"));
        }
        if permitted.peek().is_some() && !permitted.any(|constraint| matches(constraint, name)) {
            return Err(format!("{} {:?} is not permitted by any constraint", name.kind(), name.text()));
        }
        match excluded.iter().find(|constraint| matches(constraint, name) || covers_wildcard(constraint, name)) {
            Some(constraint) => {
                Err(format!("{} {:?} is excluded by constraint {:?}", name.kind(), name.text(), constraint.text()))
            }
            None => Ok(()),
        }
    }
}

fn matches(constraint: &AlternativeName, name: &AlternativeName) -> bool {
    use AlternativeName::{Dns, Email, Ip, Uri};
    match (constraint, name) {
        (Dns(constraint), Dns(name)) => domain_matches(constraint, name),
        (Uri(constraint), Uri(name)) => uri_host(name).is_some_and(|host| domain_matches(constraint, host)),
        (Email(constraint), Email(name)) => {
            let Some((local, domain)) = name.rsplit_once('@') else { return false };
            match constraint.rsplit_once('@') {
                Some((wanted, at)) => wanted == local && at.eq_ignore_ascii_case(domain),
                None => domain_matches(constraint, domain),
            }
        }
        (Ip(constraint), Ip(address)) => {
            constraint.len() == address.len() * 2 && {
                let (network, mask) = constraint.split_at(address.len());
                network.iter().zip(mask).zip(address).all(|((network, mask), byte)| byte & mask == network & mask)
            }
        }
        _ => false,
    }
}

/// Whether a host is of a domain: equal to it or below it. A domain with a leading dot has only what is below it.
fn domain_matches(domain: &str, host: &str) -> bool {
    let (domain, host) = (domain.as_bytes(), host.as_bytes());
    if domain.is_empty() {
        return true;
    }
    let Some(above) = host.len().checked_sub(domain.len()) else { return false };
    host[above..].eq_ignore_ascii_case(domain) && (above == 0 || domain[0] == b'.' || host[above - 1] == b'.')
}

/// Whether a host with a wildcard could stand for an excluded host.
fn covers_wildcard(constraint: &AlternativeName, name: &AlternativeName) -> bool {
    let (AlternativeName::Dns(constraint), AlternativeName::Dns(name)) = (constraint, name) else { return false };
    let parent = |name: &str| name.split_once('.').map(|(_, parent)| parent.to_ascii_lowercase());
    name.starts_with('*') && parent(name).is_some() && parent(name) == parent(constraint)
}

/// The host of a URI, unless it has none or it is an address.
fn uri_host(uri: &str) -> Option<&str> {
    let (_, behind) = uri.split_once("://")?;
    let authority = behind.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.starts_with('[') {
        return None;
    }
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    (!host.is_empty() && host.parse::<std::net::IpAddr>().is_err()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_by_kind() {
        use AlternativeName::{Dns, Email, Ip, Uri};
        let dns = |name: &str| Dns(name.to_owned());
        let constraints = NameConstraints {
            permitted: vec![
                dns("example.com"),
                Email("mail.org".to_owned()),
                Uri(".web.org".to_owned()),
                Ip(vec![10, 0, 0, 0, 255, 0, 0, 0]),
            ],
            excluded: vec![dns("bad.example.com"), Email("root@mail.org".to_owned())],
            has_others: false,
        };
        for (name, allowed) in [
            (dns("example.com"), true),
            (dns("a.EXAMPLE.com"), true),
            (dns("notexample.com"), false),
            (dns("com"), false),
            (dns("x.bad.example.com"), false),
            (dns("*.example.com"), false),
            (Email("me@mail.org".to_owned()), true),
            (Email("root@MAIL.org".to_owned()), false),
            (Email("nobody".to_owned()), false),
            (Uri("https://u@a.web.org:1/x".to_owned()), true),
            (Uri("https://web.org".to_owned()), false),
            (Uri("https://10.0.0.1".to_owned()), false),
            (Uri("urn:x".to_owned()), false),
            (Ip(vec![10, 9, 8, 7]), true),
            (Ip(vec![11, 9, 8, 7]), false),
            (Ip(vec![10; 16]), false),
        ] {
            assert_eq!(constraints.check(&name).is_ok(), allowed, "{name:?}");
        }
        assert!(NameConstraints::default().check(&dns("anything")).is_ok());
    }
}
