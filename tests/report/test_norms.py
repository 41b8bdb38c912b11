"""Where a value lies, against values worked out by hand; flags in words; methods text."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from bids_hypo.measure.quality import FLAG_TEXTS
from bids_hypo.models.catalog import find_models
from bids_hypo.report.flag_texts import ADVICE, TITLES, describe_flags
from bids_hypo.report.methods import Recorded, citation_texts
from bids_hypo.report.norms import icv_measure, measures_of, place_value
from bids_hypo.report.references import REFERENCES, bibtex, listed

CATALOG = find_models()
ONE = CATALOG.structures["hypothalamus"]
BUNDLES = CATALOG.used
WHOLE = measures_of("hypothalamus", "hypothalamus", [("whole", "L"), ("whole", "B")], ONE.published)[0]
ICV = icv_measure(CATALOG.heads[0].published)


def test_percentile_and_range_by_hand():
    values = [700.0, 800.0, 900.0, 1000.0, 1100.0]
    place = place_value(WHOLE, 900.0, values)
    assert (place.n, place.percentile, place.median) == (5, 50.0, 900.0)  # two below, itself by half: 2.5 of 5
    assert place.low == pytest.approx(720.0) and place.high == pytest.approx(1080.0)
    assert place.in_published_range is True  # 852 +- 154
    assert place_value(WHOLE, 1100.0, values).in_published_range is False
    assert place_value(WHOLE, 1100.0, values).percentile == pytest.approx(90.0)


def test_a_value_is_not_called_outside_of_a_range_that_begins_with_the_same_number():
    low = ICV.published.mean - 2 * ICV.published.sd
    assert place_value(ICV, (low - 0.3) * 1000, []).in_published_range is True  # "1254", of "1254 to 1810"
    assert place_value(ICV, (low - 0.7) * 1000, []).in_published_range is False


def test_the_measures_of_a_structure_with_parts():
    rows = [("prong", "L"), ("prong", "R"), ("shaft", "M"), ("whole", "L"), ("whole", "R"), ("whole", "B")]
    titles = [measure.title for measure in measures_of("trident", "trident", rows, [])]
    assert titles == ["Trident, both", "Left trident", "Right trident", "Prong, left", "Prong, right", "Shaft, midline"]
    assert [m.title for m in measures_of("pons", "pons", [("whole", "B")], [])] == ["Pons"]


def test_a_sum_comes_after_the_whole_with_its_sides_beside_it():
    rows = [("prong", "L"), ("prong", "R"), ("fork", "L"), ("fork", "R"), ("fork", "B")]
    rows += [("whole", "L"), ("whole", "R"), ("whole", "B")]
    titles = [measure.title for measure in measures_of("trident", "trident", rows, [])]
    assert titles[3:] == ["Fork", "Fork, left", "Fork, right", "Prong, left", "Prong, right"]


def test_units_missing_values_and_few_scans():
    place = place_value(ICV, 1_532_000.0, [1_532_000.0, float("nan"), 1_400_000.0])
    assert place.value == pytest.approx(1532.0) and place.n == 2
    assert place.percentile is None and place.median is None
    missing = place_value(ICV, None, [])
    assert missing.value is None and missing.in_published_range is None and missing.ticks == ()
    low, high = missing.axis
    assert low < 1532 - 3 * 139 and high > 1532 + 3 * 139


def test_positions_stay_on_the_line_and_thousands_of_scans_are_thinned():
    values = np.random.default_rng(0).normal(850, 80, 2000)
    place = place_value(WHOLE, float(values[0]), values)
    assert len(place.ticks) <= 200
    assert all(0 <= place.at(t) <= 100 for t in (*place.ticks, place.value))
    assert place.at(place.axis[0]) == 0 and place.at(place.axis[1]) == 100


def test_every_flag_is_explained():
    assert set(TITLES) == set(ADVICE) == set(FLAG_TEXTS)
    (unknown,) = describe_flags(["made_up"])
    assert unknown.title == "Made up"


def _record(**change):
    models = {
        role: {"Name": b.name, "Version": b.version, "WeightsSHA256": b.weights_sha256}
        for role, b in ((b.name, b) for b in BUNDLES)
    }
    base = {"GeneratedBy": [{"Name": "bids_hypo", "Version": "9.8.7"}], "Models": models, "Settings": {"Fast": False},
            "Device": "cpu", "Fallbacks": [], "Sources": ["bids:raw:sub-01/anat/sub-01_T1w.nii.gz"],
            "Structures": {"hypothalamus": {"Title": "hypothalamus", "Methods": ONE.methods}}}  # fmt: skip
    return json.loads(json.dumps(base | change))


def _texts(records, bundles=None, n_without_icv=0):
    bundles = BUNDLES if bundles is None else bundles
    return citation_texts(Recorded("A & B_1", "10.1/x", 2, records, n_without_icv, bundles))


def test_the_methods_text_says_what_ran():
    corrected = _record(Manual=True, Fallbacks=["half batch"])
    records = [_record(), _record(Device="gpu:0", Settings={"Fast": True}), corrected]
    texts = _texts(records, n_without_icv=1)
    text = texts[".md"]
    for words in ("bids_hypo 9.8.7", "3 T1-weighted scans of 2 subjects", '"A & B_1" (doi:10.1/x)', "cpu (2 scans)",
                  "gpu:0 (1 scan)", "1 of 3 scans were delineated in fast mode", "The masks of 1 scan were corrected",
                  "The ICV of 1 scan could not be measured", "half batch", "carried from an atlas"):  # fmt: skip
        assert words in text
    for bundle in BUNDLES:
        assert f"{bundle.name} {bundle.version}" in text
        assert bundle.weights_sha256[:12] in text


def test_the_methods_text_names_what_was_measured_on_which_images():
    def opening(titles, *sources, icv):
        entries = {title: {"Title": title, "Methods": ""} for title in titles}
        records = [_record(Sources=[source], Structures=entries, **({"ICV": {}} if icv else {})) for source in sources]
        return _texts(records)[".md"].split("with bids_hypo 9.8.7 ")

    what, where = opening(["pons"], "bids:maps:a.b/sub-1/anat/sub-1_space-orig_Chimap.nii", icv=False)
    assert what.endswith("Volumes of the pons were measured ") and where.startswith("on 1 Chimap image of 2 subjects")
    what, where = opening(["pons", "thalamus", "x"], "bids:raw:sub-1_UNIT1.nii", "bids:raw:sub-1_FLAIR.nii", icv=True)
    assert what.endswith(
        "Volumes of the pons, the thalamus and the x, and the intracranial volume (ICV) were measured "
    )
    assert where.startswith("on 1 T1-weighted scan and 1 FLAIR image of 2 subjects")


def test_the_methods_text_says_what_was_averaged():
    one = ONE
    single, five = (replace(one, weights=tuple((f"{n}.npz", f"{n}" * 64) for n in range(k))) for k in (1, 5))

    def text(bundle, *fast):
        made_by = {"hypothalamus": {"Name": "hypothalamus", "Version": "1", "WeightsSHA256": bundle.weights_sha256}}
        records = [_record(Models=made_by, Settings={"Fast": f}) for f in fast]
        return _texts(records, bundles=(bundle,))[".md"]

    assert "averaged with those of the mirrored image." in text(single, False)
    assert "The probabilities of 5 networks were averaged, every other one" in text(five, False)
    assert "mirrored image; 1 of 2 scans were delineated in fast mode, by one network" in text(five, False, True)
    assert "All scans were delineated in fast mode" in text(five, True) and "averaged" not in text(five, True)


def test_nothing_is_claimed_of_models_that_are_not_the_shipped_ones():
    foreign = _record()
    foreign["Structures"]["hypothalamus"]["Methods"] = "outlined it [@nobody2000]"
    for model in foreign["Models"].values():
        model |= {"Name": "mine", "WeightsSHA256": "f" * 64}
    text = _texts([foreign])[".md"]
    assert "mine" in text and "outlined it nobody2000." in text
    for words in ("EfficientNet", "automatic labels", "synthesised"):
        assert words not in text


def test_citations_agree_between_the_formats():
    texts = _texts([_record()])
    keys = set(re.findall(r"\\cite\{(\w+)\}", texts[".tex"]))
    assert keys == set(re.findall(r"^@\w+\{(\w+),", texts[".bib"], re.M)) and keys <= set(REFERENCES)
    assert all(listed(REFERENCES[key]) in texts[".md"] for key in keys)
    assert r"A \& B\_1" in texts[".tex"] and texts[".bib"].count("{") == texts[".bib"].count("}")
    assert "  volume = {13},\n  pages = {21505}," in bibtex([REFERENCES["vernikouskaya2023"]])
