//! Compiled operators, each once in the process: plan variants and reloads share what is equal.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::thread;

use super::PlanError;
use crate::operators::{self, Operator};

/// Threads that compile at once; beyond it the memory for unfinished automata grows, not the speed.
const THREADS_MAX: usize = 8;
/// Fewer new operators than this are compiled without further threads.
const ALONE_MAX: usize = 8;

/// What an operator is compiled from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Definition {
    /// Lower-case SecLang name.
    pub name: String,
    pub argument: String,
    /// Phrases or addresses of a file.
    pub entries: Vec<String>,
}

impl Definition {
    /// Compiles it, where it compiled before; the costly part waits.
    fn compile_lazily(&self) -> Result<Operator, String> {
        operators::compile_lazily(&self.name, &self.argument, &self.entries)
    }

    /// Compiles it, without looking for an equal one.
    pub fn compile_with(&self, argument: &str) -> Result<Operator, String> {
        operators::compile(&self.name, argument, &self.entries)
    }
}

/// Operators that some plan still holds. A plan that goes takes its own with it.
static KNOWN: LazyLock<Mutex<HashMap<Arc<Definition>, Weak<Operator>>>> =
    LazyLock::new(Mutex::default);

/// The definition that the process holds already, when there is an equal one.
pub fn shared(definition: Arc<Definition>) -> Arc<Definition> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let found = known.get_key_value(&definition);
    found.map_or(definition, |(same, _)| Arc::clone(same))
}

/// One operator of a plan, and the rule that asked for it first.
pub struct Wanted {
    pub definition: Arc<Definition>,
    pub source: String,
}

/// The operators in the order wanted: those that exist already, the others compiled on all cores.
///
/// `checked` ones compiled before: of them only the gates are made here, the rest follows on a
/// thread of its own, or when a text gets past the gate earlier.
pub fn compile_all(wanted: &[Wanted], checked: bool) -> Result<Vec<Arc<Operator>>, PlanError> {
    let mut found: Vec<Option<Arc<Operator>>> = {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let find = |one: &Wanted| known.get(&one.definition).and_then(Weak::upgrade);
        wanted.iter().map(find).collect()
    };
    let missing: Vec<(usize, &Wanted)> = wanted
        .iter()
        .enumerate()
        .filter(|(index, _)| matches!(found.get(*index), Some(None)))
        .collect();
    let mut failures: Vec<(usize, PlanError)> = Vec::new();
    for (index, outcome) in compile_missing(&missing, checked) {
        match outcome {
            Ok(operator) => {
                if let Some(place) = found.get_mut(index) {
                    *place = Some(operator);
                }
            }
            Err(error) => failures.push((index, error)),
        }
    }
    // Which one a thread met first is chance: what is told must not be.
    if let Some((_, error)) = failures.into_iter().min_by_key(|(index, _)| *index) {
        return Err(error);
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|_, operator| operator.strong_count() > 0);
    for (one, operator) in wanted.iter().zip(found.iter().flatten()) {
        known.insert(Arc::clone(&one.definition), Arc::downgrade(operator));
    }
    let all: Vec<Arc<Operator>> = found.into_iter().flatten().collect();
    if checked {
        finish_aside(all.clone());
    }
    Ok(all)
}

/// Without a thread for it, each is finished by the first text that needs it.
fn finish_aside(all: Vec<Arc<Operator>>) {
    let work = move || {
        for operator in all {
            // A broken one says so when it is used: it lets nothing pass.
            let _ = operator.ready();
        }
    };
    drop(
        thread::Builder::new()
            .name("edge-rules".to_owned())
            .spawn(work),
    );
}

type Outcome = (usize, Result<Arc<Operator>, PlanError>);

fn compile_missing(missing: &[(usize, &Wanted)], checked: bool) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done: Vec<Outcome> = Vec::new();
        while let Some((index, one)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((*index, compile_one(one, checked)));
        }
        done
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = if missing.len() <= ALONE_MAX {
        1
    } else {
        cores.min(THREADS_MAX)
    };
    thread::scope(|scope| {
        // A thread that can not be had is work for those that can.
        let spawned: Vec<_> = (1..threads)
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut all = work();
        for thread in spawned {
            match thread.join() {
                Ok(done) => all.extend(done),
                // The caller catches panics and tells them; they must not end here unheard.
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

fn compile_one(one: &Wanted, checked: bool) -> Result<Arc<Operator>, PlanError> {
    let Wanted { definition, source } = one;
    let compiled = if checked {
        definition.compile_lazily()
    } else {
        definition.compile_with(&definition.argument)
    };
    compiled
        .map(Arc::new)
        .map_err(|reason| PlanError::new(source, format!("@{}: {reason}", definition.name)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    fn wanted(argument: &str) -> Wanted {
        Wanted {
            definition: Arc::new(Definition {
                name: "rx".to_owned(),
                argument: argument.to_owned(),
                entries: Vec::new(),
            }),
            source: format!("rules.conf:{}", argument.len()),
        }
    }

    #[test]
    fn equal_operators_are_one_as_long_as_somebody_holds_it() {
        let first = compile_all(&[wanted("shared-by-two-plans")], false).unwrap();
        let second =
            compile_all(&[wanted("another"), wanted("shared-by-two-plans")], false).unwrap();
        assert!(Arc::ptr_eq(&first[0], &second[1]));
        let weak = Arc::downgrade(&first[0]);
        drop((first, second));
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn many_are_compiled_in_the_order_wanted() {
        let all: Vec<Wanted> = (0..40).map(|n| wanted(&format!("^order-{n}$"))).collect();
        let compiled = compile_all(&all, true).unwrap();
        for (n, operator) in compiled.iter().enumerate() {
            assert!(operator.matches(format!("order-{n}").as_bytes(), None));
        }
    }

    #[test]
    fn the_first_fault_in_the_order_of_rules_is_told() {
        let mut all: Vec<Wanted> = (0..30).map(|n| wanted(&format!("fault-{n}"))).collect();
        all.push(wanted("("));
        all.push(wanted("(("));
        for _ in 0..5 {
            let error = compile_all(&all, false).err().map(|error| error.source);
            assert_eq!(error.as_deref(), Some("rules.conf:1"));
        }
    }
}
