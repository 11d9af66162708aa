//! `ripstop env`: the variables with which commands act as somebody of an organization.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::EnvOptions;
use crate::plan::{HOST, Layout, Plan};
use crate::summary::quoted;

/// Prints the exports.
pub(crate) fn run(options: &EnvOptions) -> ExitCode {
    match exports(options) {
        Ok(text) => {
            // Whoever closed the pipe wants no more, which is no error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn exports(options: &EnvOptions) -> anyhow::Result<String> {
    let layout = Layout::new(&options.directory)?;
    let plan = Plan::load(&layout)?.with_context(|| {
        format!("{} holds no network: `ripstop up` makes one, --dir names another", layout.root.display())
    })?;
    let Some(organisation) = plan.organisations.iter().find(|known| known.name == options.organisation) else {
        let known: Vec<_> = plan.organisations.iter().map(|organisation| organisation.name.as_str()).collect();
        bail!("there is no organisation '{}' here; there is {}", options.organisation, known.join(", "));
    };
    let peer = organisation.peers.get(options.peer).with_context(|| {
        format!(
            "{} has no peer {}: it has {}, counted from 0",
            organisation.name,
            options.peer,
            organisation.peers.len()
        )
    })?;
    let identity = layout.user_crypto(organisation, &options.user).join("msp");
    if !identity.is_dir() {
        bail!("{} has no user '{}': there are Admin and User1", organisation.name, options.user);
    }
    let orderer = plan.first_orderer()?;
    let orderer_tls = layout.orderer_crypto(orderer).join("tls").join("ca.crt");
    let administrator_tls = layout.orderer_administrator().join("tls");
    let variables = [
        ("FABRIC_CFG_PATH", quoted(&layout.peer(peer))),
        ("CORE_PEER_TLS_ENABLED", "true".to_owned()),
        ("CORE_PEER_LOCALMSPID", organisation.msp_id.clone()),
        ("CORE_PEER_MSPCONFIGPATH", quoted(&identity)),
        ("CORE_PEER_ADDRESS", format!("{HOST}:{}", peer.port)),
        ("CORE_PEER_TLS_ROOTCERT_FILE", quoted(&layout.peer_crypto(organisation, peer).join("tls").join("ca.crt"))),
        ("ORDERER_ADDRESS", format!("{HOST}:{}", orderer.port)),
        ("ORDERER_CA", quoted(&orderer_tls)),
        ("ORDERER_ADMIN_ADDRESS", format!("{HOST}:{}", orderer.admin_port)),
        ("ORDERER_ADMIN_TLS_SIGN_CERT", quoted(&administrator_tls.join("client.crt"))),
        ("ORDERER_ADMIN_TLS_PRIVATE_KEY", quoted(&administrator_tls.join("client.key"))),
    ];
    Ok(variables.iter().map(|(name, value)| format!("export {name}={value}\n")).collect())
}
