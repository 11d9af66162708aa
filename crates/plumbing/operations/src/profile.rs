use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use ripstop_transport::{Listener, serve_http};

/// The profiling endpoint, below `/debug/pprof/` as that of Go programs. What Go's runtime would measure inside the process
/// is measured from outside here; each such path says how.
pub struct Profiling {
    report: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
}

impl std::fmt::Debug for Profiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profiling").finish_non_exhaustive()
    }
}

impl Profiling {
    /// `report` lists what runs, a line each.
    pub fn new(report: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Self {
        Self { report: Arc::new(report) }
    }

    /// Serves until `shutdown` completes.
    pub async fn serve(self, listener: Listener, shutdown: impl Future<Output = ()> + Send) {
        serve_http(listener, None, self.router(), shutdown).await;
    }

    fn router(self) -> Router {
        let report = self.report;
        let tasks = move || {
            let lines = report();
            async move { lines.join("\n") + "\n" }
        };
        Router::new()
            .route("/debug/pprof/", get(async || INDEX))
            .route("/debug/pprof/goroutine", get(tasks))
            .route("/debug/pprof/cmdline", get(async || std::env::args().collect::<Vec<_>>().join("\0")))
            .route("/debug/pprof/{profile}", get(async || (StatusCode::NOT_IMPLEMENTED, from_outside())))
            .fallback(async || (StatusCode::NOT_FOUND, "404 page not found\n"))
    }
}

const INDEX: &str = "goroutine  the tasks that run, by their names\n\
                     cmdline    the command line of this process\n\
                     profile, heap and the others are taken from outside; each says how\n";

fn from_outside() -> String {
    let process = std::process::id();
    format!(
        "This process is no Go program and takes no profile of itself. Take it from outside, for example with\n\
         perf record -g -p {process} -- sleep 30\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request;

    #[tokio::test]
    async fn the_endpoint_tells_what_it_has_and_where_the_rest_comes_from() {
        let ask = async |path: &str| {
            let profiling = Profiling::new(|| vec!["servers/listener: 1 running".to_owned()]);
            let listener = Listener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.address().to_string();
            let serving = tokio::spawn(profiling.serve(listener, std::future::pending()));
            let answer = request(&address, &format!("GET {path} HTTP/1.1")).await;
            serving.abort();
            answer
        };
        let tasks = ask("/debug/pprof/goroutine?debug=2").await;
        assert!(tasks.starts_with("HTTP/1.1 200") && tasks.ends_with("servers/listener: 1 running\n"), "{tasks}");
        let profile = ask("/debug/pprof/profile?seconds=1").await;
        assert!(profile.starts_with("HTTP/1.1 501") && profile.contains("perf record"), "{profile}");
        assert!(ask("/debug/pprof/").await.contains("goroutine"));
        assert!(ask("/").await.starts_with("HTTP/1.1 404"));
    }
}
