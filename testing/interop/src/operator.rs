use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whoever runs commands in the folder of a network, in the name of its organizations' administrators.
#[derive(Debug)]
pub struct Operator {
    program: PathBuf,
    directory: PathBuf,
}

impl Operator {
    /// Uses the commands of `program`, which is ripstop, on the network in a folder.
    pub fn new(program: &Path, directory: &Path) -> Self {
        Self { program: program.to_owned(), directory: directory.to_owned() }
    }

    /// The network's folder.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The environment with which commands act as the administrator of `organisation`, such as `org1`.
    pub fn environment(&self, organisation: &str) -> BTreeMap<String, String> {
        let output = Command::new(&self.program)
            .args([OsStr::new("env"), OsStr::new(organisation), OsStr::new("--dir"), self.directory.as_os_str()])
            .output()
            .expect("ripstop env runs");
        let text = expect_success("ripstop env", &output);
        text.lines()
            .filter_map(|line| line.strip_prefix("export "))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
            .collect()
    }

    /// Runs `peer` with `arguments` as the administrator of `organisation`.
    pub fn try_peer(&self, organisation: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("peer").args(arguments).envs(self.environment(organisation));
        command.output().expect("peer runs")
    }

    /// As [`Self::try_peer`]; returns what it printed.
    ///
    /// # Panics
    /// When it fails; the message holds everything it printed.
    pub fn peer(&self, organisation: &str, arguments: &[&str]) -> String {
        let output = self.try_peer(organisation, arguments);
        expect_success(&format!("peer {}", arguments.join(" ")), &output)
    }

    /// The flags with which commands find the orderer.
    pub fn orderer_flags(&self) -> Vec<String> {
        let environment = self.environment("org1");
        let value = |name: &str| environment.get(name).unwrap_or_else(|| panic!("ripstop env gives no {name}")).clone();
        vec!["--orderer".into(), value("ORDERER_ADDRESS"), "--tls".into(), "--cafile".into(), value("ORDERER_CA")]
    }
}

fn expect_success(what: &str, output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{what} ended with {}:\n{stdout}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
