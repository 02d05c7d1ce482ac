//! What a table should hold.
use crate::uses::pages_in;
use std::collections::BTreeMap;
use std::ops::Range;
use vellum::page_table::{AccessedDirty, PageProperty, PagingConsts};
use vellum_machine::addr::PAGE_SIZE;

/// A mapping; its first page is its key.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mapped {
    pub level: u8,
    pub pa: usize,
    pub prop: PageProperty,
    pub ad: AccessedDirty,
}

/// What is mapped, and which ranges cursors have.
#[derive(Default)]
pub struct Model {
    pub mapped: BTreeMap<usize, Mapped>,
    held: Vec<Range<usize>>,
}

impl Model {
    /// The mapping of a page, with its first.
    pub fn at<G: PagingConsts>(&self, page: usize) -> Option<(usize, Mapped)> {
        let (&start, &mapped) = self.mapped.range(..=page).next_back()?;
        (page < start + pages_in::<G>(mapped.level)).then_some((start, mapped))
    }

    /// The first page of a range that is mapped.
    pub fn first<G: PagingConsts>(&self, range: Range<usize>) -> Option<usize> {
        if self.at::<G>(range.start).is_some() && !range.is_empty() {
            return Some(range.start);
        }
        self.mapped.range(range).next().map(|(&page, _)| page)
    }

    /// Makes the mapping of a page smaller until it is one of the level, or lies in the range.
    pub fn split<G: PagingConsts>(
        &mut self,
        page: usize,
        fits: impl Fn(Range<usize>) -> bool,
    ) -> Option<(usize, Mapped)> {
        loop {
            let (start, whole) = self.at::<G>(page)?;
            if fits(start..start + pages_in::<G>(whole.level)) {
                return Some((start, whole));
            }
            let level = whole.level - 1;
            for n in 0..G::NR_ENTRIES {
                let first = n * pages_in::<G>(level);
                let part = Mapped { level, pa: whole.pa + first * PAGE_SIZE, ..whole };
                self.mapped.insert(start + first, part);
            }
        }
    }

    /// The first mapping of a range, split where it reaches past the borders.
    pub fn isolate<G: PagingConsts>(&mut self, range: Range<usize>) -> Option<(usize, Mapped)> {
        let page = self.first::<G>(range.clone())?;
        self.split::<G>(page, |part| range.start <= part.start && part.end <= range.end)
    }

    /// What is mapped in a range, split at its borders.
    pub fn cut_out<G: PagingConsts>(&mut self, range: &Range<usize>) -> Vec<(usize, Mapped)> {
        for border in [range.start, range.end].into_iter().filter(|_| !range.is_empty()) {
            self.split::<G>(border, |part| part.start == border);
        }
        self.mapped.range(range.clone()).map(|(&page, &mapped)| (page, mapped)).collect()
    }

    pub fn hold(&mut self, range: &Range<usize>) {
        let meets = |other: &&Range<usize>| other.start < range.end && range.start < other.end;
        assert_eq!(self.held.iter().find(meets), None, "two cursors have {range:?}");
        self.held.push(range.clone());
    }

    pub fn release(&mut self, range: &Range<usize>) {
        let at = self.held.iter().position(|held| held == range).expect("it is held");
        self.held.swap_remove(at);
    }
}
