//! Debian's compiler and the sources of its libraries, in a folder of the project's.
//!
//! They are fetched with `apt-get download` and unpacked with `dpkg --extract`, which want no root and install nothing. What is
//! there stays, by release: a folder gets its name when all is in it.
use crate::workspace::{captured, is_on_path, is_recent};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What is fetched of Debian's `version` beside the library that the compiler is; all of it must be of one version.
const PACKAGES: [&str; 4] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src", "rust-web-clippy"];

/// Whether this is a system that has Debian's packages.
pub fn is_here() -> bool {
    ["apt-get", "apt-cache", "dpkg"].into_iter().all(is_on_path)
}

/// Debian's compiler, fetched if it is not there yet; an error says which step failed. It is tried once only.
pub fn compiler(folder: &Path) -> Result<Compiler> {
    static TRIED: OnceLock<Result<Compiler, String>> = OnceLock::new();
    let tried = TRIED.get_or_init(|| get(folder).map_err(|error| format!("{error:#}")));
    tried.clone().map_err(|why| anyhow!(why))
}

/// A compiler that was unpacked and runs.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// Its `usr`.
    prefix: PathBuf,
    /// Where it finds the libraries that it is linked with.
    libraries: Vec<PathBuf>,
}

impl Compiler {
    /// The one that was unpacked there, if it runs.
    fn at(folder: &Path) -> Result<Compiler> {
        let prefix = folder.join("usr");
        let libraries = library_folders(folder)?;
        let compiler = Compiler { prefix, libraries };
        let mut rustc = Command::new(compiler.rustc());
        rustc.arg("-vV").env("LD_LIBRARY_PATH", compiler.library_path()?);
        let (runs, output) = captured(rustc).context("rustc -vV")?;
        ensure!(runs, "rustc -vV: {}", complaint(&output));
        let sources = compiler.prefix.join("lib/rustlib/src/rust/library/Cargo.lock");
        ensure!(sources.is_file(), "there is no {}", sources.display());
        Ok(compiler)
    }

    fn rustc(&self) -> PathBuf {
        self.prefix.join("bin/rustc")
    }

    fn library_path(&self) -> Result<OsString> {
        let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let before = env::split_paths(&before).filter(|folder| !folder.as_os_str().is_empty());
        Ok(env::join_paths(self.libraries.iter().cloned().chain(before))?)
    }

    /// Has cargo use this compiler.
    pub fn used_by(&self, cargo: &mut Command) -> Result<()> {
        cargo.env("RUSTC", self.rustc()).env("LD_LIBRARY_PATH", self.library_path()?);
        Ok(())
    }

    /// `cargo clippy`, of this compiler: another one's reads none of its libraries.
    pub fn clippy(&self, cargo: &Command) -> Command {
        let mut clippy = Command::new(self.prefix.join("bin/cargo-clippy"));
        clippy.env("CARGO", cargo.get_program());
        clippy
    }
}

fn get(folder: &Path) -> Result<Compiler> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let lock = File::create(folder.join("lock"))?;
    lock.lock()?; // until the end: another run of this command waits
    match kept(folder)? {
        Some(compiler) => Ok(compiler),
        None => fetch(folder),
    }
}

/// The newest compiler that is there, new enough and runs.
fn kept(folder: &Path) -> Result<Option<Compiler>> {
    let names = fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut releases: Vec<_> = names.filter_map(|name| Release::of(&name)).collect();
    releases.sort();
    let recent = releases.into_iter().rev().map(|release| release.to_string()).filter(|name| is_recent(name));
    Ok(recent.filter_map(|name| Compiler::at(&folder.join(name)).ok()).next())
}

fn fetch(folder: &Path) -> Result<Compiler> {
    println!(
        "   fetches Debian's compiler and the sources of its libraries, once, into {}",
        folder.display()
    );
    println!(
        "   (quicker where rustup reaches its server: stop this, and `rustup target add` as CONTRIBUTING.md says)"
    );
    let (version, release) = candidate().context("Debian's compiler")?;
    let library = format!("libstd-rust-web-{}={version}", release.minor());
    let mut packages: Vec<_> = PACKAGES.iter().map(|package| format!("{package}={version}")).collect();
    packages.extend(missing_of(&library).context("what Debian's compiler wants")?);
    packages.push(library);

    let partial = folder.join("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let archives = partial.join("packages");
    fs::create_dir_all(&archives)?;
    println!("   apt-get download {} (140 MB and more)", packages.join(" "));
    let mut download = apt("apt-get");
    // As root it would warn that its own user may not write there.
    download.args(["--quiet", "--option", "APT::Sandbox::User=root", "download"]);
    step(download.args(&packages).current_dir(&archives), "apt-get download")?;
    println!("   dpkg --extract, each of {}", packages.len());
    for archive in fs::read_dir(&archives)? {
        step(Command::new("dpkg").arg("--extract").arg(archive?.path()).arg(&partial), "dpkg --extract")?;
    }
    fs::remove_dir_all(&archives)?;
    keep_libraries_alone(&partial.join("usr/src"))?;
    Compiler::at(&partial).context("Debian's compiler, unpacked")?;

    let whole = folder.join(release.to_string());
    if whole.exists() {
        fs::remove_dir_all(&whole)?;
    }
    fs::rename(&partial, &whole)?;
    println!("   Debian's compiler {release} is ready");
    Compiler::at(&whole)
}

/// Which version of the compiler apt would install, and the release that it is.
fn candidate() -> Result<(String, Release)> {
    let output = step(apt("apt-cache").args(["show", "--no-all-versions", PACKAGES[0]]), "apt-cache show")
        .with_context(|| format!("apt knows no {}; `apt-get update` may help", PACKAGES[0]))?;
    let version = field(&output, "Version").context("apt-cache show names no version")?;
    let release = Release::of(version).with_context(|| format!("{version} is no release of the compiler"))?;
    if !is_recent(&release.to_string()) {
        bail!(
            "{} {version} is older than {}; the archive of Debian's security team may have a newer one",
            PACKAGES[0],
            env!("CARGO_PKG_RUST_VERSION")
        );
    }
    Ok((version.to_owned(), release))
}

/// Which packages a package needs that this system has not.
fn missing_of(package: &str) -> Result<Vec<String>> {
    let mut install = apt("apt-get");
    install.args(["--quiet", "--simulate", "--no-install-recommends", "install", package]);
    let output = step(&mut install, "apt-get --simulate install")?;
    let name = package.split('=').next().unwrap_or(package);
    Ok(installed_anew(&output).filter(|(new, _)| *new != name).map(|(new, v)| format!("{new}={v}")).collect())
}

/// The packages, with their versions, of which a simulated installation says that they would be new.
fn installed_anew(output: &str) -> impl Iterator<Item = (&str, &str)> {
    output.lines().filter_map(|line| {
        // An installed one that would be upgraded has its version in brackets there.
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
        let version = rest.split_whitespace().next()?;
        (!name.contains('[')).then_some((name, version))
    })
}

/// The value of a field of a package's description.
fn field<'a>(description: &'a str, name: &str) -> Option<&'a str> {
    description.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A program of apt, which speaks English.
fn apt(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C");
    command
}

/// Carries out a step and gives what it printed; an error has what it complained of.
fn step(command: &mut Command, name: &str) -> Result<String> {
    let output = command.output().with_context(|| name.to_owned())?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}", complaint(&complaints));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The line that says what is wrong.
fn complaint(output: &str) -> &str {
    let mut errors = output.lines().filter(|line| line.starts_with("E: "));
    errors.next().or(output.lines().next_back()).unwrap_or("it fails and says nothing")
}

/// Removes the compiler's own sources, which are most.
fn keep_libraries_alone(sources: &Path) -> Result<()> {
    for release in fs::read_dir(sources).with_context(|| sources.display().to_string())? {
        for entry in fs::read_dir(release?.path())? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && entry.file_name() != "library" {
                fs::remove_dir_all(entry.path())?;
            }
        }
    }
    Ok(())
}

/// The folders with shared libraries, which are named after the architecture.
fn library_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for above in [folder.join("usr/lib"), folder.join("lib")] {
        let Ok(entries) = fs::read_dir(above) else { continue };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().to_string_lossy().ends_with("-linux-gnu") {
                folders.push(entry.path());
            }
        }
    }
    Ok(folders)
}

/// A release of the compiler.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Release([u32; 3]);

impl Release {
    /// The one that a version of a package is of.
    fn of(version: &str) -> Option<Release> {
        let numbers = version.split(['+', '-', '~']).next()?;
        let numbers: Vec<u32> =
            numbers.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
        Some(Release(numbers.try_into().ok()?))
    }

    /// As the compiler's library has it in its name.
    fn minor(self) -> String {
        format!("{}.{}", self.0[0], self.0[1])
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_of_a_package_names_a_release() {
        let release = Release::of("1.96.0+dfsg1-1~deb12u2").expect("a release");
        assert_eq!((release.to_string(), release.minor()), ("1.96.0".into(), "1.96".into()));
        assert_eq!(Release::of("1.96.0"), Some(release));
        assert!(Release::of("1.100.0-1") > Some(release));
        for none in ["partial", "lock", "", "1.96", "1.96.0.1", "1.x.0"] {
            assert_eq!(Release::of(none), None, "{none}");
        }
    }

    #[test]
    fn a_description_names_its_version() {
        let description = "Package: rustc-web\nVersion: 1.96.0+dfsg1-1~deb12u2\nDepends: libc6\n";
        assert_eq!(field(description, "Version"), Some("1.96.0+dfsg1-1~deb12u2"));
        assert_eq!(field(description, "Vers"), None);
    }

    #[test]
    fn what_is_there_is_not_fetched_to_be_upgraded() {
        let output = "The following NEW packages will be installed:\n  libllvm22\n\
            Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64]) []\n\
            Inst libllvm22 (1:22.1.8-1~deb12u1 Debian-Security:12/oldstable-security [amd64])\n\
            Conf libllvm22 (1:22.1.8-1~deb12u1 Debian-Security:12/oldstable-security [amd64])\n";
        assert_eq!(installed_anew(output).collect::<Vec<_>>(), [("libllvm22", "1:22.1.8-1~deb12u1")]);
    }

    #[test]
    fn apt_says_what_is_wrong_on_a_line_of_its_own() {
        assert_eq!(complaint("W: slow\nE: 404  Not Found\nE: gave up"), "E: 404  Not Found");
        assert_eq!(complaint("first\ncannot open libLLVM"), "cannot open libLLVM");
        assert_eq!(complaint(""), "it fails and says nothing");
    }
}
