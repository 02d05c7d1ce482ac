//! Where things are, and how cargo is called.
use anyhow::{Context, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The crates whose proofs count, in the order of their dependencies.
pub const VERIFIED_CRATES: [&str; 2] = ["vellum-machine", "vellum"];

/// The workspace that is worked on.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
    /// Where builds go.
    pub target: PathBuf,
}

impl Workspace {
    /// The workspace that this command was built in.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask stands in a workspace")?;
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Ok(Workspace { root: root.to_owned(), target })
    }

    /// Cargo in the workspace, of the toolchain that runs this command.
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        cargo
    }

    /// What the compiler of the toolchain that runs this command prints.
    pub fn rustc_output(&self, arguments: &[&str]) -> Result<String> {
        let mut rustc = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        let output = rustc.args(arguments).current_dir(&self.root).output().context("rustc")?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `cargo verus`, which brings a toolchain of its own.
    pub fn cargo_verus(&self) -> Command {
        let mut cargo = self.other("cargo");
        cargo.arg("verus");
        cargo
    }

    /// A program of another toolchain than the one that runs this command.
    pub fn other(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in
            ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "RUST_RECURSION_COUNT", "LD_LIBRARY_PATH"]
        {
            command.env_remove(variable);
        }
        command.current_dir(&self.root);
        command
    }

    /// Copies what may be source, no history and no builds, to an empty folder.
    pub fn copy_to(&self, copy: &Path) -> Result<()> {
        if copy.exists() {
            fs::remove_dir_all(copy)?;
        }
        copy_folder(&self.root, copy, &self.target)
    }

    /// Where the verifier builds.
    pub fn verus_target(&self) -> PathBuf {
        self.target.join("verus")
    }
}

fn copy_folder(from: &Path, to: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let text = name.to_string_lossy();
        if text == ".git" || text.starts_with("target") || path == target {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &to.join(&name), target)?;
        } else {
            fs::copy(path, to.join(&name))?;
        }
    }
    Ok(())
}

/// Whether a program of that name is on the `PATH`.
pub fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Runs a command and gives whether it succeeded and all that it printed.
pub fn captured(mut command: Command) -> Result<(bool, String)> {
    let (reader, writer) = std::io::pipe()?;
    let mut child = command.stdout(writer.try_clone()?).stderr(writer).stdin(Stdio::null()).spawn()?;
    drop(command); // the writers' last owners, so that the reader sees the end
    let output = std::io::read_to_string(reader)?;
    Ok((child.wait()?.success(), output))
}

/// Whether a release `1.N...` is at least the one that the project asks for.
pub fn is_recent(release: &str) -> bool {
    let minor = |version: &str| version.split('.').nth(1)?.parse::<u32>().ok();
    minor(release) >= minor(env!("CARGO_PKG_RUST_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_release_is_not_asked() {
        assert!(is_recent("1.97.0-nightly") && is_recent(env!("CARGO_PKG_RUST_VERSION")));
        assert!(!is_recent("1.60.0-nightly") && !is_recent("?"));
    }
}
