"""evaluate(): every cell is the metric of the map; refusals are listed; masks, intervals, files, the picture."""

import csv

import expectations
import numpy as np
import pytest
from numpy.testing import assert_allclose

from xai_med import Classes, evaluate, explain, metrics, sanity_check
from xai_med.errors import ModelError, SettingError, ShapeError, UnknownNameError
from xai_med.evaluation import JUDGES
from xai_med.testing import NETWORKS, oracle

NAME = "vgg_like"


def model_of(backend):
    return backend.build(NETWORKS[NAME](), dtype="float64")


def images():
    return expectations.images(NAME).astype(np.float64)


def masks(rng, count=3):
    return rng.integers(0, 2, size=(count, 11, 9)).astype(bool)


def test_every_cell_is_the_metric_of_the_methods_map(backend, rng):
    truth, model = masks(rng), model_of(backend)
    found = evaluate(
        model, images(), methods=["cam", "gradient"], metrics=["mass", "deletion", "sparseness"], masks=truth,
        target=Classes(2, 0),
    )  # fmt: skip
    for method in ("cam", "gradient"):
        maps = explain(model, images(), method=method, target=Classes(2, 0)).maps.astype(np.float64)
        for n, k in np.ndindex(3, 2):

            def answer(some, k=k):
                return oracle.forward(NETWORKS[NAME](), some)[oracle.logits_step(NETWORKS[NAME]())][:, [2, 0][k]]

            one = maps[n, k]
            assert found.of(method, "mass").values[n, k] == pytest.approx(
                metrics.mass(np.maximum(one, 0), truth[n]), nan_ok=True
            )
            expected = metrics.deletion(answer, images()[n], one, steps=50).area
            assert found.of(method, "deletion").values[n, k] == pytest.approx(expected, rel=1e-9)
            assert found.of(method, "sparseness").values[n, k] == pytest.approx(metrics.sparseness(one))
    cell = found.of("gradient", "mass")
    assert cell.estimate.mean == pytest.approx(np.nanmean(cell.values))
    assert (found.images, found.scores, found.methods) == (3, 2, ("cam", "gradient"))


def test_frameworks_agree_on_every_metric(rng):
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from xai_med.registry import get_backend

    truth = masks(rng)
    both = [
        evaluate(
            model_of(get_backend(name)), images(), methods=["cam", "gradient"], metrics=list(JUDGES), masks=truth,
            target=Classes(1),
        )
        for name in ("torch", "paddle")
    ]  # fmt: skip
    for first, second in zip(*(each.judgements for each in both), strict=True):
        assert_allclose(first.values, second.values, rtol=1e-6, atol=1e-9)
        assert np.isfinite(first.values).any(), first.metric


def test_methods_that_refuse_are_listed_with_their_reason(backend):
    found = evaluate(
        backend.build(NETWORKS["fully_connected_head"](), dtype="float64"),
        expectations.images("fully_connected_head").astype(np.float64),
        methods=["cam", "gradient"],
        metrics=["sparseness"],
    )
    assert found.methods == ("gradient",)
    assert "no global average pool" in found.refused["cam"] or "pool" in found.refused["cam"]
    assert "refused cam: " in str(found)
    with pytest.raises(UnknownNameError, match="'cam' refused: "):
        found.of("cam", "sparseness")


def test_settings_of_methods_make_rows_of_their_own(backend):
    found = evaluate(
        model_of(backend),
        images(),
        methods={"signed": {"method": "grad_cam", "relu": False}, "grad_cam": {}},
        metrics=["complexity"],
    )
    assert found.methods == ("signed", "grad_cam")
    signed = explain(model_of(backend), images(), method="grad_cam", relu=False).maps[0, 0]
    assert found.of("signed", "complexity").values[0, 0] == pytest.approx(metrics.complexity(signed))


def test_a_function_is_evaluated_by_methods_that_only_ask():
    weights = np.random.default_rng(0).normal(size=(2, 1, 6, 5))
    found = evaluate(
        lambda x: np.einsum("ncij,kcij->nk", x, weights),
        np.random.default_rng(1).normal(size=(3, 1, 6, 5)),
        methods={"occlusion": {"patch": 1, "stride": 1}, "gradient": {}},
        metrics=["completeness", "sensitivity_n", "deletion"],
        target=Classes(0, 1),
    )
    assert found.methods == ("occlusion",)
    assert found.of("occlusion", "completeness").values.max() < 1e-6
    assert found.of("occlusion", "sensitivity_n").values.min() > 1 - 1e-6


def test_an_empty_mask_leaves_localisation_undefined(backend, rng):
    truth = masks(rng)
    truth[1] = False
    found = evaluate(model_of(backend), images(), methods=["cam"], metrics=["hit", "mass"], masks=truth)
    assert np.isnan(found.of("cam", "hit").values[1]).all()
    assert found.of("cam", "hit").estimate.undefined == 1
    assert "1 undefined" in found.table()


def test_the_table_marks_the_better_mean(backend, rng):
    found = evaluate(
        model_of(backend), images(), methods=["cam", "gradient"], metrics=["mass", "deletion"], masks=masks(rng)
    )
    lines = found.table(intervals=False).splitlines()
    assert lines[0] == "| method | mass ↑ | deletion ↓ |"
    for column, metric in ((2, "mass"), (3, "deletion")):
        means = {method: found.of(method, metric).estimate.mean for method in found.methods}
        best = (max if metric == "mass" else min)(means, key=means.get)
        bold = [line.split(" | ")[0].strip("|` ") for line in lines[2:] if "**" in line.split("|")[column]]
        assert bold == [best]


def test_it_is_written_as_numbers_table_and_picture(backend, rng, tmp_path):
    pytest.importorskip("matplotlib")
    found = evaluate(model_of(backend), images(), methods=["cam", "gradient"], metrics=["mass"], masks=masks(rng))
    with found.save(tmp_path / "all.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3
    assert [float(row["value"]) for row in rows[:3]] == list(found.of("cam", "mass").values[:, 0])
    assert "| `cam` |" in found.save(tmp_path / "table.md").read_text(encoding="utf-8")
    assert found.save(tmp_path / "picture.png").stat().st_size > 1000
    axis = found.figure().axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["cam", "gradient"]
    assert_allclose(axis.lines[0].get_xdata(), [found.of(m, "mass").estimate.mean for m in found.methods])
    assert len(found.rows()) == 2
    with pytest.raises(SettingError, match=r"ends in '.xlsx'; use .csv"):
        found.save(tmp_path / "table.xlsx")


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ({"metrics": ["deletions"]}, UnknownNameError, r"no metric 'deletions'; did you mean deletion"),
        ({"metrics": ["mass"]}, SettingError, r"metric 'mass' compares maps with masks; give masks="),
        ({"metrics": []}, SettingError, "at least one method and one metric"),
        ({"methods": []}, SettingError, "at least one method and one metric"),
        ({"methods": "cam"}, SettingError, "methods is a sequence of names, got the one string 'cam'"),
        ({"methods": ["no_method"]}, SettingError, "every method refused; the first said: there is no method"),
        ({"metrics": ["mass"], "masks": np.ones((2, 11, 9))}, ShapeError, r"masks have shape \(2, 11, 9\)"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(asked, error, message, backend):
    with pytest.raises(error, match=message):
        evaluate(model_of(backend), images(), **{"methods": ["cam"], "metrics": ["sparseness"], **asked})


def test_a_progress_bar_is_shown_where_it_is_asked_for(backend, capsys):
    pytest.importorskip("tqdm")
    evaluate(model_of(backend), images(), methods=["cam"], metrics=["sparseness"], progress=True)
    assert "judging: 100%" in capsys.readouterr().err


# ---- Adebayo's check


@pytest.mark.parametrize("randomisation", ["cascading", "independent"])
def test_a_class_map_notices_that_its_model_forgot(randomisation, backend):
    model = model_of(backend)
    before = expectations.logits(NAME)
    found = sanity_check(model, images(), method="cam", target=1, randomisation=randomisation, kind="spearman")
    assert len(found.similarities) == len(found.stages)
    assert found.stages[0] == "classifier"
    again = sanity_check(model, images(), method="cam", target=1, randomisation=randomisation, kind="spearman")
    assert_allclose(found.similarities, again.similarities)
    after = explain(model, images(), method="cam", target="all").scores
    assert_allclose(after, before, rtol=1e-9)  # the caller's model keeps its weights


def test_what_does_not_look_at_the_top_layer_keeps_its_map(backend):
    found = sanity_check(
        model_of(backend), images(), method="eigen_cam", target=1, stages=["classifier"], kind="spearman"
    )
    assert found.similarities[0] == pytest.approx(1)
    assert found.verdict == "failed"


def test_the_check_refuses_what_it_cannot_do(backend):
    with pytest.raises(SettingError, match="at least two; 2 images were given"):
        sanity_check(model_of(backend), images()[:2], method="cam", target=1)
    with pytest.raises(SettingError, match="has no layer 'top'; it has classifier"):
        sanity_check(model_of(backend), images(), method="cam", target=1, stages=["top"])
    with pytest.raises(ModelError, match=r"has no state_dict"):
        sanity_check(lambda x: x.mean(axis=(2, 3)), images(), method="occlusion", target=1)
