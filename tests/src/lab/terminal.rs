//! A real terminal for testing what is drawn on one: tmux, with a shell in it.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, fs, process};

use anyhow::{Context, Result, bail, ensure};

/// How often the picture is looked at while waiting.
const LOOK: Duration = Duration::from_millis(100);

/// A terminal with a shell. Ends with everything in it when dropped.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Open one of that size, columns and lines.
    pub fn open(width: u16, height: u16) -> Result<Self> {
        let socket = env::temp_dir().join(format!("dnsprobe-terminal-{}", process::id()));
        let terminal = Self { socket };
        let (width, height) = (width.to_string(), height.to_string());
        let size = ["-x", &width, "-y", &height];
        terminal
            .tmux(&[&["new-session", "-d"], &size[..], &["env", "PS1=$ ", "sh", "-i"]].concat())?;
        terminal.wait_for("$", Duration::from_secs(20))?;
        Ok(terminal)
    }

    fn tmux(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(&self.socket)
            .args(["-f", "/dev/null", "-u"])
            .args(args)
            .env_remove("TMUX")
            .env("TERM", "xterm-256color")
            .output()
            .context("cannot run tmux; `cargo xtask setup` installs it")?;
        ensure!(
            output.status.success(),
            "tmux {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Type this text and Enter.
    pub fn type_line(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-l", text])?;
        self.press("Enter")
    }

    /// Press one key, by tmux's name of it.
    pub fn press(&self, key: &str) -> Result<()> {
        self.tmux(&["send-keys", key]).map(drop)
    }

    /// Make the terminal another size.
    pub fn resize(&self, width: u16, height: u16) -> Result<()> {
        let (width, height) = (width.to_string(), height.to_string());
        self.tmux(&["resize-window", "-x", &width, "-y", &height]).map(drop)
    }

    /// What is on the screen, line by line.
    pub fn picture(&self) -> Result<Vec<String>> {
        let text = self.tmux(&["capture-pane", "-p"])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The same with the sequences that colour it.
    pub fn coloured_picture(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    /// Whether a program has taken the whole screen.
    pub fn is_taken_over(&self) -> Result<bool> {
        Ok(self.tmux(&["display-message", "-p", "#{alternate_on}"])?.trim() == "1")
    }

    /// Wait until the picture has this text, and give the picture.
    pub fn wait_for(&self, text: &str, timeout: Duration) -> Result<Vec<String>> {
        self.wait_until(&format!("\"{text}\""), timeout, |lines| {
            lines.iter().any(|line| line.contains(text))
        })
    }

    /// Wait until the picture is as wanted, and give it.
    pub fn wait_until(
        &self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&[String]) -> bool,
    ) -> Result<Vec<String>> {
        let end = Instant::now() + timeout;
        loop {
            let lines = self.picture()?;
            if wanted(&lines) {
                return Ok(lines);
            }
            if Instant::now() > end {
                bail!("waited in vain for {what}; the screen is:\n{}", lines.join("\n"));
            }
            sleep(LOOK);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]);
        let _ = fs::remove_file(&self.socket);
    }
}
