use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use bytes::Bytes;
use parking_lot::Mutex;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::tls::{TlsError, provider, root_store};

/// The roots that client certificates must chain to: those that the configuration names, and those of all channels. Clones
/// are the same set. Either part may be replaced while servers run.
#[derive(Debug, Clone, Default)]
pub struct ClientRoots {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    parts: Mutex<Parts>,
    verifier: ArcSwapOption<Roots>,
}

/// PEM texts by where they come from.
#[derive(Debug, Clone, Default)]
struct Parts {
    configured: Vec<Bytes>,
    of_channels: Vec<Bytes>,
}

#[derive(Debug)]
pub(crate) struct Roots(pub(crate) Arc<dyn ClientCertVerifier>);

impl ClientRoots {
    /// The certificates in these PEM texts, whatever channels say. Without any, every client certificate is refused.
    pub fn new(configured: impl IntoIterator<Item = Bytes>) -> Result<Self, TlsError> {
        let roots = Self::default();
        roots.replace_configured(configured)?;
        Ok(roots)
    }

    /// Replaces the part that the configuration names. On an error everything stays.
    pub fn replace_configured(&self, pems: impl IntoIterator<Item = Bytes>) -> Result<(), TlsError> {
        self.change(|parts| parts.configured = pems.into_iter().collect())
    }

    /// The part that the configuration names, as PEM texts.
    pub fn configured(&self) -> Vec<Bytes> {
        self.inner.parts.lock().configured.clone()
    }

    /// Replaces the part that channels name. On an error everything stays.
    pub fn replace_of_channels(&self, pems: impl IntoIterator<Item = Bytes>) -> Result<(), TlsError> {
        self.change(|parts| parts.of_channels = pems.into_iter().collect())
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) -> Result<(), TlsError> {
        let mut current = self.inner.parts.lock();
        let mut parts = current.clone();
        change(&mut parts);
        let store = root_store(parts.configured.iter().chain(&parts.of_channels).map(AsRef::as_ref))?;
        let verifier = if store.is_empty() {
            None
        } else {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider()).build();
            Some(Arc::new(Roots(verifier.map_err(|error| TlsError::Verifier(error.to_string()))?)))
        };
        self.inner.verifier.store(verifier);
        *current = parts;
        Ok(())
    }

    /// What clients are verified with now; none where there is no root.
    pub(crate) fn verifier(&self) -> Guard<Option<Arc<Roots>>> {
        self.inner.verifier.load()
    }
}
