"""From findings to the sections of a report, for a page, a terminal or a card."""

from collections.abc import Sequence
from dataclasses import replace

from adapterhub.adapter.card import CardTable
from adapterhub.reporting.calibration import Calibration
from adapterhub.reporting.comparison import Comparison
from adapterhub.reporting.confusion import Confusion
from adapterhub.reporting.curve import Curve
from adapterhub.reporting.findings import Findings
from adapterhub.reporting.pictures import Bar, draw_bars, draw_confusion, draw_curve, draw_reliability
from adapterhub.reporting.section import Section, figure, span
from adapterhub.reporting.span_errors import SpanErrors
from adapterhub.tasks.task import Evaluation

_N_SEEN = 5
_FEW = 4
_INTERVAL = "95 % interval"
CURVE_TITLE = "Learning curve"
_INTERVAL_NOTE = ("Intervals tell what other rows of this kind may give: percentile bootstrap over the rows measured. "
                  "They say nothing of other seeds in training.")


def sections_of(findings: Findings, *, has_pictures: bool, named: bool = False) -> list[Section]:
    """Return a report on one adapter; `named` puts its name before each title."""
    own = [_metrics(findings), *_scores(findings)]
    if findings.confusion:
        own.append(_confusion(findings.confusion, has_pictures=has_pictures))
    if findings.span_errors:
        own.append(_spans(findings.span_errors))
    if findings.calibration:
        own.append(_calibration(findings.calibration, has_pictures=has_pictures))
    if findings.worst:
        own.append(_worst(findings))
    return [replace(section, title=f"{findings.name}: {section.title}") for section in own] if named else own


def curve_section(curve: Curve, *, has_pictures: bool) -> Section:
    """Return a run's epochs."""
    header = ("epoch", "training loss", *([f"validation {curve.metric}"] if curve.metric else []))
    lines = [(f"{epoch.number}{' (kept)' if epoch.number == curve.best_epoch else ''}", figure(epoch.loss),
              *([("" if epoch.value is None else figure(epoch.value))] if curve.metric else []))
             for epoch in curve.epochs]
    return Section(title=CURVE_TITLE, header=header, lines=lines,
                   picture=draw_curve(curve) if has_pictures and curve.epochs else None)


def comparison_sections(comparison: Comparison, *, has_pictures: bool) -> list[Section]:
    """Return a report on several adapters side by side."""
    return [_side_by_side(comparison.findings, has_pictures=has_pictures),
            _differences(comparison, has_pictures=has_pictures),
            *([_mcnemar(comparison)] if comparison.mcnemar else [])]


def card_tables(findings: Findings, curve: Curve | None = None) -> list[CardTable]:
    """Return what a card tells beside its scores: mistakes, calibration, epochs; no row's text."""
    sections = [_confusion(findings.confusion, has_pictures=False)] if findings.confusion else []
    if findings.span_errors:
        sections.append(_spans(findings.span_errors))
    if findings.calibration:
        sections.append(_calibration(findings.calibration, has_pictures=False))
    epochs = curve_section(curve, has_pictures=False) if curve else None
    curves = [CardTable(title=epochs.title, header=epochs.header, lines=epochs.lines)] if epochs else []
    return [CardTable(title=f"Test rows: {own.title[0].lower()}{own.title[1:]}", header=own.header, lines=own.lines)
            for own in sections] + curves


def _metrics(findings: Findings) -> Section:
    lines = [(_named(name, findings.evaluation), figure(value),
              span(*findings.intervals[name]) if name in findings.intervals else "")
             for name, value in findings.metrics.items()]
    return Section(title=f"Measured on {findings.evaluation.n_rows} rows", note=_INTERVAL_NOTE,
                   header=("metric", "value", _INTERVAL), lines=lines)


def _named(name: str, evaluation: Evaluation) -> str:
    """Return a metric's name, with its rows where they are fewer: texts are written for some of the rows only."""
    n_rows = evaluation.n_rows_of.get(name, evaluation.n_rows)
    return name if n_rows == evaluation.n_rows else f"{name} ({n_rows} rows)"


def _scores(findings: Findings) -> list[Section]:
    return [Section(title=f"Scores {title}", header=("label", "precision", "recall", "F1", "rows"),
                    lines=[(line.label, f"{line.precision:.3f}", f"{line.recall:.3f}", f"{line.f1:.3f}",
                            str(line.support)) for line in report])
            for title, report in findings.evaluation.reports.items()]


def _confusion(confusion: Confusion, *, has_pictures: bool) -> Section:
    lines = [(pair.right, pair.answered, str(pair.n_rows), f"{pair.share:.0%}") for pair in confusion.pairs]
    return Section(title="Labels taken for others" if lines else "No label was taken for another",
                   header=("right", "answered", "rows", "of the label's rows"), lines=lines, n_seen=_N_SEEN,
                   picture=draw_confusion(confusion) if has_pictures else None)


def _spans(errors: Sequence[SpanErrors]) -> Section:
    header = ("entity", "right", "wrong type", "wrong bounds", "both wrong", "missed", "invented")
    lines = [(own.kind, *(str(count) for count in (own.right, own.wrong_type, own.wrong_bounds, own.wrong_both,
                                                   own.missed, own.invented))) for own in errors]
    return Section(title="What became of each entity", header=header, lines=lines,
                   note="Each right entity counts once, by the answer nearest to it; invented ones touch none.")


def _calibration(calibration: Calibration, *, has_pictures: bool) -> Section:
    lines = [(f"{b.low:.2f} to {b.high:.2f}", str(b.n_decisions), f"{b.confidence:.3f}", f"{b.right:.3f}")
             for b in calibration.bins]
    return Section(title=f"Calibration: {calibration.leaning}, expected error {calibration.error:.4f}",
                   note="Where confidence and share right agree, a score can be read as a probability.",
                   header=("confidence", "decisions", "mean confidence", "share right"), lines=lines,
                   picture=draw_reliability(calibration) if has_pictures else None)


def _worst(findings: Findings) -> Section:
    lines = [(row.text, row.right, row.answered, row.note) for row in findings.worst]
    title = f"Most certainly wrong, {len(lines)} of {findings.n_wrong} rows" if findings.has_right_rows else \
        f"Furthest off, {len(lines)} of {findings.evaluation.n_rows} rows"
    return Section(title=title,
                   note="Look here first: such rows are hard, or their right answers are not.",
                   header=("row", "right", "answered", "how"), lines=lines, n_seen=_N_SEEN)


def _side_by_side(findings: Sequence[Findings], *, has_pictures: bool) -> Section:
    metrics = list(dict.fromkeys(name for own in findings for name in own.metrics))
    lines = [(own.name, *(_cell(own, name) for name in metrics)) for own in findings]
    first = metrics[0]
    bars = [Bar(own.name, own.metrics[first], own.intervals[first]) for own in findings if first in own.intervals]
    picture = draw_bars(f"{first} with its 95 % interval", bars) if has_pictures and bars else None
    return Section(title=f"Side by side on the same {findings[0].evaluation.n_rows} rows",
                   header=("adapter", *metrics), lines=lines, note=_INTERVAL_NOTE, picture=picture)


def _cell(findings: Findings, metric: str) -> str:
    if metric not in findings.metrics:
        return ""
    around = findings.intervals.get(metric)
    return figure(findings.metrics[metric]) + (f" ({span(*around)})" if around else "")


def _differences(comparison: Comparison, *, has_pictures: bool) -> Section:
    lines = [(f"{own.first} - {own.second}", own.metric, f"{own.difference.value:+.4f}", span(*own.difference.interval),
              f"{own.difference.p_value:.4f}", f"{own.better} is better" if own.better else "not larger than chance")
             for own in comparison.differences]
    note = "Paired bootstrap: both adapters are resampled with the same rows."
    if len(lines) > _FEW:
        note += f" Of {len(lines)} such intervals about {len(lines) * 0.05:.1f} leave zero out by chance alone."
    bars = [Bar(f"{own.first} - {own.second}: {own.metric}", own.difference.value, own.difference.interval)
            for own in comparison.differences]
    return Section(title="Differences", note=note, lines=lines,
                   header=("adapters", "metric", "difference", _INTERVAL, "p", "verdict"),
                   picture=draw_bars("Differences with their 95 % intervals", bars) if has_pictures and bars else None)


def _mcnemar(comparison: Comparison) -> Section:
    lines = [(f"{own.first} - {own.second}", str(own.only_first), str(own.only_second), f"{own.p_value:.4f}")
             for own in comparison.mcnemar]
    return Section(title="Rows that only one has right (McNemar, exact)", lines=lines,
                   header=("adapters", "only the first", "only the second", "p"))
