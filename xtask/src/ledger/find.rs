//! Finds what a proof takes on trust.
use super::kind::Kind;
use crate::source::tokens::{as_group, is_ident, is_punct};
use crate::source::tree::{SourceFile, SourceTree, Standing, UnverifiedModule};
use crate::source::{Attribute, Item, ItemKind, Mode, Visibility, tokens};
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Something that a proof takes on trust, or that a rule forbids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The item it belongs to, such as `vellum_machine::page::zero`.
    pub item: String,
    /// What sort.
    pub kind: Kind,
    /// The file, relative to the workspace.
    pub path: PathBuf,
    /// The line.
    pub line: usize,
}

/// A function that the verifier proves: code that runs, with a body that it looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proved {
    /// The file, relative to the workspace.
    pub path: PathBuf,
    /// The line of the body's opening brace.
    pub line: usize,
    /// The column after it, in characters.
    pub column: usize,
    /// It stands inside `verus! {}`.
    pub in_verus: bool,
}

/// An item by name, for entries that name one without an attribute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its path.
    pub item: String,
    /// How the verifier treats it.
    pub standing: Standing,
}

/// What one crate holds.
#[derive(Default, Debug)]
pub struct Findings {
    /// In the order of the sources.
    pub trusted: Vec<Finding>,
    /// Modules that are not verified.
    pub unverified: Vec<UnverifiedModule>,
    /// Every named item outside tests.
    pub known: Vec<Known>,
    /// Functions that the verifier proves.
    pub proved: Vec<Proved>,
}

/// Finds everything in a crate.
pub fn in_tree(tree: &SourceTree) -> Findings {
    let mut findings = Findings { unverified: tree.unverified.clone(), ..Findings::default() };
    for file in &tree.files {
        in_file(file, &mut findings);
    }
    findings
}

fn in_file(file: &SourceFile, findings: &mut Findings) {
    if file.standing == Standing::TestOnly {
        return;
    }
    let mut finder = Finder { path: &file.path, seen: HashSet::new(), findings };
    let around =
        Around { path: file.module.clone(), standing: file.standing, annotated: false, in_macro: false };
    finder.attributes(&file.attributes, &around);
    for item in &file.items {
        finder.item(item, &around);
    }
    // Whatever no item has claimed still counts, for the module.
    if file.standing == Standing::Verified {
        let everything: TokenStream = file.text.parse().expect("was parsed before");
        for marker in markers(&everything) {
            finder.claim(marker, &file.module, Trust::None);
        }
    }
}

/// Where an item stands.
#[derive(Clone)]
struct Around {
    path: String,
    standing: Standing,
    /// An outer item opted in to verification.
    annotated: bool,
    /// The code is that of a macro's definition, and runs where the macro is called.
    in_macro: bool,
}

/// Whether a body is taken on trust.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    None,
    ExternalBody,
}

struct Finder<'a> {
    path: &'a Path,
    seen: HashSet<(usize, usize)>,
    findings: &'a mut Findings,
}

impl Finder<'_> {
    fn item(&mut self, item: &Item, around: &Around) {
        let own = own_markers(item);
        if item.is_test_only() {
            return self.ignore(item, &own);
        }
        let mut inside = self.enter(item, around);
        let is_external = own.iter().any(|m| m.kind == Kind::External);
        if is_external && around.standing == Standing::Verified {
            inside.standing = Standing::Unverified;
            if let Some(kind) = unseen(item) {
                self.report(&inside.path, kind, item.line);
            }
        }
        self.name(item, &inside);
        if inside.standing == Standing::Verified {
            self.verified_item(item, own, &inside);
        } else {
            self.ignore(item, &own);
            item.children.iter().for_each(|child| self.item(child, &inside));
        }
    }

    /// Takes down what an item says of itself, then its children, then what its body says besides.
    fn verified_item(&mut self, item: &Item, own: Vec<Marker>, inside: &Around) {
        let is_believed = own.iter().any(|m| m.kind == Kind::ExternalBody);
        let trust = if is_believed { Trust::ExternalBody } else { Trust::None };
        let is_specification = own.iter().any(|m| m.kind.is_external_specification());
        for marker in own {
            let is_checked = marker.kind == Kind::UnsafeImpl && promises_are_verified(item);
            if is_checked || (is_specification && marker.kind == Kind::ExternalBody) {
                self.seen.insert(marker.position);
            } else {
                self.claim(marker, &inside.path, trust);
            }
        }
        item.children.iter().for_each(|child| self.item(child, inside));
        if let Some(body) = &item.body {
            for marker in markers(&body.stream()) {
                self.claim(marker, &inside.path, trust);
            }
        }
        self.function(item, inside, trust);
    }

    /// The surroundings of what is inside the item.
    fn enter(&self, item: &Item, around: &Around) -> Around {
        let mut inside = around.clone();
        if !item.name.is_empty() && !is_transparent(item.kind) {
            inside.path = format!("{}::{}", around.path, item.name);
        }
        inside.in_macro |= item.kind == ItemKind::MacroDefinition;
        inside.annotated |=
            item.in_verus || ["verus_spec", "verus_verify", "verify"].iter().any(|word| item.mentions(word));
        inside
    }

    fn name(&mut self, item: &Item, inside: &Around) {
        if !item.name.is_empty() && !is_transparent(item.kind) {
            self.findings.known.push(Known { item: inside.path.clone(), standing: inside.standing });
        }
    }

    /// Judges a function as a whole: is it looked at, and is it safe to call?
    fn function(&mut self, item: &Item, inside: &Around, trust: Trust) {
        if item.kind != ItemKind::Function || item.mode != Mode::Exec || inside.in_macro {
            return;
        }
        match &item.body {
            Some(_) if !inside.annotated && trust == Trust::None => {
                self.report(&inside.path, Kind::Unseen, item.line)
            }
            Some(body) if trust == Trust::None => {
                let after = body.span_open().end();
                let (path, in_verus) = (self.path.into(), item.in_verus);
                self.findings.proved.push(Proved { path, line: after.line, column: after.column, in_verus });
            }
            _ => {}
        }
        let signature: TokenStream = item.signature.iter().cloned().collect();
        let requires = |stream: &TokenStream| tokens::idents(stream).iter().any(|i| i == "requires");
        let has_precondition = requires(&signature) || item.attributes.iter().any(|a| requires(&a.tokens));
        if has_precondition && item.visibility == Visibility::Public && !item.has_qualifier("unsafe") {
            self.report(&inside.path, Kind::SafeWithPrecondition, item.line);
        }
    }

    fn attributes(&mut self, attributes: &[Attribute], around: &Around) {
        for marker in attributes.iter().flat_map(attribute_markers) {
            if around.standing == Standing::Verified && marker.kind != Kind::External {
                self.claim(marker, &around.path, Trust::None);
            } else {
                self.seen.insert(marker.position);
            }
        }
    }

    /// Takes down a marker for an item, once.
    fn claim(&mut self, marker: Marker, item: &str, trust: Trust) {
        let allowed = marker.kind == Kind::AssumeNew && trust == Trust::ExternalBody;
        if self.seen.insert(marker.position) && !allowed {
            self.report(item, marker.kind, marker.position.0);
        }
    }

    fn report(&mut self, item: &str, kind: Kind, line: usize) {
        self.findings.trusted.push(Finding { item: item.to_owned(), kind, path: self.path.into(), line });
    }

    /// Nothing in the item counts.
    fn ignore(&mut self, item: &Item, own: &[Marker]) {
        self.seen.extend(own.iter().map(|m| m.position));
        if let Some(body) = &item.body {
            self.seen.extend(markers(&body.stream()).iter().map(|m| m.position));
        }
    }
}

/// The markers in an item's attributes and head.
fn own_markers(item: &Item) -> Vec<Marker> {
    let mut own: Vec<Marker> = item.attributes.iter().flat_map(attribute_markers).collect();
    own.extend(markers(&item.signature.iter().cloned().collect()));
    own
}

/// What an item is that the verifier is told not to see; nothing where that is not worth a word.
fn unseen(item: &Item) -> Option<Kind> {
    let implements = |name: &str| item.kind == ItemKind::Impl && item.name.ends_with(&format!(" as {name}>"));
    match item.kind {
        // It stands among the unverified modules.
        ItemKind::Module => None,
        // An assertion that the compiler evaluates.
        ItemKind::Constant if item.name == "_" => None,
        _ if ["Debug", "Display", "Error"].into_iter().any(implements) => Some(Kind::Formatting),
        _ => Some(Kind::External),
    }
}

/// Whether the verifier checks what an `unsafe impl` promises: it does for contracts, not for auto traits.
fn promises_are_verified(item: &Item) -> bool {
    item.kind == ItemKind::Impl && !item.name.ends_with(" as Send>") && !item.name.ends_with(" as Sync>")
}

fn is_transparent(kind: ItemKind) -> bool {
    matches!(kind, ItemKind::Verus | ItemKind::MacroCall | ItemKind::MacroDefinition)
}

/// A word that says that something is trusted.
struct Marker {
    kind: Kind,
    /// Line and column.
    position: (usize, usize),
}

impl Marker {
    fn new(kind: Kind, span: Span) -> Self {
        Marker { kind, position: (span.start().line, span.start().column) }
    }
}

fn attribute_markers(attribute: &Attribute) -> Vec<Marker> {
    let mut found = Vec::new();
    if attribute.is("doc") {
        return found;
    }
    let conditional = attribute.is("cfg");
    let text = attribute.compact();
    if conditional && ["not(verus_keep_ghost", "not(verus_only"].iter().any(|hidden| text.contains(hidden)) {
        found.extend(
            attribute.tokens.clone().into_iter().take(1).map(|t| Marker::new(Kind::Hidden, t.span())),
        );
    }
    if !conditional {
        tokens::each_ident(&attribute.tokens, &mut |ident| {
            found.extend(Kind::of_attribute(&ident.to_string()).map(|kind| Marker::new(kind, ident.span())));
        });
    }
    found
}

/// Every marker in a list of tokens, at any depth.
fn markers(stream: &TokenStream) -> Vec<Marker> {
    let mut found = Vec::new();
    tokens::each_level(stream, &mut |tokens| {
        for at in 0..tokens.len() {
            let bang = usize::from(is_punct(tokens.get(at + 1), '!'));
            if is_punct(tokens.get(at), '#')
                && let Some(group) = as_group(tokens.get(at + 1 + bang), Delimiter::Bracket)
            {
                found.extend(attribute_markers(&Attribute { tokens: group.stream(), line: 0 }));
            }
            found.extend(word_marker(tokens, at));
        }
    });
    found
}

fn word_marker(tokens: &[TokenTree], at: usize) -> Option<Marker> {
    let TokenTree::Ident(ident) = &tokens[at] else {
        return None;
    };
    let is_called = as_group(tokens.get(at + 1), Delimiter::Parenthesis).is_some();
    let before = at.checked_sub(1).map(|i| &tokens[i]);
    let is_call = is_called && !is_punct(before, '.') && !is_ident(before, "fn");
    let kind = match ident.to_string().as_str() {
        "assume" if is_call => Kind::Assume,
        "admit" if is_call => Kind::Admit,
        "assume_new" | "assume_new_fallback" => Kind::AssumeNew,
        "inline_air_stmt" => Kind::InlineAir,
        "assume_specification" => Kind::AssumeSpecification,
        "axiom" if is_ident(tokens.get(at + 1), "fn") => Kind::Axiom,
        "uninterp" => Kind::Uninterpreted,
        "unsafe" if is_ident(tokens.get(at + 1), "impl") => Kind::UnsafeImpl,
        _ => return None,
    };
    Some(Marker::new(kind, ident.span()))
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
