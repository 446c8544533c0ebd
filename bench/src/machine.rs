//! The machine of a run.

use anyhow::Result;
use serde::Serialize;

use crate::subject::first_line;

/// The machine and the tools.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    rustc: String,
    revision: String,
    /// The one-minute load average at the beginning of the run.
    load: String,
    time: String,
    profile: &'static str,
}

impl Machine {
    /// Describes this machine.
    ///
    /// # Errors
    /// When the tools' versions cannot be determined.
    pub fn this() -> Result<Self> {
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
        Ok(Self {
            processor: model.map_or("unknown", |line| line.trim_start_matches(['\t', ' ', ':'])).to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            rustc: first_line("rustc", &["--version"])?,
            revision: first_line("git", &["describe", "--always", "--dirty"])?,
            load: std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
            time: first_line("date", &["--utc", "+%Y-%m-%d %H:%M UTC"])?,
            profile: if cfg!(debug_assertions) { "debug: the figures are meaningless" } else { "release" },
        })
    }

    /// The machine in one line.
    #[must_use]
    pub fn shown(&self) -> String {
        let Self { processor, cores, kernel, rustc, revision, load, time, profile } = self;
        format!(
            "{time}; {processor}, {cores} cores, Linux {kernel}; {rustc}; {profile}; revision {revision}; load {load}"
        )
    }
}
