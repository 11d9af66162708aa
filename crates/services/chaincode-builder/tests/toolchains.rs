//! The peer's own builders with the toolchains of this machine, on code that needs nothing from any registry.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the right answer")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use ripstop_chaincode_builder::{Build, BuilderOptions, Builders, Package, PeerConnection, PeerTls};
use ripstop_node_config::Environment;

/// A program that notes down how it was started, in Go.
const GO: &str = r#"package main

import ("os"; "strings")

func main() {
    said := strings.Join(os.Args[1:], " ") + "\n" + strings.Join(os.Environ(), "\n")
    os.WriteFile(os.Getenv("CORE_CHAINCODE_LOGGING_FORMAT"), []byte(said), 0o644)
}
"#;
/// The same for Node.
const JAVASCRIPT: &str = r#"
require('./greet')();
const said = process.argv.slice(2).join(' ') + '\n' + Object.entries(process.env).map((pair) => pair.join('=')).join('\n');
require('fs').writeFileSync(process.env.CORE_CHAINCODE_LOGGING_FORMAT, said);
"#;

/// Whether a tool is here. What is not tested is said where the output of tests that pass is not swallowed.
fn is_here(tool: &str, argument: &str) -> bool {
    let found = Command::new(tool).arg(argument).output().is_ok_and(|output| output.status.success());
    if !found {
        std::io::stderr()
            .write_all(
                format!("\n*** {tool} is missing. Install it to test chaincode that needs it too. ***\n").as_bytes(),
            )
            .unwrap();
    }
    found
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn package(kind: &str, path: &str, files: &[(&str, &str)]) -> Package {
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, content)| (*name, content.as_bytes())).collect();
    let metadata = format!(r#"{{"type":"{kind}","path":"{path}","label":"l"}}"#);
    let package = archive(&[("metadata.json", metadata.as_bytes()), ("code.tar.gz", &archive(&files))]);
    Package::parse(&package).unwrap()
}

/// Builders in a directory. What they start notes down how it was started in the file `said` there.
fn builders(place: &Path) -> Builders {
    let said = place.join("said").to_string_lossy().into_owned();
    let process: Environment = Environment::of_process();
    let seen = ["PATH", "HOME", "GOCACHE", "GOPATH", "GOFLAGS"].map(|name| (name, process.get(name)));
    let seen = seen.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let environment: Environment = seen.chain([("GOPROXY", "off"), ("SECRET", "x")]).collect();
    let logging = vec![("CORE_CHAINCODE_LOGGING_FORMAT".to_owned(), said)];
    let memory = Some(4 * 1024 * 1024 * 1024);
    Builders::new(BuilderOptions { environment, logging, memory, ..BuilderOptions::new(place.join("builds")) })
}

/// Starts what was built, and checks how that was done.
async fn check_start(build: &Build, place: &Path, arguments: &str) {
    let tls = PeerTls { certificate: "CERT".to_owned(), key: "KEY".to_owned(), root: "ROOT".to_owned() };
    let peer = PeerConnection { address: "peer0:7052".to_owned(), msp_id: "Org1MSP".to_owned(), tls: Some(tls) };
    let running = build.start(&peer).await.unwrap();
    assert_eq!(running.exited().await.map(|exit| exit.code()), Some(0));
    let said = fs::read_to_string(place.join("said")).unwrap();
    assert_eq!(said.lines().next(), Some(arguments));
    for line in ["CORE_CHAINCODE_ID_NAME=l:1", "CORE_PEER_LOCALMSPID=Org1MSP", "CORE_PEER_TLS_ENABLED=true"] {
        assert!(said.lines().any(|said| said == line), "{line} in {said}");
    }
    assert!(!said.contains("SECRET") && !said.contains("GOPROXY"), "{said}");
    let key = said.lines().find_map(|line| line.strip_prefix("CORE_TLS_CLIENT_KEY_PATH=")).unwrap();
    assert!(!Path::new(key).exists(), "what a chaincode was given goes with it");
}

#[tokio::test]
async fn go_is_built_as_a_module_with_vendored_packages_and_without_modules() {
    if !is_here("go", "version") {
        return;
    }
    let module = "module example.com/cc\n\ngo 1.18\n";
    let vendored = format!("{module}\nrequire example.com/dep v1.0.0\n");
    let uses = GO.replace("import (", "import (_ \"example.com/dep\"; ");
    let index = ("META-INF/statedb/couchdb/indexes/a.json", "{}");
    let ways: [(&str, Vec<(&str, &str)>); 4] = [
        ("example.com/cc", vec![("src/go.mod", module), ("src/main.go", GO), index]),
        (
            "example.com/cc",
            vec![
                ("src/go.mod", &vendored),
                ("src/main.go", &uses),
                ("src/vendor/modules.txt", "# example.com/dep v1.0.0\n## explicit\nexample.com/dep\n"),
                ("src/vendor/example.com/dep/dep.go", "package dep\n"),
            ],
        ),
        ("example.com/cc", vec![("src/example.com/cc/main.go", GO)]),
        ("example.com/own", vec![("src/example.com/own/go.mod", module), ("src/example.com/own/main.go", GO)]),
    ];
    for (path, files) in ways {
        let place = tempfile::tempdir().unwrap();
        let built = builders(place.path()).build("l:1", package("GOLANG", path, &files)).await;
        let build = built.unwrap_or_else(|error| panic!("{files:?}: {error}"));
        check_start(&build, place.path(), "-peer.address=peer0:7052").await;
    }
}

#[tokio::test]
async fn code_that_does_not_compile_says_why() {
    if !is_here("go", "version") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let files = [("src/go.mod", "module example.com/cc\n"), ("src/main.go", "package main\n\nfunc main() { x }\n")];
    let error = builders(place.path()).build("l:1", package("golang", "example.com/cc", &files)).await.unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("building golang chaincode failed: go build -v -mod=readonly -o "), "{error}");
    assert!(error.contains("exit status 1; its last words: ") && error.contains("undefined: x"), "{error}");
    for path in ["", "-toolexec=x", "../x", "/x"] {
        let error = builders(place.path()).build("l:1", package("golang", path, &files)).await.unwrap_err().to_string();
        assert!(error.ends_with(&format!("'{path}' in metadata.json is no path of a Go package")), "{error}");
    }
}

#[tokio::test]
async fn node_is_installed_and_started_by_npm() {
    if !is_here("npm", "--version") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let project = r#"{"name":"cc","version":"1.0.0","scripts":{"start":"node main.js"}}"#;
    // Code that spoils itself runs the next time all the same: it spoilt its own copy.
    let spoils = "require('fs').writeFileSync('greet.js', 'x'); module.exports = () => {};";
    let files = [("src/package.json", project), ("src/main.js", JAVASCRIPT), ("src/greet.js", spoils)];
    let build = builders(place.path()).build("l:1", package("node", "", &files)).await.unwrap();
    for _ in 0..2 {
        check_start(&build, place.path(), "--peer.address peer0:7052").await;
    }
    assert_eq!(fs::read_to_string(place.path().join("builds/l-1/bld/greet.js")).unwrap(), spoils);
    let error = builders(place.path()).build("l:2", package("node", "", &[])).await.unwrap_err().to_string();
    assert!(error.ends_with("no package.json found at the root of the chaincode package"), "{error}");
}

#[tokio::test]
async fn java_without_a_project_must_come_as_archives() {
    if !is_here("java", "-version") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let error = builders(place.path()).build("l:1", package("java", "", &[("src/x.java", "")])).await.unwrap_err();
    assert!(error.to_string().contains("Not build.gradle nor pom.xml found in chaincode source"), "{error}");
    let files = [("src/lib/a.jar", ""), ("src/b.jar", "")];
    builders(place.path()).build("l:2", package("java", "", &files)).await.unwrap();
    assert!(place.path().join("builds/l-2/bld/src/lib/a.jar").is_file());
}
