//! The modules of a crate, file by file, and what the verifier is told of each.
use super::{Attribute, Item, ItemKind, parse};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// How the verifier treats a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It looks at everything in it.
    Verified,
    /// It is marked `verifier::external`, or stands inside a module that is.
    Unverified,
    /// It is compiled for tests alone.
    TestOnly,
}

/// One source file of a crate.
#[derive(Debug)]
pub struct SourceFile {
    /// Relative to the workspace.
    pub path: PathBuf,
    /// The path of its module, such as `vellum::frame`.
    pub module: String,
    /// How the verifier treats it.
    pub standing: Standing,
    /// What stands in it.
    pub text: String,
    /// The attributes of the file.
    pub attributes: Vec<Attribute>,
    /// Its items.
    pub items: Vec<Item>,
}

/// A module that the verifier is told to skip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnverifiedModule {
    /// Its path, such as `vellum::tlb`.
    pub module: String,
    /// Where it says so.
    pub path: PathBuf,
    /// The line.
    pub line: usize,
}

/// All files of a crate.
#[derive(Debug)]
pub struct SourceTree {
    /// In the order of their `mod` declarations.
    pub files: Vec<SourceFile>,
    /// The outermost modules that are not verified.
    pub unverified: Vec<UnverifiedModule>,
}

/// The crate's name as paths spell it.
pub fn path_name(package: &str) -> String {
    package.replace('-', "_")
}

/// Reads a crate from `crates/<package>/src/lib.rs` on.
pub fn read(workspace: &Path, package: &str) -> Result<SourceTree> {
    let source = PathBuf::from("crates").join(package).join("src");
    let mut tree = SourceTree { files: Vec::new(), unverified: Vec::new() };
    let root = ["lib.rs", "main.rs"].iter().map(|f| source.join(f)).find(|f| workspace.join(f).exists());
    let root = root.with_context(|| format!("{} has neither lib.rs nor main.rs", source.display()))?;
    let place = Place { directory: source, module: path_name(package), standing: Standing::Verified };
    tree.file(workspace, root, place)?;
    Ok(tree)
}

/// Where a module's children are looked for.
#[derive(Clone)]
struct Place {
    directory: PathBuf,
    module: String,
    standing: Standing,
}

impl SourceTree {
    fn file(&mut self, workspace: &Path, path: PathBuf, mut place: Place) -> Result<()> {
        let text =
            std::fs::read_to_string(workspace.join(&path)).with_context(|| path.display().to_string())?;
        let (attributes, items) =
            parse::file(&text).map_err(|e| anyhow::anyhow!("{}: not Rust tokens: {e}", path.display()))?;
        if let Some(line) = external_line(&attributes) {
            self.enter_unverified(&mut place, &path, line);
        }
        let modules: Vec<Item> = modules_of(&items);
        self.files.push(SourceFile {
            path: path.clone(),
            module: place.module.clone(),
            standing: place.standing,
            text,
            attributes,
            items,
        });
        for module in &modules {
            self.module(workspace, &path, module, &place)?;
        }
        Ok(())
    }

    /// Follows a module declared in `path`; an inline one stays part of its file.
    fn module(&mut self, workspace: &Path, path: &Path, item: &Item, parent: &Place) -> Result<()> {
        let mut place = Place {
            directory: parent.directory.join(&item.name),
            module: format!("{}::{}", parent.module, item.name),
            standing: parent.standing,
        };
        if item.is_test_only() {
            place.standing = Standing::TestOnly;
        } else if let Some(line) = external_line(&item.attributes) {
            self.enter_unverified(&mut place, path, line);
        }
        if item.body.is_some() {
            for module in modules_of(&item.children) {
                self.module(workspace, path, &module, &place)?;
            }
            return Ok(());
        }
        let mut candidates =
            vec![parent.directory.join(format!("{}.rs", item.name)), place.directory.join("mod.rs")];
        if let Some(explicit) = explicit_path(&item.attributes) {
            candidates = vec![path.parent().expect("a file has a folder").join(explicit)];
        }
        match candidates.iter().find(|c| workspace.join(c).exists()) {
            Some(found) => self.file(workspace, found.clone(), place),
            None => bail!("{}:{}: no file for module {}", path.display(), item.line, place.module),
        }
    }

    fn enter_unverified(&mut self, place: &mut Place, path: &Path, line: usize) {
        if place.standing == Standing::Verified {
            place.standing = Standing::Unverified;
            self.unverified.push(UnverifiedModule { module: place.module.clone(), path: path.into(), line });
        }
    }
}

/// The modules among items, those inside `verus! {}` included.
fn modules_of(items: &[Item]) -> Vec<Item> {
    let mut found = Vec::new();
    for item in items {
        match item.kind {
            ItemKind::Module => found.push(item.clone()),
            ItemKind::Verus => found.extend(modules_of(&item.children)),
            _ => {}
        }
    }
    found
}

/// The line of a `verifier::external` among the attributes.
pub fn external_line(attributes: &[Attribute]) -> Option<usize> {
    let marks = |a: &&Attribute| {
        !a.is("doc") && !a.is("cfg") && super::tokens::idents(&a.tokens).iter().any(|i| i == "external")
    };
    attributes.iter().find(marks).map(|a| a.line)
}

fn explicit_path(attributes: &[Attribute]) -> Option<String> {
    let text = attributes.iter().find(|a| a.is("path"))?.compact();
    Some(text.split('"').nth(1)?.to_owned())
}
