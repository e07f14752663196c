//! One leaf of the plan: variables, transformations, operator.

use std::sync::Arc;

use super::PlanError;
use super::operators::Definition;
use super::schema::{LeafSchema, TargetSchema};
use crate::latin1::latin1;
use crate::operators::{self, Operator};
use crate::transformations::Transformation;
use crate::variable::Variable;

/// Which members of a collection a target means.
pub enum Members {
    All,
    /// Compared without ASCII case.
    Named(Box<[u8]>),
    /// `ARGS:/regex/`, matched without case.
    Matching(Arc<Operator>),
}

impl Members {
    /// Whether a member of this name is meant.
    pub fn has(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Named(wanted) => wanted.eq_ignore_ascii_case(name),
            Self::Matching(pattern) => pattern.matches(name, None),
        }
    }
}

/// One variable expression of a leaf.
pub struct Target {
    pub variable: Variable,
    pub members: Members,
    pub count: bool,
    pub exclude: bool,
}

/// One operator over one list of targets after one chain of transformations.
pub struct Leaf {
    pub phase: u8,
    pub targets: Vec<Target>,
    pub transformations: Vec<Transformation>,
    /// Index into the plan's operators; none when the argument is only known while reasoning.
    pub operator: Option<usize>,
    /// What the operator is compiled from; the argument of a dynamic leaf has macros.
    pub definition: Arc<Definition>,
    /// Compiled when it is reached, never by `scan`.
    pub dynamic: bool,
    pub negated: bool,
    pub multi_match: bool,
    pub capture: bool,
    pub text_only: bool,
    /// No request reaches a rule that asks for it.
    pub idle: bool,
}

impl Leaf {
    /// Whether an exclusion of this leaf takes out the member of this variable.
    pub fn excludes(&self, variable: Variable, name: &[u8]) -> bool {
        self.targets
            .iter()
            .any(|target| target.exclude && target.variable == variable && target.members.has(name))
    }

    /// The name of the one member that a target means.
    pub fn named(&self, target: u16) -> Option<&[u8]> {
        match &self.targets.get(usize::from(target))?.members {
            Members::Named(name) => Some(name),
            Members::All | Members::Matching(_) => None,
        }
    }

    /// Reads everything but the operator.
    pub fn read(schema: LeafSchema) -> Result<Self, PlanError> {
        let source = &schema.source;
        if !(1..=5).contains(&schema.phase) {
            return Err(PlanError::new(
                source,
                format!("phase {} is not 1 to 5", schema.phase),
            ));
        }
        let targets = schema
            .targets
            .iter()
            .map(|target| read_target(target, &schema));
        let targets = targets.collect::<Result<_, _>>()?;
        let transformations = schema.transformations.iter().map(|name| {
            Transformation::from_name(name)
                .ok_or_else(|| PlanError::new(source, format!("unknown transformation t:{name}")))
        });
        let transformations = transformations
            .filter(|transformation| !matches!(transformation, Ok(Transformation::None)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            phase: schema.phase,
            targets,
            transformations,
            operator: None,
            definition: Arc::new(Definition {
                name: schema.operator,
                argument: schema.argument,
                entries: schema.entries,
            }),
            dynamic: schema.dynamic,
            negated: schema.negated,
            multi_match: schema.multi_match,
            capture: schema.capture,
            text_only: schema.text_only,
            idle: schema.idle,
        })
    }
}

fn read_target(target: &TargetSchema, leaf: &LeafSchema) -> Result<Target, PlanError> {
    let fail = |reason| Err(PlanError::new(&leaf.source, reason));
    let Some(variable) = Variable::from_name(&target.variable) else {
        return fail(format!("unknown variable {}", target.variable));
    };
    let reasoned = variable.views().is_empty();
    if reasoned && !leaf.text_only && !target.exclude {
        return fail(format!("{} is not known to the scan", target.variable));
    }
    let members = match (&target.name, &target.name_pattern) {
        _ if reasoned => Members::All,
        (_, Some(path)) | (Some(path), _) if target.variable == "XML" => {
            Members::Named(read_path(path).map_err(|reason| PlanError::new(&leaf.source, reason))?)
        }
        (None, None) if target.variable == "XML" && !target.exclude => {
            return fail("XML needs a path: XML:/* or XML://@*".to_owned());
        }
        (_, Some(pattern)) => {
            let compiled = operators::compile("rx", &format!("(?i){pattern}"), &[]);
            let compiled = compiled.map_err(|reason| {
                PlanError::new(
                    &leaf.source,
                    format!("{}:/{pattern}/: {reason}", target.variable),
                )
            })?;
            Members::Matching(Arc::new(compiled))
        }
        (Some(name), None) => Members::Named(latin1(name).into()),
        (None, None) => Members::All,
    };
    Ok(Target {
        variable,
        members,
        count: target.count,
        exclude: target.exclude,
    })
}

/// The two paths that are read, however the parser of the rules understood their slashes.
fn read_path(path: &str) -> Result<Box<[u8]>, String> {
    match path {
        "/*" | "//*" | "*" => Ok(crate::bodies::xml::TEXT.into()),
        "//@*" | "/@*" | "@*" => Ok(crate::bodies::xml::ATTRIBUTES.into()),
        _ => Err(format!(
            "XML:{path} is not supported: use XML:/* or XML://@*"
        )),
    }
}
