use std::ffi::OsString;
use std::fs;
use std::path::Path;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use http_body_util::BodyExt as _;
use ripstop_proto::{Message as _, common};
use tower::ServiceExt as _;

use crate::cors::Origins;
use crate::rest::router;

/// Configurations that differ in who may change them.
fn config(mod_policy: &str) -> Vec<u8> {
    let group = common::ConfigGroup { mod_policy: mod_policy.into(), ..Default::default() };
    common::Config { sequence: 1, channel_group: Some(group) }.encode_to_vec()
}

async fn ask(origins: &[&str], request: Request<Body>) -> Response {
    let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
    router(Origins::new(origins)).oneshot(request).await.unwrap()
}

async fn post(path: &str, content_type: &str, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
    let request = Request::post(path).header(header::CONTENT_TYPE, content_type).body(body.into()).unwrap();
    let response = ask(&[], request).await;
    (response.status(), response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn messages_are_translated_both_ways() {
    let json = "{\n\t\"data_hash\": \"\",\n\t\"number\": \"5\",\n\t\"previous_hash\": \"\"\n}\n";
    let encoded = post("/protolator/encode/common.BlockHeader", "", json).await;
    assert_eq!(encoded, (StatusCode::OK, vec![0x08, 0x05]));
    let decoded = post("/protolator/decode/common.BlockHeader", "", encoded.1).await;
    assert_eq!(decoded, (StatusCode::OK, json.as_bytes().to_vec()));
}

#[tokio::test]
async fn what_cannot_be_translated_is_refused_in_fabrics_words() {
    for (path, body, status, text) in [
        ("/protolator/decode/common.Sea", "", 404, "message type not found: proto: not found: "),
        ("/protolator/encode/common.Block", "{", 400, "error unmarshaling intermediate JSON: EOF"),
        ("/protolator/decode/common.Block", "x", 400, "proto: cannot parse invalid wire-format data"),
        ("/configtxlator/compute/update-from-configs", "", 400, "request Content-Type isn't multipart/form-data\n"),
        ("/protolator/decode/", "", 404, "404 page not found\n"),
        ("/protolator", "", 404, "404 page not found\n"),
        ("/protolator/decode/common.Block/", "", 301, ""),
    ] {
        let (found, answer) = post(path, "text/plain", body).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(found == status && answer.contains(text), "{path}: {found} {answer}");
    }
    let response = ask(&[], Request::get("/protolator/decode/common.Block").body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// A name and a content.
type Part<'a> = (&'a str, &'a [u8]);

/// A form as browsers send it; parts whose names end with `=` are values, others files.
fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut form = Vec::new();
    for (name, content) in parts {
        let disposition = match name.strip_suffix('=') {
            Some(value) => format!("name=\"{value}\""),
            None => format!("name=\"{name}\"; filename=\"{name}.pb\""),
        };
        form.extend(format!("--frontier\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").bytes());
        form.extend_from_slice(content);
        form.extend(b"\r\n");
    }
    form.extend(b"--frontier--\r\n");
    form
}

#[tokio::test]
async fn an_update_is_computed_from_the_files_of_a_form() {
    const PATH: &str = "/configtxlator/compute/update-from-configs";
    const FORM: &str = "multipart/form-data; boundary=frontier";
    let (old, new) = (config("old"), config("new"));
    let parts: [Part<'_>; 3] = [("original", &old), ("updated", &new), ("channel=", b"sea")];
    let (status, update) = post(PATH, FORM, form(&parts)).await;
    assert_eq!(status, StatusCode::OK);
    let update = common::ConfigUpdate::decode(update.as_slice()).unwrap();
    assert_eq!((update.channel_id.as_str(), update.write_set.unwrap().mod_policy.as_str()), ("sea", "new"));
    let (_, update) = post(&format!("{PATH}?channel=lake"), FORM, form(&parts)).await;
    assert_eq!(common::ConfigUpdate::decode(update.as_slice()).unwrap().channel_id, "lake");

    let refusals: [(&[Part<'_>], &str); 5] = [
        (&[("original", &old)], "Error with field 'updated': error reading field bytes: http: no such file"),
        (&[("original=", &old), ("updated", &new)], "Error with field 'original': error reading field bytes: http: no"),
        (
            &[("original", b"x"), ("updated", &new)],
            "Error with field 'original': error unmarshalling field bytes: proto: ",
        ),
        (
            &[("original", &old), ("updated", &old)],
            "Error computing update: no differences detected between original and",
        ),
        (&[], "Error with field 'original': error reading field bytes: http: no such file"),
    ];
    for (parts, text) in refusals {
        let (status, answer) = post(PATH, FORM, form(parts)).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(status == StatusCode::BAD_REQUEST && answer.starts_with(text), "{answer}");
    }
    let (_, answer) = post(PATH, "multipart/form-data", "").await;
    assert!(String::from_utf8(answer).unwrap().contains("no multipart boundary param in Content-Type"));
}

#[tokio::test]
async fn pages_of_the_given_origins_may_use_the_server() {
    let asks = |origin: &str, method: Option<&str>, headers: &str| {
        let mut request = Request::builder().method(Method::OPTIONS).uri("/protolator/encode/common.Block");
        request = request.header("Origin", origin).header("Access-Control-Request-Headers", headers);
        if let Some(method) = method {
            request = request.header("Access-Control-Request-Method", method);
        }
        request.body(Body::empty()).unwrap()
    };
    let two = ["http://foo.com", "http://bar.com"];
    let cases: [(&[&str], _, u16, Option<&str>); 7] = [
        (&[], asks("http://foo.com", Some("POST"), "Content-Type"), 405, None),
        (&["*"], asks("http://foo.com", Some("POST"), "Content-Type"), 200, Some("*")),
        (&two, asks("http://foo.com", Some("POST"), "content-type, Accept"), 200, Some("http://foo.com")),
        (&two, asks("http://evil.com", Some("POST"), "Content-Type"), 200, None),
        (&two, asks("http://foo.com", None, ""), 400, None),
        (&two, asks("http://foo.com", Some("PUT"), ""), 405, None),
        (&two, asks("http://foo.com", Some("POST"), "X-Other"), 403, None),
    ];
    for (origins, request, status, allowed) in cases {
        let described = format!("{origins:?} {:?}", request.headers());
        let response = ask(origins, request).await;
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(
            (response.status().as_u16(), header("access-control-allow-origin")),
            (status, allowed),
            "{described}"
        );
        assert_eq!(header("access-control-allow-headers"), allowed.map(|_| "Content-Type"), "{described}");
        assert_eq!(header("vary"), allowed.filter(|origin| *origin != "*").map(|_| "Origin"), "{described}");
    }
    let request = Request::post("/protolator/encode/common.Block").header("Origin", "http://bar.com");
    let response = ask(&two, request.body(Body::from("{}")).unwrap()).await;
    assert_eq!(response.headers().get("access-control-allow-origin").unwrap(), "http://bar.com");
}

/// Runs the command; tells whether it succeeded.
fn run(folder: &Path, arguments: &str) -> bool {
    let arguments = arguments.replace("DIR", folder.to_str().unwrap());
    let arguments = std::iter::once("configtxlator").chain(arguments.split_whitespace()).map(OsString::from);
    format!("{:?}", crate::run(arguments)) == format!("{:?}", std::process::ExitCode::SUCCESS)
}

#[test]
fn files_are_translated_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("old.pb"), config("old")).unwrap();
    assert!(run(folder.path(), "proto_decode --type common.Config --input DIR/old.pb --output DIR/old.json"));
    let json = fs::read_to_string(path("old.json")).unwrap();
    fs::write(path("new.json"), json.replace("\"old\"", "\"new\"")).unwrap();
    assert!(run(folder.path(), "proto_encode --type=common.Config --input=DIR/new.json --output=DIR/new.pb"));
    assert_eq!(fs::read(path("new.pb")).unwrap(), config("new"));
    assert!(run(
        folder.path(),
        "compute_update --channel_id sea --original DIR/old.pb --updated DIR/new.pb --output DIR/update.pb"
    ));
    let update = common::ConfigUpdate::decode(fs::read(path("update.pb")).unwrap().as_slice()).unwrap();
    assert_eq!(update.channel_id, "sea");
    assert_eq!(update.write_set.unwrap().version, 1);
}

#[test]
fn a_command_that_fails_leaves_its_output_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    fs::write(&output, "kept").unwrap();
    fs::write(folder.path().join("bad"), [0x0a, 5]).unwrap();
    for arguments in [
        "proto_decode --type common.Config --input DIR/bad --output DIR/output",
        "proto_decode --type common.Sea --input DIR/bad --output DIR/output",
        "proto_encode --type common.Config --input DIR/bad --output DIR/output",
        "compute_update --channel_id sea --original DIR/bad --updated DIR/bad --output DIR/output",
        "compute_update --channel_id sea --updated DIR/bad --output DIR/output",
        "proto_decode --input DIR/bad --output DIR/output",
        "proto_decode --type common.Config --input DIR/missing --output DIR/output",
        "start --hostname 127.0.0.1 --port 99999",
    ] {
        assert!(!run(folder.path(), arguments), "{arguments}");
        assert_eq!(fs::read(&output).unwrap(), b"kept", "{arguments}");
    }
}
