//! The audit rubric `audit-rubric-v1`, and the age of a protocol.

use std::collections::BTreeSet;

use obsqra_types::UnixSeconds;

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::trades::DAY;
use crate::{AuditReport, AuditState, ProtocolEntry};

/// Days for which the newest report counts as recent.
const RECENT_DAYS: u64 = 365;

/// 70 points with one firm, 15 more with two, 5 more with three, 10 more while the newest report is at
/// most 365 days old; reports dated later than `now` do not count.
pub(crate) fn score(audits: &AuditState, now: UnixSeconds) -> Figure<u8> {
    match audits {
        AuditState::Reports(reports) => score_reports(reports, now),
        AuditState::Unaudited { date, .. } if date.midnight() <= now => Ok(0),
        AuditState::Unaudited { date, .. } => {
            Err(unknown(format!("the source that says unaudited is of {date}")))
        }
        AuditState::Unknown { detail } => Err(unknown(detail.clone())),
    }
}

fn score_reports(reports: &[AuditReport], now: UnixSeconds) -> Figure<u8> {
    let mut firms = BTreeSet::new();
    let mut newest = None;
    for report in reports {
        let Some(date) = report.date else {
            return Err(unknown(format!("no date is known for `{}`", report.title)));
        };
        if date.midnight() <= now {
            firms.insert(report.firm.as_str());
            newest = newest.max(Some(date.midnight()));
        }
    }
    let Some(newest) = newest else {
        return Err(unknown("every report is dated later"));
    };
    let by_firms = match firms.len() {
        1 => 70,
        2 => 85,
        _ => 90,
    };
    let recent = whole_days(newest, now) <= RECENT_DAYS;
    Ok(by_firms + if recent { 10 } else { 0 })
}

fn unknown(detail: impl Into<String>) -> Absence {
    Absence::new(Reason::AuditsUnknown, detail)
}

/// Whole days since the deployment.
pub(crate) fn age_days(protocol: &ProtocolEntry, now: UnixSeconds) -> Figure<u32> {
    let Some(deployment) = &protocol.deployed_at else {
        return Err(Absence::bare(Reason::DeploymentUnknown));
    };
    if now < deployment.timestamp {
        let detail = format!("deployed at {}", deployment.timestamp.0);
        return Err(Absence::new(Reason::NotDeployed, detail));
    }
    or_overflow(u32::try_from(whole_days(deployment.timestamp, now)).ok())
}

fn whole_days(from: UnixSeconds, to: UnixSeconds) -> u64 {
    to.0.saturating_sub(from.0) / DAY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CalendarDate;

    fn report(firm: &str, date: Option<&str>) -> AuditReport {
        AuditReport {
            firm: firm.into(),
            title: format!("{firm} on the core"),
            date: date.map(|date| CalendarDate::parse(date).unwrap()),
            source: "a list".into(),
        }
    }

    fn at(date: &str) -> UnixSeconds {
        CalendarDate::parse(date).unwrap().midnight()
    }

    #[test]
    fn firms_and_recency_count() {
        let a = report("A", Some("2023-01-01"));
        let b = report("B", Some("2023-06-01"));
        let c = report("C", Some("2023-06-01"));
        let again = report("A", Some("2023-07-01"));
        let cases: &[(&[&AuditReport], &str, u8)] = &[
            (&[&a], "2023-01-01", 80),
            (&[&a], "2024-01-01", 80),
            (&[&a], "2024-01-02", 70),
            (&[&a, &b], "2023-05-31", 80),
            (&[&a, &b], "2023-06-01", 95),
            (&[&a, &b, &c], "2023-06-01", 100),
            (&[&a, &b, &c], "2025-06-01", 90),
            (&[&a, &again], "2023-07-01", 80),
        ];
        for (reports, date, expected) in cases {
            let reports = AuditState::Reports(reports.iter().copied().cloned().collect());
            assert_eq!(score(&reports, at(date)), Ok(*expected), "{date}");
        }
    }

    #[test]
    fn what_is_not_dated_is_not_scored() {
        let undated = report("B", None);
        let dated = report("A", Some("2023-01-01"));
        let unaudited = AuditState::Unaudited {
            date: CalendarDate::parse("2023-01-01").unwrap(),
            source: "its own site".into(),
        };
        let cases = [
            (AuditState::Reports(vec![dated.clone(), undated]), "2024-01-01"),
            (AuditState::Reports(vec![dated]), "2022-12-31"),
            (AuditState::Unknown { detail: "none found".into() }, "2024-01-01"),
            (unaudited.clone(), "2022-12-31"),
        ];
        for (audits, date) in cases {
            let reason = score(&audits, at(date)).unwrap_err().reason;
            assert_eq!(reason, Reason::AuditsUnknown, "{audits:?}");
        }
        assert_eq!(score(&unaudited, at("2023-01-01")), Ok(0));
    }
}
