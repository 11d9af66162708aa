//! What the HTTP listeners say, and what listeners of any kind do with bytes that are not theirs.

use ripstop_interop::CHANNEL;
use ripstop_transport::Endpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{Outcome, World};

const CHANNELS: &str = "/participation/v1/channels";
const FORM: &str = "multipart/form-data; boundary=xyz";

/// Sends bytes and reads all that comes back.
async fn exchange(endpoint: &Endpoint, request: &[u8]) -> Outcome {
    let mut stream = match endpoint.connect().await {
        Ok(stream) => stream,
        Err(error) => return ("none".to_owned(), error.to_string()),
    };
    // The server may answer and close before it has read all of it.
    let _ = stream.write_all(request).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap_or("none").to_owned();
    (status, answer)
}

fn request(method: &str, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let kind = if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A form of one file.
fn form(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n");
    [head.as_bytes(), content, b"\r\n--xyz--\r\n"].concat()
}

impl World {
    /// Asks the orderer to join the channel that a block describes.
    pub(crate) async fn join(&self, block: &[u8]) -> Outcome {
        let request = request("POST", CHANNELS, FORM, &form("config-block", block));
        exchange(&self.site.orderer_admin(), &request).await
    }
}

/// Requests to the channel participation API.
pub(crate) async fn participation(world: &World) {
    let admin = world.site.orderer_admin();
    let post = |kind: &str, body: &[u8]| request("POST", CHANNELS, kind, body);
    let get = |path: &str| request("GET", &format!("{CHANNELS}/{path}"), "", b"");
    let genesis = world.site.genesis_block();
    let first = form("config-block", b"x");
    let twice = [&first[..first.len() - b"--xyz--\r\n".len()], &form("config-block", b"y")].concat();
    let cases = [
        ("not a form", post("application/json", b"{}"), "400", "unsupported Content-Type: [application/json]"),
        ("no type", post("", b"x"), "400", "unsupported Content-Type: []"),
        ("no boundary", post("multipart/form-data", b"x"), "400", "cannot read form from request body"),
        ("an empty form", post(FORM, b""), "400", "cannot read form from request body"),
        ("a form that breaks off", post(FORM, b"--xyz\r\nContent-Disp"), "400", "cannot read form from request body"),
        ("other part", post(FORM, &form("block", b"x")), "400", "form does not contains part key: config-block"),
        ("two parts", post(FORM, &twice), "400", "form contains too many parts"),
        ("garbage", post(FORM, &form("config-block", b"\xff\xff")), "400", "into a block"),
        ("no block", post(FORM, &form("config-block", b"")), "400", "invalid join block"),
        ("a huge body", post(FORM, &form("config-block", &vec![0; 2 << 20])), "400", "cannot read form"),
        ("known channel", post(FORM, &form("config-block", &genesis)), "405", "channel already exists"),
        ("half a block", post(FORM, &form("config-block", &genesis[..genesis.len() / 2])), "400", ""),
        ("unknown channel", get("other"), "404", "channel does not exist"),
        ("channel name", get("UPPER"), "400", "invalid channel ID"),
        ("a path as channel", get("..%2f..%2fetc"), "400", "invalid channel ID"),
        ("no text as channel", get("%ff"), "400", ""),
        ("a long name", get(&"a".repeat(300)), "400", "invalid channel ID"),
        ("unknown path", request("GET", "/participation/v2", "", b""), "404", ""),
        ("remove unknown", request("DELETE", &format!("{CHANNELS}/other"), "", b""), "404", "channel does not exist"),
        ("remove by no name", request("DELETE", &format!("{CHANNELS}/UP"), "", b""), "400", "invalid channel ID"),
        ("method", request("PATCH", CHANNELS, "", b""), "405", "invalid request method: PATCH"),
        ("update garbage", request("PUT", CHANNELS, FORM, &form("config-update-envelope", b"\xff")), "400", ""),
        ("block id", get(&format!("{CHANNEL}/blocks/none")), "400", "invalid block ID"),
        ("block number", get(&format!("{CHANNEL}/blocks/18446744073709551615")), "404", ""),
        ("no HTTP", b"\x16\x03\x01 hello\r\n\r\n".to_vec(), "400", ""),
    ];
    for (name, request, status, words) in cases {
        world.expect(&format!("participation, {name}"), &exchange(&admin, &request).await, status, words);
    }
}

/// Requests to the operations listener of a peer.
pub(crate) async fn operations(world: &World) {
    let endpoint = world.site.operations(1);
    let cases = [
        ("no JSON", request("PUT", "/logspec", "application/json", b"{"), "400", ""),
        ("no spec", request("PUT", "/logspec", "application/json", b"{\"spec\": \"=x=:\"}"), "400", ""),
        ("a huge spec", request("PUT", "/logspec", "application/json", &vec![b'['; 4 << 20]), "400", ""),
        ("unknown path", request("GET", "/../../etc/passwd", "", b""), "404", ""),
        ("method", request("DELETE", "/logspec", "", b""), "400", ""),
        ("healthy", request("GET", "/healthz", "", b""), "200", "OK"),
    ];
    for (name, request, status, words) in cases {
        world.expect(&format!("operations, {name}"), &exchange(&endpoint, &request).await, status, words);
    }
}

/// Bytes that are no TLS, to every listener that speaks TLS.
pub(crate) async fn no_tls(world: &World) {
    let listeners =
        [world.site.peer(1), world.site.chaincode_listener(1), world.site.orderer(), world.site.orderer_admin()];
    for endpoint in listeners {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[0x16, 3, 1, 0xff, 0xff, 0xff],
            &[0; 64],
        ] {
            let Ok(mut stream) = TcpStream::connect(endpoint.address()).await else {
                world.fail(format!("{} does not listen any more", endpoint.address()));
                continue;
            };
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
        }
        // Without a certificate, and with bytes that are no HTTP/2 behind a good handshake.
        let _ = exchange(&endpoint, b"\0\0\xff\x04\xff\xff\xff\xff\xff garbage").await;
    }
}
