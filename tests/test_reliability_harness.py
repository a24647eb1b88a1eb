"""The judge is judged: cases call wrong maps wrong, raw errors unclear, and their oracles agree with closed forms."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from reliability import convention, oracle
from reliability.cases import CASES
from reliability.net import images, plain, plain_class_weights
from reliability.runner import failures, run
from reliability.stages import Rule
from reliability.subject import Map, Subject
from reliability.subjects import load
from reliability.trial import Trial
from reliability.verdict import METHODS, Kind, Section

BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(params=["torch", "paddle"])
def ours(request: pytest.FixtureRequest) -> Subject:
    """Our library in each framework that is installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return load(request.param)


def spoiled(subject: Subject, spoil) -> Subject:
    """The same library with something done to every map."""

    def after(method):
        return lambda asked: spoil(asked, subject.methods[method](asked))

    return replace(subject, methods={method: after(method) for method in subject.methods})


def with_values(change):
    """Spoil the values of a map."""
    return lambda asked, found: replace(found, values=change(found.values))


# ---- the list


def test_there_are_over_a_hundred_cases_of_different_names():
    assert len(CASES) > 100
    assert not [name for name, count in Counter(case.name for case in CASES).items() if count > 1]


@pytest.mark.parametrize("section", Section)
def test_every_section_and_sentence_is_there(section):
    sentences = [case.sentence for case in CASES if case.section is section]
    assert len(sentences) >= 10
    assert all(len(sentence) > 10 for sentence in sentences)


# ---- wrong maps


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values[..., ::-1],
        lambda values: values * 1.01,
        lambda values: -values,
        lambda values: np.roll(values, 1, -1),
        lambda values: np.abs(values) + 0.01,
        lambda values: values * 0,
        lambda values: values * np.nan,
        lambda values: values.swapaxes(-1, -2),
    ],
    ids="mirrored scaled negated shifted offset blank nan turned".split(),
)
@pytest.mark.parametrize("case", ["definition, network 1", "volume", "frozen parameters"])
def test_a_wrong_map_is_called_wrong(ours, case, change):
    outcome = run(BY_NAME[case], spoiled(ours, with_values(change)))
    assert {outcome.by_method[method].kind for method in METHODS} == {Kind.WRONG}
    assert failures(outcome)


def test_what_hangs_on_the_model_afterwards_is_called_wrong(ours):
    def marks(asked, found):
        asked.model.fc.remembered = found
        return found

    assert run(BY_NAME["nothing left on the model"], spoiled(ours, marks)).kind is Kind.WRONG


def test_a_kept_image_is_called_wrong(ours):
    kept = []

    def keeps(asked, found):
        kept.append(asked.x)
        return found

    one_method = replace(ours, methods={"gradient": ours.methods["gradient"]})
    assert run(BY_NAME["memory"], spoiled(one_method, keeps)).kind is Kind.WRONG


def test_consumed_random_numbers_are_called_wrong(ours):
    def draws(asked, found):
        ours.kit.draw()
        return found

    assert run(BY_NAME["random state"], spoiled(ours, draws)).kind is Kind.WRONG


def test_flags_that_are_not_put_back_are_called_wrong(ours):
    def evaluates(asked, found):
        asked.model.eval()
        return found

    assert run(BY_NAME["training flags"], spoiled(ours, evaluates)).kind is Kind.WRONG


def test_the_class_of_another_image_is_called_wrong(ours):
    turned = with_values(lambda values: values[::-1])
    assert run(BY_NAME["classes image by image"], spoiled(ours, turned)).kind is Kind.WRONG


def test_a_map_where_a_refusal_is_due_is_called_wrong(ours):
    blank = Map(np.zeros((1, 6, 7)), convention.raw)
    generous = replace(ours, methods=dict.fromkeys(ours.methods, lambda asked: blank))
    for name in ("class out of range", "CAM on flatten and linear", "gradient cut by detach", "NaN pixel"):
        assert run(BY_NAME[name], generous).kind is Kind.WRONG, name


def test_a_map_with_a_warning_is_no_silent_one(ours):
    blank = Map(np.zeros((1, 6, 7)), convention.raw, notes=("the class -1 is negative",))
    warns = replace(ours, methods=dict.fromkeys(ours.methods, lambda asked: blank))
    assert run(BY_NAME["negative class"], warns).kind is Kind.REFUSED


# ---- errors


def test_a_raw_error_of_ours_is_unclear_and_a_peers_is_clear_where_it_names_the_trouble(ours):
    def raises(asked):
        raise IndexError("index 3 is out of range")

    raw = replace(ours, methods=dict.fromkeys(ours.methods, raises))
    peer = replace(raw, name="another", is_refusal=lambda error: False)
    assert run(BY_NAME["class out of range"], raw).kind is Kind.UNCLEAR
    assert run(BY_NAME["class out of range"], peer).kind is Kind.REFUSED
    assert run(BY_NAME["boolean class"], peer).kind is Kind.UNCLEAR


def test_a_refusal_of_ours_fails_where_the_map_must_be_right(ours):
    from xai_med.errors import ModelError

    def refuses(asked):
        raise ModelError("this model is refused, for no reason that would help anybody")

    never = replace(ours, methods=dict.fromkeys(ours.methods, refuses))
    outcome = run(BY_NAME["no_grad"], never)
    assert outcome.kind is Kind.REFUSED
    assert failures(outcome)
    assert not failures(run(BY_NAME["uint8 image"], never))


def test_a_fault_of_the_judge_itself_is_no_verdict(ours):
    def breaks(trial):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(replace(BY_NAME["no_grad"], run=breaks), ours)


# ---- oracles


def test_the_oracles_satisfy_the_identities_of_their_methods(ours):
    net = plain(ours.kit, images(2), bias=False)
    logits = oracle.logits(net)[:, net.target]
    cam = oracle.cam(net, [net.target] * 2)
    np.testing.assert_allclose(cam.mean(axis=(1, 2)), logits, rtol=1e-12)
    np.testing.assert_allclose(oracle.grad_cam(net, [net.target] * 2), cam / 42, atol=1e-8)
    for rule in (Rule("epsilon", 1e-12), Rule("epsilon_plus", 1e-12)):
        total = oracle.relevance(net, [net.target] * 2, rule).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(total, logits, rtol=1e-6)
    # a network without biases is homogeneous: its gradient times the image is the logit (Euler)
    slopes = oracle.gradient(net, [net.target] * 2)
    np.testing.assert_allclose((slopes * net.x).sum(axis=(1, 2, 3)), logits, rtol=1e-6)


def test_the_epsilon_rule_without_biases_is_input_times_gradient(ours):
    net = plain(ours.kit, bias=False)
    found = oracle.relevance(net, [net.target], Rule("epsilon", 1e-13))
    np.testing.assert_allclose(found, oracle.gradient(net, [net.target]) * net.x, atol=1e-7)


def test_the_clear_oracle_is_half_the_gradient_of_the_squared_positive_map(ours):
    net = plain(ours.kit)

    def energy(x):
        maps = np.maximum(oracle.cam(net, [net.target] * len(x), x), 0)
        return (maps**2).reshape(len(x), -1).sum(axis=1, keepdims=True) / 2

    np.testing.assert_allclose(oracle.clear(net, [net.target]), oracle.differences(energy, net.x, [0]), atol=1e-6)


def test_every_networks_map_tells_places_apart(ours):
    net = plain(ours.kit)
    for method in METHODS:
        values = Trial(ours, method).expected(net)
        assert np.ptp(values) > 0.01 * np.abs(values).max(), method
        assert np.maximum(values, 0).any(), method


def test_weights_are_the_same_in_both_frameworks():
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    nets = [plain(load(framework).kit) for framework in ("torch", "paddle")]
    np.testing.assert_allclose(*(oracle.features(net) for net in nets), atol=1e-12)
    np.testing.assert_allclose(*(oracle.logits(net) for net in nets), atol=1e-12)
    assert plain_class_weights().shape == (3, 4)


# ---- conventions


def test_enlarging_by_two_is_the_known_interpolation():
    values = np.array([[[0.0, 4.0]]])
    np.testing.assert_allclose(convention.enlarged(values, (1, 4))[0, 0], [0, 1, 3, 4])


def test_conventions_of_a_small_map():
    values, space = np.array([[-1.0, 3.0, 1.0]]), (3,)
    assert convention.positive_stretched(values, space).tolist() == [[0, 1, 1 / 3]]
    assert convention.stretched(values, space).tolist() == [[0, 1, 0.5]]
    assert convention.inverted(values, space).tolist() == [[1, 0, 0.5]]
    assert convention.inverted(values * 0, space).tolist() == [[0, 0, 0]]
    assert convention.magnitude(values, space).tolist() == [[1, 3, 1]]
