//! The compiler of the kernel for bare metal, and where `core` and `alloc` for its target come from.
use crate::debian;
use crate::workspace::{Workspace, captured, is_on_path};
use anyhow::Result;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the kernel uses of the compiler's libraries.
const LIBRARIES: &str = "core,alloc,compiler_builtins";

/// Linkers for targets without an operating system, where the compiler brings none.
const LINKERS: [&str; 2] = ["ld.lld", "rust-lld"];

/// A compiler with libraries for a target.
#[derive(Clone, Debug)]
pub struct Toolchain {
    target: &'static str,
    /// None where the compiler brings the libraries; else what builds them.
    sources: Option<Sources>,
}

/// What builds the libraries of a target.
#[derive(Clone, Debug)]
struct Sources {
    /// Debian's compiler, where that of the toolchain at hand has no sources.
    debian: Option<debian::Compiler>,
    /// The linker, where it is to be named.
    linker: Option<PathBuf>,
}

/// What is missing, and how to get it.
pub struct Missing(pub String);

impl Toolchain {
    /// The one for a target, which may have to be fetched first.
    pub fn find(workspace: &Workspace, target: &'static str) -> Result<Result<Toolchain, Missing>> {
        let at_hand = AtHand::of(workspace, target)?;
        let way = at_hand.way(debian::is_here());
        let why = format!("the compiler has no libraries for {target}");
        let add = format!("rustup target add {target}, or see CONTRIBUTING.md");
        if way == Way::Libraries {
            return Ok(Ok(Toolchain { target, sources: None }));
        }
        if way == Way::Nothing {
            return Ok(Err(Missing(format!("{why}, and not their sources: {add}"))));
        }
        let Ok(linker) = at_hand.linker(way) else {
            let why = format!("there is no linker for {target}");
            return Ok(Err(Missing(format!("{why}; Debian: apt-get install lld"))));
        };
        let debian = match way {
            Way::Debian => {
                println!("   {why}, and not their sources: Debian's compiler builds them");
                match debian::compiler(&workspace.target.join("bare/debian")) {
                    Ok(compiler) => Some(compiler),
                    Err(error) => return Ok(Err(Missing(format!("{why}; {error}; {add}")))),
                }
            }
            _ => {
                println!("   {why}: they are built from its sources");
                None
            }
        };
        let toolchain = Toolchain { target, sources: Some(Sources { debian, linker }) };
        let (fetched, output) = toolchain.fetch_crates(workspace)?;
        // Where those of the kernel alone are not to be had, the build says so, and fails.
        if fetched || !(Toolchain { target, sources: None }).fetch_crates(workspace)?.0 {
            return Ok(Ok(toolchain));
        }
        output.lines().for_each(|line| println!("   | {line}"));
        let why = format!("cargo cannot fetch the crates that the libraries for {target} are built with");
        Ok(Err(Missing(format!("{why}; {add}"))))
    }

    /// Cargo for the kernel, which builds the libraries of the target where it must: once, and keeps them.
    pub fn cargo(&self, workspace: &Workspace, task: &str) -> Result<Command> {
        let mut cargo = self.program(workspace, task)?;
        cargo.args(["--quiet", "--release", "--target-dir"]).arg(workspace.target.join("bare"));
        Ok(cargo)
    }

    /// Has cargo fetch the crates that the kernel and its libraries are built with; gives whether it could, and what it said.
    fn fetch_crates(&self, workspace: &Workspace) -> Result<(bool, String)> {
        captured(self.program(workspace, "fetch")?)
    }

    fn program(&self, workspace: &Workspace, task: &str) -> Result<Command> {
        let mut cargo = workspace.cargo();
        if let Some(debian) = self.sources.as_ref().and_then(|sources| sources.debian.as_ref()) {
            if task == "clippy" {
                cargo = debian.clippy(&cargo);
                cargo.current_dir(&workspace.root);
            }
            debian.used_by(&mut cargo)?;
        }
        cargo.args([task, "--manifest-path", "targets/Cargo.toml", "--locked", "--target", self.target]);
        if let Some(sources) = &self.sources {
            // The kernel's build script builds the user program, with the same libraries.
            cargo.arg(format!("-Zbuild-std={LIBRARIES}")).env("VELLUM_BUILD_STD", LIBRARIES);
            cargo.env("RUSTC_BOOTSTRAP", "1");
            if let Some(linker) = &sources.linker {
                cargo.env(linker_variable(self.target), linker);
            }
        }
        Ok(cargo)
    }
}

/// The variable by which cargo is told a target's linker.
fn linker_variable(target: &str) -> String {
    format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"))
}

/// How the kernel gets its libraries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// The compiler at hand brings them.
    Libraries,
    /// They are built from its sources.
    Sources,
    /// They are built by Debian's compiler, from its sources.
    Debian,
    /// Not at all.
    Nothing,
}

/// What the toolchain that runs this command has for a target.
#[derive(Clone, Default, Debug)]
struct AtHand {
    has_libraries: bool,
    has_sources: bool,
    /// Its own linker.
    own: Option<PathBuf>,
    /// Another one on the `PATH`.
    other: Option<PathBuf>,
    /// Whether cargo is told of a linker already.
    is_named: bool,
}

impl AtHand {
    fn of(workspace: &Workspace, target: &str) -> Result<AtHand> {
        let ask =
            |arguments: &[&str]| workspace.rustc_output(arguments).map(|output| output.trim().to_owned());
        let rustlib = Path::new(&ask(&["--print", "sysroot"])?).join("lib/rustlib");
        let own = rustlib.join(ask(&["--print", "host-tuple"])?).join("bin/rust-lld");
        Ok(AtHand {
            has_libraries: Path::new(&ask(&["--print", "target-libdir", "--target", target])?).is_dir(),
            has_sources: rustlib.join("src/rust/library/Cargo.lock").is_file(),
            own: own.is_file().then_some(own),
            other: LINKERS.into_iter().find(|linker| is_on_path(linker)).map(PathBuf::from),
            is_named: env::var_os(linker_variable(target)).is_some(),
        })
    }

    fn way(&self, debian_is_here: bool) -> Way {
        match self {
            AtHand { has_libraries: true, .. } => Way::Libraries,
            AtHand { has_sources: true, .. } => Way::Sources,
            _ if debian_is_here => Way::Debian,
            _ => Way::Nothing,
        }
    }

    /// The linker that cargo must be told of, if any; an error where there is none at all.
    fn linker(&self, way: Way) -> Result<Option<PathBuf>, NoLinker> {
        match (&self.own, way) {
            _ if self.is_named => Ok(None),
            // The compiler finds its own.
            (Some(_), Way::Libraries | Way::Sources) => Ok(None),
            // Debian's brings none.
            (Some(own), _) => Ok(Some(own.clone())),
            (None, _) => self.other.clone().map(Some).ok_or(NoLinker),
        }
    }
}

/// There is no linker.
#[derive(PartialEq, Eq, Debug)]
struct NoLinker;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_compiler_brings_goes_first() {
        let both = AtHand { has_libraries: true, has_sources: true, ..AtHand::default() };
        let sources = AtHand { has_libraries: false, ..both.clone() };
        assert_eq!([true, false].map(|debian| both.way(debian)), [Way::Libraries; 2]);
        assert_eq!([true, false].map(|debian| sources.way(debian)), [Way::Sources; 2]);
        assert_eq!(AtHand::default().way(true), Way::Debian);
        assert_eq!(AtHand::default().way(false), Way::Nothing);
    }

    #[test]
    fn debians_compiler_takes_the_linker_of_the_toolchain_at_hand() {
        let [own, other] = ["/toolchain/bin/rust-lld", "ld.lld"].map(PathBuf::from);
        let both = AtHand { own: Some(own.clone()), other: Some(other.clone()), ..AtHand::default() };
        assert_eq!(both.linker(Way::Debian), Ok(Some(own)));
        assert_eq!(both.linker(Way::Sources), Ok(None));
        let other_alone = AtHand { own: None, ..both.clone() };
        assert_eq!(
            [Way::Debian, Way::Sources].map(|way| other_alone.linker(way)),
            [(); 2].map(|()| Ok(Some(other.clone())))
        );
    }

    #[test]
    fn a_linker_that_is_named_stays() {
        let named = AtHand { is_named: true, other: Some("ld.lld".into()), ..AtHand::default() };
        assert_eq!(named.linker(Way::Debian), Ok(None));
        assert_eq!(AtHand::default().linker(Way::Debian), Err(NoLinker));
        assert_eq!(linker_variable("x86_64-unknown-none"), "CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER");
    }
}
