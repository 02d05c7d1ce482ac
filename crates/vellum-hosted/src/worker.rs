//! The threads that are the processors.
use crate::BootError;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use vellum_machine::arch::hosted::{self, Seat};
use vellum_machine::cpu::CpuId;

/// A closure for a processor. It does not panic.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    stop: Stop,
}

#[derive(Default, PartialEq, Eq)]
enum Stop {
    #[default]
    No,
    WhenIdle,
}

/// A processor's thread.
pub(crate) struct Worker {
    cpu: CpuId,
    queue: Arc<Mutex<Queue>>,
    start: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Makes a thread that waits until the machine is on.
    pub(crate) fn new(cpu: CpuId) -> Result<Worker, BootError> {
        let queue = Arc::<Mutex<Queue>>::default();
        let (start, started) = channel();
        let body = {
            let queue = queue.clone();
            move || work(cpu, &queue, &started)
        };
        let thread = Builder::new()
            .name(format!("vellum-cpu{cpu}"))
            .spawn(body)
            .map_err(|error| BootError::Thread { cpu, error })?;
        Ok(Worker { cpu, queue, start: Some(start), thread: Some(thread) })
    }

    /// Has the thread become the processor, now that the machine is on.
    pub(crate) fn start(&mut self) {
        if let Some(start) = self.start.take() {
            // A thread that is gone is noticed when it is joined.
            let _ = start.send(());
        }
    }

    pub(crate) fn submit(&self, job: Job) {
        lock(&self.queue).jobs.push_back(job);
        hosted::wake(self.cpu);
    }

    /// Tells the thread to end after what it has to do.
    pub(crate) fn stop(&self) {
        lock(&self.queue).stop = Stop::WhenIdle;
        hosted::wake(self.cpu);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
        // Without a start the thread ends at once.
        self.start = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread itself was printed by it; there is nobody to tell.
            let _ = thread.join();
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> std::sync::MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The life of a processor.
fn work(cpu: CpuId, queue: &Mutex<Queue>, started: &Receiver<()>) {
    if started.recv().is_err() {
        return;
    }
    let seat = match Seat::take(cpu) {
        Ok(seat) => seat,
        Err(error) => panic!("processor {cpu} cannot start: {error}"),
    };
    loop {
        let job = lock(queue).jobs.pop_front();
        match job {
            Some(job) => job(),
            None if lock(queue).stop == Stop::WhenIdle => break,
            None => seat.halt_until(|| {
                let queue = lock(queue);
                !queue.jobs.is_empty() || queue.stop == Stop::WhenIdle
            }),
        }
    }
}
