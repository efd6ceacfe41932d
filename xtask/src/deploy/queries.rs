//! Which labels a PromQL expression's result has. An expression that names a metric or
//! a label that is not there is an error: Prometheus would answer it with nothing.

use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow, bail, ensure};
use promql_parser::label::Matchers;
use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
    parse,
};

use super::catalogue::{Catalogue, Labels};

/// The labels that a query's result may have.
pub(super) fn labels(query: &str, catalogue: &Catalogue) -> Result<Labels> {
    // What Grafana puts in.
    let query = query.replace("$__rate_interval", "5m");
    let expression = parse(&query).map_err(|error| anyhow!("{error} in {query}"))?;
    of(&expression, catalogue).with_context(|| format!("in {query}"))
}

fn of(expression: &Expr, catalogue: &Catalogue) -> Result<Labels> {
    match expression {
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(Labels::new()),
        Expr::Paren(inner) => of(&inner.expr, catalogue),
        Expr::Unary(inner) => of(&inner.expr, catalogue),
        Expr::Subquery(inner) => of(&inner.expr, catalogue),
        Expr::VectorSelector(selector) => selected(selector, catalogue),
        Expr::MatrixSelector(selector) => selected(&selector.vs, catalogue),
        Expr::Aggregate(aggregate) => aggregated(aggregate, catalogue),
        Expr::Binary(binary) => combined(binary, catalogue),
        Expr::Call(call) => called(call, catalogue),
        Expr::Extension(_) => bail!("an extension of PromQL"),
    }
}

fn selected(selector: &VectorSelector, catalogue: &Catalogue) -> Result<Labels> {
    let name = selector.name.as_deref().context("a selector without a metric")?;
    let labels = catalogue.labels(name).with_context(|| format!("there is no metric {name}"))?;
    let Matchers { matchers, or_matchers } = &selector.matchers;
    for matcher in matchers.iter().chain(or_matchers.iter().flatten()) {
        ensure!(labels.contains(&matcher.name), "{name} has no label {}", matcher.name);
    }
    Ok(labels.clone())
}

fn aggregated(aggregate: &AggregateExpr, catalogue: &Catalogue) -> Result<Labels> {
    let inner = of(&aggregate.expr, catalogue)?;
    // These leave series as they are and only choose some.
    if ["topk", "bottomk", "limitk"].contains(&aggregate.op.to_string().as_str()) {
        return Ok(inner);
    }
    match &aggregate.modifier {
        None => Ok(Labels::new()),
        Some(LabelModifier::Include(by)) => known(&by.labels, &inner),
        Some(LabelModifier::Exclude(without)) => {
            let without = known(&without.labels, &inner)?;
            Ok(inner.difference(&without).cloned().collect())
        }
    }
}

/// The labels that are named, which must be there.
fn known(named: &[String], labels: &Labels) -> Result<Labels> {
    for label in named {
        ensure!(labels.contains(label), "there is no label {label} among {labels:?}");
    }
    Ok(named.iter().cloned().collect())
}

fn combined(binary: &BinaryExpr, catalogue: &Catalogue) -> Result<Labels> {
    let (left, right) = (of(&binary.lhs, catalogue)?, of(&binary.rhs, catalogue)?);
    if binary.op.to_string() == "or" {
        return Ok(left.union(&right).cloned().collect());
    }
    let scalar = |side: &Expr| matches!(side, Expr::NumberLiteral(_));
    if scalar(&binary.lhs) || is_scalar_arithmetic(&binary.lhs) {
        return Ok(right);
    }
    if scalar(&binary.rhs) || is_scalar_arithmetic(&binary.rhs) {
        return Ok(left);
    }
    let Some(modifier) = &binary.modifier else {
        ensure!(left == right, "{left:?} never match {right:?}");
        return Ok(left);
    };
    match &modifier.matching {
        Some(LabelModifier::Include(on)) => {
            known(&on.labels, &left)?;
            known(&on.labels, &right)?;
        }
        Some(LabelModifier::Exclude(_)) => bail!("say which labels match, with `on`"),
        None => ensure!(left == right, "{left:?} never match {right:?}"),
    }
    let more: BTreeSet<String> = match &modifier.card {
        VectorMatchCardinality::ManyToOne(more) => known(&more.labels, &right)?,
        VectorMatchCardinality::OneToMany(_) => bail!("turn it round, to group_left"),
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => BTreeSet::new(),
    };
    Ok(left.union(&more).cloned().collect())
}

/// `time()`, `128 * 1024` and the like.
fn is_scalar_arithmetic(side: &Expr) -> bool {
    match side {
        Expr::NumberLiteral(_) => true,
        Expr::Call(call) => call.func.name == "time",
        Expr::Paren(inner) => is_scalar_arithmetic(&inner.expr),
        Expr::Binary(binary) => {
            is_scalar_arithmetic(&binary.lhs) && is_scalar_arithmetic(&binary.rhs)
        }
        _ => false,
    }
}

fn called(call: &Call, catalogue: &Catalogue) -> Result<Labels> {
    let mut all = Labels::new();
    for argument in &call.args.args {
        all.extend(of(argument, catalogue)?);
    }
    match call.func.name {
        "histogram_quantile" => {
            ensure!(all.remove("le"), "the quantile of something without buckets");
            Ok(all)
        }
        "label_replace" | "label_join" | "absent" | "absent_over_time" => {
            bail!("{} makes labels that are not looked at here", call.func.name)
        }
        _ => Ok(all),
    }
}

/// The labels named in a text as `PREFIXlabel SUFFIX`: legends and annotations.
pub(super) fn named_in<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    text.split(prefix)
        .skip(1)
        .map(|rest| {
            let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            &rest[..end.unwrap_or(rest.len())]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Result<Vec<String>> {
        let catalogue = Catalogue::parse(include_str!("../../../docs/metrics.md")).unwrap();
        labels(query, &catalogue).map(|labels| labels.into_iter().collect())
    }

    #[test]
    fn what_is_there_has_the_labels_it_is_summed_by() {
        let sum = "sum by (pod, cause) (rate(dnsprobe_lost_queries_total[$__rate_interval]))";
        assert_eq!(of(sum).unwrap(), ["cause", "pod"]);
        assert_eq!(of(&format!("topk(3, {sum} > 0)")).unwrap(), ["cause", "pod"]);
        let quantile =
            "histogram_quantile(0.9, sum by (le, pod) (rate(dnsprobe_latency_seconds_bucket[5m])))";
        assert_eq!(of(quantile).unwrap(), ["pod"]);
        assert_eq!(of("time() - dnsprobe_complete > 2 * 60").unwrap(), ["instance", "job"]);
        assert_eq!(
            of("dnsprobe_complete and on (job) (up or dnsprobe_complete)").unwrap(),
            ["instance", "job"]
        );
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        for (query, wrong) in [
            ("dnsprobe_lost_total", "no metric dnsprobe_lost_total"),
            ("dnsprobe_latency_seconds", "no metric"),
            ("dnsprobe_complete{pod=\"x\"}", "no label pod"),
            ("sum by (node) (dnsprobe_complete)", "no label node"),
            ("sum by (cause) (dnsprobe_queries_total)", "no label cause"),
            ("histogram_quantile(0.9, rate(dnsprobe_latency_seconds_sum[5m]))", "without buckets"),
            ("dnsprobe_lost_queries_total / dnsprobe_queries_total", "never match"),
            ("dnsprobe_complete and on (pod) up", "no label pod"),
            ("sum(dnsprobe_complete", "in sum"),
        ] {
            let error = format!("{:#}", of(query).unwrap_err());
            assert!(error.contains(wrong), "{query}: {error}");
        }
    }

    #[test]
    fn labels_are_found_in_texts() {
        assert_eq!(named_in("{{namespace}}/{{pod}}{{unit}}", "{{"), ["namespace", "pod", "unit"]);
        assert_eq!(named_in("{{ $labels.pod }} of {{ $value }}", "$labels."), ["pod"]);
        assert!(named_in("p99", "{{").is_empty());
    }
}
