//! Small questions about token trees.
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// Whether the token is the identifier `word`.
pub fn is_ident(token: Option<&TokenTree>, word: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(i)) if i == word)
}

/// Whether the token is the punctuation `c`.
pub fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == c)
}

/// The token as a group with that delimiter.
pub fn as_group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match token {
        Some(TokenTree::Group(g)) if g.delimiter() == delimiter => Some(g),
        _ => None,
    }
}

/// The line a token starts on.
pub fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

/// Calls `visit` with every identifier, at any depth.
pub fn each_ident(stream: &TokenStream, visit: &mut impl FnMut(&Ident)) {
    for token in stream.clone() {
        match token {
            TokenTree::Ident(i) => visit(&i),
            TokenTree::Group(g) => each_ident(&g.stream(), visit),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Every identifier, at any depth.
pub fn idents(stream: &TokenStream) -> Vec<String> {
    let mut all = Vec::new();
    each_ident(stream, &mut |i| all.push(i.to_string()));
    all
}

/// The tokens written without any white space.
pub fn compact(stream: &TokenStream) -> String {
    stream.to_string().split_whitespace().collect()
}

/// Calls `visit` with every list of tokens: this one and those of the groups inside.
pub fn each_level(stream: &TokenStream, visit: &mut impl FnMut(&[TokenTree])) {
    let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
    visit(&tokens);
    for token in &tokens {
        if let TokenTree::Group(g) = token {
            each_level(&g.stream(), visit);
        }
    }
}
