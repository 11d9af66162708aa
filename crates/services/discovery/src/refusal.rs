use bytes::Bytes;
use ripstop_types::Digest;
use tonic::Status;

/// Why a request is not answered at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("failed parsing request: {0}")]
    Malformed(String),
    #[error("access denied, no authentication info in request")]
    NoAuthentication,
    #[error("access denied, client identity wasn't supplied")]
    NoIdentity,
    #[error("client didn't send a TLS certificate")]
    NoCertificate,
    #[error(
        "client claimed TLS hash doesn't match computed TLS hash from gRPC stream: it claimed '{}', and the certificate it \
         presented has {actual}", hex(.claimed)
    )]
    OtherCertificate { claimed: Bytes, actual: Digest },
    #[error("the request holds {found} queries, and no more than {most} are answered at once; send several requests")]
    TooManyQueries { found: usize, most: usize },
}

/// How many bytes of what a client claims are shown.
const MAX_SHOWN: usize = 64;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(MAX_SHOWN).map(|byte| format!("{byte:02x}")).collect()
}

impl From<Refusal> for Status {
    /// Without a code of its own, as Fabric.
    fn from(refusal: Refusal) -> Self {
        Self::unknown(refusal.to_string())
    }
}
