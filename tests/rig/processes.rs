//! The processes: a sandbox that lives as long as the run, and services that do not.

use anyhow::{Context as _, Result, bail};
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a process may take to be ready.
const START: Duration = Duration::from_mins(1);
/// How long a service that was told to stop may take.
const STOP: Duration = Duration::from_secs(45);
const PROGRAM: &str = env!("CARGO_BIN_EXE_chartwire");
/// Ignores the signal for a file that may not grow, which then is an error as on a full disk, and becomes the program.
const WITHOUT_SIGNAL: &str = r#"trap '' XFSZ; exec "$0" "$@""#;

/// A loopback address that nothing listens on.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the sandbox's parts are, as it says itself.
#[derive(serde::Deserialize)]
pub(crate) struct Places {
    pub(crate) ehr: String,
    pub(crate) fhir: String,
    pub(crate) carrier: String,
    pub(crate) staff_token: String,
}

/// The EHR and the carrier, which nobody kills.
pub(crate) struct Sandbox {
    pub(crate) places: Places,
    _process: Running,
}

impl Sandbox {
    /// Starts it; `service` is where webhooks and launches go.
    pub(crate) async fn start(folder: &Path, service: SocketAddr, zone: &str) -> Result<Self> {
        let log = File::create(folder.join("sandbox.log"))?;
        let child = Command::new(PROGRAM)
            .args(["sandbox", "--listen", "127.0.0.1:0", "--zone", zone, "--service", &service.to_string()])
            .arg("--data")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let process = Running(child);
        let told = folder.join("sandbox.json");
        let began = Instant::now();
        while !told.exists() {
            if began.elapsed() > START {
                bail!("the sandbox does not start: see sandbox.log");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { places: serde_json::from_slice(&std::fs::read(told)?)?, _process: process })
    }
}

/// How a service is started: the sandbox's settings, with what the rig sets over them.
#[derive(Clone)]
pub(crate) struct Installation {
    pub(crate) folder: PathBuf,
    /// Environment variables that set keys.
    pub(crate) overrides: Vec<(String, String)>,
}

impl Installation {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--config").arg(self.folder.join("chartwire.toml"));
        command.envs(self.overrides.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end: whether it ended well, and what it said.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let output = self.command(arguments).output()?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
    }
}

/// A service that can be killed, paused and started again at its address.
pub(crate) struct Service {
    name: &'static str,
    installation: Installation,
    pub(crate) address: SocketAddr,
    process: Option<Running>,
}

impl Service {
    pub(crate) fn new(name: &'static str, installation: &Installation, address: SocketAddr) -> Self {
        let mut installation = installation.clone();
        installation.overrides.push(("CHARTWIRE__SERVER__LISTEN".to_owned(), address.to_string()));
        Self { name, installation, address, process: None }
    }

    /// Starts it, without waiting until it is ready. Its words are kept in one file over all its lives.
    pub(crate) fn start(&mut self) -> Result<()> {
        let path = self.installation.folder.join(format!("{}.log", self.name));
        let log = File::options().create(true).append(true).open(path)?;
        let command = self.installation.command(&["serve"]);
        let mut wrapped = Command::new("/bin/sh");
        wrapped.args(["-c", WITHOUT_SIGNAL]).arg(command.get_program()).args(command.get_args());
        wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
        let child = wrapped.stdout(log.try_clone()?).stderr(log).spawn()?;
        self.process = Some(Running(child));
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self, http: &reqwest::Client) -> Result<()> {
        let url = format!("http://{}/readyz", self.address);
        let began = Instant::now();
        loop {
            let asked = http.get(&url).timeout(Duration::from_secs(2)).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let ended = match &mut self.process {
                Some(process) => process.0.try_wait()?,
                None => bail!("{} is not running", self.name),
            };
            if ended.is_some() || began.elapsed() > START {
                bail!("{} does not come up again: see its log", self.name);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Bounds the size that each of its files may have, in bytes: what would go beyond is refused. None: no bound.
    pub(crate) fn bound_files(&self, bytes: Option<u64>) -> Result<()> {
        let process = self.process.as_ref().context("a bound for a service that is not running")?;
        let soft = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
        let mut command = Command::new("prlimit");
        let command = command.arg("--pid").arg(process.0.id().to_string()).arg(format!("--fsize={soft}:unlimited"));
        if command.status()?.success() {
            Ok(())
        } else {
            bail!("prlimit (util-linux) could not bound the service's files")
        }
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let process = self.process.as_ref().context("the memory of a service that is not running")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a process without memory")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes * 1024)
    }

    /// SIGKILL, and its end is waited for: its address is free afterwards.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// SIGSTOP: it keeps its connections, its leases and what it was about to do.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// SIGCONT.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// SIGTERM; it has to end by itself, and well.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let began = Instant::now();
        while began.elapsed() < STOP {
            if let Some(status) = process.0.try_wait()? {
                return if status.success() { Ok(()) } else { bail!("{} ended with {status}", self.name) };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{} does not stop", self.name)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let process = self.process.as_ref().context("a signal to a service that is not running")?;
        let status = Command::new("kill").arg(format!("-{signal}")).arg(process.0.id().to_string()).status()?;
        if status.success() { Ok(()) } else { bail!("SIG{signal} could not be sent") }
    }
}
