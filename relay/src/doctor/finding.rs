//! What a check found.

use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Note,
    /// Devices will notice.
    Failed,
}

/// One check and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, in a word or two: `page`, `TURN over UDP`.
    pub check: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen, as one sentence.
    pub detail: String,
    /// What to do about it; always there when the check failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Ok, detail: detail.into(), fix: None }
    }

    pub(super) fn note(check: impl Into<String>, detail: impl Into<String>, fix: Option<&str>) -> Self {
        Self { check: check.into(), verdict: Verdict::Note, detail: detail.into(), fix: fix.map(str::to_owned) }
    }

    pub(super) fn failed(check: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Failed, detail: detail.into(), fix: Some(fix.into()) }
    }
}

/// All findings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order of the checks.
    pub findings: Vec<Finding>,
    /// Whether anything of the server answered at all.
    pub is_reached: bool,
}

impl Report {
    /// Whether no check failed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.findings.iter().all(|finding| finding.verdict != Verdict::Failed)
    }
}
