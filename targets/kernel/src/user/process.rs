//! Programs that run, and what they may ask for.
use super::areas::{Area, Areas};
use super::elf::{self, ElfError};
use super::fault::{self, Counts};
use crate::arch::{Event, UserContext};
use crate::console::println;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use vellum::space::{Access, FaultError, PageProperty, VmSpace, VmSpaceError, user_top};
use vellum::sync::{Once, SpinLock};
use vellum_machine::addr::{PAGE_SIZE, Vaddr};
use vellum_machine::arch::bare;
use vellum_machine::cpu::{self, CpuSet};
use vellum_machine::ipi::call_on;

/// The end of the stack, which grows down.
fn stack_top() -> usize {
    user_top().0 - PAGE_SIZE
}

/// How large the stack may become.
const STACK_LIMIT: usize = 1 << 20;

/// Where the heap begins.
const HEAP: usize = 0x1000_0000;

/// How large the heap may become.
const HEAP_LIMIT: usize = 1 << 30;

/// What a program is told that was ended: beyond every status of its own.
const KILLED: usize = 256;

/// What a call answers that was refused.
const REFUSED: usize = usize::MAX;

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It said so, with a status.
    Exit(u8),
    /// It did what it may not.
    Killed,
}

/// Whether the kernel prints what programs say and why they were killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Voice {
    /// It does.
    Heard,
    /// It does not.
    Silent,
}

/// A program that runs.
pub struct Process {
    id: usize,
    voice: Voice,
    space: Arc<VmSpace>,
    areas: Arc<SpinLock<Areas>>,
    /// How much of the heap it has, in bytes.
    heap: AtomicUsize,
    children: SpinLock<Vec<Arc<Process>>>,
    /// What it runs with when it is started.
    start: SpinLock<Option<UserContext>>,
    end: Once<Ended>,
    /// What its page faults came to, and those of its children.
    pub counts: Arc<Counts>,
}

/// Programs that wait for a processor.
static QUEUE: SpinLock<Vec<Arc<Process>>> = SpinLock::new(Vec::new());

static NEXT_ID: AtomicUsize = AtomicUsize::new(1);

/// Whether a program waits for a processor.
pub fn something_queued() -> bool {
    QUEUE.try_lock().is_none_or(|queue| !queue.is_empty())
}

/// Runs the programs that wait, one after the other.
pub fn run_queued() {
    loop {
        let next = QUEUE.lock().pop();
        match next {
            Some(process) => process.run(),
            None => return,
        }
    }
}

impl Process {
    /// Loads nothing yet: the program's pages come when they are used.
    pub fn load(file: &'static [u8], voice: Voice) -> Result<Arc<Process>, ElfError> {
        let program = elf::read(file)?;
        let mut areas = Areas::default();
        program.segments.iter().for_each(|segment| areas.add(Area::of(segment)));
        areas.add(Area::zeros(stack_top() - STACK_LIMIT..stack_top(), Access::RW));
        let context = UserContext::new(program.entry, Vaddr(stack_top() - 8), 0);
        match Process::new(voice, areas, 0, context, Arc::default()) {
            Ok(process) => Ok(process),
            Err(error) => panic!("no memory for a program: {error}"),
        }
    }

    fn new(
        voice: Voice,
        areas: Areas,
        heap: usize,
        context: UserContext,
        counts: Arc<Counts>,
    ) -> Result<Arc<Process>, VmSpaceError> {
        let space = VmSpace::new()?;
        let areas = Arc::new(SpinLock::new(areas));
        let (theirs, counted) = (areas.clone(), counts.clone());
        space.set_fault_handler(move |space, fault| fault::resolve(&theirs, &counted, space, fault));
        Ok(Arc::new(Process {
            // Relaxed: a number for people.
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            voice,
            space,
            areas,
            heap: AtomicUsize::new(heap),
            children: SpinLock::default(),
            start: SpinLock::new(Some(context)),
            end: Once::new(),
            counts,
        }))
    }

    /// Runs the program to its end on this processor, unless it was started already.
    pub fn run(self: &Arc<Self>) {
        let Some(mut context) = self.start.lock().take() else { return };
        let before = VmSpace::current();
        self.space.activate();
        let end = loop {
            match context.run() {
                Event::Call(number, arguments) => match self.call(number, arguments, &mut context) {
                    Ok(answer) => context.answer(answer),
                    Err(end) => break end,
                },
                Event::Fault(fault) => {
                    if let Err(fault) = bare::user_fault(fault) {
                        self.tell(format_args!("killed: {fault} (at {})", context.instruction()));
                        break Ended::Killed;
                    }
                }
                Event::Exception(number) => {
                    self.tell(format_args!("killed: exception {number} at {}", context.instruction()));
                    break Ended::Killed;
                }
            }
        };
        match before {
            Some(before) => before.activate(),
            None => VmSpace::deactivate_current(),
        }
        // It ends once.
        let _ = self.end.set(end);
    }

    /// Waits until the program has ended; runs it here if no other processor has begun to.
    pub fn wait(self: &Arc<Self>) -> Ended {
        QUEUE.lock().retain(|queued| !Arc::ptr_eq(queued, self));
        self.run();
        loop {
            match self.end.get() {
                Some(end) => return *end,
                None => cpu::relax(),
            }
        }
    }

    /// What a program may ask for. An error ends it.
    fn call(&self, number: usize, [a, b, c]: [usize; 3], context: &mut UserContext) -> Result<usize, Ended> {
        let answer = match number {
            0 => return Err(Ended::Exit(a as u8)),
            1 => self.print(a, b),
            2 => self.fork(context),
            3 => self.wait_for_child(a),
            4 => self.map(a, b, c),
            5 => self.protect(a, b, c),
            6 => self.unmap(a, b),
            7 => self.grow_heap(a),
            _ => None,
        };
        Ok(answer.unwrap_or(REFUSED))
    }

    fn tell(&self, what: fmt::Arguments<'_>) {
        if self.voice == Voice::Heard {
            println!("  user: program {} {what}", self.id);
        }
    }

    fn print(&self, text: usize, len: usize) -> Option<usize> {
        let mut bytes = alloc::vec![0; len.min(256)];
        let mut reader = self.space.reader(Vaddr(text), bytes.len()).ok()?;
        reader.read(&mut vellum::io::VmWriter::from(&mut bytes[..])).ok()?;
        self.tell(format_args!("says: {}", core::str::from_utf8(&bytes).ok()?));
        Some(0)
    }

    /// Makes a program that shares all pages with this one until either writes, and goes on from here.
    fn fork(&self, context: &UserContext) -> Option<usize> {
        let areas = self.areas.lock().clone();
        let mut context = context.clone();
        context.answer(0);
        let heap = self.heap.load(Ordering::Relaxed);
        let child = Process::new(self.voice, areas.clone(), heap, context, self.counts.clone()).ok()?;
        fault::share(&areas, &self.space, &child.space).ok()?;
        let id = child.id;
        self.children.lock().push(child.clone());
        QUEUE.lock().push(child);
        // The call does nothing: it wakes those that wait for interrupts.
        let others = CpuSet::first(cpu::count()).difference(CpuSet::single(cpu::current()));
        let _ = call_on(others, |_| {}, 0);
        Some(id)
    }

    fn wait_for_child(&self, id: usize) -> Option<usize> {
        let child = {
            let mut children = self.children.lock();
            let place = children.iter().position(|child| child.id == id)?;
            children.remove(place)
        };
        Some(match child.wait() {
            Ended::Exit(status) => usize::from(status),
            Ended::Killed => KILLED,
        })
    }

    /// Zeros at an address that the program chooses, in place of what was there.
    fn map(&self, at: usize, pages: usize, access: usize) -> Option<usize> {
        let range = range_of(at, pages)?;
        let access = access_of(access)?;
        self.take_out(range.clone()).ok()?;
        self.areas.lock().add(Area::zeros(range, access));
        Some(at)
    }

    fn protect(&self, at: usize, pages: usize, access: usize) -> Option<usize> {
        let range = range_of(at, pages)?;
        let access = access_of(access)?;
        if !self.areas.lock().protect(range.clone(), access) {
            return None;
        }
        // A page that may be written becomes so by a fault: it may be shared.
        let op = |_| fault::read_only(PageProperty::user(access));
        let mut cursor = self.space.cursor_mut(Vaddr(range.start)..Vaddr(range.end)).ok()?;
        cursor.protect(range.len(), op).ok()?;
        Some(0)
    }

    fn unmap(&self, at: usize, pages: usize) -> Option<usize> {
        self.take_out(range_of(at, pages)?).ok()?;
        Some(0)
    }

    fn take_out(&self, range: Range<usize>) -> Result<(), FaultError> {
        self.areas.lock().remove(range.clone());
        self.space.cursor_mut(Vaddr(range.start)..Vaddr(range.end))?.unmap(range.len())?;
        Ok(())
    }

    /// Gives the heap more bytes, in whole pages; answers where it ended before.
    fn grow_heap(&self, bytes: usize) -> Option<usize> {
        let before = self.heap.load(Ordering::Relaxed);
        let bytes = bytes.checked_next_multiple_of(PAGE_SIZE)?;
        let after = before.checked_add(bytes).filter(|after| *after <= HEAP_LIMIT)?;
        if bytes != 0 {
            self.areas.lock().add(Area::zeros(HEAP + before..HEAP + after, Access::RW));
            self.heap.store(after, Ordering::Relaxed);
        }
        Some(HEAP + before)
    }
}

fn range_of(at: usize, pages: usize) -> Option<Range<usize>> {
    let end = at.checked_add(pages.checked_mul(PAGE_SIZE)?)?;
    (pages != 0 && at.is_multiple_of(PAGE_SIZE) && end <= user_top().0).then_some(at..end)
}

fn access_of(access: usize) -> Option<Access> {
    match access {
        1 => Some(Access::R),
        3 => Some(Access::RW),
        5 => Some(Access::RX),
        _ => None,
    }
}
