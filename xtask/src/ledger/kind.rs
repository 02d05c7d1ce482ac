//! The sorts of things that a proof takes on trust.

/// What sort of trust, or of breach.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The contract is believed, the body is not looked at.
    ExternalBody,
    /// The verifier does not see the item.
    External,
    /// A contract for a type from elsewhere.
    ExternalTypeSpecification,
    /// A contract for a trait from elsewhere.
    ExternalTraitSpecification,
    /// A specification added to a trait from elsewhere.
    ExternalTraitExtension,
    /// A contract for a function from elsewhere, in the older form.
    ExternalFnSpecification,
    /// A derived implementation that the verifier does not see.
    ExternalDerive,
    /// A contract for a function from elsewhere.
    AssumeSpecification,
    /// A statement without a proof.
    Axiom,
    /// The function is believed to end.
    AssumeTermination,
    /// Termination is not proved.
    NoDecreases,
    /// An implementation that promises what the compiler cannot check.
    UnsafeImpl,
    /// Code that is compiled only where the verifier is not looking.
    Hidden,
    /// A machine primitive in a module that is not verified.
    Primitive,
    /// `assume`.
    Assume,
    /// `admit`.
    Admit,
    /// A ghost value out of nothing.
    AssumeNew,
    /// Text for the solver.
    InlineAir,
    /// A function that nobody annotated, in a module that counts as verified.
    Unseen,
    /// A function of specifications without a definition: anything may be true of it.
    Uninterpreted,
    /// An implementation of a formatting trait that the verifier does not see. No proof relies on one.
    Formatting,
    /// A safe public function that asks something of its caller.
    SafeWithPrecondition,
}

/// What the ledger does about a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// It needs an entry, with a test.
    EntryWithTest,
    /// It needs an entry.
    Entry,
    /// It may not be.
    Forbidden,
    /// It is listed.
    Information,
}

impl Kind {
    /// Every kind that `TRUSTED.toml` may name, with its spelling there.
    pub const NAMED: [(&'static str, Kind); 14] = [
        ("external_body", Kind::ExternalBody),
        ("external", Kind::External),
        ("external_type_specification", Kind::ExternalTypeSpecification),
        ("external_trait_specification", Kind::ExternalTraitSpecification),
        ("external_trait_extension", Kind::ExternalTraitExtension),
        ("external_fn_specification", Kind::ExternalFnSpecification),
        ("external_derive", Kind::ExternalDerive),
        ("assume_specification", Kind::AssumeSpecification),
        ("axiom", Kind::Axiom),
        ("assume_termination", Kind::AssumeTermination),
        ("exec_allows_no_decreases_clause", Kind::NoDecreases),
        ("unsafe_impl", Kind::UnsafeImpl),
        ("hidden", Kind::Hidden),
        ("primitive", Kind::Primitive),
    ];

    /// The kind with that spelling.
    pub fn parse(name: &str) -> Option<Kind> {
        Self::NAMED.iter().find(|(spelling, _)| *spelling == name).map(|(_, kind)| *kind)
    }

    /// The kind that an identifier in an attribute means.
    pub fn of_attribute(ident: &str) -> Option<Kind> {
        Kind::parse(ident).filter(|kind| {
            !matches!(
                kind,
                Kind::Axiom | Kind::UnsafeImpl | Kind::Hidden | Kind::Primitive | Kind::AssumeSpecification
            )
        })
    }

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Assume => "assume",
            Kind::Admit => "admit",
            Kind::AssumeNew => "assume_new outside an external_body",
            Kind::InlineAir => "inline_air_stmt",
            Kind::Unseen => "not annotated, so not verified",
            Kind::Uninterpreted => "uninterp",
            Kind::Formatting => "formatting, not seen by the verifier",
            Kind::SafeWithPrecondition => "safe public function with a precondition",
            named => {
                Self::NAMED.iter().find(|(_, kind)| *kind == named).map_or("?", |(spelling, _)| spelling)
            }
        }
    }

    /// What the ledger does about it.
    pub fn rule(self) -> Rule {
        match self {
            Kind::NoDecreases => Rule::Entry,
            Kind::Assume | Kind::Admit | Kind::AssumeNew | Kind::InlineAir | Kind::Unseen => Rule::Forbidden,
            Kind::Uninterpreted | Kind::Formatting | Kind::SafeWithPrecondition => Rule::Information,
            _ => Rule::EntryWithTest,
        }
    }

    /// Whether it is a contract for something from elsewhere, which may stand beside `external_body`.
    pub fn is_external_specification(self) -> bool {
        matches!(
            self,
            Kind::ExternalTypeSpecification
                | Kind::ExternalTraitSpecification
                | Kind::ExternalFnSpecification
        )
    }
}
