use ripstop_command_line::say;
use std::fmt;
use std::time::Instant;

/// Prints what has been done, and when.
pub(crate) struct Progress {
    started: Instant,
}

impl Progress {
    /// Time runs from now on.
    pub(crate) fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Prints that something is done.
    pub(crate) fn done(&self, what: impl fmt::Display) {
        say!("{:>7.2} s  {what}", self.started.elapsed().as_secs_f64());
    }
}

/// The step that failed, as context of the reason, and what the reader can do about it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) what: String,
    pub(crate) advice: &'static str,
    /// The process whose log tells more.
    pub(crate) process: Option<String>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Step {
    /// A step that concerns one process.
    pub(crate) fn of(process: &str, what: impl Into<String>, advice: &'static str) -> Self {
        Self { what: what.into(), advice, process: Some(process.to_owned()) }
    }

    /// A step that concerns the whole network.
    pub(crate) fn new(what: impl Into<String>, advice: &'static str) -> Self {
        Self { what: what.into(), advice, process: None }
    }
}
