use std::sync::Arc;

use bytes::Bytes;

/// Where an orderer can be reached, and how to tell that it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrdererEndpoint {
    /// Host and port.
    pub address: String,
    /// CA certificates that its TLS certificate may come from, PEM.
    pub tls_roots: Arc<[Bytes]>,
}

/// Where a node reaches an orderer instead, which cannot be reached from everywhere under the address that the configuration
/// names (`peer.deliveryclient.addressOverrides`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressOverride {
    /// The address in the configuration.
    pub from: String,
    /// The address to connect to.
    pub to: String,
    /// PEM certificates to trust there; those of the configuration where there are none.
    pub tls_roots: Arc<[Bytes]>,
}

impl OrdererEndpoint {
    /// Where the orderer really is: the first override of its address counts.
    pub fn overridden(&self, overrides: &[AddressOverride]) -> Self {
        let Some(replaced) = overrides.iter().find(|replaced| replaced.from == self.address) else {
            return self.clone();
        };
        let tls_roots = if replaced.tls_roots.is_empty() { &self.tls_roots } else { &replaced.tls_roots };
        Self { address: replaced.to.clone(), tls_roots: Arc::clone(tls_roots) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_counts_for_its_address_and_brings_certificates_where_it_has_any() {
        let roots = |text: &'static str| -> Arc<[Bytes]> { [Bytes::from_static(text.as_bytes())].into() };
        let at = |address: &str, tls_roots| OrdererEndpoint { address: address.to_owned(), tls_roots };
        let to =
            |from: &str, to: &str, tls_roots| AddressOverride { from: from.to_owned(), to: to.to_owned(), tls_roots };
        let overrides = [to("a:1", "b:2", [].into()), to("a:1", "c:3", [].into()), to("d:4", "e:5", roots("its own"))];
        for (named, really) in [
            (at("a:1", roots("config")), at("b:2", roots("config"))),
            (at("d:4", roots("config")), at("e:5", roots("its own"))),
            (at("f:6", roots("config")), at("f:6", roots("config"))),
        ] {
            assert_eq!(named.overridden(&overrides), really);
        }
    }
}
