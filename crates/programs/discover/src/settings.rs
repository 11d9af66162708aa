//! With what the command connects and signs: from flags, or from the file that `saveConfig` writes.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context, anyhow, bail};
use ripstop_command_line::os_text;
use serde::{Deserialize, Serialize};

/// The permissions of a saved file, as Fabric's.
const FILE_MODE: u32 = 0o600;

/// The content of a saved file. Names are those that Fabric's command writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Settings {
    version: i64,
    #[serde(rename = "tlsconfig")]
    pub(crate) tls: TlsFiles,
    #[serde(rename = "signerconfig")]
    pub(crate) signer: SignerFiles,
}

/// The files of TLS; without the first one there is no TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct TlsFiles {
    #[serde(rename = "certpath")]
    pub(crate) certificate: String,
    #[serde(rename = "keypath")]
    pub(crate) key: String,
    #[serde(rename = "peercacertpath")]
    pub(crate) peer_ca: String,
    /// How long connecting may take; zero means the default.
    pub(crate) timeout: String,
}

/// Who signs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SignerFiles {
    #[serde(rename = "mspid")]
    pub(crate) msp_id: String,
    #[serde(rename = "identitypath")]
    pub(crate) certificate: String,
    #[serde(rename = "keypath")]
    pub(crate) key: String,
}

impl Settings {
    pub(crate) fn new(tls: TlsFiles, signer: SignerFiles) -> Self {
        Self { version: 0, tls, signer }
    }

    /// Reads a saved file.
    pub(crate) fn load(file: &str) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|error| anyhow!("open {file}: {}", os_text(&error)))?;
        let settings: Self =
            serde_saphyr::from_str(&text).map_err(|error| anyhow!("error unmarshalling YAML file {file}: {error}"))?;
        settings.check()?;
        Ok(settings)
    }

    /// Writes the file.
    pub(crate) fn save(&self, file: &str) -> anyhow::Result<()> {
        self.check().context("config isn't valid")?;
        let written = Self { tls: TlsFiles { timeout: "0s".into(), ..self.tls.clone() }, ..self.clone() };
        let whole_lines = serde_saphyr::ser_options! { prefer_block_scalars: false };
        let text = serde_saphyr::to_string_with_options(&written, whole_lines).context("failed to marshal config")?;
        let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(file);
        opened
            .and_then(|mut opened| opened.write_all(text.as_bytes()))
            .map_err(|error| anyhow!("failed writing file {file}: open {file}: {}", os_text(&error)))
    }

    fn check(&self) -> anyhow::Result<()> {
        let signer = &self.signer;
        let needed = [("MSPID", &signer.msp_id), ("IdentityPath", &signer.certificate), ("KeyPath", &signer.key)];
        match needed.into_iter().find(|(_, value)| value.is_empty()) {
            Some((name, _)) => bail!("{name} is mandatory and cannot be empty"),
            None => Ok(()),
        }
    }
}
