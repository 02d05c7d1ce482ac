//! Translation caches of many processors, kept in step with the tables.
//!
//! A processor may go on using a translation after the entry it came from was changed, and may read nodes of
//! the table that were unlinked, until it has flushed. Whoever changes an entry of a table that is active on
//! other processors has them flush (a *shootdown*), and releases what was reachable through the old entry
//! only after each of them has answered. [`TlbFlusher`] does this for one change of one table:
//!
//! 1. [`issue`](TlbFlusher::issue) gathers what is to be flushed, [`issue_with`](TlbFlusher::issue_with) also
//!    what is to be kept until then;
//! 2. [`dispatch`](TlbFlusher::dispatch) flushes here and asks the processors on which the table is active;
//! 3. dropping the cursor, or [`finish`](crate::space::CursorMut::finish), unlocks the range, waits until each has
//!    answered, and releases what was kept: nothing issued, kept or owed is ever lost.
//!
//! What the kernel maps for itself is in the table of every space, and its translations outlast a change of the root. So
//! whoever changes it has *every* processor flush, in the same way (`audience`: the processors of a space, or everyone).
//! Where something else than code on those processors can have them flush, as the firmware can on RISC-V, it does, and
//! nobody is asked.
//!
//! # What is proved
//!
//! `protocol` is the machine: since when each processor has read the translations of each page that it may use, and what
//! is gone from which pages by when. `world`, `ask` and `active` tie it to the words and to what processors are told to do: no
//! step of the machine is made but beside the flush, the change of a root or the atomic access that it is about. `stale`
//! seals what was taken out; the seal is broken with the fact that every processor is clean of it, and that comes from
//! `request` and `work` alone: from having flushed, from answers, from not being in a space's set, and from not
//! running. `theorems::what_is_released_is_out_of_reach` says what follows, and for kernel space
//! `theorems::what_is_released_of_kernel_space_was_forgotten_by_all`.
//!
//! A processor that idles is not asked either, if it leaves its space: [`VmSpace::deactivate_current`] has it walk the
//! table of kernel space. There is no cheaper way to be spared: a walker reads tables speculatively for as long as they
//! are its root's, also where no code uses them.
//!
//! [`VmSpace::deactivate_current`]: crate::space::VmSpace::deactivate_current
//!
//! # Why no processor is missed
//!
//! The set of processors on which a table is active changes while shootdowns go on. The order on both sides
//! is:
//!
//! | who changes an entry | who activates the table | who leaves it |
//! | --- | --- | --- |
//! | 1. store the entry | 1. add itself to the set | 1. set another root, which forgets its translations |
//! | 2. fence (on x86-64 the exchange of an entry is one) | 2. fence | 2. take itself out of the set |
//! | 3. read the set, ask its members | 3. set the root; from here on it walks the table | |
//!
//! *Activation.* Both fences are sequentially consistent, so one comes first. If it is the changer's, the
//! walks after the activation see the new entry. If it is the activator's, the changer finds the activator in
//! the set and asks it; the request is served after the entry was stored, and either before the activator
//! sets the root (it then has no translation of the table yet, and walks that come later see the new entry)
//! or after (it then flushes).
//!
//! *Leaving.* A changer that does not find a processor which left reads the set after that processor changed
//! it (the removal and the reading are `SeqCst` operations on one word), so after its root was changed: it
//! has no translation of the table, and walks it no more. (A change of the root forgets what is not global,
//! and mappings of spaces never are.) A changer that still finds it asks in vain and harmlessly.
//!
//! *Kernel space.* It is active everywhere, and nobody leaves it. A processor joins when it arrives:
//!
//! | who changes an entry | who arrives |
//! | --- | --- |
//! | 1. store the entry | 1. say that it has arrived |
//! | 2. fence | 2. fence |
//! | 3. see who has arrived, and have those flush | 3. set the root of kernel space; from here on it walks that |
//!
//! It is as above: one fence comes first, and either the walks after the arrival see the new entry, or the changer sees
//! the processor and has it flush. What it booted with maps nothing of kernel space that changes. (`vellum_machine::tlb::present`,
//! and the duties of whoever brings a processor up.)
//!
//! *Waiting.* A request is answered from [`vellum_machine::cpu::relax`], which every waiting loop calls, so
//! two processors that ask each other answer each other. Serving a request only flushes: it takes no lock.
//!
//! # What is used of processors
//!
//! Each processor has one place for a request that it sends ([`MAX_CPUS`](vellum_machine::cpu::MAX_CPUS) in
//! all, static). It is written again only when everybody has answered, so nobody reads it while it changes,
//! and a request allocates nothing.

pub(crate) mod active;
mod ask;
mod audience;
mod flusher;
mod keeping;
mod op;
mod pile;
pub(crate) mod protocol;
mod request;
mod stale;
mod statistics;
#[cfg(feature = "testing")]
#[cfg_attr(verus_keep_ghost, verifier::external)]
pub mod testing;
mod work;
mod world;

pub use flusher::{FlushOwed, Flushed, TlbFlusher};
pub use op::{FOLD_LIMIT, RUN_LIMIT, TlbFlushOp};
pub use pile::Kept;
pub use statistics::{Statistics, statistics};

pub(crate) use audience::Everyone;
#[cfg(verus_keep_ghost)]
pub(crate) use audience::page_number;
pub(crate) use flusher::{Flushing, Shootdown};
#[cfg(verus_keep_ghost)]
pub(crate) use keeping::{all_kept, lemma_covered, lemma_kept};
pub(crate) use keeping::{change_of, covering};
