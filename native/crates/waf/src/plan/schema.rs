//! The scan plan as TypeScript writes it (waf/scan-plan.ts), read from JSON.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanSchema {
    pub leaves: Vec<LeafSchema>,
    pub limits: LimitsSchema,
    pub argument_separator: String,
    pub request_body_access: bool,
    pub response_body_access: bool,
    /// Every leaf has compiled before: idle ones need not be judged again.
    #[serde(default)]
    pub checked: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSchema {
    pub scan_budget_ms: f64,
    pub arguments_max: usize,
    pub json_depth_max: usize,
    pub body_bytes_max: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeafSchema {
    pub phase: u8,
    pub targets: Vec<TargetSchema>,
    pub transformations: Vec<String>,
    pub operator: String,
    pub negated: bool,
    pub argument: String,
    pub entries: Vec<String>,
    pub multi_match: bool,
    pub capture: bool,
    pub dynamic: bool,
    pub text_only: bool,
    #[serde(default)]
    pub idle: bool,
    pub source: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetSchema {
    pub variable: String,
    pub name: Option<String>,
    pub name_pattern: Option<String>,
    pub count: bool,
    pub exclude: bool,
}
