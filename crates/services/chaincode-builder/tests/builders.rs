//! Builders made of small scripts, and the peer's own without any toolchain.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the right answer")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use ripstop_chaincode_builder::{
    Build, BuildError, BuilderOptions, Builders, Package, PeerConnection, PeerTls, StartError,
};
use ripstop_node_config::{Environment, ExternalBuilder};
use tempfile::TempDir;

/// Wants packages whose type is its own name, and notes down each call.
const DETECT: &str = r#"echo detect >> "$NOTES"; grep -q "\"type\":\"$KIND\"" "$2/metadata.json""#;

/// A peer's directories.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A builder of the operator's, whose programs are these scripts.
    fn external(&self, name: &str, programs: &[(&str, &str)]) -> ExternalBuilder {
        let path = self.path(name);
        fs::create_dir_all(path.join("bin")).unwrap();
        for (program, script) in programs {
            let file = path.join("bin").join(program);
            fs::write(&file, format!("#!/bin/sh\nKIND={name}\n{script}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        ExternalBuilder { name: name.to_owned(), path, propagate_environment: vec!["NOTES".to_owned()] }
    }

    fn builders(&self, external: Vec<ExternalBuilder>) -> Builders {
        let notes = self.path("notes").to_string_lossy().into_owned();
        let environment: Environment =
            [("PATH", "/usr/bin:/bin"), ("NOTES", &notes), ("SECRET", "x")].into_iter().collect();
        Builders::new(BuilderOptions { external, environment, ..BuilderOptions::new(self.path("builds")) })
    }

    fn notes(&self) -> String {
        fs::read_to_string(self.path("notes")).unwrap_or_default()
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn package(kind: &str, files: &[(&str, &str)]) -> Package {
    let metadata = format!(r#"{{"type":"{kind}","path":"","label":"l"}}"#);
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in [("metadata.json", metadata.into_bytes()), ("code.tar.gz", archive(files))] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append_data(&mut header, name, content.as_slice()).unwrap();
    }
    Package::parse(&builder.into_inner().unwrap().finish().unwrap()).unwrap()
}

fn connection() -> PeerConnection {
    let tls = PeerTls { certificate: "CERT".to_owned(), key: "KEY".to_owned(), root: "ROOT".to_owned() };
    PeerConnection { address: "peer0:7052".to_owned(), msp_id: "Org1MSP".to_owned(), tls: Some(tls) }
}

async fn refused(builders: &Builders, package: Package) -> String {
    builders.build("l:1", package).await.unwrap_err().to_string()
}

/// What a chaincode prints into this file of its build.
async fn run_to_end(build: &Build, file: &Path) -> String {
    let running = build.start(&connection()).await.unwrap();
    assert_eq!(running.exited().await.map(|exit| exit.code()), Some(0));
    fs::read_to_string(file).unwrap()
}

#[tokio::test]
async fn an_external_builder_gets_what_fabrics_contract_promises() {
    let place = Place::new();
    let builder = place.external(
        "script",
        &[
            ("detect", DETECT),
            ("build", r#"[ $# = 3 ] && cp "$1/a/start" "$3/start" && cp "$2/metadata.json" "$3" && pwd > "$3/where""#),
            ("release", r#"[ $# = 2 ] && mkdir -p "$2/statedb" && cp "$1/start" "$2/statedb/x.json""#),
            ("run", r#"[ -z "$SECRET$HOME" ] && "$1/start" "$1" "$2" && ls -d "$2" > "$1/place""#),
        ],
    );
    let other = place.external("other", &[("detect", DETECT), ("build", "exit 1")]);
    let builders = place.builders(vec![other.clone(), builder.clone()]);
    fs::create_dir(place.path("builds")).unwrap();
    fs::set_permissions(place.path("builds"), fs::Permissions::from_mode(0o755)).unwrap();
    let code = [("a/start", "#!/bin/sh\ncp \"$2/chaincode.json\" \"$1/said\"\n")];
    let build = builders.build("l:1", package("script", &code)).await.unwrap();
    assert_eq!(place.notes(), "detect\ndetect\n");
    let kept = place.path("builds/l-1");
    assert_eq!(fs::read_to_string(kept.join("build-info.json")).unwrap(), r#"{"builder_name":"script"}"#);
    assert!(kept.join("release/statedb/x.json").is_file());
    for private in [place.path("builds"), kept.clone()] {
        assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700, "{}", private.display());
    }
    let here = std::env::current_dir().unwrap();
    assert_eq!(fs::read_to_string(kept.join("bld/where")).unwrap().trim_end(), here.to_string_lossy());
    assert!(build.server().unwrap().is_none());

    let said = run_to_end(&build, &kept.join("bld/said")).await;
    assert_eq!(
        said,
        r#"{"chaincode_id":"l:1","peer_address":"peer0:7052","client_cert":"CERT","client_key":"KEY","root_cert":"ROOT","mspid":"Org1MSP"}"#
    );
    let run_directory = fs::read_to_string(kept.join("bld/place")).unwrap();
    assert!(!Path::new(run_directory.trim_end()).exists(), "{run_directory}");

    // After a restart what was built is there; a builder that is gone is missed.
    let restarted = place.builders(vec![other.clone(), builder]);
    assert!(restarted.cached("l:1").unwrap().is_some() && restarted.cached("l:2").unwrap().is_none());
    restarted.build("l:1", package("script", &code)).await.unwrap();
    assert_eq!(place.notes(), "detect\ndetect\n");
    let error = place.builders(vec![other]).cached("l:1").unwrap_err().to_string();
    assert!(
        error.ends_with(
            "chaincode 'l:1' was already built with builder 'script', but that builder is no longer available"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn failing_builders_are_told_in_fabrics_words_and_leave_nothing() {
    let place = Place::new();
    let failing = |build: &str, release: &str| {
        place.builders(vec![place.external("script", &[("detect", DETECT), ("build", build), ("release", release)])])
    };
    let error = refused(&failing("echo no compiler >&2; exit 1", "exit 0"), package("script", &[])).await;
    assert_eq!(
        error,
        "external builder failed: external builder failed to build: external builder 'script' failed: exit status 1; its \
         last words: no compiler"
    );
    let error = refused(&failing("exit 0", "kill -9 $$"), package("script", &[])).await;
    assert_eq!(
        error,
        "external builder failed: external builder failed to release: builder 'script' release failed: signal: killed"
    );
    let error = refused(&failing("ln -s /etc/passwd \"$3/x\"", "exit 0"), package("script", &[])).await;
    assert!(error.contains("refusing to copy symlink"), "{error}");
    assert_eq!(fs::read_dir(place.path("builds")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_nobody_builds_is_refused() {
    let place = Place::new();
    let builders = place.builders(vec![place.external("script", &[])]);
    let error = refused(&builders, package("cobol", &[])).await;
    assert!(error.starts_with("docker build failed: docker build is disabled; no external builder takes"), "{error}");
    let tools = Builders::new(BuilderOptions::new(place.path("builds")));
    for (kind, files, tool) in [
        ("GOLANG", vec![("src/main.go", "")], "'go'"),
        ("node", vec![("src/package.json", "")], "'npm'"),
        ("java", vec![("src/pom.xml", "")], "'java'"),
    ] {
        let error = tools.build("l:1", package(kind, &files)).await.unwrap_err();
        assert!(matches!(error, BuildError::MissingTool(_)) && error.to_string().contains(tool), "{error}");
    }
    let error = refused(&tools, package("ccaas", &[])).await;
    assert_eq!(error, "connection.json not found in source folder");
}

#[tokio::test]
async fn a_service_is_known_by_its_connection_file_whoever_builds_it() {
    let place = Place::new();
    let file = r#"{"address":"{{.name}}:9999"}"#;
    let environment: Environment =
        [("CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG", r#"{"name":"here"}"#)].into_iter().collect();
    let options = BuilderOptions { environment, ..BuilderOptions::new(place.path("builds")) };
    let index = ("META-INF/statedb/couchdb/indexes/a.json", "{}");
    let package_of = |kind| package(kind, &[("connection.json", file), index]);
    let build = Builders::new(options).build("l:1", package_of("CCAAS")).await.unwrap();
    assert_eq!(build.server().unwrap().unwrap().endpoint().unwrap().address(), "here:9999");
    assert!(place.path("builds/l-1/release/statedb/couchdb/indexes/a.json").is_file());
    assert!(matches!(build.start(&connection()).await, Err(StartError::Build(_))));

    let release =
        r#"mkdir -p "$2/chaincode/server" && echo '{"address":"there:1"}' > "$2/chaincode/server/connection.json""#;
    let builder = place.external("mine", &[("detect", DETECT), ("build", ""), ("release", release)]);
    let build = place.builders(vec![builder]).build("l:2", package_of("mine")).await.unwrap();
    assert_eq!(build.server().unwrap().unwrap().endpoint().unwrap().address(), "there:1");
}

#[tokio::test]
async fn a_package_is_built_once_however_many_ask() {
    let place = Place::new();
    let builder = place.external("script", &[("detect", DETECT), ("build", "")]);
    let builders = place.builders(vec![builder]);
    let (first, second) =
        tokio::join!(builders.build("l:1", package("script", &[])), builders.build("l:1", package("script", &[])));
    first.unwrap();
    second.unwrap();
    assert_eq!(place.notes(), "detect\n");
}

#[tokio::test]
async fn what_a_crash_left_half_built_is_built_anew() {
    let place = Place::new();
    for left in ["builds/.new-l-1", "builds/l-1"] {
        fs::create_dir_all(place.path(left)).unwrap();
        fs::write(place.path(left).join("rest"), "").unwrap();
    }
    let builders = place.builders(vec![place.external("script", &[("detect", DETECT), ("build", "")])]);
    assert!(builders.cached("l:1").unwrap().is_none());
    builders.build("l:1", package("script", &[])).await.unwrap();
    assert!(!place.path("builds/l-1/rest").exists() && !place.path("builds/.new-l-1").exists());
}
