//! The protocol of translation caches: what a processor may still translate, and what has to come before what was
//! mapped is released.
//!
//! A processor's walker reads the tables of its current space whenever it likes, and what it read stays in use until
//! the processor flushes the page or sets another root. So all that the protocol has to know of a cache is since when it
//! has been read: `since[c](s, p)` is the time of the last such step of processor `c` for page `p` of space `s`. What was taken out
//! of a space before that time, `c` cannot translate to.
//!
//! Kernel space is the same in every space: a processor uses its translations whatever its root is, and keeps them when it
//! sets another. It goes by the name [`kernel_space`], which no space has; what is known of its pages has times of its own.
//!
//! Whatever is known of caches is known as a [`Clean`]: some processors have no translation of some pages of a space from
//! before a time. It stays true for ever, so these facts are handed around freely, and joined.
#![cfg_attr(not(verus_keep_ghost), allow(dead_code, reason = "what only the proofs use"))]
#![allow(non_snake_case, reason = "a machine is a module to the compiler, and a type to us")]
use vellum_machine::tlb::CacheEvent;
use verus_state_machines_macros::tokenized_state_machine;
use vstd::prelude::*;

verus! {

/// The ghost name of an address space; never used twice.
pub type Sid = nat;

/// The name of what every processor translates whatever its root is: kernel space.
pub open spec fn kernel_space() -> Sid {
    0
}

/// It is the name of what every processor translates.
pub open spec fn is_kernel_space(s: Sid) -> bool {
    s == kernel_space()
}

/// The ghost name of something that was taken out of a table; never used twice.
pub type Mid = nat;

/// A processor.
pub type Cpu = nat;

/// Since when the translations of each page of a space that a processor may use were read.
pub type Since = spec_fn(Sid, nat) -> nat;

/// Numbers of pages of virtual addresses.
pub type Pages = ISet<nat>;

/// These processors translate no address in these pages of this space by what they read before this time.
pub ghost struct Clean {
    pub cpus: ISet<Cpu>,
    pub space: Sid,
    pub pages: Pages,
    pub time: nat,
}

/// Something that had been taken out of these pages of this space by this time.
pub ghost struct Gone {
    pub space: Sid,
    pub pages: Pages,
    pub time: nat,
}

impl Clean {
    /// It says of all of `ncpu` processors that they do not translate to what is gone.
    pub open spec fn settles(self, g: Gone, ncpu: nat) -> bool {
        &&& self.space == g.space && self.time >= g.time
        &&& forall|p: nat| #[trigger] g.pages.contains(p) ==> self.pages.contains(p)
        &&& forall|c: Cpu| c < ncpu ==> #[trigger] self.cpus.contains(c)
    }
}

/// Some fact settles it.
pub open spec fn settled(clean: Set<Clean>, g: Gone, ncpu: nat) -> bool {
    exists|f: Clean| #[trigger] clean.contains(f) && f.settles(g, ncpu)
}

/// What is settled stays settled.
pub proof fn lemma_settled_grows(a: Set<Clean>, b: Set<Clean>)
    requires
        forall|f: Clean| #[trigger] a.contains(f) ==> b.contains(f),
    ensures
        forall|g: Gone, ncpu: nat| settled(a, g, ncpu) ==> #[trigger] settled(b, g, ncpu),
{
    assert forall|g: Gone, ncpu: nat| settled(a, g, ncpu) implies #[trigger] settled(b, g, ncpu) by {
        let f = choose|f: Clean| #[trigger] a.contains(f) && f.settles(g, ncpu);
        assert(b.contains(f));
    }
}

/// What a processor asks others to flush.
pub ghost struct Ask {
    pub space: Sid,
    pub pages: Pages,
    pub time: nat,
    pub targets: ISet<Cpu>,
    /// The words in which it says so.
    pub words: Seq<u64>,
}

impl Ask {
    /// What the answer of one that was asked says.
    pub open spec fn answer(self, c: Cpu) -> Clean {
        Clean { cpus: ISet::empty().insert(c), space: self.space, pages: self.pages, time: self.time }
    }

    /// What all answers say.
    pub open spec fn answers(self) -> Clean {
        Clean { cpus: self.targets, space: self.space, pages: self.pages, time: self.time }
    }
}

/// The requests of a processor.
pub ghost struct Sender {
    /// How many were sent.
    pub number: nat,
    /// Somebody writes the next one.
    pub claimed: bool,
    /// It has its number already.
    pub numbered: bool,
    /// Who has not answered the last one.
    pub pending: ISet<Cpu>,
}

/// A processor: what it did with its cache, and the space whose table is its root.
pub ghost struct Cache {
    pub log: Seq<CacheEvent>,
    pub space: Option<Sid>,
}

/// Since when a page's translations were read, after an event now. A change of the root says nothing of kernel space.
pub open spec fn since_after(since: Since, event: CacheEvent, now: nat) -> Since {
    |s: Sid, p: nat| match event {
        CacheEvent::Root(_) => if is_kernel_space(s) {
            since(s, p)
        } else {
            now
        },
        CacheEvent::Forget(pages) => if pages.contains(p) {
            now
        } else {
            since(s, p)
        },
    }
}

/// A processor translates addresses of a space: of the one whose table is its root, and of kernel space.
pub open spec fn uses(cache: Cache, s: Sid) -> bool {
    is_kernel_space(s) || cache.space == Some(s)
}

/// What a processor keeps may lead to what is gone: it was read, for one of its pages, before that was taken out.
pub open spec fn leads_to(cache: Cache, since: Since, g: Gone) -> bool {
    uses(cache, g.space) && exists|p: nat| g.pages.contains(p) && (#[trigger] since(g.space, p)) < g.time
}

tokenized_state_machine! { Caches {
    fields {
        #[sharding(constant)]
        pub ncpu: nat,
        #[sharding(not_tokenized)]
        pub clock: nat,
        #[sharding(not_tokenized)]
        pub next_space: nat,
        #[sharding(not_tokenized)]
        pub next_gone: nat,
        /// The clock has reached this.
        #[sharding(persistent_set)]
        pub stamp: Set<nat>,
        /// The physical address of a space's root.
        #[sharding(persistent_map)]
        pub root: Map<Sid, nat>,
        /// The processors in a space's set.
        #[sharding(map)]
        pub listed: Map<Sid, ISet<Cpu>>,
        /// A processor is in a space's set.
        #[sharding(set)]
        pub member: Set<(Sid, Cpu)>,
        #[sharding(map)]
        pub cache: Map<Cpu, Cache>,
        /// The right to set a processor's root; knows its space.
        #[sharding(map)]
        pub seat: Map<Cpu, Option<Sid>>,
        /// Translations of a page that a processor may use were read since then.
        #[sharding(not_tokenized)]
        pub since: Map<Cpu, Since>,
        #[sharding(persistent_set)]
        pub clean: Set<Clean>,
        #[sharding(persistent_map)]
        pub gone: Map<Mid, Gone>,
        /// The right to release what is gone.
        #[sharding(set)]
        pub held: Set<Mid>,
        /// What is gone and was given back.
        #[sharding(persistent_set)]
        pub released: Set<Mid>,
        #[sharding(map)]
        pub sender: Map<Cpu, Sender>,
        /// The right to write a processor's next request: how many were sent, and whether the next has its number.
        #[sharding(map)]
        pub claim: Map<Cpu, (nat, bool)>,
        /// The requests of each processor, by their numbers.
        #[sharding(persistent_map)]
        pub sent: Map<(Cpu, nat), Ask>,
        /// Sender and target of a request that is not answered: its number.
        #[sharding(map)]
        pub asked: Map<(Cpu, Cpu), nat>,
    }

    /// What the claim is about: processor `c` may have a translation of a page that led to `mid`, or walk to it.
    pub open spec fn may_translate(&self, c: Cpu, mid: Mid) -> bool {
        self.cache.dom().contains(c) && self.gone.dom().contains(mid) && leads_to(self.cache[c], self.since[c], self.gone[mid])
    }

    /// A fact holds.
    pub open spec fn holds(&self, f: Clean) -> bool {
        &&& f.time <= self.clock
        &&& forall|c: Cpu, p: nat| f.cpus.contains(c) && f.pages.contains(p) && #[trigger] self.cache.dom().contains(c)
            && uses(self.cache[c], f.space) ==> #[trigger] (self.since[c])(f.space, p) >= f.time
    }

    init!{ boot(ncpu: nat) {
        init ncpu = ncpu;
        init clock = 0;
        init next_space = kernel_space() + 1;
        init next_gone = 0;
        init stamp = Set::empty().insert(0);
        init root = Map::empty();
        init listed = Map::empty();
        init member = Set::empty();
        init cache = Map::new(Set::<nat>::range(0, ncpu), |c: nat| Cache { log: Seq::empty(), space: None });
        init seat = Map::new(Set::<nat>::range(0, ncpu), |c: nat| None);
        init since = Map::new(Set::<nat>::range(0, ncpu), |c: nat| |s: Sid, p: nat| 0nat);
        init clean = Set::empty();
        init gone = Map::empty();
        init held = Set::empty();
        init released = Set::empty();
        init sender = Map::new(
            Set::<nat>::range(0, ncpu),
            |c: nat| Sender { number: 0, claimed: false, numbered: false, pending: ISet::empty() },
        );
        init claim = Map::empty();
        init sent = Map::empty();
        init asked = Map::empty();
    } }

    //================ spaces and processors ================

    transition!{ new_space(root: nat) {
        birds_eye let s = pre.next_space;
        update next_space = pre.next_space + 1;
        add listed += [s => ISet::empty()];
        add root (union)= [s => root];
    } }

    transition!{ list(s: Sid, c: Cpu) {
        remove listed -= [s => let l];
        require !l.contains(c);
        add listed += [s => l.insert(c)];
        add member += set { (s, c) };
    } }

    /// A processor leaves a space's set: its root is that of another by now.
    transition!{ unlist(s: Sid, c: Cpu) {
        have seat >= [c => let space];
        require space != Some(s);
        remove listed -= [s => let l];
        remove member -= set { (s, c) };
        add listed += [s => l.remove(c)];
    } }

    /// A processor walks the table of a space from now on, and has forgotten everything.
    transition!{ enter(c: Cpu, s: Sid) {
        have root >= [s => let pa];
        have member >= set { (s, c) };
        remove seat -= [c => let _];
        remove cache -= [c => let v];
        birds_eye let since = since_after(pre.since[c], CacheEvent::Root(pa), pre.clock);
        update since = pre.since.insert(c, since);
        add seat += [c => Some(s)];
        add cache += [c => Cache { log: v.log.push(CacheEvent::Root(pa)), space: Some(s) }];
    } }

    /// A processor walks a table that is no space's.
    transition!{ leave(c: Cpu, pa: nat) {
        remove seat -= [c => let _];
        remove cache -= [c => let v];
        birds_eye let since = since_after(pre.since[c], CacheEvent::Root(pa), pre.clock);
        update since = pre.since.insert(c, since);
        add seat += [c => None];
        add cache += [c => Cache { log: v.log.push(CacheEvent::Root(pa)), space: None }];
    } }

    //================ facts ================

    /// A processor forgets the translations of pages.
    transition!{ flush(c: Cpu, pages: Pages, s: Sid, t: nat) {
        have stamp >= set { t };
        remove cache -= [c => let v];
        birds_eye let since = since_after(pre.since[c], CacheEvent::Forget(pages), pre.clock);
        update since = pre.since.insert(c, since);
        add cache += [c => Cache { log: v.log.push(CacheEvent::Forget(pages)), space: v.space }];
        add clean (union)= set { Clean { cpus: ISet::empty().insert(c), space: s, pages, time: t } };
    } }

    /// Who is not in a space's set has no translation of it.
    transition!{ absent(s: Sid, t: nat) {
        have stamp >= set { t };
        have listed >= [s => let l];
        add clean (union)= set { Clean { cpus: l.complement(), space: s, pages: ISet::full(), time: t } };
    } }

    /// What time it is at least.
    transition!{ look_at_clock() {
        birds_eye let now = pre.clock;
        add stamp (union)= set { now };
    } }

    /// Of no page nothing is known, nor of no processor.
    transition!{ nothing(f: Clean) {
        have stamp >= set { f.time };
        require forall|c: Cpu, p: nat| !(#[trigger] f.cpus.contains(c) && #[trigger] f.pages.contains(p));
        add clean (union)= set { f };
    } }

    /// Two facts say a third.
    transition!{ join(a: Clean, b: Clean, r: Clean) {
        have clean >= set { a };
        have clean >= set { b };
        require a.space == r.space && b.space == r.space && r.time <= a.time && r.time <= b.time;
        require forall|c: Cpu, p: nat| #[trigger] r.cpus.contains(c) && #[trigger] r.pages.contains(p) ==> (a.cpus.contains(c)
            && a.pages.contains(p)) || (b.cpus.contains(c) && b.pages.contains(p));
        add clean (union)= set { r };
    } }

    //================ what is gone ================

    /// Something was taken out of pages of a space.
    transition!{ retire(s: Sid, pages: Pages, t: nat) {
        have stamp >= set { t };
        birds_eye let mid = pre.next_gone;
        birds_eye let now = pre.clock + 1;
        update next_gone = pre.next_gone + 1;
        update clock = pre.clock + 1;
        add stamp (union)= set { now };
        add gone (union)= [mid => Gone { space: s, pages, time: now }];
        add held += set { mid };
        assert(now >= t);
    } }

    /// It goes back: every processor is clean of it.
    transition!{ release(mid: Mid, f: Clean) {
        have gone >= [mid => let g];
        have clean >= set { f };
        remove held -= set { mid };
        require f.settles(g, pre.ncpu);
        add released (union)= set { mid };
    } }

    //================ requests ================

    transition!{ take_claim(i: Cpu) {
        remove sender -= [i => let r];
        require !r.claimed && r.pending == ISet::<Cpu>::empty();
        add sender += [i => Sender { claimed: true, numbered: false, ..r }];
        add claim += [i => (r.number, false)];
    } }

    transition!{ renumber(i: Cpu) {
        remove sender -= [i => let r];
        remove claim -= [i => let v];
        add sender += [i => Sender { numbered: true, ..r }];
        add claim += [i => (v.0, true)];
    } }

    transition!{ publish(i: Cpu, ask: Ask, targets: Set<Cpu>) {
        remove sender -= [i => let r];
        remove claim -= [i => let v];
        require v.1;
        have stamp >= set { ask.time };
        require forall|c: Cpu| #[trigger] ask.targets.contains(c) <==> targets.contains(c);
        let n = r.number + 1;
        add sender += [i => Sender { number: n, claimed: false, numbered: false, pending: ask.targets }];
        add sent (union)= [(i, n) => ask];
        add asked += (Map::new(targets.map(|c: Cpu| (i, c)), |k: (Cpu, Cpu)| n));
    } }

    transition!{ answer(i: Cpu, c: Cpu) {
        remove asked -= [(i, c) => let n];
        remove sender -= [i => let r];
        have sent >= [(i, n) => let ask];
        have clean >= set { ask.answer(c) };
        add sender += [i => Sender { pending: r.pending.remove(c), ..r }];
    } }

    transition!{ collect(i: Cpu, n: nat) {
        have sender >= [i => let r];
        have sent >= [(i, n) => let ask];
        require r.number != n || r.pending == ISet::<Cpu>::empty();
        add clean (union)= set { ask.answers() };
    } }

    //================ what holds ================

    property!{ released_is_unreachable(mid: Mid, c: Cpu) {
        have released >= set { mid };
        have gone >= [mid => let g];
        have cache >= [c => let v];
        birds_eye let since = pre.since[c];
        assert !leads_to(v, since, g) by {
            let f = choose|f: Clean| #[trigger] pre.clean.contains(f) && f.settles(g, pre.ncpu);
            assert(pre.holds(f));
        };
    } }

    property!{ a_request_waits_for_its_target(i: Cpu, c: Cpu) {
        have asked >= [(i, c) => let n];
        have sender >= [i => let r];
        assert r.number == n && !r.claimed && r.pending.contains(c);
    } }

    property!{ a_claim_is_exclusive(i: Cpu) {
        have claim >= [i => let v];
        have sender >= [i => let r];
        assert r.claimed && r.pending == ISet::<Cpu>::empty() && v == (r.number, r.numbered);
    } }

    property!{ a_claimed_sender_waits_for_nobody(i: Cpu) {
        have sender >= [i => let r];
        require r.claimed;
        assert r.pending == ISet::<Cpu>::empty();
    } }

    property!{ a_member_is_listed(s: Sid, c: Cpu) {
        have member >= set { (s, c) };
        have listed >= [s => let l];
        assert l.contains(c);
    } }

    #[invariant]
    pub fn inv_domains(&self) -> bool {
        &&& forall|c: Cpu| #[trigger] self.cache.dom().contains(c) <==> c < self.ncpu
        &&& forall|c: Cpu| #[trigger] self.seat.dom().contains(c) <==> c < self.ncpu
        &&& forall|c: Cpu| #[trigger] self.since.dom().contains(c) <==> c < self.ncpu
        &&& forall|t: nat| #[trigger] self.stamp.contains(t) ==> t <= self.clock
        &&& self.next_space > kernel_space()
        &&& forall|s: Sid| #[trigger] self.listed.dom().contains(s) ==> !is_kernel_space(s) && s < self.next_space
        &&& forall|s: Sid| #[trigger] self.root.dom().contains(s) ==> !is_kernel_space(s) && s < self.next_space
        &&& forall|m: Mid| #[trigger] self.gone.dom().contains(m) ==> m < self.next_gone && self.gone[m].time <= self.clock
        &&& forall|m: Mid| #[trigger] self.held.contains(m) ==> self.gone.dom().contains(m) && !self.released.contains(m)
    }

    /// A processor is in the set of the space whose table it walks.
    #[invariant]
    pub fn inv_members(&self) -> bool {
        &&& forall|c: Cpu| #[trigger] self.cache.dom().contains(c) ==> self.cache[c].space == self.seat[c]
        &&& forall|c: Cpu| #[trigger] self.seat.dom().contains(c) && self.seat[c] is Some ==> self.member.contains(
            (self.seat[c]->0, c))
        &&& forall|s: Sid, c: Cpu| #[trigger] self.member.contains((s, c)) ==> self.listed.dom().contains(s)
            && self.listed[s].contains(c)
    }

    #[invariant]
    pub fn inv_clean(&self) -> bool {
        forall|f: Clean| #[trigger] self.clean.contains(f) ==> self.holds(f)
    }

    /// Every processor was clean of what was given back.
    #[invariant]
    pub fn inv_released(&self) -> bool {
        forall|m: Mid| #[trigger] self.released.contains(m) ==> self.gone.dom().contains(m) && settled(
            self.clean,
            self.gone[m],
            self.ncpu,
        )
    }

    #[invariant]
    pub fn inv_senders(&self) -> bool {
        &&& forall|i: Cpu| #[trigger] self.claim.dom().contains(i) <==> self.sender.dom().contains(i) && self.sender[i].claimed
        &&& forall|i: Cpu| #[trigger] self.claim.dom().contains(i) ==> self.claim[i] == (self.sender[i].number, self.sender[i].numbered)
        &&& forall|i: Cpu| #[trigger] self.sender.dom().contains(i) && self.sender[i].claimed ==> self.sender[i].pending
            == ISet::<Cpu>::empty()
        &&& forall|i: Cpu, c: Cpu| #[trigger] self.asked.dom().contains((i, c)) ==> {
            &&& self.sender.dom().contains(i)
            &&& self.sender[i].number == self.asked[(i, c)]
            &&& self.sender[i].pending.contains(c)
            &&& self.sent.dom().contains((i, self.asked[(i, c)]))
        }
    }

    /// Who was asked has answered, but for those that the last request waits for.
    #[invariant]
    pub fn inv_sent(&self) -> bool {
        forall|i: Cpu, n: nat| #[trigger] self.sent.dom().contains((i, n)) ==> {
            &&& self.sender.dom().contains(i)
            &&& n <= self.sender[i].number
            &&& forall|c: Cpu| #[trigger] self.sent[(i, n)].targets.contains(c) && !(n == self.sender[i].number
                && self.sender[i].pending.contains(c)) ==> self.clean.contains(self.sent[(i, n)].answer(c))
            &&& self.sent[(i, n)].time <= self.clock
        }
    }

    #[inductive(boot)]
    fn boot_inductive(post: Self, ncpu: nat) { }

    #[inductive(new_space)]
    fn new_space_inductive(pre: Self, post: Self, root: nat) { }

    #[inductive(list)]
    fn list_inductive(pre: Self, post: Self, s: Sid, c: Cpu) { }

    #[inductive(unlist)]
    fn unlist_inductive(pre: Self, post: Self, s: Sid, c: Cpu) { }

    #[inductive(enter)]
    fn enter_inductive(pre: Self, post: Self, c: Cpu, s: Sid) { }

    #[inductive(leave)]
    fn leave_inductive(pre: Self, post: Self, c: Cpu, pa: nat) { }

    #[inductive(flush)]
    fn flush_inductive(pre: Self, post: Self, c: Cpu, pages: Pages, s: Sid, t: nat) {
        lemma_settled_grows(pre.clean, post.clean);
    }

    #[inductive(absent)]
    fn absent_inductive(pre: Self, post: Self, s: Sid, t: nat) {
        assert forall|c: Cpu| #[trigger] pre.cache.dom().contains(c) && pre.cache[c].space == Some(s) implies pre.listed[s].contains(c) by {
            assert(pre.seat.dom().contains(c));
            assert(pre.member.contains((s, c)));
        }
        lemma_settled_grows(pre.clean, post.clean);
    }

    #[inductive(look_at_clock)]
    fn look_at_clock_inductive(pre: Self, post: Self) { }

    #[inductive(nothing)]
    fn nothing_inductive(pre: Self, post: Self, f: Clean) {
        lemma_settled_grows(pre.clean, post.clean);
    }

    #[inductive(join)]
    fn join_inductive(pre: Self, post: Self, a: Clean, b: Clean, r: Clean) {
        lemma_settled_grows(pre.clean, post.clean);
    }

    #[inductive(retire)]
    fn retire_inductive(pre: Self, post: Self, s: Sid, pages: Pages, t: nat) { }

    #[inductive(release)]
    fn release_inductive(pre: Self, post: Self, mid: Mid, f: Clean) { }

    #[inductive(take_claim)]
    fn take_claim_inductive(pre: Self, post: Self, i: Cpu) { }

    #[inductive(renumber)]
    fn renumber_inductive(pre: Self, post: Self, i: Cpu) {
        assert(pre.claim.dom().contains(i));
    }

    #[inductive(publish)]
    fn publish_inductive(pre: Self, post: Self, i: Cpu, ask: Ask, targets: Set<Cpu>) {
        assert(pre.claim.dom().contains(i));
        assert(pre.sender[i].pending == ISet::<Cpu>::empty());
    }

    #[inductive(answer)]
    fn answer_inductive(pre: Self, post: Self, i: Cpu, c: Cpu) { }

    #[inductive(collect)]
    fn collect_inductive(pre: Self, post: Self, i: Cpu, n: nat) {
        lemma_settled_grows(pre.clean, post.clean);
        let f = pre.sent[(i, n)].answers();
        assert forall|c: Cpu, p: nat| f.cpus.contains(c) && f.pages.contains(p) && #[trigger] pre.cache.dom().contains(c) && uses(
            pre.cache[c],
            f.space,
        ) implies #[trigger] (pre.since[c])(f.space, p) >= f.time by {
            let one = pre.sent[(i, n)].answer(c);
            assert(pre.holds(one));
            assert(one.cpus.contains(c));
            assert((pre.since[c])(one.space, p) >= one.time);
        }
    }
} }

} // verus!
