//! What each line of a file is for.
use crate::source::tokens::{as_group, is_ident, is_punct};
use crate::source::{Item, ItemKind, Mode, tokens};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What a line is for, the strongest last: a line with something of each counts as the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    /// Nothing but white space or a comment.
    Blank,
    /// It says what is to hold.
    Specification,
    /// It says why it holds.
    Proof,
    /// It runs.
    Executable,
    /// It runs in tests.
    Test,
}

/// A function and the executable lines in it.
#[derive(Debug)]
pub struct FunctionSize {
    /// Its name.
    pub name: String,
    /// The line it starts on.
    pub line: usize,
    /// Its lines that run.
    pub executable: usize,
}

/// A file whose lines are being marked.
#[derive(Debug)]
pub struct Marks {
    /// What each line is for; line 1 is the second.
    pub classes: Vec<Class>,
    /// The functions that run.
    pub functions: Vec<FunctionSize>,
}

/// Words with which a clause of a contract starts.
const CLAUSES: [&str; 12] = [
    "requires",
    "ensures",
    "returns",
    "decreases",
    "recommends",
    "opens_invariants",
    "no_unwind",
    "invariant",
    "invariant_except_break",
    "invariant_ensures",
    "default_ensures",
    "via",
];

/// Words with which a ghost statement of a function that runs starts.
const GHOST_STATEMENTS: [&str; 3] = ["assert", "broadcast", "calc"];

/// Functions whose calls are ghost.
const GHOST_CALLS: [&str; 4] = ["reveal", "reveal_with_fuel", "use_type_invariant", "hide"];

/// Macros whose contents are ghost.
const GHOST_MACROS: [&str; 6] =
    ["proof", "proof_decl", "proof_with", "calc", "assert_by_contradiction", "proof_from_false"];

impl Marks {
    /// A file of blank lines.
    pub fn blank(lines: usize) -> Self {
        Marks { classes: vec![Class::Blank; lines + 1], functions: Vec::new() }
    }

    fn mark(&mut self, line: usize, class: Class) {
        if let Some(mark) = self.classes.get_mut(line) {
            *mark = (*mark).max(class);
        }
    }

    fn token(&mut self, token: &TokenTree, class: Class) {
        match token {
            TokenTree::Group(g) => {
                self.mark(g.span_open().start().line, class);
                self.mark(g.span_close().end().line, class);
                for inner in g.stream() {
                    self.token(&inner, class);
                }
            }
            other => {
                (other.span().start().line..=other.span().end().line).for_each(|line| self.mark(line, class))
            }
        }
    }

    fn tokens(&mut self, tokens: &[TokenTree], class: Class) {
        tokens.iter().for_each(|token| self.token(token, class));
    }

    /// Marks the lines of an item; none counts for more than `outer`, unless it is a test.
    pub fn item(&mut self, item: &Item, outer: Class) {
        let class = if item.is_test_only() { Class::Test } else { class_of(item).min(outer) };
        self.attributes(item, class);
        if item.kind == ItemKind::Function && class == Class::Executable {
            return self.function(item);
        }
        let is_wrapper =
            matches!(item.kind, ItemKind::Verus | ItemKind::MacroCall) && !item.children.is_empty();
        if !is_wrapper {
            let is_ghost =
                !item.children.is_empty() && item.children.iter().all(|c| class_of(c) < Class::Executable);
            self.frame(item, if is_ghost { class.min(Class::Specification) } else { class });
        }
        for child in &item.children {
            self.item(child, class);
        }
    }

    fn attributes(&mut self, item: &Item, class: Class) {
        for attribute in item.attributes.iter().filter(|a| !a.is("doc")) {
            let is_contract = attribute.compact().contains("verus_spec");
            let class = if is_contract { class.min(Class::Specification) } else { class };
            attribute.tokens.clone().into_iter().for_each(|token| self.token(&token, class));
        }
    }

    /// Marks an item's head, and its body, of which only the braces where children speak for themselves.
    fn frame(&mut self, item: &Item, class: Class) {
        self.tokens(&item.signature, class);
        let Some(body) = &item.body else { return };
        let has_speaking_children = matches!(item.kind, ItemKind::Trait | ItemKind::Impl | ItemKind::Module);
        if has_speaking_children {
            self.mark(body.span_open().start().line, class);
            self.mark(body.span_close().end().line, class);
        } else {
            self.token(&TokenTree::Group(body.clone()), class);
        }
    }

    fn function(&mut self, item: &Item) {
        let clause =
            |t: &TokenTree| matches!(t, TokenTree::Ident(i) if CLAUSES.contains(&i.to_string().as_str()));
        let contract = item.signature.iter().position(clause).unwrap_or(item.signature.len());
        self.tokens(&item.signature[..contract], Class::Executable);
        self.tokens(&item.signature[contract..], Class::Specification);
        if let Some(body) = &item.body {
            self.mark(body.span_open().start().line, Class::Executable);
            self.mark(body.span_close().end().line, Class::Executable);
            self.statements(&body.stream().into_iter().collect::<Vec<_>>());
            let lines = item.line..=body.span_close().end().line;
            let executable = lines.filter(|l| self.classes.get(*l) == Some(&Class::Executable)).count();
            self.functions.push(FunctionSize { name: item.name.clone(), line: item.line, executable });
        }
    }

    /// Marks the statements of a function that runs.
    fn statements(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while at < tokens.len() {
            let end = ghost_end(tokens, at);
            if end > at {
                self.tokens(&tokens[at..end], Class::Proof);
                at = end;
                continue;
            }
            match &tokens[at] {
                TokenTree::Group(g) => {
                    self.mark(g.span_open().start().line, Class::Executable);
                    self.mark(g.span_close().end().line, Class::Executable);
                    self.statements(&g.stream().into_iter().collect::<Vec<_>>());
                }
                other => self.token(other, Class::Executable),
            }
            at += 1;
        }
    }
}

/// What an item's own lines are for.
fn class_of(item: &Item) -> Class {
    let ghost_only = item.attributes.iter().any(|a| a.is("cfg") && a.compact().contains("verus_keep_ghost"))
        && !item.attributes.iter().any(|a| a.compact().contains("not(verus_keep_ghost"));
    match (item.kind, item.mode) {
        (ItemKind::StateMachine, _) => Class::Specification,
        (ItemKind::Function, Mode::Proof) => Class::Proof,
        (_, Mode::Spec | Mode::Proof) => Class::Specification,
        (ItemKind::AssumeSpecification, _) => Class::Specification,
        _ if ghost_only => Class::Specification,
        _ => Class::Executable,
    }
}

/// Where the ghost code ends that starts at `at`; `at` where none does.
fn ghost_end(tokens: &[TokenTree], at: usize) -> usize {
    let next = tokens.get(at + 1);
    if is_punct(tokens.get(at), '#') {
        let contract =
            as_group(next, Delimiter::Bracket).is_some_and(|g| speaks_to_the_verifier(&g.stream()));
        return if contract { at + 2 } else { at };
    }
    let Some(TokenTree::Ident(word)) = tokens.get(at) else { return at };
    let word = word.to_string();
    let word = word.as_str();
    let is_macro = is_punct(next, '!');
    if word == "proof" && as_group(next, Delimiter::Brace).is_some() {
        at + 2
    } else if is_macro {
        if GHOST_MACROS.contains(&word) { at + 3 } else { at }
    } else if is_ghost_statement(word, next) {
        statement_end(tokens, at)
    } else if CLAUSES.contains(&word) {
        loop_body(tokens, at)
    } else {
        at
    }
}

fn is_ghost_statement(word: &str, next: Option<&TokenTree>) -> bool {
    let is_call = as_group(next, Delimiter::Parenthesis).is_some();
    let is_let = word == "let" && (is_ident(next, "ghost") || is_ident(next, "tracked"));
    is_let || GHOST_STATEMENTS.contains(&word) || (GHOST_CALLS.contains(&word) && is_call)
}

fn speaks_to_the_verifier(attribute: &TokenStream) -> bool {
    tokens::idents(attribute).iter().any(|i| i.starts_with("verus") || i == "verifier")
}

/// The token after a statement; `assert(..) by { .. }` needs no semicolon.
fn statement_end(tokens: &[TokenTree], at: usize) -> usize {
    let semicolon = (at..tokens.len()).find(|i| is_punct(tokens.get(*i), ';'));
    let end = semicolon.map_or(tokens.len(), |i| i + 1);
    let is_by =
        |i: &usize| is_ident(tokens.get(*i), "by") && as_group(tokens.get(i + 1), Delimiter::Brace).is_some();
    match (at..end).find(is_by) {
        Some(by) if !is_punct(tokens.get(by + 2), ';') => by + 2,
        _ => end,
    }
}

/// The braces of the loop that a clause belongs to.
fn loop_body(tokens: &[TokenTree], at: usize) -> usize {
    let is_brace = |i: usize| as_group(tokens.get(i), Delimiter::Brace).is_some();
    let goes_on = |i: usize| match tokens.get(i) {
        Some(TokenTree::Punct(p)) => ",=&|<>+-".contains(p.as_char()),
        _ => is_brace(i) || is_ident(tokens.get(i), "else"),
    };
    (at..tokens.len()).find(|i| is_brace(*i) && !goes_on(i + 1)).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::parse;

    /// The class of each line, by its first letter.
    fn classes(text: &str) -> String {
        let (_, items) = parse::file(text).expect("tokens");
        let mut marks = Marks::blank(text.lines().count());
        for item in &items {
            marks.item(item, Class::Executable);
        }
        let letter = |class: &Class| format!("{class:?}").chars().next().expect("a name");
        marks.classes[1..].iter().map(letter).collect()
    }

    #[test]
    fn contracts_proofs_and_code_are_told_apart() {
        let text = "verus! {\n\
            /// A comment.\n\
            fn f(x: u64) -> (r: u64)\n\
                requires x > 0,\n\
                ensures match r { 0 => { true } _ => true },\n\
            {\n\
                proof { lemma(); }\n\
                let ghost y = x;\n\
                assert(y == x) by {\n\
                    other();\n\
                }\n\
                x\n\
            }\n\
            spec fn s() -> bool {\n\
                true\n\
            }\n\
            proof fn lemma() {\n\
            }\n\
            }";
        assert_eq!(classes(text), "BBESSEPPPPPEESSSPPB");
    }

    #[test]
    fn loops_keep_their_bodies() {
        let text = "verus! { fn f() {\n\
            while i < n\n\
                invariant i <= n, if a { b } else { c },\n\
                decreases n - i,\n\
            {\n\
                i += 1;\n\
            }\n\
            } }";
        assert_eq!(classes(text), "EEPPEEEE");
    }

    #[test]
    fn annotated_functions_and_tests_count_as_what_they_are() {
        let text = "#[verus_spec(r =>\n\
            ensures r == 0,\n\
            )]\n\
            fn f() -> u64 {\n\
                proof! { lemma(); }\n\
                0\n\
            }\n\
            #[cfg(test)]\n\
            mod tests { fn t() {} }";
        assert_eq!(classes(text), "SSSEPEETT");
    }
}
