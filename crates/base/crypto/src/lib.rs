//! Digests, signatures and X.509 certificates as Fabric understands them.
