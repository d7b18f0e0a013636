"""Files that look right from outside: what stands in them is malformed. One function a kind of file."""

from array_cases import foreign_cases, hdf5_cases
from format_cases import format_cases
from json_cases import dictionary_cases, manifest_cases, run_cases
from yaml_cases import index_cases, yaml_cases


def content_cases(folder, world, yaml_places):
    makers = [dictionary_cases, hdf5_cases, index_cases, run_cases, manifest_cases, foreign_cases]
    makers.append(format_cases)
    for make in makers:
        place = folder / make.__name__
        place.mkdir(parents=True)
        yield from make(place, world)
    place = folder / "yaml_cases"
    place.mkdir()
    yield from yaml_cases(place, world, yaml_places)
