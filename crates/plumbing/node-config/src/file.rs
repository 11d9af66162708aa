use std::path::{Path, PathBuf};

use crate::{ConfigError, EmptyVariable, Environment, Settings, Value};

/// The variable that names the directory of configuration files.
pub const CONFIG_PATH_VARIABLE: &str = "FABRIC_CFG_PATH";
/// Where configuration files are when nothing else is said.
const OFFICIAL_PATH: &str = "/etc/hyperledger/fabric";

/// Opens `core.yaml`: in `FABRIC_CFG_PATH` and nowhere else when that is set, otherwise in the current directory or in
/// `/etc/hyperledger/fabric` (Fabric: `core/config.InitViper`).
pub fn open_core(environment: &Environment) -> Result<Settings, ConfigError> {
    let directories = match environment.get_non_empty(CONFIG_PATH_VARIABLE) {
        Some(path) if !Path::new(path).is_dir() => return Err(ConfigError::NoDirectory(path.into())),
        Some(path) => vec![PathBuf::from(path)],
        None => vec![PathBuf::from("."), PathBuf::from(OFFICIAL_PATH)],
    };
    open("core", &directories, "CORE", EmptyVariable::Replaces, environment)
}

/// Opens `orderer.yaml`: in `FABRIC_CFG_PATH`, the current directory or `/etc/hyperledger/fabric`, whichever has it
/// (Fabric: `viperutil.ConfigPaths`).
pub fn open_orderer(environment: &Environment) -> Result<Settings, ConfigError> {
    open("orderer", &tool_directories(environment), "ORDERER", EmptyVariable::Ignored, environment)
}

/// Opens `configtx.yaml` in a directory, or where [`open_orderer`] would look.
pub fn open_configtx(directory: Option<&Path>, environment: &Environment) -> Result<Settings, ConfigError> {
    let directories = directory.map_or_else(|| tool_directories(environment), |directory| vec![directory.to_owned()]);
    open("configtx", &directories, "CONFIGTX", EmptyVariable::Ignored, environment)
}

fn tool_directories(environment: &Environment) -> Vec<PathBuf> {
    let named = environment.get_non_empty(CONFIG_PATH_VARIABLE).map(PathBuf::from);
    named.into_iter().chain([PathBuf::from("."), PathBuf::from(OFFICIAL_PATH)]).collect()
}

fn open(
    name: &'static str,
    directories: &[PathBuf],
    prefix: &'static str,
    empty: EmptyVariable,
    environment: &Environment,
) -> Result<Settings, ConfigError> {
    let file = directories
        .iter()
        .flat_map(|directory| ["yaml", "yml"].map(|extension| directory.join(format!("{name}.{extension}"))))
        .find(|file| file.exists())
        .ok_or_else(|| ConfigError::NotFound {
            name,
            searched: directories.iter().map(|directory| absolute(directory).display().to_string()).collect(),
        })?;
    let path = absolute(&file);
    let text = std::fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    let root = Value::parse_yaml(&text).map_err(|source| ConfigError::Yaml { path: path.clone(), source })?;
    Ok(Settings::new(root, path, prefix, empty, environment.clone()))
}

/// A path from the root, with `.` and the like taken out; as it is where there is no current directory.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_core_yaml_is_refused_in_fabrics_words_and_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let environment: Environment = [("FABRIC_CFG_PATH", path)].into_iter().collect();
        let message = open_core(&environment).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!(
                "error when reading core config file: Config File \"core\" Not Found in \"[{path}]\""
            )),
            "{message}"
        );
        assert!(message.contains("set FABRIC_CFG_PATH"), "{message}");
        let gone = format!("{path}/gone");
        let environment: Environment = [("FABRIC_CFG_PATH", gone.as_str())].into_iter().collect();
        assert_eq!(open_core(&environment).unwrap_err().to_string(), format!("FABRIC_CFG_PATH {gone} does not exist"));
    }

    #[test]
    fn files_are_found_and_relative_paths_start_at_them() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("core.yaml"), "peer: {mspConfigPath: msp}\n").unwrap();
        let environment: Environment = [("FABRIC_CFG_PATH", directory.path().to_str().unwrap())].into_iter().collect();
        let settings = open_core(&environment).unwrap();
        assert_eq!(settings.path("peer.mspConfigPath").unwrap(), Some(directory.path().join("msp")));
    }
}
