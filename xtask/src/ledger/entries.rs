//! `TRUSTED.toml`.
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::Path;
use toml::Spanned;

/// The file's name.
pub const FILE: &str = "TRUSTED.toml";

/// The whole file.
#[derive(Deserialize, Default, Debug)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    /// Trusted items.
    #[serde(default)]
    pub trusted: Vec<Trusted>,
    /// Modules that are not verified.
    #[serde(default)]
    pub unverified: Vec<Unverified>,
    /// The text, to tell lines.
    #[serde(skip)]
    text: String,
}

/// A trusted item.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    /// Its path.
    pub item: Spanned<String>,
    /// What is trusted of it.
    pub kind: String,
    /// The reason.
    pub why: String,
    /// `file::test`, a test that exercises it.
    pub test: Option<String>,
    /// In how many places of the sources the item is found, where not in one.
    #[serde(default = "one")]
    pub sites: usize,
}

/// A module that is not verified.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Unverified {
    /// Its path.
    pub module: Spanned<String>,
    /// The reason.
    pub why: String,
}

fn one() -> usize {
    1
}

impl Entries {
    /// Reads the workspace's file.
    pub fn read(workspace: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(workspace.join(FILE)).context(FILE)?;
        Self::parse(text)
    }

    /// Reads the text of such a file.
    pub fn parse(text: String) -> Result<Self> {
        let mut entries: Entries = toml::from_str(&text).context(FILE)?;
        entries.text = text;
        Ok(entries)
    }

    /// The line on which a value stands.
    pub fn line<T>(&self, value: &Spanned<T>) -> usize {
        1 + self.text[..value.span().start].matches('\n').count()
    }
}
