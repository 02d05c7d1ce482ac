//! What the other commands know of Rust and Verus sources: items, their attributes, and the modules they
//! stand in.
//!
//! Code inside `verus! {}` is no Rust that a Rust parser would accept, so files are read as token trees and
//! taken apart into items by [`parse`], which knows just enough of both languages to find where an item
//! starts, what it is called, and where it ends. [`tree`] follows `mod` declarations from a crate's root.
pub mod parse;
pub mod tokens;
pub mod tree;

use proc_macro2::{Group, TokenStream, TokenTree};

/// What sort of item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ItemKind {
    /// A function or method.
    Function,
    /// A structure, enumeration, union or type alias.
    Type,
    /// A trait.
    Trait,
    /// An implementation block.
    Impl,
    /// A module.
    Module,
    /// A constant or static.
    Constant,
    /// A `macro_rules!` definition.
    MacroDefinition,
    /// The contents of `verus! {}`; adds nothing to paths.
    Verus,
    /// A `tokenized_state_machine! {}` or `state_machine! {}`.
    StateMachine,
    /// Any other macro call with items in it.
    MacroCall,
    /// `assume_specification [ path ] (...)`.
    AssumeSpecification,
    /// `use`, `extern crate`, `global`, `broadcast use` and the like.
    Other,
}

/// When a function runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// At run time.
    Exec,
    /// Never: it is a specification.
    Spec,
    /// Never: it is a proof.
    Proof,
}

/// Who may name an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visibility {
    /// `pub`.
    Public,
    /// Anything narrower.
    Restricted,
}

/// An attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// What stands between the brackets.
    pub tokens: TokenStream,
    /// The line of its `#`.
    pub line: usize,
}

/// One item of a file.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its segment in a path: for a trait's implementation `<Type as Trait>`.
    pub name: String,
    /// The line its head starts on, after attributes.
    pub line: usize,
    /// When it runs; [`Mode::Exec`] for what is not ghost.
    pub mode: Mode,
    /// Who may name it.
    pub visibility: Visibility,
    /// The words before the keyword, such as `unsafe`, `axiom`, `uninterp`, `tracked`.
    pub qualifiers: Vec<String>,
    /// It stands inside `verus! {}`.
    pub in_verus: bool,
    /// Outer attributes, then inner ones of the body.
    pub attributes: Vec<Attribute>,
    /// Everything from the head to the body.
    pub signature: Vec<TokenTree>,
    /// The body, if there is one.
    pub body: Option<Group>,
    /// Items inside.
    pub children: Vec<Item>,
}

impl Item {
    /// Whether `word` stands before the item's keyword.
    pub fn has_qualifier(&self, word: &str) -> bool {
        self.qualifiers.iter().any(|q| q == word)
    }

    /// Whether an attribute mentions `ident` (documentation and `cfg` are not looked at).
    pub fn mentions(&self, ident: &str) -> bool {
        self.attributes
            .iter()
            .any(|a| !a.is("doc") && !a.is("cfg") && tokens::idents(&a.tokens).iter().any(|i| i == ident))
    }

    /// Whether the item is compiled for tests alone.
    pub fn is_test_only(&self) -> bool {
        self.attributes.iter().any(|a| a.is("test") || a.is_test_cfg())
    }
}

impl Attribute {
    /// Whether the attribute's first word is `name`.
    pub fn is(&self, name: &str) -> bool {
        matches!(self.tokens.clone().into_iter().next(), Some(TokenTree::Ident(i)) if i == name)
    }

    /// The tokens without any white space.
    pub fn compact(&self) -> String {
        tokens::compact(&self.tokens)
    }

    fn is_test_cfg(&self) -> bool {
        self.is("cfg")
            && tokens::idents(&self.tokens).iter().any(|i| i == "test")
            && !self.compact().contains("not(test")
    }
}
