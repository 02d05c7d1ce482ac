//! The command line.
use crate::shared::options;
use clap::Parser;

/// Vellum's frame allocator beside its peers
#[derive(Parser, Default)]
#[command(name = "frames")]
pub struct Options {
    #[command(flatten)]
    pub common: options::Common,
    /// Builds the metadata of so many frames in this process, and does nothing else
    #[arg(long, hide = true)]
    pub metadata_child: Option<usize>,
}
