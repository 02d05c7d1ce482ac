//! Many threads on few frames.
use crate::support::*;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use vellum::frame::{AnyFrameMeta, Frame, Segment, UniqueFrame};
use vellum::io::VmReader;
use vellum_machine::addr::{PAGE_SIZE, Paddr};

const SHARED: usize = 16;
const STEPS: u64 = if cfg!(debug_assertions) { 40_000 } else { 200_000 };

static LIVE: AtomicU64 = AtomicU64::new(0);

/// Metadata that would notice if it were read while another thread writes it, or after its end.
struct Checked {
    tag: u64,
    check: u64,
}

impl Checked {
    fn new(tag: u64) -> Checked {
        LIVE.fetch_add(1, Relaxed);
        Checked { tag, check: !tag }
    }

    fn assert_whole(&self, tag: u64) {
        assert_eq!((self.tag, self.check), (tag, !tag));
    }
}

impl AnyFrameMeta for Checked {
    fn on_drop(&mut self, _: &mut VmReader<'_>) {
        assert_eq!(self.check, !self.tag);
        self.check = 0;
    }
}

impl Drop for Checked {
    fn drop(&mut self) {
        assert!(self.check == 0 || self.check == !self.tag);
        self.check = 0xdead;
        LIVE.fetch_sub(1, Relaxed);
    }
}

struct Worker {
    state: u64,
    base: Paddr,
    typed: Vec<Frame<Checked>>,
    erased: Vec<Frame<dyn AnyFrameMeta>>,
}

impl Worker {
    fn random(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn step(&mut self) {
        let x = self.random();
        let pa = nth(self.base, (x >> 8) as usize % SHARED);
        let tag = pa.0 as u64;
        match x % 10 {
            0 => self.typed.extend(Frame::from_unused(pa, Checked::new(tag))),
            1 => {
                if let Ok(mut frame) = UniqueFrame::from_unused(pa, Checked::new(1)) {
                    *frame.meta_mut() = Checked::new(tag);
                    self.typed.push(frame.into());
                }
            }
            2 | 3 => match Frame::from_in_use(pa).map(Frame::downcast::<Checked>) {
                Ok(Ok(frame)) => self.typed.push(frame),
                Ok(Err(frame)) => self.erased.push(frame),
                Err(_) => {}
            },
            4 => match self.typed.pop().map(UniqueFrame::try_from) {
                Some(Ok(frame)) => {
                    self.erased.push(Frame::from(frame.repurpose(Name(format!("{tag}")))).into())
                }
                Some(Err(frame)) => self.typed.push(frame),
                None => {}
            },
            5 => {
                if let Some(frame) = self.typed.last() {
                    frame.meta().assert_whole(frame.start_paddr().0 as u64);
                    self.typed.push(frame.clone());
                }
            }
            6 => {
                let end = nth(self.base, SHARED).0.min(pa.0 + 3 * PAGE_SIZE);
                if let Ok(segment) = Segment::from_unused(pa..Paddr(end), |at| Checked::new(at.0 as u64)) {
                    self.typed.extend(segment);
                }
            }
            7 => {
                self.typed.truncate(4);
                self.erased.truncate(2);
            }
            _ => {
                self.typed.pop();
                self.erased.pop();
            }
        }
    }
}

#[test]
fn many_threads_on_few_frames() {
    let base = frames(SHARED);
    std::thread::scope(|s| {
        let threads: Vec<_> = (0..8)
            .map(|i| {
                s.spawn(move || {
                    let state = 0x9e37_79b9_7f4a_7c15 ^ (i << 40);
                    let mut worker = Worker { state, base, typed: Vec::new(), erased: Vec::new() };
                    for _ in 0..STEPS {
                        worker.step();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert!((0..SHARED).all(|i| is_unused(nth(base, i))));
    assert_eq!(LIVE.load(Relaxed), 0);
}
