//! Nothing outlives the stack, not even when the stack itself is killed.
//!
//! An idle function ends by itself when its Runtime API is gone; a busy one only after its work, which may be never.
//! So all sandboxes are in the process group of one shell that waits for the end of its input. The only writer is
//! this process: however it ends, the kernel closes the pipe, and the shell takes the whole group with it.

use std::process::Stdio;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

pub(crate) struct ProcessGroup {
    shell: Child,
    group: i32,
}

impl ProcessGroup {
    pub(crate) fn start() -> Result<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", "read _; kill -KILL 0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group also keeps Ctrl-C in the terminal for us: we end our processes in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot run /bin/sh")?;
        let group = shell.id().and_then(|id| i32::try_from(id).ok()).context("/bin/sh ended at once")?;
        Ok(Self { shell, group })
    }

    /// The process group for sandboxes.
    pub(crate) fn id(&self) -> i32 {
        self.group
    }

    pub(crate) async fn stop(mut self) {
        // It fails only if the shell has ended already.
        let _ = self.shell.kill().await;
    }
}
