//! The compiled scan plan: shared by all threads, never changed.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod leaf;
mod operators;
mod program;
mod schema;

pub use leaf::{Leaf, Members, Target};
pub use program::{Asked, Node, Program, Test, ViewPrograms};

use crate::bodies::{DecodeLimits, ParseLimits};
use crate::latin1::latin1;
use crate::operators::{Gate, Operator, Presence, names};
use crate::sieve::Sieve;
use crate::variable::{SLOTS, Side, Slot, Variable};
use operators::{Definition, Wanted};
use schema::PlanSchema;

/// Operators compiled while reasoning that are kept; their arguments may come from requests.
const DYNAMIC_OPERATORS_MAX: usize = 1024;

/// Why a plan does not compile: the rule's place, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    pub source: String,
    pub reason: String,
}

impl PlanError {
    pub(crate) fn new(source: &str, reason: String) -> Self {
        Self {
            source: source.to_owned(),
            reason,
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.source, self.reason)
    }
}

impl std::error::Error for PlanError {}

/// A gate without indirection: unused sets repeat the first one.
#[derive(Clone, Copy, Debug, Default)]
pub struct PackedGate {
    sets: [[u64; 4]; 3],
    min_len: usize,
    has_sets: bool,
}

impl PackedGate {
    fn new(gate: &Gate) -> Self {
        let mut packed = Self {
            min_len: gate.min_len,
            ..Self::default()
        };
        if let Some(first) = gate.sets.first() {
            packed.has_sets = true;
            let sets = gate.sets.iter().chain(std::iter::repeat(first));
            for (slot, set) in packed.sets.iter_mut().zip(sets) {
                *slot = *set;
            }
        }
        packed
    }

    /// Whether a text may match; false is certain.
    pub fn admits(&self, presence: &Presence, len: usize) -> bool {
        if len < self.min_len {
            return false;
        }
        let [a, b, c, d] = presence.0;
        !self.has_sets
            || self.sets.iter().all(|set| {
                let [e, f, g, h] = set;
                (a & e) | (b & f) | (c & g) | (d & h) != 0
            })
    }
}

/// The number of members that a target names, and the leaves that ask for it.
pub struct Count {
    pub variable: Variable,
    /// Leaf and target; all of them name the same members.
    pub tests: Vec<(u32, u16)>,
}

/// What one phase runs.
#[derive(Default)]
pub struct PhasePlan {
    /// By slot and side: `slot * 2 + side`.
    views: Vec<Option<ViewPrograms>>,
    pub counts: Vec<Count>,
    /// Slots without names that some leaf of the phase looks at: each has a text, if an empty one.
    pub scalars: Vec<Slot>,
    /// The literals of the phase's operators.
    pub sieve: Sieve,
}

impl PhasePlan {
    /// The programs for what a view shows; none when no leaf of the phase looks there.
    pub fn view(&self, slot: Slot, side: Side) -> Option<&ViewPrograms> {
        self.views.get(slot as usize * 2 + side as usize)?.as_ref()
    }

    fn build(leaves: &[(u32, &Leaf)], operators: &[Arc<Operator>]) -> Self {
        let mut views: Vec<Option<ViewPrograms>> = (0..SLOTS * 2).map(|_| None).collect();
        let mut counts: Vec<(String, Count)> = Vec::new();
        let mut scalars = Vec::new();
        for (index, leaf) in leaves {
            for (position, target) in leaf.targets.iter().enumerate().filter(|(_, t)| !t.exclude) {
                if target.count {
                    add_count(&mut counts, (*index, position), target);
                    continue;
                }
                for view in target.variable.views() {
                    let place = views.get_mut(view.0 as usize * 2 + view.1 as usize);
                    if let Some(place @ None) = place {
                        *place = ViewPrograms::build(*view, leaves);
                        if !view.0.is_collection() {
                            scalars.push(view.0);
                        }
                    }
                }
            }
        }
        Self {
            views,
            counts: counts.into_iter().map(|(_, count)| count).collect(),
            scalars,
            sieve: sieve(leaves, operators),
        }
    }
}

/// Of the operators that no leaf of the phase has, none is sought.
fn sieve(leaves: &[(u32, &Leaf)], operators: &[Arc<Operator>]) -> Sieve {
    let used: HashSet<usize> = leaves
        .iter()
        .filter_map(|(_, leaf)| leaf.operator)
        .collect();
    Sieve::new(
        operators
            .iter()
            .enumerate()
            .map(|(index, operator)| used.contains(&index).then(|| operator.factors())),
    )
}

/// Leaves that count the same members share one count; patterns are not compared.
fn add_count(counts: &mut Vec<(String, Count)>, (leaf, position): (u32, usize), target: &Target) {
    let key = match &target.members {
        Members::All => format!("{}\0", target.variable.name()),
        Members::Named(name) => {
            format!(
                "{}\0{}",
                target.variable.name(),
                name.to_ascii_lowercase().escape_ascii()
            )
        }
        Members::Matching(_) => format!("{}\0\0{leaf}\0{position}", target.variable.name()),
    };
    let test = (leaf, u16::try_from(position).unwrap_or(u16::MAX));
    match counts.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => count.tests.push(test),
        None => counts.push((
            key,
            Count {
                variable: target.variable,
                tests: vec![test],
            },
        )),
    }
}

/// A compiled scan plan.
pub struct Plan {
    leaves: Vec<Leaf>,
    operators: Vec<Arc<Operator>>,
    gates: Vec<PackedGate>,
    phases: Vec<PhasePlan>,
    limits: ParseLimits,
    scan_budget: Duration,
    wants_full_request: bool,
    dynamic: Mutex<HashMap<(usize, String), Arc<Operator>>>,
}

impl Plan {
    /// Compiles the JSON of a `ScanPlan`.
    pub fn compile(json: &str) -> Result<Self, PlanError> {
        let schema: PlanSchema = serde_json::from_str(json)
            .map_err(|error| PlanError::new("scan plan", error.to_string()))?;
        let [argument_separator] = *latin1(&schema.argument_separator).as_slice() else {
            let reason = "SecArgumentSeparator must be one byte".to_owned();
            return Err(PlanError::new("scan plan", reason));
        };
        let limits = ParseLimits {
            arguments_max: schema.limits.arguments_max,
            json_depth_max: schema.limits.json_depth_max,
            body_bytes_max: schema.limits.body_bytes_max,
            no_files_bytes_max: schema.limits.no_files_bytes_max.unwrap_or(usize::MAX),
            files_max: schema.limits.upload_files_max.unwrap_or(usize::MAX),
            argument_separator,
            request_body_access: schema.request_body_access,
            response_body_access: schema.response_body_access,
            decode: DecodeLimits {
                inspect_raw: schema.limits.decoding.inspect_raw,
                body_bytes_max: schema.limits.decoding.body_bytes_max,
                bodies_bytes_max: schema.limits.decoding.bodies_bytes_max,
                ratio_max: schema.limits.decoding.ratio_max,
                codings_max: schema.limits.decoding.codings_max,
            },
        };
        let budget_ms = schema.limits.scan_budget_ms;
        let scan_budget = Duration::try_from_secs_f64(budget_ms / 1000.0)
            .map_err(|error| PlanError::new("scan plan", format!("scanBudgetMs: {error}")))?;
        let mut wanted = Operators::default();
        let mut leaves = Vec::with_capacity(schema.leaves.len());
        for leaf in schema.leaves {
            let source = leaf.source.clone();
            let mut leaf = Leaf::read(leaf)?;
            if leaf.dynamic {
                check_name(&leaf, &source)?;
            } else if !leaf.idle || !schema.checked {
                leaf.operator = Some(wanted.index(&leaf, source));
            }
            leaves.push(leaf);
        }
        let operators = wanted.compile(&mut leaves, schema.checked)?;
        let phases = (0..=5)
            .map(|phase| PhasePlan::build(&scanned(&leaves, phase), &operators))
            .collect();
        let mut targets = leaves.iter().flat_map(|leaf| &leaf.targets);
        let wants_full_request = targets.any(|target| target.variable.is_full_request());
        let gates = operators
            .iter()
            .map(|operator| PackedGate::new(operator.gate()))
            .collect();
        let dynamic = Mutex::default();
        Ok(Self {
            leaves,
            operators,
            gates,
            phases,
            limits,
            scan_budget,
            wants_full_request,
            dynamic,
        })
    }

    /// The leaf of this index.
    pub fn leaf(&self, index: u32) -> Option<&Leaf> {
        self.leaves.get(index as usize)
    }

    /// The operator of this index.
    pub fn operator(&self, index: u32) -> Option<&Operator> {
        self.operators.get(index as usize).map(Arc::as_ref)
    }

    /// The gate of this operator.
    pub fn gate(&self, index: u32) -> Option<&PackedGate> {
        self.gates.get(index as usize)
    }

    /// What this phase (1–5) runs.
    pub fn phase(&self, phase: u8) -> Option<&PhasePlan> {
        self.phases.get(usize::from(phase))
    }

    /// Bounds on what is parsed.
    pub fn limits(&self) -> &ParseLimits {
        &self.limits
    }

    /// Time that one scan may take.
    pub fn scan_budget(&self) -> Duration {
        self.scan_budget
    }

    /// Whether some leaf names `FULL_REQUEST`, which costs a copy of the body.
    pub fn wants_full_request(&self) -> bool {
        self.wants_full_request
    }

    /// The operator of a leaf for an argument known only while reasoning.
    pub fn dynamic_operator(&self, leaf: usize, argument: &str) -> Result<Arc<Operator>, String> {
        let known = self
            .leaves
            .get(leaf)
            .ok_or_else(|| format!("no leaf {leaf}"))?;
        let key = (leaf, argument.to_owned());
        if let Ok(cache) = self.dynamic.lock()
            && let Some(operator) = cache.get(&key)
        {
            return Ok(Arc::clone(operator));
        }
        let operator = Arc::new(known.definition.compile_with(argument)?);
        if let Ok(mut cache) = self.dynamic.lock() {
            if cache.len() >= DYNAMIC_OPERATORS_MAX {
                cache.clear();
            }
            cache.insert(key, Arc::clone(&operator));
        }
        Ok(operator)
    }
}

/// The leaves that a phase's scan runs.
fn scanned(leaves: &[Leaf], phase: u8) -> Vec<(u32, &Leaf)> {
    let indexed = (0..).zip(leaves);
    indexed
        .filter(|(_, leaf)| {
            let scanned = leaf.operator.is_some() && !leaf.text_only && !leaf.idle;
            leaf.phase == phase && scanned
        })
        .collect()
}

fn check_name(leaf: &Leaf, source: &str) -> Result<(), PlanError> {
    let name = &leaf.definition.name;
    if names().contains(&name.as_str()) {
        return Ok(());
    }
    Err(PlanError::new(source, format!("unknown operator @{name}")))
}

/// The operators that the leaves of one plan ask for; equal ones once.
#[derive(Default)]
struct Operators {
    list: Vec<Wanted>,
    known: HashMap<Arc<Definition>, usize>,
}

impl Operators {
    fn index(&mut self, leaf: &Leaf, source: String) -> usize {
        let definition = Arc::clone(&leaf.definition);
        let next = self.list.len();
        let index = *self.known.entry(Arc::clone(&definition)).or_insert(next);
        if index == next {
            self.list.push(Wanted { definition, source });
        }
        index
    }

    /// Compiles all, and lets go what only idle leaves asked for: it was compiled to be judged.
    fn compile(self, leaves: &mut [Leaf], checked: bool) -> Result<Vec<Arc<Operator>>, PlanError> {
        let compiled = operators::compile_all(&self.list, checked)?;
        let mut places: Vec<Option<usize>> = vec![None; compiled.len()];
        let mut kept = Vec::with_capacity(compiled.len());
        for leaf in leaves.iter_mut() {
            let Some(place) = leaf.operator.and_then(|index| places.get_mut(index)) else {
                continue;
            };
            if leaf.idle {
                continue;
            }
            if place.is_none() {
                kept.extend(leaf.operator.and_then(|index| compiled.get(index)).cloned());
                *place = Some(kept.len() - 1);
            }
        }
        for leaf in leaves {
            leaf.operator = leaf.operator.and_then(|index| *places.get(index)?);
            leaf.definition = operators::shared(Arc::clone(&leaf.definition));
        }
        Ok(kept)
    }
}
