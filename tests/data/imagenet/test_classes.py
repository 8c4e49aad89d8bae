"""The catalog of ImageNet's classes."""

from __future__ import annotations

from mixnet_core.data.imagenet.classes import class_names, label_of, wnids


def test_labels_are_the_places_of_the_sorted_ids() -> None:
    assert len(set(wnids())) == 1000
    assert list(wnids()) == sorted(wnids())
    # As published models number them.
    published = {"n01440764": 0, "n02123045": 281, "n03770679": 656, "n07873807": 963}
    assert {wnid: label_of()[wnid] for wnid in published} == published


def test_every_class_has_a_name() -> None:
    assert len(class_names()) == 1000
    assert class_names()[281].startswith("tabby")
    assert class_names()[963] == "pizza, pizza pie"
    assert all(class_names())
