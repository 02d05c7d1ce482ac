//! Closures on processors that borrow from their caller.
use crate::Machine;
use crate::worker::Job;
use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use vellum_machine::cpu::{self, CpuId};

/// How many closures of a scope are not done, and how many panicked with nobody having seen it.
#[derive(Default)]
struct Ledger {
    running: Mutex<usize>,
    all_done: Condvar,
    unseen_panics: AtomicUsize,
}

impl Ledger {
    fn begin(&self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }

    fn end(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running -= 1;
        if *running == 0 {
            self.all_done.notify_all();
        }
    }

    fn wait(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        drop(
            self.all_done
                .wait_while(running, |running| *running != 0)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// A time in which closures that borrow from its surroundings run on processors; see [`Machine::scope`].
pub struct Scope<'scope, 'env: 'scope> {
    machine: &'env Machine,
    ledger: Arc<Ledger>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl Machine {
    /// Runs `f`, which can start closures on processors, and waits until all of them are done.
    ///
    /// # Panics
    /// If `f` panics; if a closure panicked and its handle was not joined; on a processor of the machine, which
    /// would wait for itself.
    pub fn scope<'env, T>(&'env self, f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T) -> T {
        if let Some(cpu) = cpu::try_current() {
            panic!("processor {cpu} cannot wait for the processors");
        }
        let ledger = Arc::<Ledger>::default();
        let scope = Scope { machine: self, ledger: ledger.clone(), scope: PhantomData, env: PhantomData };
        let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
        ledger.wait();
        match result {
            Err(panic) => resume_unwind(panic),
            // Acquire: pairs with the Release in `spawn`; the lock of `running` has ordered it already.
            Ok(_) if ledger.unseen_panics.load(Ordering::Acquire) != 0 => {
                panic!("a closure on a processor panicked")
            }
            Ok(value) => value,
        }
    }

    /// Runs a closure on a processor and returns what it returns.
    ///
    /// # Panics
    /// If the machine does not have the processor, if the closure panics, or on a processor of the machine.
    pub fn run_on<T: Send>(&self, cpu: CpuId, f: impl FnOnce() -> T + Send) -> T {
        self.scope(|scope| scope.spawn(cpu, f).join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Runs a closure on every processor at once, and returns what they return in the order of processors.
    ///
    /// # Panics
    /// If the closure panics, or on a processor of the machine.
    pub fn on_all<T: Send>(&self, f: impl Fn(CpuId) -> T + Sync) -> Vec<T> {
        let f = &f;
        self.scope(|scope| {
            let handles: Vec<_> = cpu::all().map(|cpu| scope.spawn(cpu, move || f(cpu))).collect();
            let results: Vec<_> = handles.into_iter().map(ScopedHandle::join).collect();
            results.into_iter().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
        })
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Has a processor run a closure, after those it was given before.
    ///
    /// # Panics
    /// If the machine does not have the processor.
    pub fn spawn<F, T>(&'scope self, cpu: CpuId, f: F) -> ScopedHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let Some(worker) = self.machine.worker(cpu) else { panic!("the machine has no processor {cpu}") };
        let (sender, result) = channel();
        let ledger = self.ledger.clone();
        let job: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(f));
            if outcome.is_err() {
                // Release: pairs with the Acquire at the end of the scope.
                ledger.unseen_panics.fetch_add(1, Ordering::Release);
            }
            // Whatever borrows from the scope's surroundings is gone before the closure counts as done: without a
            // handle the outcome is dropped here.
            let sent = catch_unwind(AssertUnwindSafe(|| drop(sender.send(outcome))));
            if sent.is_err() {
                ledger.unseen_panics.fetch_add(1, Ordering::Release);
            }
            ledger.end();
        });
        // SAFETY: only the lifetime changes. `Machine::scope` does not return before the closure has called
        // `Ledger::end`, its last act; what it owns besides a count of the ledger is consumed by then. `'scope`
        // lasts until then.
        let job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Job>(job) };
        self.ledger.begin();
        worker.submit(job);
        ScopedHandle { cpu, result, ledger: self.ledger.clone(), scope: PhantomData }
    }
}

/// A closure that was started on a processor.
pub struct ScopedHandle<'scope, T> {
    cpu: CpuId,
    result: Receiver<thread::Result<T>>,
    ledger: Arc<Ledger>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedHandle<'_, T> {
    /// Waits for the closure, and returns what it returned, or what it panicked with.
    ///
    /// A processor that waits serves the calls of others.
    ///
    /// # Errors
    /// What the closure panicked with.
    ///
    /// # Panics
    /// On the processor that is to run the closure, which would wait for itself.
    pub fn join(self) -> thread::Result<T> {
        let outcome = match cpu::try_current() {
            None => self.result.recv().unwrap_or_else(|_| Err(lost())),
            Some(cpu) if cpu == self.cpu => panic!("processor {cpu} cannot wait for itself"),
            Some(_) => loop {
                match self.result.try_recv() {
                    Ok(outcome) => break outcome,
                    Err(TryRecvError::Empty) => cpu::relax(),
                    Err(TryRecvError::Disconnected) => break Err(lost()),
                }
            },
        };
        if outcome.is_err() {
            self.ledger.unseen_panics.fetch_sub(1, Ordering::AcqRel);
        }
        outcome
    }
}

/// What a closure's result is when dropping it panicked on the way.
fn lost() -> Box<dyn Any + Send> {
    Box::new("the result of a closure on a processor was lost")
}
