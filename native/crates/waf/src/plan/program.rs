//! What the scan runs on one value: a trie of transformations with tests at its nodes. Which leaves
//! see which member of which collection is decided here, when rules load, and not per request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::leaf::{Leaf, Members};
use crate::operator_set::OperatorSet;
use crate::operators::{ByteSet, Operator, union};
use crate::transformations::Transformation;
use crate::variable::{Variable, View};

/// One leaf's operator at one node.
pub struct Test {
    pub leaf: u32,
    pub operator: u32,
    pub target: u16,
    pub variable: Variable,
    pub negated: bool,
    pub capture: bool,
    /// multiMatch after a transformation: only when it changed the text.
    pub only_changed: bool,
    /// Patterns on the member's name that could not be decided when the rules were loaded.
    pub filter: Option<Arc<NameFilter>>,
}

/// The member's name must match `include`, and none of `exclude`.
pub struct NameFilter {
    pub include: Option<Arc<Operator>>,
    pub exclude: Vec<Arc<Operator>>,
}

impl NameFilter {
    /// Whether the member of this name is seen.
    pub fn admits(&self, name: &[u8]) -> bool {
        self.include
            .as_ref()
            .is_none_or(|pattern| pattern.matches(name, None))
            && !self
                .exclude
                .iter()
                .any(|pattern| pattern.matches(name, None))
    }
}

/// So many operators of a place are judged by their gates alone before a text is sieved for them.
const FEW: usize = 12;

/// The operators of a node, or of a branch.
#[derive(Default)]
pub struct Asked {
    pub set: OperatorSet,
    /// The same one by one, when they are few.
    few: Option<Box<[u32]>>,
}

impl Asked {
    fn count(&mut self) {
        let few: Vec<u32> = self.set.iter().take(FEW + 1).collect();
        let whole = few.len() <= FEW && !self.set.goes_beyond();
        self.few = whole.then(|| few.into());
    }

    /// Its operators when they are few, which may cost less to judge one by one than to sieve for.
    pub fn few(&self) -> Option<&[u32]> {
        self.few.as_deref()
    }
}

/// One distinct prefix of transformation chains. A node is followed by the branch that it begins.
pub struct Node {
    pub parent: usize,
    pub transformation: Transformation,
    /// Without any of these bytes it leaves a text alone.
    pub triggers: ByteSet,
    pub tests: Vec<Test>,
    /// The operators of its tests.
    pub operators: Asked,
    /// Some test hits on texts that its operator does not match.
    pub negates: bool,
    pub branch: Branch,
}

/// A node and all nodes below it.
#[derive(Default)]
pub struct Branch {
    /// The node after its last one.
    pub end: usize,
    /// A text without any of these bytes stays as it is below the node.
    pub triggers: ByteSet,
    pub operators: Asked,
    pub negates: bool,
}

/// Everything that runs on one value. The first node is the text as it came.
#[derive(Default)]
pub struct Program {
    pub nodes: Vec<Node>,
    /// What all its nodes have.
    pub operators: OperatorSet,
    /// Tells it from all programs of all plans; 0 when what it finds depends on the member's name.
    pub id: u64,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The programs for the values that one view shows.
#[derive(Default)]
pub struct ViewPrograms {
    /// For members whose name no rule mentions, and for variables that are no collection.
    pub other: Program,
    /// For members that some rule names; sorted by `name_hash`.
    named: Vec<(u32, Box<[u8]>, Program)>,
}

impl ViewPrograms {
    /// What runs on the member of this name.
    pub fn program(&self, name: &[u8]) -> &Program {
        if self.named.is_empty() {
            return &self.other;
        }
        let hash = name_hash(name);
        let start = self.named.partition_point(|(known, _, _)| *known < hash);
        let candidates = self
            .named
            .iter()
            .skip(start)
            .take_while(|(known, _, _)| *known == hash);
        let mut found = candidates.filter(|(_, known, _)| known.eq_ignore_ascii_case(name));
        found.next().map_or(&self.other, |(_, _, program)| program)
    }

    /// Builds the programs of one view out of one phase's leaves; none when no leaf looks there.
    pub fn build(view: View, leaves: &[(u32, &Leaf)]) -> Option<Self> {
        let looks = |target: &super::leaf::Target| target.variable.views().contains(&view);
        let leaves: Vec<_> = leaves
            .iter()
            .copied()
            .filter(|(_, leaf)| {
                leaf.targets
                    .iter()
                    .any(|t| !t.count && !t.exclude && looks(t))
            })
            .collect();
        if leaves.is_empty() {
            return None;
        }
        let mut names: Vec<&[u8]> = Vec::new();
        for target in leaves
            .iter()
            .flat_map(|(_, leaf)| &leaf.targets)
            .filter(|t| looks(t))
        {
            if let Members::Named(name) = &target.members
                && !names.iter().any(|known| known.eq_ignore_ascii_case(name))
            {
                names.push(name);
            }
        }
        let mut named: Vec<_> = names
            .into_iter()
            .map(|name| {
                (
                    name_hash(name),
                    name.into(),
                    Program::build(view, Some(name), &leaves),
                )
            })
            .collect();
        named.sort_by_key(|(hash, _, _)| *hash);
        Some(Self {
            other: Program::build(view, None, &leaves),
            named,
        })
    }
}

impl Program {
    fn build(view: View, name: Option<&[u8]>, leaves: &[(u32, &Leaf)]) -> Self {
        let mut program = Self::default();
        program.nodes.push(Node {
            parent: 0,
            transformation: Transformation::None,
            triggers: ByteSet::default(),
            tests: vec![],
            operators: Asked::default(),
            negates: false,
            branch: Branch::default(),
        });
        for (index, leaf) in leaves {
            for (position, target) in leaf.targets.iter().enumerate() {
                let seen = !target.count && !target.exclude;
                if !seen || !target.variable.views().contains(&view) {
                    continue;
                }
                let Some(filter) = select(leaf, position, name) else {
                    continue;
                };
                program.add(*index, leaf, (position, target.variable), filter);
            }
        }
        program.sort();
        program.sum_up();
        let mut tests = program.nodes.iter().flat_map(|node| &node.tests);
        if tests.all(|test| test.filter.is_none()) {
            program.id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        }
        program
    }

    /// Adds a leaf's tests along its chain.
    fn add(
        &mut self,
        index: u32,
        leaf: &Leaf,
        (target, variable): (usize, Variable),
        filter: Option<Arc<NameFilter>>,
    ) {
        let Some(operator) = leaf.operator else {
            return;
        };
        let mut node = 0;
        for step in 0..=leaf.transformations.len() {
            if step > 0
                && let Some(transformation) = leaf.transformations.get(step - 1)
            {
                node = self.child(node, *transformation);
            }
            let last = step == leaf.transformations.len();
            if !last && !leaf.multi_match {
                continue;
            }
            let test = Test {
                leaf: index,
                operator: u32::try_from(operator).unwrap_or(u32::MAX),
                target: u16::try_from(target).unwrap_or(u16::MAX),
                variable,
                negated: leaf.negated,
                capture: leaf.capture,
                only_changed: leaf.multi_match && step > 0,
                filter: filter.clone(),
            };
            if let Some(node) = self.nodes.get_mut(node) {
                node.tests.push(test);
            }
        }
    }

    fn child(&mut self, parent: usize, transformation: Transformation) -> usize {
        let known = self
            .nodes
            .iter()
            .skip(1)
            .position(|node| node.parent == parent && node.transformation == transformation);
        known.map_or_else(
            || {
                self.nodes.push(Node {
                    parent,
                    transformation,
                    triggers: transformation.triggers().unwrap_or([u64::MAX; 4]),
                    tests: Vec::new(),
                    operators: Asked::default(),
                    negates: false,
                    branch: Branch::default(),
                });
                self.nodes.len() - 1
            },
            |position| position + 1,
        )
    }

    /// Puts the nodes in depth-first order, so that the scan of a large value can let a branch's
    /// texts go when it leaves the branch. Tests of one operator come to stand together, so that
    /// their gates are read in order.
    fn sort(&mut self) {
        let mut rest: Vec<Option<Node>> = self.nodes.drain(..).map(Some).collect();
        self.take_branch(&mut rest, 0, 0);
        for node in &mut self.nodes {
            node.tests.sort_by_key(|test| test.operator);
        }
    }

    /// Sums the branches up, last ones first: what is below a node stands behind it.
    fn sum_up(&mut self) {
        for node in &mut self.nodes {
            for test in &node.tests {
                node.operators.set.insert(test.operator);
                node.negates |= test.negated;
            }
            self.operators.join(&node.operators.set);
        }
        for index in (0..self.nodes.len()).rev() {
            let (before, rest) = self.nodes.split_at_mut(index);
            let Some(node) = rest.first_mut() else { break };
            node.branch.operators.set.join(&node.operators.set);
            node.branch.negates |= node.negates;
            node.branch.end = node.branch.end.max(index + 1);
            let Some(parent) = before.get_mut(node.parent) else {
                continue;
            };
            let above = &mut parent.branch;
            above.operators.set.join(&node.branch.operators.set);
            above.negates |= node.branch.negates;
            above.end = above.end.max(node.branch.end);
            let triggers = union(&node.triggers, &node.branch.triggers);
            above.triggers = union(&above.triggers, &triggers);
        }
        for node in &mut self.nodes {
            node.operators.count();
            node.branch.operators.count();
        }
    }

    fn take_branch(&mut self, rest: &mut [Option<Node>], node: usize, parent: usize) {
        let Some(mut taken) = rest.get_mut(node).and_then(Option::take) else {
            return;
        };
        taken.parent = parent;
        let place = self.nodes.len();
        self.nodes.push(taken);
        for child in node + 1..rest.len() {
            let other = rest.get(child).and_then(Option::as_ref);
            if other.is_some_and(|other| other.parent == node) {
                self.take_branch(rest, child, place);
            }
        }
    }
}

/// Whether a target of a leaf sees the members of this name (none: any name that no rule mentions);
/// with the patterns that are left to decide per request.
fn select(leaf: &Leaf, target: usize, name: Option<&[u8]>) -> Option<Option<Arc<NameFilter>>> {
    let target = leaf.targets.get(target)?;
    if let Some(name) = name {
        let seen = target.members.has(name) && !leaf.excludes(target.variable, name);
        return seen.then_some(None);
    }
    let include = match &target.members {
        Members::All => None,
        Members::Named(_) => return None,
        Members::Matching(pattern) => Some(Arc::clone(pattern)),
    };
    let mut exclude = Vec::new();
    for exclusion in leaf
        .targets
        .iter()
        .filter(|t| t.exclude && t.variable == target.variable)
    {
        match &exclusion.members {
            Members::All => return None,
            Members::Named(_) => {}
            Members::Matching(pattern) => exclude.push(Arc::clone(pattern)),
        }
    }
    let undecided = include.is_some() || !exclude.is_empty();
    Some(undecided.then(|| Arc::new(NameFilter { include, exclude })))
}

/// FNV-1a over the lower-cased name.
fn name_hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    })
}
