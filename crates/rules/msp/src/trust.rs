//! Chains of certificates, built as Go's `crypto/x509` builds them: which chains exist, and whether there is exactly one,
//! decides who is a member.

use ripstop_crypto::Certificate;
use ripstop_types::rfc3339;

use crate::error::{ChainError, ChainStepError};

/// After how many signature checks the search for a chain is given up.
const MAX_SIGNATURE_CHECKS: usize = 100;

/// The authorities one trusts, and those that help to reach them.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustAnchors {
    pub(crate) roots: Vec<Certificate>,
    pub(crate) intermediates: Vec<Certificate>,
}

impl TrustAnchors {
    /// Takes authorities; one that is listed twice is taken once.
    pub(crate) fn new(roots: Vec<Certificate>, intermediates: Vec<Certificate>) -> Self {
        let once = |certificates: Vec<Certificate>| {
            let mut out: Vec<Certificate> = Vec::with_capacity(certificates.len());
            for certificate in certificates {
                if !out.contains(&certificate) {
                    out.push(certificate);
                }
            }
            out
        };
        Self { roots: once(roots), intermediates: once(intermediates) }
    }

    /// The only chain from a certificate to a root, the certificate first, judged one second after its begin.
    pub(crate) fn unique_chain(&self, certificate: &Certificate) -> Result<Vec<Certificate>, ChainError> {
        let now = certificate.not_before().saturating_add(1);
        check_step(certificate, &[], now, Place::Leaf)?;
        let mut chains = if self.roots.contains(certificate) {
            vec![vec![certificate.clone()]]
        } else {
            let mut search = Search { anchors: self, now, checks: 0, chains: Vec::new() };
            search.extend(std::slice::from_ref(certificate))?;
            search.chains
        };
        chains.retain(|chain| chain.iter().all(Certificate::allows_server_auth));
        if chains.is_empty() {
            return Err(ChainStepError::KeyUsage.into());
        }
        let mut broken = None;
        chains.retain(|chain| match check_names_permitted(chain) {
            Ok(()) => true,
            Err(error) => {
                broken.get_or_insert(error);
                false
            }
        });
        if let Some(error) = broken.filter(|_| chains.is_empty()) {
            return Err(error.into());
        }
        let count = chains.len();
        let chain = chains.pop().filter(|_| count == 1).ok_or(ChainError::Ambiguous(count))?;
        check_names_constrained(&chain)?;
        Ok(chain)
    }

    /// The certificate in low-S form. A certificate signed with ECDSA must chain to a root for that, or be a self-signed
    /// authority; others come back as they are (Fabric: `sanitizeCert`).
    pub(crate) fn sanitize(&self, certificate: Certificate) -> Result<Sanitized, ChainError> {
        if !certificate.signature_algorithm().is_ecdsa() {
            return Ok(Sanitized { certificate, chain: None });
        }
        if certificate.is_ca() && certificate.check_issued_by(&certificate).is_ok() {
            let low = certificate.with_low_s(&certificate).ok_or(ChainError::Signature)?;
            let alone = Self::new(vec![low.clone()], Vec::new());
            alone.unique_chain(&low)?;
            return Ok(Sanitized { certificate: low, chain: None });
        }
        let chain = self.unique_chain(&certificate)?;
        let Some(issuer) = chain.get(1) else {
            return Err(ChainError::NoIssuer(certificate.subject().to_string()));
        };
        let low = certificate.with_low_s(issuer).ok_or(ChainError::Signature)?;
        let chain = (low == certificate).then_some(chain);
        Ok(Sanitized { certificate: low, chain })
    }
}

/// A certificate in low-S form, and its chain where that was found on the way and still holds.
pub(crate) struct Sanitized {
    pub(crate) certificate: Certificate,
    pub(crate) chain: Option<Vec<Certificate>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Leaf,
    Intermediate,
    Root,
}

struct Search<'a> {
    anchors: &'a TrustAnchors,
    now: i64,
    checks: usize,
    chains: Vec<Vec<Certificate>>,
}

impl Search<'_> {
    /// Extends a chain in every way there is. Where there is none, the error is the one Go would tell: why the last
    /// candidate with a right signature was not allowed, else why the first one of the right name was not the issuer.
    fn extend(&mut self, chain: &[Certificate]) -> Result<(), ChainError> {
        let anchors = self.anchors;
        let found_before = self.chains.len();
        let mut nearest = None;
        let mut last: Result<(), ChainError> = Ok(());
        for (place, pool) in [(Place::Root, &anchors.roots), (Place::Intermediate, &anchors.intermediates)] {
            let Some(child) = chain.last() else { continue };
            for candidate in potential_issuers(child, pool) {
                self.checks += 1;
                if self.checks > MAX_SIGNATURE_CHECKS {
                    return if self.chains.is_empty() { Err(ChainError::TooManyChecks) } else { Ok(()) };
                }
                if is_in_chain(candidate, chain) {
                    continue;
                }
                if let Err(error) = child.check_issued_by(candidate) {
                    nearest.get_or_insert_with(|| (Box::new(error.into()), hint_name(candidate)));
                    continue;
                }
                last = check_step(candidate, chain, self.now, place).map_err(ChainError::from);
                if last.is_err() {
                    continue;
                }
                let longer: Vec<Certificate> = chain.iter().chain([candidate]).cloned().collect();
                if place == Place::Root {
                    self.chains.push(longer);
                } else {
                    last = self.extend(&longer);
                }
            }
        }
        if self.chains.len() > found_before {
            return Ok(());
        }
        last?;
        Err(ChainError::UnknownAuthority { nearest })
    }
}

/// The certificates of a pool that bear the issuer's name, the ones with the right key identifier first.
fn potential_issuers<'a>(child: &Certificate, pool: &'a [Certificate]) -> Vec<&'a Certificate> {
    let mut found: Vec<&Certificate> =
        pool.iter().filter(|candidate| candidate.raw_subject() == child.raw_issuer()).collect();
    found.sort_by_key(|candidate| match (candidate.subject_key_id(), child.authority_key_id()) {
        (subject, authority) if subject == authority => 0,
        (Some(_), None) | (None, Some(_)) => 1,
        _ => 2,
    });
    found
}

fn is_in_chain(candidate: &Certificate, chain: &[Certificate]) -> bool {
    chain.iter().any(|certificate| {
        certificate.raw_subject() == candidate.raw_subject()
            && certificate.public_key() == candidate.public_key()
            && certificate.subject_alternative_name() == candidate.subject_alternative_name()
    })
}

/// What must hold of a certificate at its place, whoever issued it (Go: `isValid`).
fn check_step(certificate: &Certificate, below: &[Certificate], now: i64, place: Place) -> Result<(), ChainStepError> {
    if certificate.has_unhandled_critical_extension() {
        return Err(ChainStepError::UnhandledCriticalExtension);
    }
    let expired = |relation, bound| ChainStepError::Expired { now: rfc3339(now), relation, bound: rfc3339(bound) };
    if now < certificate.not_before() {
        return Err(expired("before", certificate.not_before()));
    }
    if now > certificate.not_after() {
        return Err(expired("after", certificate.not_after()));
    }
    if place == Place::Intermediate && !certificate.is_ca() {
        return Err(ChainStepError::NotAuthority);
    }
    let intermediates = below.len().saturating_sub(1);
    if certificate.path_length().is_some_and(|allowed| intermediates > allowed as usize) {
        return Err(ChainStepError::TooManyIntermediates);
    }
    Ok(())
}

/// Every authority's constraints hold for the names of every certificate below it (Go: `checkChainConstraints`).
fn check_names_permitted(chain: &[Certificate]) -> Result<(), ChainStepError> {
    for (index, authority) in chain.iter().enumerate().filter(|(_, authority)| authority.has_name_constraints()) {
        for name in chain[..index].iter().flat_map(Certificate::alternative_names) {
            authority.check_name(name).map_err(ChainStepError::NameConstraints)?;
        }
    }
    Ok(())
}

/// A rule that Go had until 1.14 and Fabric kept: under an authority that restricts names, a certificate whose common name
/// is a host name must have alternative names.
fn check_names_constrained(chain: &[Certificate]) -> Result<(), ChainStepError> {
    let Some((leaf, issuers)) = chain.split_first() else { return Ok(()) };
    if leaf.subject_alternative_name().is_none()
        && is_hostname(leaf.common_name())
        && issuers.iter().any(Certificate::has_name_constraints)
    {
        return Err(ChainStepError::NameConstraintsWithoutNames);
    }
    Ok(())
}

fn is_hostname(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.is_empty()
        && name.split('.').enumerate().all(|(index, label)| {
            let allowed =
                |(at, c): (usize, char)| c.is_ascii_alphanumeric() || (c == '-' && at > 0) || "_:".contains(c);
            !label.is_empty() && ((index == 0 && label == "*") || label.char_indices().all(allowed))
        })
}

fn hint_name(certificate: &Certificate) -> String {
    let subject = certificate.subject();
    if !subject.common_name.is_empty() {
        subject.common_name.clone()
    } else if let Some(organization) = subject.organizations.first() {
        organization.clone()
    } else {
        format!("serial:{}", certificate.serial_decimal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_told_as_in_go() {
        for name in ["a", "a.b", "*.example.com", "a_b:1", "example.com."] {
            assert!(is_hostname(name), "{name}");
        }
        for name in ["", ".", "a..b", "-a", "a b", "user@example.com", "a.*"] {
            assert!(!is_hostname(name), "{name}");
        }
    }
}
