//! Has the kernel linked where its architecture wants it, and builds the user program that it carries.
use std::env;
use std::process::Command;

fn main() {
    let of = |name: &str| env::var(name).unwrap_or_default();
    println!("cargo::rerun-if-changed=build.rs");
    if of("CARGO_CFG_TARGET_OS") != "none" {
        panic!("the kernel is for bare metal: `cargo xtask qemu` builds and boots it");
    }
    let script = format!("{}/src/{}/link.ld", of("CARGO_MANIFEST_DIR"), of("CARGO_CFG_TARGET_ARCH"));
    println!("cargo::rerun-if-changed={script}");
    println!("cargo::rustc-link-arg-bins=--script={script}");
    // The image has one address; the boot code is not position-independent.
    println!("cargo::rustc-link-arg-bins=--no-pie");
    println!("cargo::rustc-link-arg-bins=--no-relax");
    if of("CARGO_CFG_TARGET_ARCH") == "riscv64" {
        // Where the image shows physical address 0: in the upper half of three levels, and so in that of four.
        println!("cargo::rustc-link-arg-bins=--defsym=IMAGE=0xfffffff000000000");
    }
    build_program(&of("TARGET"), &of("OUT_DIR"), &of("CARGO_MANIFEST_DIR"));
}

/// Builds the user program in a folder of its own, for the same target.
fn build_program(target: &str, out: &str, manifest: &str) {
    let source = format!("{manifest}/../user");
    println!("cargo::rerun-if-changed={source}");
    let folder = format!("{out}/user");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--target", target, "--target-dir", &folder]);
    cargo.arg("--manifest-path").arg(format!("{source}/Cargo.toml"));
    // Where the compiler has no libraries for the target, they are built for both.
    println!("cargo::rerun-if-env-changed=VELLUM_BUILD_STD");
    if let Ok(libraries) = env::var("VELLUM_BUILD_STD") {
        cargo.arg(format!("-Zbuild-std={libraries}"));
    }
    // The flags of this build are not the program's.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    match cargo.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("the user program cannot be built: {status}"),
        Err(error) => panic!("the user program cannot be built: {error}"),
    }
    println!("cargo::rustc-env=VELLUM_USER_PROGRAM={folder}/{target}/release/vellum-user");
}
