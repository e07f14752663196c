//! What a scan found, and how it crosses to TypeScript.

use crate::operators::Captures;
use crate::variable::Variable;

/// The leaf of hits that only show a variable's value.
pub const NO_LEAF: u32 = u32::MAX;
/// The name length of a text that is no member of a collection, and the variable of a bare text.
const NONE: u32 = u32::MAX;
/// Once the texts of a scan's hits are this long, further ones are cut: a large text that hundreds
/// of rules match must not multiply in memory.
const TEXT_BYTES_MAX: usize = 16 << 20;
/// Length to which they are cut then.
pub const CUT_TEXT_BYTES: usize = 4096;

/// One match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub leaf: u32,
    /// Position among the leaf's targets.
    pub target: u16,
    /// None for a text that was given by the caller.
    pub variable: Option<Variable>,
    pub name: Option<Vec<u8>>,
    /// The text that the operator saw.
    pub value: Vec<u8>,
    pub captures: Captures,
}

/// All matches of one scan.
#[derive(Debug, Default)]
pub struct Hits {
    list: Vec<Hit>,
    text_bytes: usize,
}

impl Hits {
    /// The hits: after `sort` by leaf, then in the order of the leaf's targets.
    pub fn list(&self) -> &[Hit] {
        &self.list
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.list.clear();
        self.text_bytes = 0;
    }

    /// Adds one.
    pub fn push(&mut self, mut hit: Hit) {
        if self.text_bytes > TEXT_BYTES_MAX {
            hit.value.truncate(CUT_TEXT_BYTES);
            hit.captures
                .iter_mut()
                .flatten()
                .for_each(|capture| capture.truncate(CUT_TEXT_BYTES));
        }
        self.text_bytes +=
            hit.value.len() + hit.captures.iter().flatten().map(Vec::len).sum::<usize>();
        self.list.push(hit);
    }

    /// Rules act on their matches in the order of their targets, and of the members within one.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|hit| (hit.leaf, hit.target));
    }

    /// The bytes for TypeScript: u32 hits, u32 text bytes; per hit the words leaf, variable, length
    /// of the name (all ones: none), of the value, number of captures, their lengths (all ones:
    /// none); then all texts in that order. Nothing at all when there is no hit.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.clear();
        if self.list.is_empty() {
            return;
        }
        let texts = self.list.iter().flat_map(Hit::texts);
        let text_bytes = texts.clone().map(<[u8]>::len).sum();
        put(out, self.list.len());
        put(out, text_bytes);
        for hit in &self.list {
            out.extend_from_slice(&hit.leaf.to_le_bytes());
            let variable = hit.variable.map_or(NONE, Variable::index);
            out.extend_from_slice(&variable.to_le_bytes());
            put(out, hit.name.as_ref().map_or(NONE as usize, Vec::len));
            put(out, hit.value.len());
            put(out, hit.captures.len());
            for capture in &hit.captures {
                put(out, capture.as_ref().map_or(NONE as usize, Vec::len));
            }
        }
        for text in texts {
            out.extend_from_slice(text);
        }
    }
}

impl Hit {
    fn texts(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let name = self.name.as_deref().into_iter();
        let captures = self.captures.iter().flatten().map(Vec::as_slice);
        name.chain(std::iter::once(self.value.as_slice()))
            .chain(captures)
    }
}

fn put(out: &mut Vec<u8>, word: usize) {
    out.extend_from_slice(&u32::try_from(word).unwrap_or(u32::MAX).to_le_bytes());
}
