//! The scan plan as TypeScript writes it (waf/scan-plan.ts), read from JSON.

use serde::Deserialize;

use crate::bodies::DecodeLimits;

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
    pub no_files_bytes_max: Option<usize>,
    pub upload_files_max: Option<usize>,
    #[serde(default)]
    pub decoding: DecodingSchema,
}

/// Bounds on bodies with a `Content-Encoding`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DecodingSchema {
    pub inspect_raw: bool,
    pub body_bytes_max: usize,
    pub bodies_bytes_max: usize,
    pub ratio_max: usize,
    pub codings_max: usize,
}

impl Default for DecodingSchema {
    fn default() -> Self {
        let limits = DecodeLimits::default();
        Self {
            inspect_raw: limits.inspect_raw,
            body_bytes_max: limits.body_bytes_max,
            bodies_bytes_max: limits.bodies_bytes_max,
            ratio_max: limits.ratio_max,
            codings_max: limits.codings_max,
        }
    }
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
