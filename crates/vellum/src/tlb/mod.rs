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
//! 3. [`sync`](TlbFlusher::sync) waits until each has answered, and releases what was kept.
//!
//! A flusher belongs to the cursor that makes the change, and dropping the cursor does all that is left to
//! do: nothing issued, kept or owed is ever lost.
//!
//! # Why no processor is missed
//!
//! The set of processors on which a table is active changes while shootdowns go on. The order on both sides
//! is:
//!
//! | who changes an entry | who activates the table | who leaves it |
//! | --- | --- | --- |
//! | 1. store the entry | 1. add itself to the set | 1. set another root, which forgets its translations |
//! | 2. fence | 2. fence | 2. take itself out of the set |
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
//! *Waiting.* A request is answered from [`vellum_machine::cpu::relax`], which every waiting loop calls, so
//! two processors that ask each other answer each other. Serving a request only flushes: it takes no lock.
//!
//! # What is used of processors
//!
//! Each processor has one place for a request that it sends ([`MAX_CPUS`](vellum_machine::cpu::MAX_CPUS) in
//! all, static). It is written again only when everybody has answered, so nobody reads it while it changes,
//! and a request allocates nothing.

mod flusher;
mod op;
mod request;
mod statistics;
#[cfg(feature = "testing")]
pub mod testing;

pub use flusher::{FlushOwed, Kept, TlbFlusher};
pub use op::{FOLD_LIMIT, TlbFlushOp};
pub use statistics::{Statistics, statistics};

pub(crate) use flusher::Shootdown;
