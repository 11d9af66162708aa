//! What a network needs before its first process starts: keys, certificates, the channel's first block, configuration.

use anyhow::{Context, bail};
use bytes::Bytes;
use ripstop_configtxgen::ConfigTx;
use ripstop_cryptogen::CryptoConfig;
use ripstop_keys::nonce;
use ripstop_node_config::Environment;
use ripstop_proto::Message;
use ripstop_types::{ChannelId, Timestamp};

use crate::files;
use crate::plan::{CHANNEL, Layout, Plan};

/// All that this program puts into a network's directory.
const OURS: [&str; 10] = [
    "chaincode",
    "configtx.yaml",
    "crypto",
    "crypto-config.yaml",
    "lock",
    "logs",
    "mychannel.block",
    "network.json",
    "orderers",
    "peers",
];

/// Empties a network's directory, after making sure that nothing in it is somebody else's.
pub(crate) fn clear(layout: &Layout) -> anyhow::Result<()> {
    let listing = match std::fs::read_dir(&layout.root) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", layout.root.display())),
    };
    let entries = listing.collect::<Result<Vec<_>, _>>()?;
    if let Some(foreign) = entries.iter().find(|entry| !OURS.iter().any(|name| entry.file_name() == *name)) {
        bail!(
            "{} is left alone, because it holds something that is not part of a network: {}. Name another directory with --dir",
            layout.root.display(),
            foreign.file_name().to_string_lossy()
        );
    }
    for entry in entries.iter().filter(|entry| entry.path() != layout.lock()) {
        let path = entry.path();
        let removed =
            if entry.file_type()?.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Makes keys and certificates, and writes the configuration of every process.
pub(crate) fn make(plan: &Plan, layout: &Layout) -> anyhow::Result<()> {
    let crypto_config = files::crypto_config(plan);
    files::write(&layout.root.join("crypto-config.yaml"), crypto_config.as_bytes())?;
    let config = CryptoConfig::parse(&crypto_config).context("crypto-config.yaml is wrong")?;
    ripstop_cryptogen::generate(&config, &layout.crypto()).context("certificates could not be made")?;
    files::write(&layout.root.join("configtx.yaml"), files::configtx(plan, layout).as_bytes())?;
    for orderer in &plan.orderers {
        let file = layout.orderer(orderer).join("orderer.yaml");
        files::write(&file, files::orderer_yaml(orderer, layout).as_bytes())?;
    }
    for organisation in &plan.organisations {
        for peer in &organisation.peers {
            let file = layout.peer(peer).join("core.yaml");
            files::write(&file, files::core_yaml(layout, organisation, peer).as_bytes())?;
        }
    }
    std::fs::create_dir_all(layout.logs()).with_context(|| format!("cannot make {}", layout.logs().display()))
}

/// The channel's first block: made out of `configtx.yaml` at the first start, kept for later ones.
pub(crate) fn genesis_block(layout: &Layout) -> anyhow::Result<Bytes> {
    let file = layout.genesis_block();
    if let Ok(kept) = std::fs::read(&file) {
        return Ok(kept.into());
    }
    let channel = ChannelId::new(CHANNEL)?;
    let block = ConfigTx::load(Some(&layout.root), &Environment::default())
        .and_then(|config| config.profile(files::PROFILE)?.genesis_block(&channel, nonce(), now()))
        .context("the channel's first block could not be made")?;
    let block = block.to_proto().encode_to_vec();
    files::write(&file, &block)?;
    Ok(block.into())
}

fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

#[cfg(test)]
mod tests {
    use ripstop_channel_config::ChannelConfig;
    use ripstop_node_config::{OrdererConfig, PeerConfig};
    use ripstop_types::Block;

    use super::*;
    use crate::Size;
    use crate::plan::ports_from;

    #[test]
    fn the_files_of_a_network_are_what_nodes_and_tools_read() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).unwrap();
        let plan = Plan::new(Size { organisations: 2, peers: 1, orderers: 2 }, ports_from(7000)).unwrap();
        make(&plan, &layout).unwrap();

        let environment = |directory: std::path::PathBuf| -> Environment {
            [("FABRIC_CFG_PATH".to_owned(), directory.to_string_lossy().into_owned())].into_iter().collect()
        };
        let peer = &plan.organisations[1].peers[0];
        let core = PeerConfig::load(&environment(layout.peer(peer))).unwrap();
        assert_eq!(core.warnings, []);
        let orderer = OrdererConfig::load(&environment(layout.orderer(&plan.orderers[1]))).unwrap();
        assert_eq!(orderer.warnings, []);

        let block = Block::parse(genesis_block(&layout).unwrap()).unwrap();
        assert_eq!(genesis_block(&layout).unwrap(), block.to_proto().encode_to_vec());
        let config = ChannelConfig::from_block(&block).unwrap();
        assert_eq!(config.channel_id().as_str(), CHANNEL);
        let endpoints: Vec<_> = config.orderer_endpoints().into_iter().map(|endpoint| endpoint.address).collect();
        assert_eq!(endpoints, ["localhost:7000", "localhost:7003"]);
        let anchors: Vec<_> =
            config.application().unwrap().organizations.values().map(|org| org.anchor_peers.clone()).collect();
        assert_eq!(anchors.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn foreign_files_are_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::new(directory.path()).unwrap();
        std::fs::create_dir_all(directory.path().join("crypto/x")).unwrap();
        clear(&layout).unwrap();
        assert!(!directory.path().join("crypto").exists());
        std::fs::write(directory.path().join("thesis.tex"), "years of work").unwrap();
        std::fs::create_dir_all(directory.path().join("crypto")).unwrap();
        assert!(clear(&layout).unwrap_err().to_string().contains("thesis.tex"));
        assert!(directory.path().join("thesis.tex").exists() && directory.path().join("crypto").exists());
    }
}
