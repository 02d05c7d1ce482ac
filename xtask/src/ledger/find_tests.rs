use super::*;
use crate::source::parse;

/// What is found in a file of the module `m`, as `item kind`.
fn found(text: &str) -> Vec<String> {
    all(text).trusted.iter().map(|f| format!("{} {}", f.item, f.kind.name())).collect()
}

fn all(text: &str) -> Findings {
    let (attributes, items) = parse::file(text).expect("tokens");
    let file = SourceFile {
        path: "m.rs".into(),
        module: "m".into(),
        standing: Standing::Verified,
        text: text.into(),
        attributes,
        items,
    };
    let mut findings = Findings::default();
    in_file(&file, &mut findings);
    findings
}

#[test]
fn a_body_that_is_believed_is_found_in_and_outside_verus() {
    let text = "
        verus! {
            impl<T: Release> Owned<T> {
                #[inline(always)]
                #[verifier::external_body]
                pub fn get(&self) -> (r: &T) ensures *r == self@ { &self.v }
            }
        }
        #[cfg_attr(verus_keep_ghost, verifier::external_body)]
        fn outside() {}
        #[verus_verify(external_body)]
        fn annotated() {}
        #[verifier(external_body)]
        fn in_the_old_form() {}
    ";
    let names = ["Owned::get", "outside", "annotated", "in_the_old_form"];
    assert_eq!(found(text), names.map(|n| format!("m::{n} external_body")));
}

#[test]
fn implementations_of_traits_are_named_by_both() {
    let text = "
        #[cfg_attr(verus_keep_ghost, verifier::external)]
        impl<'a, T: Release> core::ops::Deref for Owned<T> where T: fmt::Debug { fn deref(&self) {} }
        macro_rules! formats { ($($ty:ident),*) => {$(
            #[cfg_attr(verus_keep_ghost, verifier::external)]
            impl fmt::Display for $ty { fn fmt(&self) {} }
        )*}; }
    ";
    let formatting = "m::<$ty as Display> formatting, not seen by the verifier";
    assert_eq!(found(text), ["m::<Owned as Deref> external", formatting]);
}

#[test]
fn statements_without_proof_are_found() {
    let text = "verus! {
        pub axiom fn believe() ensures 1 == 2;
        broadcast axiom fn believe_everywhere() ensures true;
        pub assume_specification<T>[ core::mem::forget::<T> ](t: T) ensures true;
        pub uninterp spec fn anything() -> int;
        #[verifier::external_type_specification]
        #[verifier::external_body]
        pub struct ExOrdering(core::sync::atomic::Ordering);
        unsafe impl Send for X {}
        unsafe impl WithContract for X {}
    }";
    let expected = [
        "m::believe axiom",
        "m::believe_everywhere axiom",
        "m::assume_specification[core::mem::forget::<T>] assume_specification",
        "m::anything uninterp",
        "m::ExOrdering external_type_specification",
        "m::<X as Send> unsafe_impl",
    ];
    assert_eq!(found(text), expected);
}

#[test]
fn assumptions_in_bodies_are_found_wherever_they_hide() {
    let text = "verus! {
        fn f(x: u64) -> (r: u64)
            ensures match x { 0 => r == 0, _ => { r > 0 } },
        {
            if x > 0 { proof { assume(false); } }
            loop { vstd::pervasive::admit(); }
        }
        proof fn g() { let tracked t = Tracked::<X>::assume_new(); }
    }
    tokenized_state_machine!{ Slots {
        fields { #[sharding(variable)] pub n: int }
        #[inductive(step)] fn step_keeps(pre: Self, post: Self) { assume(post.n == 0) }
    } }
    #[verus_spec(r => ensures r)]
    fn outside() -> bool { proof! { admit(); } true }
    ";
    let expected = [
        "m::f assume",
        "m::f admit",
        "m::g assume_new outside an external_body",
        "m::Slots::step_keeps assume",
        "m::outside admit",
    ];
    assert_eq!(found(text), expected);
}

#[test]
fn a_ghost_value_may_come_out_of_nothing_in_a_believed_body() {
    let text = "verus! {
        #[verifier::external_body]
        fn new() -> Tracked<P> { Tracked::assume_new() }
    }";
    assert_eq!(found(text), ["m::new external_body"]);
}

#[test]
fn other_words_are_left_alone() {
    let text = "verus! {
        /// May assume(this), and #[verifier::external_body] too.
        // assume(that)
        fn f(x: MaybeUninit<u64>) -> u64 { let s = \"admit()\"; x.assume(1); x.assume_init(); 0 }
        proof fn h() { proof_from_false() }
    }
    #[cfg(test)]
    mod tests { fn t() { assume(false) } }
    ";
    assert_eq!(found(text), [""; 0]);
}

#[test]
fn code_that_nobody_annotated_is_found() {
    let text = "
        fn forgotten() {}
        #[verus_spec] fn seen() {}
        #[verus_verify] impl X { fn seen_too(&self) {} }
        impl Y { fn forgotten_too(&self) {} }
        #[cfg(test)] fn helper() {}
        macro_rules! elsewhere { () => { impl Z { fn runs_elsewhere() {} } }; }
        #[cfg_attr(verus_keep_ghost, verifier::external)] const _: () = assert!(true);
    ";
    let expected =
        ["m::forgotten", "m::Y::forgotten_too"].map(|n| format!("{n} not annotated, so not verified"));
    assert_eq!(found(text), expected);
}

#[test]
fn code_that_the_verifier_is_kept_from_is_found() {
    let text = "verus! { #[cfg(not(verus_keep_ghost))] fn other() {} }";
    assert_eq!(found(text), ["m::other hidden"]);
}

#[test]
fn unproved_termination_is_found_at_functions_and_whole_modules() {
    let text = "
        #![cfg_attr(verus_keep_ghost, verifier::exec_allows_no_decreases_clause)]
        verus! { #[verifier::exec_allows_no_decreases_clause] fn spin() { loop {} } }
    ";
    let kind = "exec_allows_no_decreases_clause";
    assert_eq!(found(text), [format!("m {kind}"), format!("m::spin {kind}")]);
}

#[test]
fn preconditions_of_safe_public_functions_are_found() {
    let text = "verus! {
        pub fn asks(x: u64) requires x > 0 {}
        pub unsafe fn may_ask(x: u64) requires x > 0 {}
        pub(crate) fn asks_inside(x: u64) requires x > 0 {}
        pub proof fn lemma(x: u64) requires x > 0 {}
    }";
    assert_eq!(found(text), ["m::asks safe public function with a precondition"]);
}

#[test]
fn proved_functions_are_known_by_their_opening_brace() {
    let text = "verus! {\nfn f() -> (r: bool)\n    ensures ({ r }),\n{ true }\n}";
    let proved = all(text).proved;
    assert_eq!((proved.len(), proved[0].line, proved[0].column), (1, 4, 1));
}

#[test]
fn what_no_item_claims_counts_for_the_module() {
    let text = "verus! { $weird assume(false); }";
    assert_eq!(found(text), ["m assume"]);
}
