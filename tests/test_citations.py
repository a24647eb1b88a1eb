"""Citations: every name has its papers, entries are well-formed, tables and docstrings say the same."""

import dataclasses
import inspect
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest

import xai_med
from xai_med import Explanation, citation, explain, metrics, rules
from xai_med.citations.bibliography import entries, entries_of, identifiers
from xai_med.citations.cite import rule_named_in
from xai_med.citations.sources import LIBRARY, METRICS, RULES, SUPERPIXELS
from xai_med.errors import UnknownNameError
from xai_med.methods.table import BUILT_IN
from xai_med.registry import METHODS as GROUP
from xai_med.registry import get_method, register_method, unregister
from xai_med.request import Attribution
from xai_med.rules import COMPOSITES
from xai_med.testing import NETWORKS, example_input

ROOT = Path(__file__).resolve().parents[1]
NOT_METRICS = {"ask", "layers_top_down"}  # what metrics are fed with
MEASURES = sorted(
    name for name in metrics.__all__ if inspect.isfunction(vars(metrics)[name]) and name not in NOT_METRICS
)
RULE_CLASSES = [value for value in vars(rules).values() if dataclasses.is_dataclass(value) and "name" in dir(value)]
REQUIRED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "incollection": {"author", "title", "booktitle", "publisher", "year"},
    "misc": {"title"},
}


def parsed(text):
    """Type, key and fields of each entry, read character by character with braces counted."""
    found, place = [], 0
    while (start := text.find("@", place)) >= 0:
        opening = text.index("{", start)
        place, depth = opening + 1, 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            place += 1
        key, *parts = split_at_commas(text[opening + 1 : place - 1])
        fields = [part.split("=", 1) for part in parts if part.strip()]
        values = {name.strip(): value.strip()[1:-1] for name, value in fields}
        assert len(values) == len(fields), f"a field twice in {key}"
        assert all(value.strip()[0] == "{" and value.strip()[-1] == "}" for _, value in fields)
        found.append((text[start + 1 : opening], key.strip(), values))
    return found


def split_at_commas(body):
    """Split where no brace is open."""
    parts, depth = [""], 0
    for letter in body:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        parts[-1] += letter if depth or letter != "," else ""
        parts += [""] if letter == "," and not depth else []
    return parts


def plain(name):
    """A name without LaTeX's accents and braces."""
    return re.sub(r"\\[^a-zA-Z]|[{}]", "", name)


def without_accents(text):
    return "".join(letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))


def references(function):
    """The References section of a docstring."""
    return (inspect.getdoc(function) or "").partition("References\n----------\n")[2]


def explained(method="cam", **settings):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    blueprint = NETWORKS["vgg_like"]()
    model = xai_med.registry.get_backend("torch").build(blueprint)
    return explain(model, example_input(blueprint, 1), method=method, target=0, **settings)


def keys(text):
    return [key for _, key, _ in parsed(text)]


# every name resolves


@pytest.mark.parametrize("name", BUILT_IN)
def test_all_that_a_method_names_as_its_source_has_an_entry(name):
    source = get_method(name).source
    assert identifiers(source)
    assert set(identifiers(source)) <= set(entries()), source
    assert citation(name).count("@") == len({entries()[each] for each in identifiers(source)})


@pytest.mark.parametrize("name", MEASURES)
def test_metric_has_a_source_that_its_docstring_names_too(name):
    assert set(identifiers(references(vars(metrics)[name]))) == {each.lower() for each in METRICS[name]}
    assert keys(citation(name))


def test_no_metric_is_listed_that_does_not_exist():
    assert sorted(METRICS) == MEASURES


@pytest.mark.parametrize("rule", RULE_CLASSES, ids=lambda rule: rule.__name__)
def test_what_the_docstring_of_a_rule_names_is_cited(rule):
    needed = [field for field in dataclasses.fields(rule) if field.default is dataclasses.MISSING]
    name = rule_named_in(f"kind: {rule(*(float(number) for number in range(len(needed)))).name}")
    assert {*identifiers(rule.__doc__)} <= {each.lower() for each in RULES[name]}


@pytest.mark.parametrize("name", COMPOSITES)
def test_every_rule_of_a_composite_is_known(name):
    assert {rule_named_in(line) for line in COMPOSITES[name]().describe()} <= set(RULES)


def test_every_identifier_of_the_tables_has_an_entry_and_no_entry_is_unused():
    named = {each.lower() for table in (RULES, METRICS) for row in table.values() for each in row}
    named |= {each.lower() for each in SUPERPIXELS}
    assert named <= set(entries())
    named |= {each for name in BUILT_IN for each in identifiers(get_method(name).source)}
    unused = {entry.split("\n")[0] for entry in entries().values()} - {entries()[each].split("\n")[0] for each in named}
    assert not unused


# the entries


ENTRIES = parsed("\n\n".join(dict.fromkeys(entries().values())))


def test_all_of_the_file_is_found_and_keys_are_unique():
    text = (ROOT / "xai_med" / "citations" / "references.bib").read_text(encoding="utf-8")
    assert [key for _, key, _ in ENTRIES] == keys(text) == sorted(set(keys(text)))
    assert text.count("{") == text.count("}")
    assert text.isascii()


@pytest.mark.parametrize(("kind", "key", "fields"), ENTRIES, ids=[key for _, key, _ in ENTRIES])
def test_entry_has_the_fields_that_its_type_requires(kind, key, fields):
    assert set(fields) >= REQUIRED[kind] | {"author", "year"}
    assert fields.keys() & {"doi", "eprint", "url"}
    assert ("eprint" in fields) == (fields.get("archiveprefix") == "arXiv")
    assert re.fullmatch(r"(19|20)\d\d", fields["year"])
    assert all(name.count(",") == 1 or name.startswith("{") for name in fields["author"].split(" and "))
    first = without_accents(plain(fields["author"].split(",")[0])).lower()
    assert key.startswith(f"{first}{fields['year']}")
    assert re.fullmatch(r"\d+(--\d+)?|e\d+", fields.get("pages", "1"))


def cited(text):
    """Surname, year and identifier of each paper in a text such as ``Zhou et al. 2016, arXiv:1512.04150``."""
    text, place = " ".join(text.split()), 0
    for identifier in identifiers(text):
        end = text.lower().index(identifier, place)
        years = list(re.finditer(r"\b(?:19|20)\d\d\b(?![.)]*/)", text[place:end]))
        assert years, f"no year before {identifier} in {text}"
        yield text[place : place + years[-1].start()], years[-1].group(), identifier
        place = end + len(identifier)


SOURCES = {
    **{name: get_method(name).source for name in BUILT_IN},
    **{name: references(vars(metrics)[name]) for name in MEASURES},
    **{rule.__name__: rule.__doc__ for rule in RULE_CLASSES},
}


@pytest.mark.parametrize("name", SOURCES)
def test_authors_and_years_of_a_source_are_those_of_its_entries(name):
    for before, year, identifier in cited(SOURCES[name]):
        ((_, key, fields),) = parsed(entries()[identifier])
        assert fields["year"] == year, f"{key}: {identifier}"
        surname = without_accents(plain(fields["author"].split(",")[0]))
        assert surname in without_accents(before), f"{key}: {identifier}"


# what a result cites


def test_the_method_comes_first_then_rules_then_metrics_and_the_library_last():
    found = keys(explained("lrp").citation("deletion"))
    assert found[:2] == ["bach2015pixel", "kohlbrenner2020towards"]
    assert found[-2:] == ["petsiuk2018rise", LIBRARY]
    assert {"montavon2017explaining", "achtibat2024attnlrp", "ali2022xai", "arras2019explaining"} == set(found[2:-2])


def test_nothing_is_cited_twice():
    found = keys(explained("lrp").citation("weighted_mass", "deletion", "insertion", "mass", "weighted_mass"))
    assert len(found) == len(set(found))
    assert {"kohlbrenner2020towards", "petsiuk2018rise", "wang2020score"} <= set(found)


def test_a_rule_for_the_first_layer_is_cited_where_it_is_in_force():
    assert "lapuschkin2019unmasking" in keys(explained("lrp", composite="epsilon_plus_flat").citation())
    assert "lapuschkin2019unmasking" not in keys(explained("lrp").citation())


def test_the_rule_at_rectifiers_is_cited_and_the_true_gradient_needs_none():
    assert keys(explained("clear", relu="guided").citation()) == [
        "kumar2017explaining",
        "springenberg2015striving",
        LIBRARY,
    ]
    assert explained("clear").citation().count("%") == 0
    assert keys(explained("clear").citation()) == ["kumar2017explaining", LIBRARY]


def test_the_method_that_another_asks_is_cited():
    found = keys(explained("smooth_grad", of="grad_cam", samples=2).citation())
    assert found == ["smilkov2017smoothgrad", "adebayo2018local", "selvaraju2017grad", LIBRARY]


def test_methods_that_are_asked_in_turn_are_all_cited():
    inner = {"of": "lrp", "samples": 2}
    pytest.importorskip("torch", reason="PyTorch is not installed")
    blueprint = NETWORKS["vgg_like"]()
    model = xai_med.registry.get_backend("torch").build(blueprint)
    found = explain(model, example_input(blueprint, 1), method="clear", of="smooth_grad", of_settings=inner).citation()
    assert keys(found)[:4] == ["kumar2017explaining", "smilkov2017smoothgrad", "adebayo2018local", "bach2015pixel"]
    assert "montavon2017explaining" in keys(found)  # of a rule of lrp
    assert "%" not in found


def test_rules_by_place_are_cited():
    placed = COMPOSITES["epsilon_plus"]().layers(0, 1, rules.Gamma())
    text = explained("lrp", composite=placed).citation()
    assert {"montavon2019layer", "andeol2021learning"} <= set(keys(text))
    assert "%" not in text


def test_superpixels_are_cited_where_they_were_used():
    pytest.importorskip("skimage", reason="scikit-image is not installed")
    small = {"count": 20, "samples": 64}
    assert "achanta2012slic" in keys(explained("lime", **small).citation())
    assert "achanta2012slic" not in keys(explained("lime", parts="tiles", **small).citation())


def test_a_result_that_was_loaded_cites_the_same(tmp_path):
    found = explained("grad_cam")
    path = found.save(tmp_path / "result.npz")
    assert Explanation.load(path).citation("road") == found.citation("road")


def test_the_library_is_cited_as_its_citation_file_says():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    ((_, _, fields),) = parsed(citation("XAI-med"))
    said = dict(re.findall(r'^(?:  - )?(\w+): "?([^"\n]*)"?$', text, re.MULTILINE))
    assert fields["title"].replace("\\_", "_") == said["title"]
    assert fields["note"] == f"Version {said['version']}"
    assert fields["author"].strip("{}").replace("\\_", "_") == re.search(r'name: "(.*)"', text)[1]


# plugins and unknown names


@pytest.fixture
def plugin():
    @register_method("my_method", source="Me & {my} 100% friends_2024, a talk")
    def my_method(request) -> Attribution:
        """Nothing."""
        raise AssertionError

    yield my_method
    unregister(GROUP, "my_method")


def test_a_source_without_a_known_paper_becomes_a_note(plugin):
    ((kind, key, fields),) = parsed(citation("my_method"))
    assert (kind, key) == ("misc", "xai_med_my_method")
    assert fields == {"title": r"my\_method", "note": r"Me \& (my) 100\% friends\_2024, a talk"}


def test_a_source_of_which_one_paper_is_known_cites_it_and_keeps_the_note():
    found = entries_of("Zhou et al. 2016, arXiv:1512.04150; mine, arXiv:9901.12345", name="mine")
    assert keys("\n".join(found)) == ["zhou2016learning", "xai_med_mine"]


def test_a_result_without_any_source_is_cited_too():
    found = dataclasses.replace(explained("cam"), source="", method="nameless")
    assert keys(found.citation()) == ["xai_med_nameless", LIBRARY]


def test_a_rule_without_a_known_source_is_named_in_a_comment():
    found = dataclasses.replace(explained("cam"), rules=("convolution: mine@home(0.5)",))
    text = found.citation()
    assert "% no source is known here of the rule: convolution: mine(at)home(0.5)" in text.splitlines()
    assert keys(text) == ["zhou2016learning", LIBRARY]


@pytest.mark.parametrize(("name", "hint"), [("grad-kam", "grad_cam"), ("delition", "deletion"), (3, "string")])
def test_an_unknown_name_is_refused_with_what_is_near(name, hint):
    with pytest.raises(UnknownNameError, match=hint):
        citation(name)


@pytest.mark.parametrize(("name", "hint"), [("grad_cam", "there are"), ("raod", "did you mean road"), (3, "there are")])
def test_a_result_cites_metrics_only_beside_its_method(name, hint):
    with pytest.raises(UnknownNameError, match=f"no metric {name!r}; {hint}"):
        explained("cam").citation(name)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Zhou 2016, arXiv:1512.04150, equation 2", ("arxiv:1512.04150",)),
        ("Arun 2021, doi:10.1148/ryai.2021200267.", ("doi:10.1148/ryai.2021200267",)),
        ("(Arras 2019, doi:10.1007/978-3-030-28954-6_11)", ("doi:10.1007/978-3-030-28954-6_11",)),
        ("see https://a.example/b (software); twice: https://a.example/b", ("https://a.example/b",)),
        ("a talk in 2024", ()),
    ],
)
def test_identifiers_are_found_without_the_punctuation_behind_them(text, found):
    assert identifiers(text) == found


def test_maps_do_not_matter_to_what_is_cited():
    found = explained("cam")
    assert found.citation() == dataclasses.replace(found, maps=np.zeros_like(found.maps)).citation()
