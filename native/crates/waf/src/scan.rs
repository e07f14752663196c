//! Runs the plan's programs over the store's entries.

use std::time::Duration;

use crate::budget::{Budget, OverBudget};
use crate::hits::{Hit, Hits};
use crate::memo::Memo;
use crate::operators::{Captures, Operator, meet};
use crate::plan::{Count, Leaf, Node, PhasePlan, Plan, Program, Test};
use crate::sieve::Sieve;
use crate::store::{Entry, Store};
use crate::texts::{Sifter, Texts};
use crate::variable::{Side, Variable};

/// What a scan may take, and what it may rely on.
pub struct Effort<'m> {
    /// CPU time of this thread that the exchange may take in all, with what it took before.
    pub budget: Duration,
    pub memo: &'m mut Memo,
}

/// One scan: what it reads, and where its hits go.
pub struct Scan<'a> {
    pub plan: &'a Plan,
    pub store: &'a Store,
    pub hits: &'a mut Hits,
    pub budget: &'a mut Budget,
}

/// Where a text that is run through a leaf comes from, for its hit.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub leaf: u32,
    pub target: u16,
    pub variable: Option<Variable>,
    pub name: Option<&'a [u8]>,
}

/// Buffers of one scan, kept from value to value.
struct Buffers<'a> {
    texts: Texts<'a>,
    /// The text of each node of the program, and how many texts there were after it.
    nodes: Vec<(usize, usize)>,
    captures: Captures,
    /// That of the phase.
    sieve: &'a Sieve,
}

impl<'a> Scan<'a> {
    /// Every leaf of the phase over every value there is.
    pub fn phase(&mut self, phase: &'a PhasePlan, memo: &mut Memo) -> Result<(), OverBudget> {
        let mut buffers = Buffers {
            texts: Texts::default(),
            nodes: Vec::new(),
            captures: Captures::new(),
            sieve: &phase.sieve,
        };
        let mut present = 0u64;
        for entry in self.store.entries() {
            present |= entry.slot.bit();
            for side in [Side::Value, Side::Name] {
                let Some(programs) = phase.view(entry.slot, side) else {
                    continue;
                };
                let program = programs.program(self.store.bytes(entry.name));
                self.remembering(memo, program, (entry, side), &mut buffers)?;
            }
        }
        for slot in phase
            .scalars
            .iter()
            .filter(|slot| present & slot.bit() == 0)
        {
            if let Some(programs) = phase.view(*slot, Side::Value) {
                self.value(&programs.other, (&Entry::empty(*slot), b""), &mut buffers)?;
            }
        }
        for count in &phase.counts {
            self.count(count)?;
        }
        self.hits.sort();
        Ok(())
    }

    /// Skips a value that is known to be clean, and remembers one that was.
    fn remembering(
        &mut self,
        memo: &mut Memo,
        program: &Program,
        (entry, side): (&Entry, Side),
        buffers: &mut Buffers<'a>,
    ) -> Result<(), OverBudget> {
        let store: &'a Store = self.store;
        let value = store.bytes(entry.side(side));
        let mut place = None;
        if program.id != 0 && Memo::may_hold((entry.slot, side)) {
            match memo.find(program.id, value) {
                Ok(()) => return Ok(()),
                Err(free) => place = free,
            }
        }
        let hits = self.hits.list().len();
        self.value(program, (entry, value), buffers)?;
        if let Some(place) = place.filter(|_| self.hits.list().len() == hits) {
            memo.remember(place, value);
        }
        Ok(())
    }

    fn value(
        &mut self,
        program: &Program,
        (entry, value): (&Entry, &'a [u8]),
        buffers: &mut Buffers<'a>,
    ) -> Result<(), OverBudget> {
        if let [root] = program.nodes.as_slice()
            && root.tests.is_empty()
        {
            return Ok(());
        }
        self.budget.spend(value.len())?;
        buffers.texts.begin(value);
        buffers.nodes.clear();
        buffers.nodes.resize(program.nodes.len(), (0, 0));
        let sifter = Sifter {
            plan: self.plan,
            sieve: buffers.sieve,
            operators: &program.operators,
        };
        let mut next = 0;
        while let Some(node) = program.nodes.get(next) {
            let parent = (next > 0).then(|| buffers.nodes.get(node.parent).copied());
            let mut text = 0;
            let mut changed = true;
            if let Some((parent, kept)) = parent.flatten() {
                buffers.texts.keep(kept);
                self.budget.spend(buffers.texts.bytes(parent).len())?;
                let step = (node.transformation, &node.triggers);
                text = buffers.texts.transform(parent, step);
                changed = parent != text;
            }
            if let Some(place) = buffers.nodes.get_mut(next) {
                *place = (text, buffers.texts.len());
            }
            // Of a text that stays as it is below this node, the whole branch asks the same.
            let branch = &node.branch;
            let stays = !meet(&buffers.texts.presence(text).0, &branch.triggers);
            if stays && !branch.negates && !buffers.texts.concerns(text, &branch.operators, &sifter)
            {
                next = branch.end;
                continue;
            }
            next += 1;
            if !node.tests.is_empty() {
                self.tests(node, (entry, text, changed), (buffers, &sifter))?;
            }
        }
        Ok(())
    }

    /// Runs the tests of one node on its text.
    fn tests(
        &mut self,
        node: &Node,
        (entry, text, changed): (&Entry, usize, bool),
        (buffers, sifter): (&mut Buffers<'a>, &Sifter<'_>),
    ) -> Result<(), OverBudget> {
        if !node.negates && !buffers.texts.concerns(text, &node.operators, sifter) {
            return Ok(());
        }
        let survivors = *buffers.texts.survivors(text, sifter);
        for test in &node.tests {
            let survives = survivors.has(test.operator);
            if (!survives && !test.negated) || (!changed && test.only_changed) {
                continue;
            }
            buffers.captures.clear();
            let matched = survives && self.verdict(test, text, buffers)?;
            if matched != test.negated {
                let bytes = buffers.texts.bytes(text);
                self.hit(test, (entry, bytes), &mut buffers.captures);
            }
        }
        Ok(())
    }

    /// Whether a test's operator matches a text, and the groups that the test wants: asked once,
    /// whatever tests want to know it, and again only by one that wants groups of a match.
    fn verdict(
        &mut self,
        test: &Test,
        text: usize,
        buffers: &mut Buffers<'a>,
    ) -> Result<bool, OverBudget> {
        let wants = test.capture && !test.negated;
        let known = buffers.texts.verdict(text, test.operator);
        if let Some(matched) = known.filter(|matched| !(*matched && wants)) {
            return Ok(matched);
        }
        let presence = buffers.texts.presence(text);
        let bytes = buffers.texts.bytes(text);
        let gate = self.plan.gate(test.operator);
        let mut matched = gate.is_none_or(|gate| gate.admits(&presence, bytes.len()));
        if matched {
            self.budget.spend(bytes.len())?;
            if let Some(operator) = self.plan.operator(test.operator) {
                let captures = wants.then_some(&mut buffers.captures);
                matched = operator.matches_within(bytes, captures, self.budget)?;
            }
        }
        if known.is_none() {
            buffers.texts.judge(text, test.operator, matched);
        }
        Ok(matched)
    }

    /// Notes that a test hit a text, if it looks at members of this name.
    fn hit(&mut self, test: &Test, (entry, text): (&Entry, &[u8]), captures: &mut Captures) {
        let name = self.store.bytes(entry.name);
        if test
            .filter
            .as_ref()
            .is_some_and(|filter| !filter.admits(name))
        {
            return;
        }
        self.hits.push(Hit {
            leaf: test.leaf,
            target: test.target,
            variable: Some(test.variable),
            name: entry.slot.is_collection().then(|| name.to_vec()),
            value: text.to_vec(),
            captures: std::mem::take(captures),
        });
    }

    fn count(&mut self, count: &Count) -> Result<(), OverBudget> {
        let mut text = None;
        for (index, target) in &count.tests {
            let Some(leaf) = self.plan.leaf(*index) else {
                continue;
            };
            let Some(operator) = leaf
                .operator
                .and_then(|i| self.plan.operator(u32::try_from(i).ok()?))
            else {
                continue;
            };
            let text = text.get_or_insert_with(|| self.store.count(leaf, *target));
            let (leaf_index, target) = (*index, *target);
            let variable = Some(count.variable);
            let origin = Origin {
                leaf: leaf_index,
                target,
                variable,
                name: leaf.named(target),
            };
            let text = text.clone();
            self.text(leaf, operator, (&text, origin))?;
        }
        Ok(())
    }

    /// Runs one leaf over all values that its targets name, with an operator compiled for it.
    pub fn leaf(
        &mut self,
        (index, leaf): (u32, &Leaf),
        operator: &Operator,
    ) -> Result<(), OverBudget> {
        let store = self.store;
        for (position, target) in (0..).zip(&leaf.targets) {
            if target.exclude {
                continue;
            }
            let variable = Some(target.variable);
            if target.count {
                let origin = Origin {
                    leaf: index,
                    target: position,
                    variable,
                    name: leaf.named(position),
                };
                self.text(leaf, operator, (&store.count(leaf, position), origin))?;
                continue;
            }
            let mut seen = store.visible(target.variable).peekable();
            let absent = target.variable.scalar().map(Entry::empty);
            let absent = absent.filter(|_| seen.peek().is_none());
            for (entry, side) in seen.chain(absent.iter().map(|entry| (entry, Side::Value))) {
                let name = store.bytes(entry.name);
                if !target.members.has(name) || leaf.excludes(target.variable, name) {
                    continue;
                }
                let name = entry.slot.is_collection().then_some(name);
                let origin = Origin {
                    leaf: index,
                    target: position,
                    variable,
                    name,
                };
                self.text(leaf, operator, (store.bytes(entry.side(side)), origin))?;
            }
        }
        Ok(())
    }

    /// Runs one leaf's chain and operator over one text.
    pub fn text(
        &mut self,
        leaf: &Leaf,
        operator: &Operator,
        (text, origin): (&[u8], Origin<'_>),
    ) -> Result<(), OverBudget> {
        let mut texts = Texts::default();
        texts.begin(text);
        let mut index = 0;
        let mut changed = true;
        for step in 0..=leaf.transformations.len() {
            if let Some(transformation) = step
                .checked_sub(1)
                .and_then(|i| leaf.transformations.get(i))
            {
                self.budget.spend(texts.bytes(index).len())?;
                let next = texts.transform(index, (*transformation, &[u64::MAX; 4]));
                changed = next != index;
                index = next;
            }
            let last = step == leaf.transformations.len();
            let run = if leaf.multi_match { changed } else { last };
            if run {
                self.run_operator(leaf, operator, (texts.bytes(index), origin))?;
            }
        }
        Ok(())
    }

    fn run_operator(
        &mut self,
        leaf: &Leaf,
        operator: &Operator,
        (text, origin): (&[u8], Origin<'_>),
    ) -> Result<(), OverBudget> {
        self.budget.spend(text.len())?;
        let mut captures = Captures::new();
        let wanted = leaf.capture && !leaf.negated;
        let captured = wanted.then_some(&mut captures);
        if operator.matches_within(text, captured, self.budget)? == leaf.negated {
            return Ok(());
        }
        self.hits.push(Hit {
            leaf: origin.leaf,
            target: origin.target,
            variable: origin.variable,
            name: origin.name.map(<[u8]>::to_vec),
            value: text.to_vec(),
            captures,
        });
        Ok(())
    }
}

impl Store {
    /// Everything that a variable shows, oldest first.
    pub fn visible(&self, variable: Variable) -> impl Iterator<Item = (&Entry, Side)> {
        let views = variable.views();
        self.entries().iter().filter_map(move |entry| {
            let view = views.iter().find(|(slot, _)| *slot == entry.slot)?;
            Some((entry, view.1))
        })
    }

    /// The text of `&ARGS`: how many members a target of a leaf names, without its exclusions.
    fn count(&self, leaf: &Leaf, target: u16) -> Vec<u8> {
        let Some(target) = leaf.targets.get(usize::from(target)) else {
            return b"0".to_vec();
        };
        if target.variable.scalar().is_some() {
            return b"1".to_vec();
        }
        let all = self.visible(target.variable);
        let members = all.filter(|(entry, _)| target.members.has(self.bytes(entry.name)));
        members.count().to_string().into_bytes()
    }
}
