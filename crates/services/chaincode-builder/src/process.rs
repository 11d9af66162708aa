//! Programs as child processes: cleaned environment, own process group, limits, and an end in any case.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::{Exit, ProgramError};
use crate::output::{Listener, Voice};

/// How long a process may take to end after SIGTERM; then it is killed (Fabric: `TermTimeout`).
const TERM_PATIENCE: Duration = Duration::from_secs(5);
/// How often starting a program is tried that was just written, while the writing end is still open in a process that is
/// being started at the same moment.
const BUSY_ATTEMPTS: usize = 10;
/// The pause between.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// Sets limits and becomes the program. A limit that the system does not know or has set lower already is left out.
const WITH_LIMITS: &str = r#"ulimit -c 0 2>/dev/null
[ "$1" = none ] || ulimit -d "$1" 2>/dev/null
[ "$2" = none ] || ulimit -t "$2" 2>/dev/null
[ "$3" = none ] || ulimit -f "$3" 2>/dev/null
[ "$4" = none ] || ulimit -n "$4" 2>/dev/null
shift 4
exec "$@""#;

/// How many bytes the shell counts as one in a limit on the size of files.
const FILE_SIZE_UNIT: u64 = 512;

/// What each process of a program may use. Its children get the same again, each for itself. There is none on the number of
/// processes: the system counts all of a user (`RLIMIT_NPROC`), so that one chaincode would use up what the peer and all
/// others may start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of memory that it writes (`RLIMIT_DATA`).
    pub(crate) memory: Option<u64>,
    /// Time on a processor (`RLIMIT_CPU`).
    pub(crate) cpu_time: Option<Duration>,
    /// Bytes of each file that it writes (`RLIMIT_FSIZE`).
    pub(crate) file_size: Option<u64>,
    /// Files and connections that it has open (`RLIMIT_NOFILE`).
    pub(crate) open_files: Option<u64>,
}

/// A program to be started.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) environment: BTreeMap<String, String>,
    /// Where it runs; none is where the peer runs.
    pub(crate) directory: Option<PathBuf>,
    pub(crate) limits: Limits,
    pub(crate) voice: Voice,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = match self.limits {
            Limits { memory: None, cpu_time: None, file_size: None, open_files: None } => Command::new(&self.path),
            Limits { memory, cpu_time, file_size, open_files } => {
                let number = |limit: Option<u64>| limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
                let mut command = Command::new("/bin/sh");
                command.args(["-c", WITH_LIMITS, "sh"]);
                command.arg(number(memory.map(|bytes| bytes / 1024)));
                command.arg(number(cpu_time.map(|time| time.as_secs())));
                command.arg(number(file_size.map(|bytes| bytes / FILE_SIZE_UNIT)));
                command.arg(number(open_files));
                command.arg(&self.path);
                command
            }
        };
        command.args(&self.args).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    async fn spawn(self) -> Result<Process, ProgramError> {
        let mut attempts = 0;
        let mut child = loop {
            attempts += 1;
            match self.command().spawn() {
                Ok(child) => break child,
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < BUSY_ATTEMPTS => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(source) => return Err(ProgramError::Start { program: self.path, source }),
            }
        };
        let group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let mut listener = Listener::new(self.voice);
        if let Some(pipe) = child.stdout.take() {
            listener.listen(pipe);
        }
        if let Some(pipe) = child.stderr.take() {
            listener.listen(pipe);
        }
        Ok(Process { child, group, listener })
    }

    /// Runs the program to its end. When nobody waits any longer, it is killed with all it has started.
    pub(crate) async fn run(self) -> Result<(), ProgramError> {
        let path = self.path.clone();
        let Process { mut child, group, listener } = self.spawn().await?;
        let status = child.wait().await.map_err(|source| ProgramError::Start { program: path, source })?;
        drop(group);
        let output = listener.last_lines().await;
        match status.success() {
            true => Ok(()),
            false => Err(ProgramError::Failed { exit: Exit::new(status), output }),
        }
    }

    /// Starts the program as a process that goes on by itself. The directory is removed when it has ended.
    pub(crate) async fn start(self, directory: TempDir) -> Result<Running, ProgramError> {
        let process = self.spawn().await?;
        let (sender, exit) = watch::channel(None);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            let exit = process.attend(stopping).await;
            drop(directory);
            sender.send_replace(Some(exit));
        });
        Ok(Running { exit, stop })
    }
}

/// A child process with its group.
struct Process {
    child: Child,
    group: Group,
    listener: Listener,
}

impl Process {
    /// Waits for the process to end, and ends it when asked to.
    async fn attend(self, stopping: CancellationToken) -> Exit {
        let Self { mut child, group, listener } = self;
        let ended = tokio::select! {
            ended = child.wait() => ended,
            () = stopping.cancelled() => {
                group.signal(Signal::TERM);
                match tokio::time::timeout(TERM_PATIENCE, child.wait()).await {
                    Ok(ended) => ended,
                    Err(_) => {
                        group.signal(Signal::KILL);
                        child.wait().await
                    }
                }
            }
        };
        drop(group);
        listener.last_lines().await;
        // That a child of ours cannot be waited for does not happen; it is gone then in any case.
        Exit::new(ended.unwrap_or_default())
    }
}

/// The process group that a child leads; what is left of it is killed in the end. (The number of a group is not given away
/// again as long as a process is in it. When it is empty, nobody else has had the time to become its successor.)
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // An error means that the group is gone.
            kill_process_group(leader, signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A chaincode's process. When this is dropped, it is stopped.
#[derive(Debug)]
pub struct Running {
    exit: watch::Receiver<Option<Exit>>,
    stop: CancellationToken,
}

impl Running {
    /// Completes when the process has ended, and its group has been killed; with nothing when the runtime ends before it.
    pub async fn exited(&self) -> Option<Exit> {
        self.end().wait().await
    }

    /// Sends SIGTERM, after some seconds SIGKILL, and waits for the end.
    pub async fn stop(&self) -> Option<Exit> {
        self.stop.cancel();
        self.exited().await
    }

    /// Its end, for those who do not keep it running.
    pub fn end(&self) -> End {
        End(self.exit.clone())
    }
}

/// The end of a process, to be waited for.
#[derive(Debug, Clone)]
pub struct End(watch::Receiver<Option<Exit>>);

impl End {
    /// Completes as [`Running::exited`] does.
    pub async fn wait(mut self) -> Option<Exit> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|exit| *exit)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shell(script: &str, limits: Limits) -> Program {
        Program {
            path: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            environment: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            directory: None,
            limits,
            voice: Voice::Chaincode("test:1".to_owned()),
        }
    }

    async fn run(script: &str, limits: Limits) -> Result<(), String> {
        shell(script, limits).run().await.map_err(|error| error.to_string())
    }

    fn is_alive(pid: &str) -> bool {
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        // Who waits to be collected by somebody else's init is dead all the same.
        rustix::process::test_kill_process(pid).is_ok()
            && !fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
                .is_ok_and(|stat| stat.contains(") Z "))
    }

    /// Waits for what another process does.
    async fn until(mut happened: impl FnMut() -> bool) {
        let waiting = async {
            while !happened() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it happens within a minute");
    }

    #[tokio::test]
    async fn the_end_of_a_program_is_told_in_gos_words() {
        let free = Limits::default();
        assert_eq!(run("exit 0", free).await, Ok(()));
        assert_eq!(
            run("echo one; echo two >&2; exit 3", free).await.map_err(|text| text.len() > 20 && text.contains("one")),
            Err(true)
        );
        assert_eq!(run("exit 1", free).await, Err("exit status 1".to_owned()));
        assert_eq!(run("kill -9 $$", free).await, Err("signal: killed".to_owned()));
        let missing = Program { path: "/no/such/program".into(), ..shell("", free) };
        let error = missing.run().await.unwrap_err().to_string();
        assert!(error.starts_with("fork/exec /no/such/program: No such file or directory"), "{error}");
    }

    #[tokio::test]
    async fn a_program_sees_only_what_it_is_given() {
        assert_eq!(run(r#"[ -z "$HOME$CARGO" ] && [ -n "$PATH" ]"#, Limits::default()).await, Ok(()));
    }

    #[tokio::test]
    async fn limits_hold_for_the_program_and_what_it_starts() {
        let limits = Limits {
            memory: Some(512 * 1024 * 1024),
            cpu_time: Some(Duration::from_secs(77)),
            file_size: Some(64 * 1024),
            open_files: Some(99),
        };
        let holds =
            r#"[ $(ulimit -d) = 524288 ] && [ $(ulimit -t) = 77 ] && [ $(ulimit -c) = 0 ] && [ $(ulimit -n) = 99 ]"#;
        assert_eq!(run(holds, limits).await, Ok(()));
        let file = tempfile::NamedTempFile::new().unwrap();
        let fills = format!("head -c 100000 /dev/zero > {}", file.path().display());
        assert!(run(&fills, limits).await.is_err());
        assert_eq!(file.path().metadata().unwrap().len(), 64 * 1024);
        let spins = Limits { cpu_time: Some(Duration::from_secs(1)), ..limits };
        assert_eq!(run("while :; do :; done", spins).await, Err("signal: killed".to_owned()));
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}", file.display());
        assert_eq!(run(&script, Limits::default()).await, Ok(()));
        let left = fs::read_to_string(&file).unwrap();
        until(|| !is_alive(&left)).await;
    }

    #[tokio::test]
    async fn a_program_that_nobody_waits_for_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let mut waiting = Box::pin(run_text(format!("echo $$ > {}; sleep 600", file.display())));
        let read = || fs::read_to_string(&file).unwrap_or_default();
        tokio::select! {
            _ = &mut waiting => panic!("the program sleeps"),
            () = until(|| read().ends_with('\n')) => {}
        }
        let pid = read();
        drop(waiting);
        until(|| !is_alive(&pid)).await;
    }

    async fn run_text(script: String) -> Result<(), String> {
        run(&script, Limits::default()).await
    }

    #[tokio::test]
    async fn a_process_is_asked_to_end_before_it_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("said");
        let script = format!(
            "trap 'echo asked >> {0}; exit 7' TERM; echo ready > {0}; while :; do sleep 0.01; done",
            file.display()
        );
        let running = shell(&script, Limits::default()).start(tempfile::tempdir().unwrap()).await.unwrap();
        until(|| fs::read_to_string(&file).is_ok_and(|said| said == "ready\n")).await;
        assert_eq!(running.stop().await.map(|exit| exit.code()), Some(7));
        assert_eq!(fs::read_to_string(&file).unwrap(), "ready\nasked\n");
    }
}
