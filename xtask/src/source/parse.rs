//! Token trees into items.
use super::tokens::{as_group, is_ident, is_punct, line};
use super::{Attribute, Item, ItemKind, Mode, Visibility};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Words that may stand between an item's visibility and its keyword.
const QUALIFIERS: [&str; 17] = [
    "default",
    "unsafe",
    "async",
    "safe",
    "proof",
    "spec",
    "exec",
    "open",
    "closed",
    "uninterp",
    "axiom",
    "broadcast",
    "tracked",
    "ghost",
    "const",
    "extern",
    "auto",
];

/// Words with which an item may start.
const STARTERS: [&str; 29] = [
    "pub",
    "fn",
    "unsafe",
    "const",
    "async",
    "extern",
    "proof",
    "spec",
    "exec",
    "open",
    "closed",
    "uninterp",
    "axiom",
    "broadcast",
    "struct",
    "enum",
    "union",
    "trait",
    "impl",
    "mod",
    "type",
    "use",
    "static",
    "macro_rules",
    "global",
    "tracked",
    "ghost",
    "assume_specification",
    "default",
];

/// A file as items, with the attributes of the file itself.
pub fn file(text: &str) -> Result<(Vec<Attribute>, Vec<Item>), proc_macro2::LexError> {
    let stream: TokenStream = text.parse()?;
    Ok(items(stream, Surroundings { in_verus: false }))
}

/// Where a list of items stands.
#[derive(Clone, Copy)]
struct Surroundings {
    in_verus: bool,
}

/// The head of an item, as far as its keyword.
struct Head {
    visibility: Visibility,
    qualifiers: Vec<String>,
    keyword: usize,
}

fn items(stream: TokenStream, around: Surroundings) -> (Vec<Attribute>, Vec<Item>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let (mut inner, mut found, mut outer) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if let Some((attribute, is_inner, next)) = attribute(&tokens, at) {
            if is_inner {
                inner.push(attribute)
            } else {
                outer.push(attribute)
            }
            at = next;
        } else if is_punct(tokens.get(at), '$')
            && let Some(repeated) = as_group(tokens.get(at + 1), Delimiter::Parenthesis)
        {
            // `$( items )*` in a macro's definition.
            found.extend(items(repeated.stream(), around).1);
            at += 2;
        } else if let Some((mut item, next)) = item(&tokens, at, around) {
            item.attributes.splice(0..0, outer.drain(..));
            found.push(item);
            at = next;
        } else {
            at += 1;
        }
    }
    (inner, found)
}

fn attribute(tokens: &[TokenTree], at: usize) -> Option<(Attribute, bool, usize)> {
    if !is_punct(tokens.get(at), '#') {
        return None;
    }
    let is_inner = is_punct(tokens.get(at + 1), '!');
    let bracket = at + 1 + usize::from(is_inner);
    let group = as_group(tokens.get(bracket), Delimiter::Bracket)?;
    Some((Attribute { tokens: group.stream(), line: line(&tokens[at]) }, is_inner, bracket + 1))
}

fn item(tokens: &[TokenTree], at: usize, around: Surroundings) -> Option<(Item, usize)> {
    let head = head(tokens, at);
    let TokenTree::Ident(keyword) = tokens.get(head.keyword)? else { return None };
    let keyword = keyword.to_string();
    let Some(kind) = kind(&keyword, &head.qualifiers) else {
        let is_macro = is_punct(tokens.get(head.keyword + 1), '!');
        return if is_macro { macro_call(tokens, at, around) } else { None };
    };
    // After `const`, the name itself is where the keyword would be.
    let name_at = head.keyword + usize::from(kind != ItemKind::Constant || keyword == "static");
    let end = end_of_item(tokens, name_at, kind);
    let mut item = Item {
        kind,
        name: name(kind, &tokens[name_at.min(end)..end]),
        line: line(&tokens[at]),
        mode: mode(&head.qualifiers),
        visibility: head.visibility,
        qualifiers: head.qualifiers,
        in_verus: around.in_verus,
        attributes: Vec::new(),
        signature: tokens[at..end].to_vec(),
        body: as_group(tokens.get(end), Delimiter::Brace).cloned(),
        children: Vec::new(),
    };
    descend(&mut item, around);
    Some((item, end + 1))
}

/// What a keyword starts.
fn kind(keyword: &str, qualifiers: &[String]) -> Option<ItemKind> {
    let has = |word: &str| qualifiers.iter().any(|q| q == word);
    Some(match keyword {
        "fn" => ItemKind::Function,
        "struct" | "enum" | "union" | "type" => ItemKind::Type,
        "trait" => ItemKind::Trait,
        "impl" => ItemKind::Impl,
        "mod" => ItemKind::Module,
        "static" => ItemKind::Constant,
        "assume_specification" => ItemKind::AssumeSpecification,
        "use" | "crate" | "global" | "group" => ItemKind::Other,
        _ if has("const") => ItemKind::Constant,
        _ if has("extern") => ItemKind::Other,
        _ => return None,
    })
}

/// Parses what is inside an item that holds items.
fn descend(item: &mut Item, around: Surroundings) {
    let Some(body) = &item.body else { return };
    match item.kind {
        ItemKind::Trait | ItemKind::Impl | ItemKind::Module => {
            let (inner, children) = items(body.stream(), around);
            item.attributes.extend(inner);
            item.children = children;
        }
        // An inner attribute of a function is all that is wanted of its statements.
        ItemKind::Function => {
            let tokens: Vec<TokenTree> = body.stream().into_iter().collect();
            let mut at = 0;
            while let Some((attribute, true, next)) = attribute(&tokens, at) {
                item.attributes.push(attribute);
                at = next;
            }
        }
        _ => {}
    }
}

fn head(tokens: &[TokenTree], at: usize) -> Head {
    let mut head = Head { visibility: Visibility::Restricted, qualifiers: Vec::new(), keyword: at };
    if is_ident(tokens.get(at), "pub") {
        head.keyword += 1;
        if as_group(tokens.get(head.keyword), Delimiter::Parenthesis).is_some() {
            head.keyword += 1;
        } else {
            head.visibility = Visibility::Public;
        }
    }
    while let Some(TokenTree::Ident(word)) = tokens.get(head.keyword) {
        let word = word.to_string();
        if !QUALIFIERS.contains(&word.as_str()) {
            break;
        }
        head.qualifiers.push(word);
        head.keyword += 1;
        // `spec(checked)`, `open(in path)`, `extern "C"`.
        while matches!(tokens.get(head.keyword), Some(TokenTree::Literal(_)) | Some(TokenTree::Group(_)))
            && as_group(tokens.get(head.keyword), Delimiter::Brace).is_none()
        {
            head.keyword += 1;
        }
    }
    head
}

fn mode(qualifiers: &[String]) -> Mode {
    let has = |word: &str| qualifiers.iter().any(|q| q == word);
    if has("spec") || has("ghost") {
        Mode::Spec
    } else if has("proof") || has("axiom") || has("tracked") {
        Mode::Proof
    } else {
        Mode::Exec
    }
}

/// The index of the semicolon or of the braces with which an item ends.
///
/// Contracts may have braces of their own (`ensures match r { .. }, { body }`). The last braces are those
/// after which the next item starts.
fn end_of_item(tokens: &[TokenTree], from: usize, kind: ItemKind) -> usize {
    let has_braces = kind != ItemKind::AssumeSpecification;
    let mut at = from;
    while at < tokens.len() {
        let closes = as_group(tokens.get(at), Delimiter::Brace).is_some() && starts_item(tokens, at + 1);
        if is_punct(tokens.get(at), ';') || (has_braces && closes) {
            return at;
        }
        at += 1;
    }
    tokens.len()
}

fn starts_item(tokens: &[TokenTree], at: usize) -> bool {
    match tokens.get(at) {
        None => true,
        Some(TokenTree::Ident(i)) => {
            STARTERS.contains(&i.to_string().as_str()) || is_punct(tokens.get(at + 1), '!')
        }
        Some(TokenTree::Punct(p)) => p.as_char() == '#' || p.as_char() == '$',
        Some(_) => false,
    }
}

fn name(kind: ItemKind, tokens: &[TokenTree]) -> String {
    match kind {
        ItemKind::Impl => impl_name(tokens),
        ItemKind::AssumeSpecification => {
            let target = tokens.iter().find_map(|t| as_group(Some(t), Delimiter::Bracket));
            let target = target.map(|g| super::tokens::compact(&g.stream())).unwrap_or_default();
            format!("assume_specification[{target}]")
        }
        ItemKind::Other => String::new(),
        _ => match tokens {
            [TokenTree::Ident(i), ..] => i.to_string(),
            [TokenTree::Punct(p), TokenTree::Ident(i), ..] if p.as_char() == '$' => format!("${i}"),
            _ => String::new(),
        },
    }
}

/// `Type` or `<Type as Trait>`, without generic arguments and without the paths before the last segment.
fn impl_name(tokens: &[TokenTree]) -> String {
    let mut parts: Vec<Vec<String>> = vec![Vec::new()];
    let mut depth = 0usize;
    let mut previous = ' ';
    for token in tokens {
        match token {
            TokenTree::Punct(p) if p.as_char() == '<' => depth += 1,
            TokenTree::Punct(p) if p.as_char() == '>' && previous != '-' => depth = depth.saturating_sub(1),
            TokenTree::Ident(i) if depth == 0 && i == "where" => break,
            TokenTree::Ident(i) if depth == 0 && i == "for" => parts.push(Vec::new()),
            token if depth == 0 => parts.last_mut().expect("never empty").push(token.to_string()),
            _ => {}
        }
        previous = if let TokenTree::Punct(p) = token { p.as_char() } else { ' ' };
    }
    let mut names = parts.iter().map(|words| last_segment(words));
    let first = names.next().unwrap_or_default();
    match names.next() {
        Some(ty) => format!("<{ty} as {first}>"),
        None => first,
    }
}

fn last_segment(words: &[String]) -> String {
    let from = words.iter().rposition(|w| w == ":").map_or(0, |i| i + 1);
    let words: Vec<&str> = words[from..].iter().map(String::as_str).filter(|w| *w != "const").collect();
    words.join(" ").replace("$ ", "$").replace("& ", "&").replace("! ", "!").replace("* ", "*")
}

fn macro_call(tokens: &[TokenTree], at: usize, around: Surroundings) -> Option<(Item, usize)> {
    let TokenTree::Ident(macro_name) = tokens.get(at)? else {
        return None;
    };
    let macro_name = macro_name.to_string();
    let mut next = at + 2;
    let mut name = macro_name.clone();
    if let Some(TokenTree::Ident(defined)) = tokens.get(next) {
        name = defined.to_string();
        next += 1;
    }
    let Some(TokenTree::Group(body)) = tokens.get(next) else {
        return None;
    };
    let kind = match macro_name.as_str() {
        "verus" | "verus_" => ItemKind::Verus,
        "macro_rules" => ItemKind::MacroDefinition,
        "tokenized_state_machine" | "state_machine" => ItemKind::StateMachine,
        _ => ItemKind::MacroCall,
    };
    let (children, machine_name) = macro_contents(kind, body, around);
    let item = Item {
        kind,
        name: machine_name.unwrap_or(name),
        line: line(&tokens[at]),
        mode: Mode::Exec,
        visibility: Visibility::Restricted,
        qualifiers: Vec::new(),
        in_verus: around.in_verus,
        attributes: Vec::new(),
        signature: tokens[at..next].to_vec(),
        body: Some(body.clone()),
        children,
    };
    Some((item, next + 1))
}

fn macro_contents(kind: ItemKind, body: &Group, around: Surroundings) -> (Vec<Item>, Option<String>) {
    match kind {
        ItemKind::Verus => (items(body.stream(), Surroundings { in_verus: true }).1, None),
        ItemKind::StateMachine => {
            let tokens: Vec<TokenTree> = body.stream().into_iter().collect();
            let name = tokens.iter().find_map(|t| match t {
                TokenTree::Ident(i) if i != "pub" => Some(i.to_string()),
                _ => None,
            });
            let inside = tokens.iter().find_map(|t| as_group(Some(t), Delimiter::Brace));
            let children = inside.map(|g| items(g.stream(), Surroundings { in_verus: true }).1);
            (children.unwrap_or_default().into_iter().map(ghostly).collect(), name)
        }
        // Each arm's right-hand side may be items.
        ItemKind::MacroDefinition => {
            let arms = body.stream().into_iter().filter_map(|t| match t {
                TokenTree::Group(g) => Some(items(g.stream(), around).1),
                _ => None,
            });
            (arms.flatten().collect(), None)
        }
        _ => (items(body.stream(), around).1, None),
    }
}

/// A function of a state machine says nothing of it, but never runs.
fn ghostly(mut item: Item) -> Item {
    if item.kind == ItemKind::Function && item.mode == Mode::Exec {
        item.mode = if item.mentions("inductive") { Mode::Proof } else { Mode::Spec };
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let (_, items) = file(text).expect("tokens");
        items.iter().map(|i| format!("{:?} {}", i.kind, i.name)).collect()
    }

    #[test]
    fn items_end_where_the_next_one_starts() {
        let text = "
            use a::{b, c};
            pub const X: [u8; 2] = [1, 2];
            const unsafe extern \"C\" fn f() -> u8 { 1 }
            struct S<T> where T: U { t: T }
            type A = B;
            pub(crate) static Y: u8 = { 3 };
            global size_of usize == 8;
            impl<const N: usize> S<{ N }> for Z { fn g() {} }
            mod m;
            vstd::prelude::verus! { fn h() {} }
        ";
        let expected = [
            "Other ",
            "Constant X",
            "Function f",
            "Type S",
            "Type A",
            "Constant Y",
            "Other ",
            "Impl <Z as S>",
            "Module m",
            "Verus verus",
        ];
        assert_eq!(names(text), expected);
    }

    #[test]
    fn braces_in_contracts_are_not_bodies() {
        let text = "
            spec fn s() -> bool { if a { b } else { c } }
            fn f() ensures match r { A => { true } B => false }, x is Ok ==> { &&& y } { 1 }
            fn g();
            axiom fn h() ensures ({ true });
        ";
        assert_eq!(names(text), ["Function s", "Function f", "Function g", "Function h"]);
    }

    #[test]
    fn functions_of_a_state_machine_never_run() {
        let text = "tokenized_state_machine! { M {
            fields { #[sharding(variable)] pub n: int }
            #[invariant] pub fn inv(&self) -> bool { true }
            #[inductive(step)] fn step_keeps(pre: Self, post: Self) {}
        } }";
        let (_, items) = file(text).expect("tokens");
        assert_eq!((items[0].kind, items[0].name.as_str()), (ItemKind::StateMachine, "M"));
        assert!(items[0].children.iter().all(|f| f.mode != Mode::Exec));
    }
}
