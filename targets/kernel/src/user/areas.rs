//! What a program may have in its address space: ranges of pages, and where their contents come from.
use super::elf::Segment;
use alloc::vec::Vec;
use core::ops::Range;
use vellum::frame::UFrame;
use vellum::io::UntypedMem;
use vellum::space::Access;
use vellum_machine::addr::PAGE_SIZE;

/// A range of pages.
#[derive(Clone, Debug)]
pub struct Area {
    /// The addresses, of whole pages.
    pub pages: Range<usize>,
    /// What the program may do there.
    pub access: Access,
    /// The bytes that pages begin with and where they are, or zeros.
    source: Option<(usize, &'static [u8])>,
}

impl Area {
    /// An area of zeros.
    pub fn zeros(pages: Range<usize>, access: Access) -> Area {
        Area { pages, access, source: None }
    }

    /// The area of a part of a program.
    pub fn of(segment: &Segment) -> Area {
        Area {
            pages: segment.pages.clone(),
            access: segment.access,
            source: Some((segment.at, segment.bytes)),
        }
    }

    /// Fills a frame of zeros with what the page at `page` begins with.
    pub fn fill(&self, page: usize, frame: &UFrame) {
        let Some((at, bytes)) = self.source else { return };
        let (start, end) = (at.max(page), (at + bytes.len()).min(page + PAGE_SIZE));
        if start < end {
            let mut writer = frame.writer();
            writer.skip(start - page);
            let mut reader = vellum::io::VmReader::from(&bytes[start - at..end - at]);
            writer.write(&mut reader);
        }
    }
}

/// The areas of a program; no two overlap.
#[derive(Clone, Default, Debug)]
pub struct Areas(Vec<Area>);

impl Areas {
    /// Finds the area of an address.
    pub fn of(&self, va: usize) -> Option<&Area> {
        self.0.iter().find(|area| area.pages.contains(&va))
    }

    /// Lists them.
    pub fn iter(&self) -> impl Iterator<Item = &Area> {
        self.0.iter()
    }

    /// Adds an area in place of what was there.
    pub fn add(&mut self, area: Area) {
        self.remove(area.pages.clone());
        self.0.push(area);
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<usize>) {
        self.split_off(range);
    }

    /// Changes what may be done in a range; says whether all of it is in areas. If not, nothing is changed.
    pub fn protect(&mut self, range: Range<usize>, access: Access) -> bool {
        let all = range.clone().step_by(PAGE_SIZE).all(|page| self.of(page).is_some());
        if all {
            for area in self.split_off(range) {
                self.0.push(Area { access, ..area });
            }
        }
        all
    }

    /// Takes a range out and returns the parts of areas that were in it.
    fn split_off(&mut self, range: Range<usize>) -> Vec<Area> {
        let mut inside = Vec::new();
        let mut outside = Vec::new();
        for area in self.0.drain(..) {
            let Range { start, end } = area.pages.clone();
            let cut = |from: usize, to: usize| Area { pages: from..to, ..area.clone() };
            let (from, to) = (start.max(range.start), end.min(range.end));
            if from >= to {
                outside.push(area);
                continue;
            }
            inside.push(cut(from, to));
            outside.extend((start < from).then(|| cut(start, from)));
            outside.extend((to < end).then(|| cut(to, end)));
        }
        self.0 = outside;
        inside
    }
}
