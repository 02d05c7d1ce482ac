//! The bodies of the primitives, one per architecture.

#[cfg(target_os = "linux")]
pub mod hosted;

#[cfg(target_os = "linux")]
pub(crate) use hosted as imp;

#[cfg(not(target_os = "linux"))]
compile_error!("the machine layer has a body for Linux processes alone: build for a Linux target");
